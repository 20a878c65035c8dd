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
  EXPECT_EQ(
      error({.gateway = "h:1", .certificate = certificate}),
      "--tls-certificate: expected a private key with it (--tls-key or BACKPLANE_TLS_KEY_FILE), got none");
  EXPECT_EQ(error({.gateway = "h:1", .key = key}),
            "--tls-key: expected a certificate with it (--tls-certificate or "
            "BACKPLANE_TLS_CERTIFICATE_FILE), got none");
  environment_ = {{"BACKPLANE_TLS_CERTIFICATE_FILE", certificate}, {"BACKPLANE_TLS_KEY_FILE", key}};
  EXPECT_TRUE(resolve({.gateway = "h:1"}).value()->tls->has_certificate());
  environment_.erase("BACKPLANE_TLS_KEY_FILE");
  EXPECT_TRUE(resolve({.gateway = "h:1", .key = key}).value()->tls->has_certificate());
  EXPECT_EQ(
      error({.gateway = "h:1"}),
      "BACKPLANE_TLS_CERTIFICATE_FILE: expected a private key with it (--tls-key or BACKPLANE_TLS_KEY_FILE), "
      "got none");
  environment_["BACKPLANE_TLS_KEY_FILE"] = "";
  EXPECT_EQ(error({.gateway = "h:1"}), "BACKPLANE_TLS_KEY_FILE: expected a value, got none");
}

TEST_F(GatewayClientFlagsTest, TheEnvironmentOrAContextMayNameTheGateway) {
  const auto address = [&](const GatewayClientFlags& flags, const AddressFlags& addresses = {}) {
    const auto endpoint = resolve(flags, addresses);
    if (!endpoint) return endpoint.error().text;
    return *endpoint ? (*endpoint)->address : std::string("a broker");
  };
  environment_["XDG_CONFIG_HOME"] = folder_.path("config");
  EXPECT_EQ(address({}), "a broker");
  environment_["BACKPLANE_GATEWAY"] = "env:1";
  EXPECT_EQ(address({}), "env:1");
  EXPECT_EQ(address({.gateway = "flag:1"}), "flag:1");
  EXPECT_EQ(address({}, {.broker = "h"}), "a broker");
  EXPECT_EQ(address({}, {.key = "k"}), "a broker");
  // If both are named in one place, the broker is used; an option for gateways decides otherwise.
  environment_["BACKPLANE_BROKER"] = "env";
  EXPECT_EQ(address({}), "a broker");
  EXPECT_EQ(address({.ca = ca_}), "env:1");
  environment_["BACKPLANE_GATEWAY"] = "env";
  EXPECT_THAT(address({.ca = ca_}), StartsWith("BACKPLANE_GATEWAY: expected HOST:PORT"));
  environment_.erase("BACKPLANE_GATEWAY");
  environment_.erase("BACKPLANE_BROKER");

  const Environment variables = [this](const char* name) -> const char* {
    const auto found = environment_.find(name);
    return found == environment_.end() ? nullptr : found->second.c_str();
  };
  const Contexts contexts{.current = "field",
                          .all = {{"field", {.gateway = "ctx:1", .token_file = token_, .ca = ca_}},
                                  {"both", {.broker = "b", .gateway = "g:1"}}}};
  ASSERT_TRUE(contexts.save(contexts_file(variables)));
  EXPECT_EQ(address({}), "ctx:1");
  EXPECT_EQ(resolve({}).value()->token->secret(), "me:s3cr3t");
  EXPECT_NE(resolve({}).value()->tls, nullptr);
  EXPECT_EQ(address({}, {.context = "both"}), "a broker");
  EXPECT_EQ(address({.tls = true}, {.context = "both"}), "g:1");
  EXPECT_EQ(address({.gateway = "flag:1"}, {.context = "both"}),
            "--context: cannot be combined with --gateway");
  // Its token goes nowhere else.
  EXPECT_FALSE(resolve({.gateway = "localhost:1"}).value()->token);
  environment_["BACKPLANE_BROKER"] = "env";
  EXPECT_EQ(address({}), "a broker");
}

}  // namespace
}  // namespace backplane::cli
