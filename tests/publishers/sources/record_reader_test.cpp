#include "publishers/sources/record_reader.hpp"

#include <gmock/gmock.h>

#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using backplane::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The records as JSON, or the fault of a bad one.
std::vector<std::string> read(const std::filesystem::path& file, char separator = 0) {
  auto reader = RecordReader::open(file, RecordFormat::by_name, separator);
  if (!reader) return {reader.error().text};
  std::vector<std::string> records;
  for (auto next = (*reader)->next(); next != RecordReader::Next::end; next = (*reader)->next()) {
    records.push_back(next == RecordReader::Next::record ? (*reader)->json() : (*reader)->fault());
  }
  return records;
}

TEST(RecordReader, IdsThatLookLikeNumbersStayText) {
  const TemporaryDirectory files;
  EXPECT_THAT(read(files.write("t.csv", "id,n\n39e1804,4.0\n12345678901234567890,39e18\n007,\n")),
              ElementsAre(R"({"id":"39e1804","n":4.0})", R"({"id":"12345678901234567890","n":"39e18"})",
                          R"({"id":"007","n":null})"));
}

TEST(RecordReader, ATableMayHaveAnotherSeparator) {
  const TemporaryDirectory files;
  EXPECT_THAT(read(files.write("t.csv", "a;b\n1,5;2\n"), ';'), ElementsAre(R"({"a":"1,5","b":2})"));
  EXPECT_THAT(read(files.write("u.csv", "a\tb\n\"x\ty\"\t2\n"), '\t'), ElementsAre(R"({"a":"x\ty","b":2})"));
  EXPECT_THAT(read(files.write("t.tsv", "a\tb\n1\t2\n")), ElementsAre(R"({"a":1,"b":2})"));
  EXPECT_THAT(read(files.write("v.csv", "a,b;c\n1;2\n"), ';'), ElementsAre(R"({"a,b":1,"c":2})"));
}

TEST(RecordReader, ATableWithAnotherSeparatorThanExpectedIsAnError) {
  const TemporaryDirectory files;
  EXPECT_THAT(
      read(files.write("s.csv", "a;b\n1,5;2\n")).front(),
      HasSubstr("s.csv:1: expected columns separated by commas, got semicolons; add --separator ';'"));
  EXPECT_THAT(read(files.write("t.csv", "a\tb\n1\t2\n")).front(), HasSubstr("got tabs; add --separator tab"));
  EXPECT_THAT(read(files.write("b.csv", "a|b\n1|2\n")).front(), HasSubstr("got bars; add --separator '|'"));
  EXPECT_THAT(read(files.write("q.csv", "\"a,x\";\"b\"\n1;2\n")).front(), HasSubstr("got semicolons"));
  EXPECT_THAT(read(files.write("u.tsv", "a,b\n1,2\n")).front(),
              HasSubstr("expected columns separated by tabs"));
  EXPECT_THAT(read(files.write("one.csv", "a\n1\n")), ElementsAre(R"({"a":1})"));
  EXPECT_THAT(read(files.write("more.csv", "a;b,c,d\n1,2,3\n")), ElementsAre(R"({"a;b":1,"c":2,"d":3})"));
  EXPECT_THAT(read(files.write("n.ndjson", "{\"a\":1}\n"), ';').front(), HasSubstr("expected a table"));
}

TEST(RecordReader, AByteOrderMarkIsNotPartOfTheFirstRecord) {
  const TemporaryDirectory files;
  EXPECT_THAT(read(files.write("t.ndjson", "\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}\n")),
              ElementsAre(R"({"a":1})", R"({"a":2})"));
  EXPECT_THAT(read(files.write("t.csv",
                               "\xef\xbb\xbf"
                               "a,b\n1,2\n")),
              ElementsAre(R"({"a":1,"b":2})"));
  EXPECT_THAT(read(files.write("u.ndjson", std::string("\xff\xfe{\0\"\0", 6))).front(),
              HasSubstr("expected UTF-8, got UTF-16"));
}

}  // namespace
}  // namespace backplane::sources
