// Any bytes as the files of message types, and behind them as messages of these: the first two bytes are the
// length of the files (a FileDescriptorSet).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.pb.h>

#include "core/payload/payload_json.hpp"
#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;

/// Some of the types that the files say they define.
std::vector<std::string> types_of(std::string_view files) {
  constexpr std::size_t types_max = 8;
  google::protobuf::FileDescriptorSet set;
  std::vector<std::string> types;
  if (!set.ParseFromArray(files.data(), static_cast<int>(files.size()))) return types;
  for (const auto& file : set.file()) {
    for (const auto& message : file.message_type()) {
      if (types.size() == types_max) return types;
      types.push_back((file.package().empty() ? "" : file.package() + ".") + message.name());
    }
  }
  return types;
}

void check(PayloadJson& payloads, const std::string& type, std::string_view value) {
  std::string line = "before ";
  payloads.append("type.googleapis.com/" + type, value, line);
  fuzz::expect(line.starts_with("before "), "what was there stays");
  const bool plain = std::none_of(line.begin(), line.end(),
                                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  fuzz::expect(plain && wire::is_utf8(line), "a payload is one line: " + line);
  fuzz::expect(
      line.ends_with('}') || line.ends_with(']') || line.ends_with('"') || type.starts_with("google."),
      "a payload is JSON: " + line);
  fuzz::expect(line.size() <= (128u << 10) + 512 * (value.size() + type.size()), "JSON is in proportion");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    route_protobuf_log();
    return true;
  }();
  if (!quiet || size < 2) return 0;
  std::string_view rest{reinterpret_cast<const char*>(data) + 2, size - 2};
  const std::string_view files = rest.substr(0, data[0] | static_cast<std::size_t>(data[1]) << 8);
  rest.remove_prefix(files.size());

  PayloadJson payloads;
  const TypeRegistry::Registered added = payloads.add_types(files);
  fuzz::expect((added.refusal == TypeRegistry::Refusal::none) == added.text.empty(), "a refusal says why");
  fuzz::expect(wire::is_utf8(added.text) && added.text.find('\n') == std::string::npos, "and in one line");
  for (const std::string& type : types_of(files)) check(payloads, type, rest);
  check(payloads, "backplane.events.v1.Earthquake", rest);
  check(payloads, "backplane.v1.BrokerStats", rest);
  check(payloads, "google.protobuf.Any", rest);
  for (const std::string& name : payloads.take_unknown_types()) {
    fuzz::expect(wire::is_utf8(name) && name.find('\n') == std::string::npos, "what is asked for is a name");
  }
  return 0;
}
