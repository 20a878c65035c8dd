#include "cli/gateway_client_flags.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/connection/test_certificate.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class GatewayClientFlagsTest : public testing::Test {
 protected:
  GatewayClientFlagsTest() {
    ca_ = folder_.write("ca.pem", TestCertificate("DNS:gw").certificate_pem(), 0644);
    token_ = folder_.write("me.token", "me:s3cr3t\n", 0600);
  }

  Result<std::optional<GatewayEndpoint>> resolve(const GatewayClientFlags& flags,
                                                 const AddressFlags& addresses = {}) {
    return resolve_gateway(flags, addresses, [this](const char* name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    });
  }
  std::string error(const GatewayClientFlags& flags, const AddressFlags& addresses = {}) {
    const auto endpoint = resolve(flags, addresses);
    if (endpoint) return "(no error)";
    EXPECT_THAT(endpoint.error().text, Not(HasSubstr("s3cr3t")));
    return endpoint.error().text;
  }

  TemporaryFolder folder_;
  std::string ca_;
  std::string token_;
  std::map<std::string, std::string> environment_;
};

TEST_F(GatewayClientFlagsTest, WithoutGatewayThereIsNone) {
  environment_ = {{"BACKPLANE_CA_FILE", "/none"}, {"BACKPLANE_TOKEN_FILE", "/none"}};
  EXPECT_FALSE(resolve({}).value());
  EXPECT_EQ(error({.tls = true}), "--tls: expected --gateway with it, got none");
  EXPECT_EQ(error({.ca = ca_}), "--ca: expected --gateway with it, got none");
  EXPECT_EQ(error({.token_file = token_}), "--token-file: expected --gateway with it, got none");
  EXPECT_EQ(error({.certificate = ca_}), "--tls-certificate: expected --gateway with it, got none");
  EXPECT_EQ(error({.key = ca_}), "--tls-key: expected --gateway with it, got none");
}

TEST_F(GatewayClientFlagsTest, ABrokerCannotBeGivenAsWell) {
  EXPECT_EQ(error({.gateway = "h:1"}, {.broker = "h"}),
            "--gateway: cannot be combined with the addresses or keys of a broker");
  EXPECT_THAT(error({.gateway = "h"}), StartsWith("--gateway: expected "));
}

TEST_F(GatewayClientFlagsTest, ACaFileOrTlsMeansTls) {
  EXPECT_EQ(resolve({.gateway = "h:1"}).value()->tls, nullptr);
  EXPECT_NE(resolve({.gateway = "h:1", .tls = true}).value()->tls, nullptr);
  EXPECT_NE(resolve({.gateway = "h:1", .ca = ca_}).value()->tls, nullptr);
  environment_["BACKPLANE_CA_FILE"] = ca_;
  EXPECT_NE(resolve({.gateway = "h:1"}).value()->tls, nullptr);
  EXPECT_EQ(error({.gateway = "h:1", .ca = "/none"}), "cannot read /none: no such file");
  environment_["BACKPLANE_CA_FILE"] = "";
  EXPECT_EQ(error({.gateway = "h:1"}), "BACKPLANE_CA_FILE: expected a value, got none");
}

TEST_F(GatewayClientFlagsTest, TheTokenIsOfTheOptionOrTheEnvironment) {
  const auto secret = [&](const GatewayClientFlags& flags) {
    return resolve(flags).value()->token->secret();
  };
  EXPECT_FALSE(resolve({.gateway = "localhost:1"}).value()->token);
  EXPECT_EQ(secret({.gateway = "localhost:1", .token_file = token_}), "me:s3cr3t");
  environment_ = {{"BACKPLANE_TOKEN", "you:s3cr3t"}, {"BACKPLANE_KEY_FILE", "/none"}};
  EXPECT_EQ(secret({.gateway = "localhost:1"}), "you:s3cr3t");
  environment_ = {{"BACKPLANE_TOKEN_FILE", token_}};
  EXPECT_EQ(secret({.gateway = "localhost:1"}), "me:s3cr3t");
}

TEST_F(GatewayClientFlagsTest, ATokenHasTheNameOfItsUser) {
  for (const char* token : {"s3cr3t", ":s3cr3t", "s3cr3t:"}) {
    environment_ = {{"BACKPLANE_TOKEN", token}};
    EXPECT_EQ(error({.gateway = "localhost:1"}),
              "BACKPLANE_TOKEN: expected the name of the user, a colon and the secret, got something else");
  }
}

TEST_F(GatewayClientFlagsTest, ATokenFileIsForItsOwnerOnly) {
  const std::string open = folder_.write("open.token", "me:s3cr3t\n", 0640);
  EXPECT_EQ(
      error({.gateway = "localhost:1", .token_file = open}),
      "--token-file: " + open +
          ": expected a file that other users can neither read nor write, got mode 0640 (use chmod 600)");
}

TEST_F(GatewayClientFlagsTest, ATokenIsNeverSentToAnotherMachineWithoutTls) {
  for (const char* here : {"localhost:1", "127.0.0.1:1", "127.9.8.7:1", "[::1]:1"}) {
    EXPECT_TRUE(resolve({.gateway = here, .token_file = token_})) << here;
  }
  for (const char* there : {"host7:1", "192.168.1.2:1", "0.0.0.0:1", "[fe80::1]:1", "localhost.example:1"}) {
    EXPECT_THAT(
        error({.gateway = there, .token_file = token_}),
        AllOf(StartsWith("--token-file: expected TLS with it (--ca FILE, or --tls"), HasSubstr(there)));
    EXPECT_TRUE(resolve({.gateway = there, .ca = ca_, .token_file = token_})) << there;
  }
  environment_ = {{"BACKPLANE_TOKEN", "me:s3cr3t"}};
  EXPECT_THAT(error({.gateway = "host7:1"}), StartsWith("BACKPLANE_TOKEN: expected TLS with it "));
  environment_ = {{"BACKPLANE_TOKEN_FILE", token_}};
  EXPECT_THAT(error({.gateway = "host7:1"}), StartsWith("BACKPLANE_TOKEN_FILE: expected TLS with it "));
}

TEST_F(GatewayClientFlagsTest, ACertificateAndItsKeyBelongTogether) {
  const TestCertificate own("DNS:me");
  const std::string certificate = folder_.write("me.pem", own.certificate_pem(), 0644);
  const std::string key = folder_.write("me.key", own.key_pem(), 0600);
  EXPECT_TRUE(
      resolve({.gateway = "h:1", .certificate = certificate, .key = key}).value()->tls->has_certificate());
  EXPECT_EQ(error({.gateway = "h:1", .certificate = certificate}),
            "--tls-certificate: expected --tls-key with it, got none");
  EXPECT_EQ(error({.gateway = "h:1", .key = key}), "--tls-key: expected --tls-certificate with it, got none");
}

}  // namespace
}  // namespace backplane::cli
