#include "broker/admission/zap_request.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/credentials/key.hpp"

namespace backplane::broker {
namespace {

constexpr std::string_view version = "1.0";
constexpr std::string_view curve = "CURVE";
constexpr std::size_t curve_request_frames = 7;

}  // namespace

ZapRequest parse_zap_request(std::vector<std::string> frames) {
  ZapRequest request;
  if (frames.size() > 1) request.id = std::move(frames[1]);
  if (frames.size() != curve_request_frames || frames[0] != version) return request;
  request.domain = std::move(frames[2]);
  request.address = std::move(frames[3]);
  request.mechanism = std::move(frames[5]);
  request.credentials = std::move(frames[6]);
  return request;
}

ZapDecision decide(const ZapRequest& request, const std::vector<EndpointRule>& rules,
                   const policy::Policy& policy) {
  using Kind = ZapDecision::Kind;
  PublicKey key;
  const bool has_key = request.mechanism == curve && request.credentials.size() == key.bytes.size();
  if (!has_key) return {.kind = Kind::unknown_key, .reason = "it has no key"};
  std::memcpy(key.bytes.data(), request.credentials.data(), key.bytes.size());
  const policy::User* const user = policy.user_of_key(key);
  if (user == nullptr) {
    return {.kind = Kind::unknown_key, .reason = fmt::format("no user has the key {}", to_text(key))};
  }
  const auto rule = std::ranges::find(rules, request.domain, &EndpointRule::domain);
  if (rule == rules.end()) return {.kind = Kind::not_permitted, .reason = "this endpoint has no rule"};
  if (const Pattern* const hidden = rule->first_hidden(policy, *user)) {
    return {.kind = Kind::not_permitted,
            .reason = fmt::format("user {} may not read all of \"{}\", which is published there", user->name,
                                  hidden->str())};
  }
  return {.kind = Kind::admitted, .user = user->name};
}

std::array<std::string_view, 6> zap_reply(const ZapRequest& request, const ZapDecision& decision) {
  const bool admitted = decision.kind == ZapDecision::Kind::admitted;
  return {version, request.id, admitted ? "200" : "400", admitted ? "OK" : "refused", decision.user, ""};
}

}  // namespace backplane::broker
