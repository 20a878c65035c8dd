#include "broker/admission/zap_request.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using Kind = ZapDecision::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const PublicKey reader = make_secret_key().public_key();
const PublicKey sensor = make_secret_key().public_key();

std::string bytes_of(const PublicKey& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}

policy::Policy some_policy() {
  return policy::Policy::parse(fmt::format("[users.reader]\ncurve = '{}'\nroles = ['readers']\n"
                                           "[users.sensor]\ncurve = '{}'\nroles = []\n"
                                           "[roles.readers]\nsubscribe = ['>']\n",
                                           to_text(reader), to_text(sensor)),
                               "policy.toml")
      .value();
}

std::vector<EndpointRule> some_rules() {
  return {EndpointRule("ingress"), EndpointRule("egress", {Pattern::parse(">").value()})};
}

std::vector<std::string> frames(const std::string& domain, const std::string& key) {
  return {"1.0", "17", domain, "192.0.2.7", "", "CURVE", key};
}

ZapDecision decide_on(std::vector<std::string> request) {
  return decide(parse_zap_request(std::move(request)), some_rules(), some_policy());
}

TEST(ZapRequest, AKeyOfAUserIsAdmittedAsThatUser) {
  const ZapDecision decision = decide_on(frames("egress", bytes_of(reader)));
  EXPECT_EQ(decision.kind, Kind::admitted);
  EXPECT_EQ(decision.user, "reader");
  EXPECT_EQ(decide_on(frames("ingress", bytes_of(sensor))).user, "sensor");
}

TEST(ZapRequest, AUserWhoMayNotReadWhatIsPublishedIsRefused) {
  const ZapDecision decision = decide_on(frames("egress", bytes_of(sensor)));
  EXPECT_EQ(decision.kind, Kind::not_permitted);
  EXPECT_EQ(decision.user, "");
  EXPECT_EQ(decision.reason, "user sensor may not read all of \">\", which is published there");
}

TEST(ZapRequest, AKeyThatNoUserHasIsRefused) {
  const PublicKey other = make_secret_key().public_key();
  const ZapDecision decision = decide_on(frames("ingress", bytes_of(other)));
  EXPECT_EQ(decision.kind, Kind::unknown_key);
  EXPECT_THAT(decision.reason, HasSubstr(to_text(other)));
}

TEST(ZapRequest, OnAnEndpointWithoutARuleNobodyIsAdmitted) {
  EXPECT_EQ(decide_on(frames("other", bytes_of(reader))).kind, Kind::not_permitted);
}

TEST(ZapRequest, OtherRequestsAreRefusedAsThoseWithoutAKey) {
  const std::string key = bytes_of(reader);
  const std::vector<std::vector<std::string>> all{
      {},
      {"1.0"},
      {"1.1", "17", "ingress", "192.0.2.7", "", "CURVE", key},
      {"1.0", "17", "ingress", "192.0.2.7", "", "NULL"},
      {"1.0", "17", "ingress", "192.0.2.7", "", "NULL", key},
      {"1.0", "17", "ingress", "192.0.2.7", "", "PLAIN", "reader", "secret"},
      {"1.0", "17", "ingress", "192.0.2.7", "", "CURVE", key.substr(1)},
      {"1.0", "17", "ingress", "192.0.2.7", "", "CURVE", key + "x"},
      {"1.0", "17", "ingress", "192.0.2.7", "", "CURVE", key, ""},
  };
  for (const auto& each : all) {
    const ZapDecision decision = decide_on(each);
    EXPECT_EQ(decision.kind, Kind::unknown_key) << each.size();
    EXPECT_EQ(decision.reason, "it has no key") << each.size();
  }
}

TEST(ZapRequest, AReplyHasTheIdOfItsRequestAndTheUser) {
  const ZapRequest request = parse_zap_request(frames("ingress", ""));
  EXPECT_THAT(zap_reply(request, {.kind = Kind::admitted, .user = "reader"}),
              ElementsAre("1.0", "17", "200", "OK", "reader", ""));
  EXPECT_THAT(zap_reply(request, {.kind = Kind::unknown_key, .reason = "it has no key"}),
              ElementsAre("1.0", "17", "400", "refused", "", ""));
}

}  // namespace
}  // namespace backplane::broker
