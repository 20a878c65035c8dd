// Any bytes from an MQTT client: the first byte determines the version and the pieces, the rest is the
// stream.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/protocols/mqtt/packets/packet.hpp"
#include "gateway/protocols/mqtt/packets/packet_parser.hpp"
#include "gateway/protocols/mqtt/packets/packet_reader.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway::mqtt;

constexpr std::size_t bytes_max = 4096;

struct Read {
  std::vector<std::string> packets;
  std::optional<ReasonCode> fault;
  bool operator==(const Read&) const = default;
};

/// A packet that was parsed is the same when it is written and parsed again.
std::string write_again(Version version, const Packet& packet) {
  std::string bytes;
  append_packet(version, packet, bytes);
  PacketReader reader(bytes.size());
  bool same = false;
  const auto fault = reader.read(bytes, [&](const RawPacket& raw) {
    const auto again = parse_packet(version, raw);
    same = again && *again == packet;
    return true;
  });
  fuzz::expect(!fault && same && reader.at_boundary(),
               "a packet is the same when it is written and read again");
  return bytes;
}

Read read(Version version, std::string_view bytes, std::size_t piece) {
  PacketReader reader(bytes_max);
  Read result;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    const auto fault = reader.read(bytes.substr(0, piece), [&](const RawPacket& raw) {
      fuzz::expect(!result.fault, "nothing is taken behind a fault");
      fuzz::expect(raw.body.size() < bytes_max, "a packet is within its limit");
      const auto packet = parse_packet(version, raw);
      if (!packet) {
        fuzz::expect(is_error(packet.error().reason) && !packet.error().text.empty(), "a fault has a reason");
        result.fault = packet.error().reason;
        return false;
      }
      if (const auto* const connect = std::get_if<Connect>(&*packet)) version = connect->version;
      result.packets.push_back(write_again(version, *packet));
      return true;
    });
    if (fault) result.fault = fault->reason;
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Version version = (data[0] & 0x80U) != 0 ? Version::v3_1_1 : Version::v5_0;
  const Read whole = read(version, bytes, std::max<std::size_t>(bytes.size(), 1));
  fuzz::expect(whole == read(version, bytes, data[0] % 16u + 1u),
               "packets are the same however the bytes come");
  return 0;
}
