#include "cli/configuration.hpp"

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ConfigurationResult read(std::string_view toml) {
  auto source = config::Source::parse(toml, "backplane.toml");
  EXPECT_TRUE(source.has_value()) << source.error().text;
  return read_configuration(*source);
}

std::string printed(const Configuration& configuration) {
  return print_configuration(configuration);
}

TEST(Configuration, WithoutAFileThereIsOneBackplaneCalledDefault) {
  const auto configuration = read_configuration(config::Source());
  ASSERT_TRUE(configuration.has_value());
  ASSERT_EQ(configuration->broker.backplanes.size(), 1u);
  EXPECT_EQ(configuration->broker.backplanes[0].name, "default");
  EXPECT_THAT(configuration->gateway.first.listen, ElementsAre("localhost:1601"));
  EXPECT_EQ(configuration->log_level, log::Level::info);
}

TEST(Configuration, EveryProgramReadsTheWholeFileAndReportsEveryError) {
  const auto configuration = read(R"([[backplane]]
name = "a.b"
[gateway]
lisen = []
[log]
level = "loud"
[[publish]]
arguments = []
[other]
)");
  ASSERT_FALSE(configuration.has_value());
  EXPECT_THAT(configuration.error(),
              ElementsAre(HasSubstr("backplane.toml:2 [backplane].name: "),
                          "backplane.toml:4 [gateway].lisen: unknown key; did you mean \"listen\"?",
                          HasSubstr("backplane.toml:6 [log].level: expected one of debug"),
                          "backplane.toml:7 [publish].source: expected the name of a source, got none",
                          "backplane.toml:9 [other]: unknown table"));
}

TEST(Configuration, AGatewayWithoutAListenerIsAnError) {
  const auto nowhere = read("[gateway]\nlisten = []\n");
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_THAT(nowhere.error(), ElementsAre("backplane.toml:2 [gateway].listen: expected HOST:PORT, or a "
                                           "[[gateway.feed]], got neither"));
  EXPECT_TRUE(read("[gateway]\nlisten = []\n[[gateway.feed]]\nlisten = '127.0.0.1:0'\ntopics = ['a']\n"));
}

TEST(Configuration, ADuplicateNameIsReportedWithBothLines) {
  const auto configuration = read("[[backplane]]\nname = 'x'\n[[backplane]]\nname = 'x'\n");
  ASSERT_FALSE(configuration.has_value());
  EXPECT_THAT(configuration.error(), testing::Contains(testing::AllOf(HasSubstr("backplane.toml:4 "),
                                                                      HasSubstr("backplane.toml:2"))));
}

TEST(Configuration, APrintedConfigurationReadsBackToTheSame) {
  Configuration configuration;
  configuration.log_level = log::Level::debug;
  configuration.publish = {{"clock", {"--every", "1s"}}};
  configuration.broker.backplanes[0].max_topics = 17;
  const std::string text = printed(configuration);
  const auto again = read(text);
  ASSERT_TRUE(again.has_value()) << again.error().front() << "\n" << text;
  EXPECT_EQ(printed(*again), text);
  EXPECT_EQ(again->broker.backplanes[0].max_topics, 17u);
}

TEST(Configuration, TheReferenceFileIsWhatTheProgramPrints) {
  std::ifstream file(BACKPLANE_REFERENCE);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string reference = text.str();
  EXPECT_EQ(reference, printed(Configuration{}))
      << "config/backplane.toml must be what `backplane config print` prints: write it again";
  EXPECT_TRUE(read(reference).has_value());
}

TEST(Configuration, ThePageOfSettingsIsWhatTheProgramPrints) {
  std::ifstream file(BACKPLANE_SETTINGS_PAGE);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), print_settings_page())
      << "docs/settings.md must be what `backplane config reference` prints: write it again";
}

TEST(Configuration, AnErrorInAFlagNamesTheFlag) {
  config::Source source;
  set_flag(source, "log.level", "--log-level", "loud");
  const auto configuration = read_configuration(source);
  ASSERT_FALSE(configuration.has_value());
  EXPECT_THAT(configuration.error(),
              ElementsAre("--log-level: expected one of debug, info, warning, error, off, got \"loud\""));
}

}  // namespace
}  // namespace backplane::cli
