// Topic names and filters of MQTT as topics and patterns, and back.
#include "gateway/protocols/mqtt/topics.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "core/topic/pattern.hpp"
#include "gateway/encode/mqtt_message.hpp"
#include "gateway/protocols/mqtt/filters.hpp"
#include "gateway/protocols/mqtt/outgoing.hpp"

namespace backplane::gateway::mqtt {
namespace {

TEST(MqttTopics, LevelsBecomeTokens) {
  EXPECT_EQ(topic_of("sensor/kitchen/temperature"), "sensor.kitchen.temperature");
  EXPECT_EQ(topic_of("a"), "a");
  EXPECT_EQ(topic_of("K\xc3\xbc"
                     "che/Temperatur"),
            "K\xc3\xbc"
            "che.Temperatur");
  EXPECT_EQ(topic_of("homeassistant/sensor/0x00158d0001/config"), "homeassistant.sensor.0x00158d0001.config");
  EXPECT_EQ(topic_of("a/b-c_d$e/{f}"), "a.b-c_d$e.{f}");
}

TEST(MqttTopics, NamesThatHaveNoTopicAreRefused) {
  const std::string long_name(256, 'x');
  const std::string odd_name = "a\xc2\x85";
  for (const std::string_view name : std::initializer_list<std::string_view>{
           "/a", "a/", "a//b", "/", "a b", "a\tb", "a.b", "a/*", ">", "$SYS/x", "$x", "-a", "!a", "{a",
           "a\x7f", odd_name, long_name}) {
    const auto topic = topic_of(name);
    ASSERT_FALSE(topic) << name;
    EXPECT_EQ(topic.error().reason, ReasonCode::topic_name_invalid) << name;
    EXPECT_FALSE(topic.error().text.empty());
  }
  EXPECT_TRUE(topic_of(std::string(255, 'x')));
}

TEST(MqttTopics, WildcardsBecomeWildcards) {
  EXPECT_EQ(patterns_of("a/b"), (FilterPatterns{"a.b", ""}));
  EXPECT_EQ(patterns_of("+/b/+"), (FilterPatterns{"*.b.*", ""}));
  EXPECT_EQ(patterns_of("#"), (FilterPatterns{">", ""}));
  EXPECT_EQ(patterns_of("a/#"), (FilterPatterns{"a.>", "a"}));
  EXPECT_EQ(patterns_of("a/+/#"), (FilterPatterns{"a.*.>", "a.*"}));
  EXPECT_EQ(patterns_of("+/#"), (FilterPatterns{"*.>", "*"}));
  EXPECT_EQ(patterns_of("$SYS/#"), (FilterPatterns{"$SYS.>", ""}));
  EXPECT_EQ(patterns_of("$SYS/source/+"), (FilterPatterns{"$SYS.source.*", ""}));
}

TEST(MqttTopics, FiltersThatHaveNoPatternAreRefused) {
  for (const std::string_view filter :
       {"/a", "a/", "a//b", "/#", "/+", "a b/#", "a.b", "a/*", ">/+", "$x/#", "$SYS", "-a/+"}) {
    const auto patterns = patterns_of(filter);
    ASSERT_FALSE(patterns) << filter;
    EXPECT_EQ(patterns.error().reason, ReasonCode::topic_filter_invalid) << filter;
  }
  for (const std::string_view filter : {"$share/group/a", "$share/group/#", "$share", "$share//a"}) {
    const auto patterns = patterns_of(filter);
    ASSERT_FALSE(patterns) << filter;
    EXPECT_EQ(patterns.error().reason, ReasonCode::shared_subscriptions_not_supported) << filter;
  }
}

TEST(MqttTopics, MatchingIsThatOfChapter4_7) {
  EXPECT_TRUE(filter_matches("sport/tennis/player1/#", "sport/tennis/player1"));
  EXPECT_TRUE(filter_matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
  EXPECT_TRUE(filter_matches("sport/#", "sport"));
  EXPECT_TRUE(filter_matches("sport/tennis/+", "sport/tennis/player1"));
  EXPECT_FALSE(filter_matches("sport/tennis/+", "sport/tennis/player1/ranking"));
  EXPECT_FALSE(filter_matches("sport/+", "sport"));
  EXPECT_TRUE(filter_matches("sport/+", "sport/"));
  EXPECT_TRUE(filter_matches("+/+", "/finance"));
  EXPECT_TRUE(filter_matches("/+", "/finance"));
  EXPECT_FALSE(filter_matches("+", "/finance"));
  EXPECT_FALSE(filter_matches("#", "$SYS/a"));
  EXPECT_FALSE(filter_matches("+/monitor/Clients", "$SYS/monitor/Clients"));
  EXPECT_TRUE(filter_matches("$SYS/#", "$SYS/a"));
  EXPECT_TRUE(filter_matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
}

TEST(MqttTopics, PatternsMatchWhatTheirFilterMatches) {
  constexpr std::array<std::string_view, 13> filters{"a",   "a/b", "+",     "#",     "a/+",    "a/#",   "+/b",
                                                     "+/#", "+/+", "a/+/#", "a/b/#", "$SYS/#", "$SYS/+"};
  constexpr std::array<std::string_view, 8> topics{"a",   "a.b",     "a.b.c",  "b",
                                                   "b.b", "c.d.e.f", "$SYS.a", "$SYS.a.b"};
  for (const std::string_view filter : filters) {
    const auto patterns = patterns_of(filter);
    ASSERT_TRUE(patterns) << filter;
    for (const std::string_view topic : topics) {
      std::string name;
      ASSERT_TRUE(append_topic_name(topic, name));
      const bool by_pattern = Pattern::parse(patterns->pattern)->matches(topic) ||
                              (!patterns->parent.empty() && Pattern::parse(patterns->parent)->matches(topic));
      EXPECT_EQ(by_pattern, filter_matches(filter, name)) << filter << " " << topic;
    }
  }
}

TEST(MqttFilters, ManyAreMatchedLikeFew) {
  constexpr std::array<std::string_view, 9> filters{"a",   "a/b", "+",      "#",    "a/+",
                                                    "a/#", "+/b", "$SYS/#", "a/b/#"};
  Filters few;
  Filters many;
  for (int i = 0; i < 100; ++i) {
    const std::string filter = "other/" + std::to_string(i);
    many.set(filter, *patterns_of(filter), {});
  }
  std::uint32_t id = 0;
  for (const std::string_view filter : filters) {
    for (Filters* const each : {&few, &many}) {
      each->set(filter, *patterns_of(filter),
                {static_cast<std::uint8_t>(id % 3), id % 2 == 0, false, id + 1});
    }
    ++id;
  }
  const auto expect_same = [&] {
    for (const std::string_view topic : {"a", "b", "a/b", "c/b", "a/b/c", "$SYS/x", "c/d/e"}) {
      for (const bool own : {false, true}) {
        Filters::Match one = few.match(topic, own);
        Filters::Match other = many.match(topic, own);
        std::sort(one.ids.begin(), one.ids.end());
        std::sort(other.ids.begin(), other.ids.end());
        EXPECT_EQ(one.ids, other.ids) << topic;
        EXPECT_EQ(one.any, other.any) << topic;
        EXPECT_EQ(one.qos, other.qos) << topic;
      }
    }
  };
  expect_same();
  for (const std::string_view filter : {"a/#", "#", "a"}) {
    EXPECT_EQ(few.remove(filter), many.remove(filter)) << filter;
    expect_same();
  }
  EXPECT_EQ(few.remove("unknown"), std::vector<std::string>{});
}

TEST(MqttFilters, APatternIsNeededAsLongAsAFilterNeedsIt) {
  Filters filters;
  filters.set("a", *patterns_of("a"), {});
  filters.set("a/#", *patterns_of("a/#"), {});
  filters.set("a/#", *patterns_of("a/#"), {1, false, false, 0});
  EXPECT_EQ(filters.remove("a/#"), std::vector<std::string>{"a.>"});
  EXPECT_EQ(filters.remove("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(filters.size(), 0u);
}

TEST(MqttOutgoing, IdentifiersAreReusedInTheOrderInWhichTheyBecameFree) {
  Outgoing outgoing(3);
  using Awaits = Outgoing::Awaits;
  EXPECT_EQ(outgoing.begin(Awaits::puback), 1);
  EXPECT_EQ(outgoing.begin(Awaits::pubrec), 2);
  EXPECT_EQ(outgoing.begin(Awaits::puback), 3);
  EXPECT_TRUE(outgoing.full());
  outgoing.end(2);
  outgoing.end(1);
  EXPECT_EQ(outgoing.awaits(2), Awaits::nothing);
  EXPECT_EQ(outgoing.begin(Awaits::puback), 2);
  EXPECT_EQ(outgoing.begin(Awaits::pubcomp), 1);
  EXPECT_EQ(outgoing.awaits(1), Awaits::pubcomp);
  EXPECT_TRUE(outgoing.full());
  EXPECT_EQ(outgoing.awaits(0), Awaits::nothing);
  EXPECT_EQ(outgoing.awaits(4), Awaits::nothing);
}

TEST(MqttTopics, TopicsThatMqttCannotNameAreLeftOut) {
  std::string name;
  EXPECT_FALSE(append_topic_name("a/b.c", name));
  EXPECT_FALSE(append_topic_name("a.c#", name));
  EXPECT_FALSE(append_topic_name("a.c+d", name));
  EXPECT_EQ(name, "");
  EXPECT_TRUE(append_topic_name("$SYS.source.clock@host7", name));
  EXPECT_EQ(name, "$SYS/source/clock@host7");
}

TEST(MqttMark, IsReadAsItWasWritten) {
  for (const Mark& mark :
       {Mark{0, false, false, std::nullopt, ""}, Mark{1, true, true, 1'700'000'000, "a1b2"},
        Mark{2, false, true, std::nullopt, "x"}, Mark{2, true, false, 5, ""}}) {
    EXPECT_EQ(parse_mark(mark_text(mark)), mark) << mark_text(mark);
  }
  EXPECT_EQ(mark_text({0, true, false, std::nullopt, ""}), "qos=0 retain");
  EXPECT_EQ(parse_mark("expires=x  = qos=7 unknown=1"), (Mark{2, false, false, std::nullopt, ""}));
}

TEST(MqttMessage, RecordsAreTakenAsTheyWereAppended) {
  const Message message{"a/b", 1, true, false, 1'700'000'000, "me", "\x01\x01", "payload"};
  std::string records;
  append_record(message, records);
  append_notice_record("{\"gap\":{}}\n", records);
  append_record({"c", 0, false, true, std::nullopt, "", "", ""}, records);
  std::string_view rest = records;
  EXPECT_EQ(take_record(rest).message, message);
  const Record notice = take_record(rest);
  EXPECT_TRUE(notice.is_notice);
  EXPECT_EQ(notice.notice, "{\"gap\":{}}\n");
  EXPECT_TRUE(take_record(rest).message.retained);
  EXPECT_TRUE(rest.empty());
}

TEST(MqttMessage, UserPropertiesKeepTheirOrderAndNames) {
  EXPECT_EQ(attribute_of_user_property("k"), "k");
  EXPECT_EQ(attribute_of_user_property(""), "mqtt.");
  EXPECT_EQ(attribute_of_user_property("content_type"), "mqtt.content_type");
  EXPECT_EQ(attribute_of_user_property("mqtt.x"), "mqtt.mqtt.x");
  std::string properties;
  append_message_properties({{"k", "1"},
                             {"mqtt", "qos=0"},
                             {"k", "2"},
                             {"mqtt.content_type", "u"},
                             {"content_type", "text/plain"},
                             {"correlation_data", "AP8="},
                             {"response_topic", "a.b"}},
                            /*text=*/true, "ignored", 60, properties);
  using namespace std::string_literals;
  EXPECT_EQ(properties,
            "\x01\x01\x02\0\0\0\x3c\x03\0\x0atext/plain\x08\0\3a/b\x09\0\2\0\xff"s
            "\x26\0\1k\0\1"
            "1\x26\0\1k\0\1"
            "2\x26\0\x0c"
            "content_type\0\1u"s);
}

}  // namespace
}  // namespace backplane::gateway::mqtt
