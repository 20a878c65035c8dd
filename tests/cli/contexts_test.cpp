#include "cli/contexts.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane::cli {
namespace {

using testing::HasSubstr;

class ContextsTest : public testing::Test {
 protected:
  std::string error_of(const std::string& text) {
    const auto contexts = Contexts::load(folder_.write("config.toml", text, 0600));
    return contexts ? "(no error)" : contexts.error().text;
  }
  [[nodiscard]] std::filesystem::path file() const { return folder_.path("config.toml"); }

  TemporaryFolder folder_;
};

TEST_F(ContextsTest, WithoutAFileThereAreNone) {
  const auto contexts = Contexts::load(file());
  ASSERT_TRUE(contexts);
  EXPECT_TRUE(contexts->all.empty());
  EXPECT_EQ(contexts->current, "");
}

TEST_F(ContextsTest, AreReadAsTheyWereSaved) {
  Contexts contexts;
  contexts.current = "prod";
  contexts.all["prod"] = {.broker = "a:7000,[::1]",
                          .gateway = "h:1601",
                          .key = "/k/\"me\".key",
                          .server_key = "/k/b.pub",
                          .token_file = "/k/t",
                          .ca = "/k/ca.pem",
                          .tls_certificate = "/k/c.pem",
                          .tls_key = "/k/c.key",
                          .tls = true};
  contexts.all["a-b_9"] = {.broker = "x"};
  const std::filesystem::path nested = std::filesystem::path(folder_.path("deep")) / "er" / "config.toml";
  ASSERT_TRUE(contexts.save(nested));
  const auto again = Contexts::load(nested).value();
  EXPECT_EQ(again.current, "prod");
  EXPECT_EQ(again.all, contexts.all);
  contexts.all.clear();
  contexts.current.clear();
  ASSERT_TRUE(contexts.save(nested));
  EXPECT_TRUE(Contexts::load(nested)->all.empty());
}

TEST_F(ContextsTest, CanBeWrittenByHand) {
  const auto contexts =
      Contexts::load(folder_.write("config.toml", "[context.home]\nbroker = \"host7\"\n", 0600)).value();
  EXPECT_EQ(contexts.all.at("home"), Context{.broker = "host7"});
}

TEST_F(ContextsTest, AnErrorNamesTheLine) {
  const std::string place = file().string();
  EXPECT_THAT(error_of("[context.home]\nbroker = \"host7:0\"\n"),
              HasSubstr(place + ":2 [context.home].broker: expected a port of 1..65533"));
  EXPECT_THAT(error_of("[context.home]\ngateway = \"host7\"\n"), HasSubstr(".gateway: expected HOST:PORT"));
  EXPECT_THAT(error_of("[context.home]\ntoken = \"me:secret\"\n"),
              HasSubstr("[context.home].token: unknown key"));
  EXPECT_THAT(error_of("[context.\"a b\"]\nbroker = \"x\"\n"),
              HasSubstr("expected a name of 1 to 64 letters"));
  EXPECT_THAT(error_of("nonsense"), HasSubstr(place + ":1"));
}

TEST_F(ContextsTest, AnUnknownOneIsAnErrorThatListsThem) {
  Contexts contexts;
  EXPECT_EQ(contexts.find("x", "NAME", "/f").error().text,
            "NAME: expected a context, of which /f has none, got \"x\"");
  contexts.all["a"] = {};
  contexts.all["b"] = {};
  EXPECT_EQ(contexts.find("x", "NAME", "/f").error().text,
            "NAME: expected one of the contexts in /f (a, b), got \"x\"");
  EXPECT_TRUE(contexts.find("a", "NAME", "/f"));
}

TEST_F(ContextsTest, TheFileIsInTheFolderForConfigurations) {
  std::map<std::string, std::string> variables;
  const Environment environment = [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  EXPECT_EQ(contexts_file(environment), "");
  variables["HOME"] = "/home/me";
  EXPECT_EQ(contexts_file(environment), "/home/me/.config/backplane/config.toml");
  variables["XDG_CONFIG_HOME"] = "/xdg";
  EXPECT_EQ(contexts_file(environment), "/xdg/backplane/config.toml");
  variables["XDG_CONFIG_HOME"] = "relative";
  EXPECT_EQ(contexts_file(environment), "/home/me/.config/backplane/config.toml");
}

}  // namespace
}  // namespace backplane::cli
