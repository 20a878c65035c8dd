// Any bytes as a policy file. In one that is accepted, decisions agree with each other.

#include "core/policy/policy.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/policy/explanation.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::policy;

void check_one_line(const std::string& text) {
  const bool plain =
      std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
  fuzz::expect(plain && wire::is_utf8(text), "an error is one line that a terminal can show");
}

void check_user(const Policy& policy, const User& user) {
  fuzz::expect(policy.user(user.name) == &user, "a user is found by its name");
  for (const PublicKey& key : user.curve) {
    fuzz::expect(policy.user_of_key(key) == &user, "a key belongs to one user");
  }
  for (const std::string& each : user.certificates) {
    fuzz::expect(policy.user_of_certificate(each) == &user, "a certificate belongs to one user");
  }
  for (const std::string_view text : {"a", "sensor.7", "stock.MSFT", "$SYS.drain", "sensor.>", "*.*", ">"}) {
    const Pattern topics = Pattern::parse(text).value();
    const std::vector<std::string> lines = explain(policy, user, topics);
    fuzz::expect(lines.size() == (topics.is_exact() ? 2U : 1U), "there is a line for each action");
    const Visibility seen = policy.visibility(user, topics);
    fuzz::expect(lines.back().starts_with("may subscribe: ") == (seen == Visibility::all) &&
                     lines.back().starts_with("may not subscribe: ") == (seen == Visibility::none),
                 "the explanation says what is decided");
    if (!topics.is_exact()) continue;
    fuzz::expect((seen == Visibility::all) == policy.may_subscribe(user, text) && seen != Visibility::part,
                 "a topic is visible if it may be read");
    fuzz::expect(lines.front().starts_with("may publish: ") == policy.may_publish(user, text),
                 "the explanation says what is decided");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const auto policy = Policy::parse(input, "policy.toml");
  if (!policy) {
    fuzz::expect(!policy.error().empty(), "a policy that is refused has an error");
    for (const std::string& each : policy.error()) check_one_line(each);
    return 0;
  }
  for (const User& user : policy->users()) check_user(*policy, user);
  fuzz::expect(policy->anonymous().name == anonymous_name, "the anonymous user exists");
  return 0;
}
