// Any bytes as the frames of a ZAP request: each is preceded by its length in one byte, the last takes what
// is left.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "broker/admission/zap_request.hpp"
#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::broker;

/// The bytes first, first + 1, first + 2, …: make_token_seeds.py has the same keys.
PublicKey key_from(std::uint8_t first) {
  PublicKey key;
  std::iota(key.bytes.begin(), key.bytes.end(), first);
  return key;
}

const PublicKey reader_key = key_from(1);
const PublicKey sensor_key = key_from(64);

const policy::Policy& some_policy() {
  static const policy::Policy policy =
      policy::Policy::parse(fmt::format("[users.reader]\ncurve = '{}'\nroles = ['readers']\n"
                                        "[users.sensor]\ncurve = '{}'\nroles = ['sensors']\n"
                                        "[roles.readers]\nsubscribe = ['>']\n"
                                        "[roles.sensors]\npublish = ['sensor.>']\n",
                                        to_text(reader_key), to_text(sensor_key)),
                            "policy.toml")
          .value();
  return policy;
}

const std::vector<EndpointRule>& some_rules() {
  static const std::vector<EndpointRule> rules{EndpointRule("ingress"),
                                               EndpointRule("egress", {Pattern::parse(">").value()})};
  return rules;
}

std::vector<std::string> frames_of(std::string_view input) {
  constexpr std::size_t frames_max = 10;
  std::vector<std::string> frames;
  while (!input.empty()) {
    std::size_t length = static_cast<unsigned char>(input.front());
    input.remove_prefix(1);
    length = frames.size() + 1 < frames_max ? std::min(length, input.size()) : input.size();
    frames.emplace_back(input.substr(0, length));
    input.remove_prefix(length);
    if (frames.size() == frames_max) break;
  }
  return frames;
}

bool has_key(std::string_view credentials, const PublicKey& key) {
  return std::equal(credentials.begin(), credentials.end(), key.bytes.begin(), key.bytes.end(),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

/// The user that such a request must be admitted as; empty: none.
std::string_view rightful_user(const std::vector<std::string>& frames) {
  if (frames.size() != 7 || frames[0] != "1.0" || frames[5] != "CURVE") return {};
  const bool to_egress = frames[2] == "egress";
  if (!to_egress && frames[2] != "ingress") return {};
  if (has_key(frames[6], reader_key)) return "reader";
  return has_key(frames[6], sensor_key) && !to_egress ? "sensor" : std::string_view{};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto frames = frames_of({reinterpret_cast<const char*>(data), size});
  const std::string_view rightful = rightful_user(frames);
  const ZapRequest request = parse_zap_request(frames);
  const ZapDecision decision = decide(request, some_rules(), some_policy());
  const bool admitted = decision.kind == ZapDecision::Kind::admitted;
  fuzz::expect(admitted == !rightful.empty() && decision.user == rightful,
               "those who have a user's key are admitted as that user, and nobody else");
  fuzz::expect(decision.reason.empty() == admitted, "a refusal has a reason");
  fuzz::expect(wire::is_utf8(decision.reason) && decision.reason.find_first_of("\r\n") == std::string::npos,
               "a reason is one line");
  const auto reply = zap_reply(request, decision);
  fuzz::expect(reply[0] == "1.0" && reply[1] == (frames.size() > 1 ? frames[1] : ""),
               "a reply has the id of its request");
  fuzz::expect(reply[2] == (admitted ? "200" : "400") && reply[4] == rightful && reply[5].empty(),
               "a reply says what was decided");
  return 0;
}
