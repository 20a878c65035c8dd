#include "publishers/sources/mapping.hpp"

#include <gmock/gmock.h>

#include "backplane/events/v1/command_result.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "core/json/object.hpp"
#include "publishers/sources/record_reader.hpp"
#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<FieldRule> quote_rules{
    {"symbol", {"symbol"}, true}, {"time", {"date", "time"}, true}, {"price", {"price"}, false}};

/// The message made from a JSON object, or the text of the error.
std::string made(const Mapping& mapping, const std::string& json) {
  const auto record = json::parse_object(json);
  if (!record) return record.error().text;
  const auto message = mapping.message(*record, "f:7");
  return message ? (*message)->ShortDebugString() : message.error().text;
}

TEST(Mapping, FieldsAreFilledByNameWhateverTheJsonType) {
  const Mapping mapping = Mapping::make("Quote", quote_rules, {}, {}).value();
  EXPECT_EQ(made(mapping, R"({"symbol":"A","date":"1970-01-01T00:00:01Z","price":1.5,"more":[1]})"),
            R"(symbol: "A" price: 1.5 time { seconds: 1 })");
  EXPECT_EQ(made(mapping, R"({"symbol":17,"time":1500,"price":"2.5"})"),
            R"(symbol: "17" price: 2.5 time { seconds: 1500 })");
  EXPECT_EQ(made(mapping, R"({"symbol":"A","time":1,"price":null})"), R"(symbol: "A" time { seconds: 1 })");
}

TEST(Mapping, UnusableValuesAreReportedWithFileLineAndColumn) {
  const Mapping mapping = Mapping::make("Quote", quote_rules, {}, {}).value();
  EXPECT_EQ(made(mapping, R"({"symbol":"A","time":1,"price":"dear"})"),
            R"(f:7: price: expected a number, got "dear")");
  EXPECT_EQ(made(mapping, R"({"symbol":"A","time":1,"price":"nan"})"),
            R"(f:7: price: expected a number, got "nan")");
  EXPECT_EQ(made(mapping, R"({"symbol":"A","price":1})"), "f:7: date: expected a value, got nothing");
  EXPECT_THAT(made(mapping, R"({"symbol":"A","date":"soon","price":1})"),
              StartsWith("f:7: date: expected a time"));
}

TEST(Mapping, ChosenColumnsAreRequired) {
  const Mapping mapping = Mapping::make("Quote", quote_rules, {{"price", "Close"}}, {}).value();
  EXPECT_EQ(made(mapping, R"({"symbol":"A","time":1,"price":1,"Close":2})"),
            R"(symbol: "A" price: 2 time { seconds: 1 })");
  EXPECT_EQ(made(mapping, R"({"symbol":"A","time":1,"price":1})"),
            "f:7: Close: expected a value, got nothing");
  const std::vector<std::string> columns{"symbol", "time", "price"};
  EXPECT_EQ(mapping.check_columns(columns, "f:1").error().text,
            "f:1: expected columns symbol, date, Close, got symbol, time, price");
  EXPECT_THAT(Mapping::make("Quote", {}, {{"volume", "v"}}, {}).error().text,
              HasSubstr("symbol, price, time, got \"volume\""));
}

TEST(Mapping, EveryKindOfFieldHasItsOwnCheck) {
  const Mapping mapping = Mapping::make("backplane.events.v1.CommandResult", {}, {}, {}).value();
  EXPECT_EQ(made(mapping, R"({"exit_code":"-3","timedOut":"1","durationSeconds":2})"),
            "exit_code: -3 timed_out: true duration_seconds: 2");
  EXPECT_EQ(made(mapping, R"({"exit_code":1.5})"), R"(f:7: exit_code: expected a whole number, got "1.5")");
  EXPECT_EQ(made(mapping, R"({"timed_out":"perhaps"})"),
            R"(f:7: timed_out: expected true or false, got "perhaps")");
  EXPECT_THAT(made(mapping, R"({"exit_code":99999999999})"), StartsWith("f:7: "));
}

TEST(Mapping, AnUnknownTypeIsReported) {
  EXPECT_EQ(Mapping::make("Quoet", {}, {}, {}).error().text,
            "--type: expected a type such as Quote or Earthquake, got \"Quoet\"");
}

TEST(Mapping, TheSizeOfANumberDecidesItsTimeUnit) {
  const auto time = [](const char* text, TimeUnit unit = {}) { return read_time({text}, unit, "t").value(); };
  EXPECT_EQ(time("1517363399"), 1'517'363'399'000'000'000);
  EXPECT_EQ(time("1517363399.25"), 1'517'363'399'250'000'000);
  EXPECT_EQ(time("1517363399650"), 1'517'363'399'650'000'000);
  EXPECT_EQ(time("1517363399650123"), 1'517'363'399'650'123'000);
  EXPECT_EQ(time("1517363399650123457"), 1'517'363'399'650'123'457) << "more than a double can hold";
  EXPECT_EQ(time("-5"), -5'000'000'000);
  EXPECT_EQ(time("5", TimeUnit::milliseconds), 5'000'000);
  EXPECT_EQ(time("2018-01-31T00:00:00Z"), 1'517'356'800'000'000'000);
  EXPECT_FALSE(read_time({"1e300"}, {}, "t").has_value());
  EXPECT_FALSE(read_time({"99999999999", {}}, TimeUnit::seconds, "t").has_value());
  EXPECT_FALSE(read_time({"[1]", Value::Kind::literal}, {}, "t").has_value());
}

/// One string per record: its JSON, or its line and what is wrong.
std::vector<std::string> read(const std::filesystem::path& file) {
  auto reader = RecordReader::open(file, RecordFormat::by_name);
  if (!reader) return {reader.error().text};
  std::vector<std::string> records;
  for (auto next = (*reader)->next(); next != RecordReader::Next::end; next = (*reader)->next()) {
    records.push_back(next == RecordReader::Next::record
                          ? (*reader)->json()
                          : std::to_string((*reader)->line()) + " " + (*reader)->fault());
  }
  return records;
}

TEST(RecordReader, JsonLinesAreReadOneByOneAndDamagedOnesAreReported) {
  const backplane::testing::TemporaryDirectory files;
  const std::string deep(100, '[');
  EXPECT_THAT(
      read(files.write("a.ndjson", "{\"a\": 1}\r\n\n{\"b\n[1]\n{\"c\":" + deep + "\n{\"d\":\"\\u00fc\"}")),
      ElementsAre("{\"a\": 1}", StartsWith("3 expected a JSON object, got invalid JSON: "),
                  "4 expected a JSON object, got another JSON value",
                  StartsWith("5 expected a JSON object, got invalid JSON: "), "{\"d\":\"\\u00fc\"}"));
  EXPECT_THAT(read(files.write("b.json", std::string(2u << 20, 'x') + "\n{}\n")),
              ElementsAre("1 expected at most 1048576 bytes per record, got more", "{}"));
}

TEST(RecordReader, RecordsOfATableMustHaveItsColumns) {
  const backplane::testing::TemporaryDirectory files;
  EXPECT_THAT(read(files.write("a.csv", "n,t\n1,one\n2\n3,three,more\n004,\xff\n,\"a,b\"\n")),
              ElementsAre(R"({"n":1,"t":"one"})", "3 expected 2 fields, like the first line, got 1",
                          "4 expected 2 fields, like the first line, got 3",
                          "5 t: expected UTF-8, got other bytes", R"({"n":null,"t":"a,b"})"));
}

}  // namespace
}  // namespace backplane::sources
