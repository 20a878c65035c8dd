#include "broker/config.hpp"

#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> errors_of(const std::string& toml, BrokerConfig& config, bool insecure = true) {
  config.insecure = insecure;
  auto source = config::Source::parse(toml, "b.toml");
  EXPECT_TRUE(source.has_value());
  return config::read(*source, [&](config::Section& section) { describe(section, config); });
}

TEST(BrokerConfig, HasABackplaneNamedDefaultWithoutAnyConfiguration) {
  BrokerConfig config;
  EXPECT_THAT(errors_of("", config), IsEmpty());
  ASSERT_EQ(config.backplanes.size(), 1u);
  EXPECT_EQ(config.backplanes[0].name, "default");
  EXPECT_EQ(config.backplanes[0].ingress, "tcp://localhost:5570");
}

TEST(BrokerConfig, ReadsAnyNumberOfBackplanesWithTheirRetention) {
  BrokerConfig config;
  EXPECT_THAT(errors_of(R"(
[[backplane]]
name = "prices"
ingress = "tcp://127.0.0.1:6570"
egress = "tcp://127.0.0.1:6571"
control = "tcp://127.0.0.1:6572"
raw = "off"
history_bytes_max = "1GiB"
history_age = "2h"
[[backplane.retention]]
pattern = "stock.>"
history_events = 10
ttl = "1m"
[[backplane]]
name = "logs"
)",
                        config),
              IsEmpty());
  ASSERT_EQ(config.backplanes.size(), 2u);
  const HistoryLimits limits = history_limits(config.backplanes[0]);
  EXPECT_EQ(limits.bytes_max, std::size_t{1} << 30);
  ASSERT_EQ(limits.rules.size(), 1u);
  EXPECT_EQ(limits.rules[0].pattern.str(), "stock.>");
  EXPECT_EQ(limits.rules[0].retention.history_events, 10u);
  EXPECT_EQ(limits.rules[0].retention.history_age, std::chrono::hours{2}) << "as its backplane has it";
  EXPECT_EQ(limits.rules[0].retention.value_ttl, std::chrono::minutes{1});
  EXPECT_EQ(config.backplanes[0].raw, off);
}

TEST(BrokerConfig, NamesBothLinesIfANameOrAnEndpointIsUsedTwice) {
  BrokerConfig config;
  const auto errors = errors_of(R"([[backplane]]
name = "one"
ingress = "tcp://127.0.0.1:6570"
egress = "tcp://127.0.0.1:6571"
control = "tcp://127.0.0.1:6572"
raw = "off"
[[backplane]]
name = "one"
ingress = "tcp://127.0.0.1:7570"
egress = "tcp://127.0.0.1:6570"
control = "tcp://127.0.0.1:7572"
raw = "off"
)",
                                config);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors[0], HasSubstr("b.toml:8"));
  EXPECT_THAT(errors[0], HasSubstr("b.toml:2"));
  EXPECT_THAT(errors[1], HasSubstr("b.toml:10"));
  EXPECT_THAT(errors[1], HasSubstr("b.toml:3"));
}

std::vector<std::string> errors_of_two(const std::string& ingress, const std::string& egress) {
  BrokerConfig config;
  return errors_of(fmt::format("[[backplane]]\ningress = '{}'\negress = '{}'\n", ingress, egress), config);
}

TEST(BrokerConfig, RecognisesAnEndpointHoweverItIsWritten) {
  using Pair = std::pair<const char*, const char*>;
  for (const auto& [one, other] : {Pair{"tcp://127.0.0.1:6570", "tcp://*:6570"},
                                   {"tcp://0.0.0.0:6570", "tcp://127.0.0.1:6570"},
                                   {"tcp://*:6570", "tcp://0.0.0.0:6570"},
                                   {"tcp://[::]:6570", "tcp://127.0.0.1:6570"},
                                   {"tcp://127.0.0.1:6570", "tcp://127.0.0.1:06570"},
                                   {"tcp://[::1]:6570", "tcp://[0:0:0:0:0:0:0:1]:6570"},
                                   {"ipc:///tmp/x", "ipc:///tmp/./x"}}) {
    const auto errors = errors_of_two(one, other);
    ASSERT_EQ(errors.size(), 1u) << one << " and " << other;
    EXPECT_THAT(errors[0], HasSubstr(fmt::format("b.toml:3 [backplane].egress: the endpoint \"{}\"", other)));
    EXPECT_THAT(errors[0], HasSubstr(fmt::format("\"{}\": see [backplane].ingress at b.toml:2", one)));
  }
  for (const auto& [one, other] : {Pair{"tcp://127.0.0.1:6570", "tcp://127.0.0.2:6570"},
                                   {"tcp://127.0.0.1:6570", "tcp://127.0.0.1:6580"},
                                   {"tcp://0.0.0.0:6570", "tcp://[::1]:6570"},
                                   {"ipc:///tmp/x", "ipc:///tmp/x/x"}}) {
    EXPECT_THAT(errors_of_two(one, other), IsEmpty());
  }
}

TEST(BrokerConfig, AcceptsFreeEndpointsAnyNumberOfTimes) {
  for (const char* free : {"tcp://127.0.0.1:0", "tcp://127.0.0.1:*", "ipc://*"}) {
    EXPECT_THAT(errors_of_two(free, free), IsEmpty()) << free;
  }
}

TEST(BrokerConfig, RequiresAnAddressOrAnInterfaceToListenOn) {
  for (const char* name : {"tcp://localhost.:6570", "tcp://example.org:6570"}) {
    const auto errors = errors_of_two(name, "tcp://127.0.0.1:6571");
    ASSERT_EQ(errors.size(), 1u) << name;
    EXPECT_THAT(errors[0], HasSubstr("b.toml:2 [backplane].ingress: expected an address"));
    EXPECT_THAT(errors[0], HasSubstr(fmt::format("got \"{}\"", name)));
  }
  EXPECT_THAT(errors_of_two("tcp://lo:6570", "tcp://127.0.0.1:6571"), IsEmpty());
  EXPECT_THAT(errors_of_two("tcp://localhost:6570", "tcp://127.0.0.1:6571"), IsEmpty());
}

TEST(BrokerConfig, LocalhostIsBothLoopbackAddresses) {
  for (const char* other :
       {"tcp://127.0.0.1:6570", "tcp://[::1]:6570", "tcp://[0:0::1]:6570", "tcp://0.0.0.0:6570",
        "tcp://*:6570", "tcp://[::]:6570", "tcp://LocalHost:6570"}) {
    EXPECT_EQ(errors_of_two("tcp://localhost:6570", other).size(), 1u) << other;
    EXPECT_EQ(errors_of_two(other, "tcp://localhost:6570").size(), 1u) << other;
  }
  EXPECT_THAT(errors_of_two("tcp://localhost:6570", "tcp://127.0.0.2:6570"), IsEmpty());
  EXPECT_THAT(errors_of_two("tcp://localhost:0", "tcp://127.0.0.1:0"), IsEmpty());
}

TEST(BrokerConfig, TheFileStoreKeepsEventsForAWeekUnlessTheConfigurationSaysOtherwise) {
  BrokerConfig config;
  EXPECT_THAT(errors_of(R"(
[[backplane]]
store = "file"
store_path = "/var/lib/backplane/default"
store_sync = "always"
store_bytes_max = "2GiB"
history_events = 7
[[backplane.retention]]
pattern = "rare.>"
history_age = "30d"
)",
                        config),
              IsEmpty());
  const BackplaneConfig& backplane = config.backplanes.front();
  EXPECT_EQ(backplane.store, StoreKind::file);
  EXPECT_EQ(backplane.sync.when, StoreSync::always);
  EXPECT_GE(store_files_max(backplane), 32u) << "2 GiB are 32 segments";
  EXPECT_LE(store_files_max(backplane), 64u);
  EXPECT_EQ(store_files_max(BackplaneConfig{}), 0u) << "in memory";
  const HistoryLimits limits = history_limits(backplane);
  EXPECT_EQ(limits.bytes_max, std::size_t{2} << 30) << "of the files, not of memory";
  EXPECT_EQ(limits.otherwise.history_events, 7u);
  EXPECT_EQ(limits.otherwise.history_bytes, file_store_retention.history_bytes);
  EXPECT_EQ(limits.otherwise.history_age, std::chrono::hours{7 * 24});
  EXPECT_EQ(limits.rules.at(0).retention.history_age, std::chrono::hours{30 * 24});
}

TEST(BrokerConfig, ReadsWhenTheFileStoreSyncs) {
  EXPECT_EQ(parse_store_sync("off", "").value().when, StoreSync::off);
  EXPECT_EQ(parse_store_sync("250ms", "").value().when, StoreSync::interval);
  EXPECT_EQ(parse_store_sync("250ms", "").value().interval, std::chrono::milliseconds{250});
  for (const char* bad : {"", "sometimes", "0s", "2h", "-1s", "1"}) {
    const auto sync = parse_store_sync(bad, "store_sync");
    ASSERT_FALSE(sync) << bad;
    EXPECT_EQ(sync.error().text,
              fmt::format("store_sync: expected always, off or an interval of 1ms to 1h, got \"{}\"", bad));
  }
}

TEST(BrokerConfig, RefusesAStoreThatCannotBe) {
  const auto errors_with = [](const std::string& lines) {
    BrokerConfig config;
    return errors_of("[[backplane]]\n" + lines, config);
  };
  const auto error_with = [&](const std::string& lines) {
    const auto errors = errors_with(lines);
    EXPECT_EQ(errors.size(), 1u) << lines;
    return errors.empty() ? std::string() : errors.front();
  };
  EXPECT_THAT(error_with("store = 'files'\nstore_path = '/nowhere/x'\n"),
              HasSubstr("b.toml:2 [backplane].store: expected one of memory, file, got \"files\""));
  EXPECT_THAT(error_with("store = 'file'\n"),
              HasSubstr("b.toml:2 [backplane].store: expected store_path beside"));
  EXPECT_THAT(error_with("store = 'file'\nstore_path = ''\n"),
              HasSubstr("b.toml:3 [backplane].store_path: expected a folder, got none"));
  EXPECT_THAT(error_with("store_path = 'data'\n"),
              HasSubstr("b.toml:2 [backplane].store_path: expected an absolute path, got \"data\""));
  EXPECT_THAT(error_with("store_path = '/proc/version'\n"),
              HasSubstr("[backplane].store_path: expected a folder, got the file \"/proc/version\""));
  EXPECT_THAT(error_with("store_sync = 'never'\n"),
              HasSubstr("[backplane].store_sync: expected always, off or"));
}

TEST(BrokerConfig, NamesBothLinesIfTwoBackplanesHaveTheSameStore) {
  BrokerConfig config;
  const auto errors = errors_of(R"([[backplane]]
name = "one"
store = "file"
store_path = "/var/lib/x"
[[backplane]]
name = "two"
ingress = "tcp://127.0.0.1:0"
egress = "tcp://127.0.0.1:0"
control = "tcp://127.0.0.1:0"
raw = "off"
store = "file"
store_path = "/var/lib/y/../x/"
)",
                                config);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0],
              HasSubstr("b.toml:12 [backplane].store_path: the folder \"/var/lib/y/../x/\" is taken"));
  EXPECT_THAT(errors[0], HasSubstr("b.toml:4"));
}

TEST(BrokerConfig, ReportsAllErrorsAtOnce) {
  BrokerConfig config;
  const auto errors = errors_of(R"([[backplane]]
name = "a.b"
ingress = "udp://127.0.0.1:1"
max_event_bytes = 12
[[backplane.retention]]
pattern = "a..b"
[[backplane.retention]]
history_events = 3
)",
                                config);
  ASSERT_EQ(errors.size(), 5u);
  EXPECT_THAT(errors[0], HasSubstr("b.toml:2"));
  EXPECT_THAT(errors[1], HasSubstr("b.toml:3"));
  EXPECT_THAT(errors[2], HasSubstr("b.toml:4"));
  EXPECT_THAT(errors[3], HasSubstr("a token is empty"));
  EXPECT_THAT(errors[4], HasSubstr("pattern"));
}

TEST(BrokerConfig, RequiresAnAddressForTheMetricsOrOff) {
  BrokerConfig config;
  for (const char* good : {"127.0.0.1:0", "[::1]:9570", "localhost:9570", "off"}) {
    EXPECT_THAT(errors_of(fmt::format("[metrics]\nlisten = '{}'\n", good), config), IsEmpty()) << good;
    EXPECT_EQ(config.metrics, good);
  }
  for (const char* bad : {"", "9570", "::1:9570", "127.0.0.1:99999", "127.0.0.1:", "tcp://127.0.0.1:1"}) {
    const auto errors = errors_of(fmt::format("[metrics]\nlisten = '{}'\n", bad), config);
    ASSERT_EQ(errors.size(), 1u) << bad;
    EXPECT_THAT(errors[0], HasSubstr("b.toml:2 [metrics].listen: "));
    EXPECT_THAT(errors[0], HasSubstr(fmt::format("got \"{}\"", bad)));
  }
}

TEST(BrokerConfig, TheMetricsCannotUseTheSamePortAsAnEndpoint) {
  BrokerConfig config;
  const auto errors = errors_of(
      "[[backplane]]\nraw = 'tcp://127.0.0.1:7000'\n[metrics]\nlisten = '127.0.0.1:7000'\n", config);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr("b.toml:4 [metrics].listen: "));
  EXPECT_THAT(errors[0], HasSubstr("b.toml:2"));
}

TEST(BrokerConfig, RequiresABackplane) {
  BrokerConfig config;
  const auto errors = errors_of("backplane = []\n", config);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr("b.toml:1 "));
}

TEST(BrokerConfig, RefusesListenersThatOtherMachinesCanReach) {
  using Pair = std::pair<const char*, const char*>;
  for (const auto& [key, endpoint] : {Pair{"ingress", "tcp://0.0.0.0:7000"},
                                      {"egress", "tcp://*:7000"},
                                      {"control", "tcp://[::]:7000"},
                                      {"raw", "tcp://192.0.2.1:7000"},
                                      {"raw", "tcp://[::ffff:192.0.2.1]:7000"}}) {
    BrokerConfig config;
    const std::string toml = fmt::format("[[backplane]]\n{} = '{}'\n", key, endpoint);
    EXPECT_THAT(errors_of(toml, config, /*insecure=*/false),
                testing::ElementsAre(fmt::format(
                    "b.toml:2 [backplane].{}: expected a loopback address, because clients are not "
                    "authenticated, got \"{}\"; let only known users connect (--policy and --key, see "
                    "docs/security.md), or give --insecure if you trust everybody who can reach this address",
                    key, endpoint)));
    EXPECT_THAT(errors_of(toml, config, /*insecure=*/true), IsEmpty());
  }
  for (const char* const address : {"0.0.0.0:9570", "[::]:9570", "192.0.2.1:9570", "example.org:9570"}) {
    BrokerConfig config;
    EXPECT_THAT(errors_of(fmt::format("[metrics]\nlisten = '{}'\n", address), config, /*insecure=*/false),
                testing::ElementsAre(HasSubstr("b.toml:2 [metrics].listen: expected a loopback address")));
  }
  for (const char* const endpoint : {"tcp://lo:6570", "tcp://127.9.9.9:6570", "tcp://[::1]:6570",
                                     "tcp://localhost:6570", "ipc:///tmp/x", "inproc://x"}) {
    BrokerConfig config;
    EXPECT_THAT(
        errors_of(fmt::format("[[backplane]]\ningress = '{}'\n[metrics]\nlisten = '[::1]:1'\n", endpoint),
                  config, /*insecure=*/false),
        IsEmpty());
  }
}

/// What a policy and a key that can be read give.
Admission admission() {
  auto policy = policy::Policy::parse("", "policy.toml");
  EXPECT_TRUE(policy.has_value());
  return {.policy = std::make_shared<const policy::Policy>(std::move(*policy)),
          .key = make_secret_key(),
          .policy_file = "policy.toml",
          .key_file = "broker.key",
          .policy_place = "b.toml:1 policy",
          .key_place = "b.toml:2 key"};
}

TEST(BrokerConfig, WithAPolicyAndAKeyOtherMachinesMayReachTheEndpointsButNotMetrics) {
  BrokerConfig config;
  config.admission = admission();
  EXPECT_THAT(errors_of("[[backplane]]\ningress = 'tcp://0.0.0.0:7000'\negress = 'tcp://*:7001'\n"
                        "[[backplane.limited_egress]]\nendpoint = 'tcp://*:7002'\ntopics = ['a.>']\n"
                        "[metrics]\nlisten = '0.0.0.0:9570'\n",
                        config, /*insecure=*/false),
              testing::ElementsAre(HasSubstr("b.toml:8 [metrics].listen: expected a loopback address")));
}

TEST(BrokerConfig, APolicyNeedsAKeyAndAKeyAPolicy) {
  EXPECT_TRUE(check_admission({}).has_value());
  EXPECT_TRUE(check_admission(admission()).has_value());
  Admission one = admission();
  one.key_file.clear();
  EXPECT_EQ(check_admission(one).error().text,
            "b.toml:1 policy: expected a key beside it (--key, or key in the configuration), got none");
  one = admission();
  one.policy_file.clear();
  EXPECT_EQ(check_admission(one).error().text,
            "b.toml:2 key: expected a policy beside it (--policy, or policy in the configuration), got none");
}

TEST(BrokerConfig, EgressEndpointsPublishEverythingUnlessThereIsAPolicy) {
  BackplaneConfig config;
  ASSERT_EQ(egress_endpoints(config).size(), 1u);
  EXPECT_THAT(egress_endpoints(config).front().topics, IsEmpty());
  config.admission = admission();
  config.limited_egress = {{"tcp://localhost:1", {"a.>", "b"}}};
  const auto endpoints = egress_endpoints(config);
  ASSERT_EQ(endpoints.size(), 2u);
  EXPECT_EQ(endpoints[0].topics.front().str(), ">");
  EXPECT_EQ(endpoints[1].endpoint, "tcp://localhost:1");
  EXPECT_EQ(endpoints[1].topics.size(), 2u);
}

TEST(BrokerConfig, ChecksEgressEndpointsAndTheirTopics) {
  BrokerConfig config;
  config.admission = admission();
  EXPECT_THAT(
      errors_of("[[backplane]]\negress = 'tcp://127.0.0.1:7001'\negress_topics = ['a..b']\n"
                "[[backplane.limited_egress]]\ntopics = ['a']\n"
                "[[backplane.limited_egress]]\nendpoint = 'tcp://127.0.0.1:7001'\n",
                config),
      testing::ElementsAre(HasSubstr("b.toml:3 [backplane].egress_topics: a token is empty"),
                           HasSubstr("b.toml:4 [backplane.limited_egress].endpoint: expected an endpoint"),
                           HasSubstr("is taken"),
                           HasSubstr("b.toml:6 [backplane.limited_egress].topics: expected one or more")));
  BrokerConfig open;
  EXPECT_THAT(
      errors_of("[[backplane]]\negress_topics = ['a']\n[[backplane.limited_egress]]\n"
                "endpoint = 'tcp://127.0.0.1:7002'\ntopics = ['a']\n",
                open),
      testing::ElementsAre("b.toml:2 [backplane].egress_topics: expected a policy beside it, got none",
                           HasSubstr("limited_egress]: expected a policy beside it, got none")));
}

TEST(BrokerConfig, KnowsWhichEndpointsOtherMachinesCanReach) {
  EXPECT_FALSE(is_reachable_from_elsewhere("tcp://127.0.0.1:5570"));
  EXPECT_FALSE(is_reachable_from_elsewhere("tcp://[::1]:5570"));
  EXPECT_FALSE(is_reachable_from_elsewhere("ipc:///tmp/x"));
  EXPECT_FALSE(is_reachable_from_elsewhere(off));
  EXPECT_TRUE(is_reachable_from_elsewhere("tcp://0.0.0.0:5570"));
  EXPECT_TRUE(is_reachable_from_elsewhere("tcp://*:5570"));
  EXPECT_FALSE(is_reachable_from_elsewhere("[0:0:0:0:0:0:0:1]:9570"));
  EXPECT_TRUE(is_reachable_from_elsewhere("127.example.org:9570"));
}

TEST(BrokerConfig, ALogThatBrokersShareNeedsItsServersAndHistoryInMemory) {
  const auto errors = [](const std::string& toml) {
    BrokerConfig config;
    return fmt::format("{}", fmt::join(errors_of("[[backplane]]\n" + toml, config), "|"));
  };
  const std::string servers = "jetstream = [\"nats://a:4222\", \"tls://b:4222\"]\n";
  EXPECT_EQ(errors("log = \"jetstream\"\n" + servers), "");
  EXPECT_EQ(errors("log = \"local\""), "");
  EXPECT_THAT(errors("log = \"jetstream\""),
              HasSubstr("b.toml:2 [backplane].log: expected the URLs of nats-servers"));
  EXPECT_THAT(errors(servers), HasSubstr("b.toml:2 [backplane].jetstream: expected log = \"jetstream\""));
  EXPECT_THAT(errors("log = \"jetstream\"\njetstream = \"a:4222\""),
              HasSubstr("expected a URL such as nats://h1:4222, got \"a:4222\""));
  EXPECT_EQ(errors("log = \"jetstream\"\nstore = \"file\"\nstore_path = \"/var/lib/x\"\n" + servers), "");
  EXPECT_THAT(errors("log = \"jetstream\"\nidentity = \"" + std::string(65, 'x') + "\"\n" + servers),
              HasSubstr("identity: expected at most 64 bytes with log = \"jetstream\", got 65"));
}

}  // namespace
}  // namespace backplane::broker
