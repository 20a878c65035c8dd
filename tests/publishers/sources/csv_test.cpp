#include "publishers/sources/csv.hpp"

#include <sstream>

#include <gmock/gmock.h>

namespace backplane::sources {
namespace {

using Record = std::vector<std::string>;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// All records. A bad one is {"bad", line, fault}.
std::vector<Record> read(const std::string& text, std::size_t record_bytes_max = 1000) {
  std::istringstream in(text);
  CsvReader reader(in, record_bytes_max);
  std::vector<Record> records;
  for (CsvReader::Next next = reader.next(); next != CsvReader::Next::end; next = reader.next()) {
    records.push_back(next == CsvReader::Next::record
                          ? reader.fields()
                          : Record{"bad", std::to_string(reader.line()), reader.fault()});
  }
  return records;
}

TEST(Csv, FieldsAreSeparatedByCommasAndRecordsByLines) {
  EXPECT_THAT(read("a,b\r\n1,2\n\n3,\n"), ElementsAre(Record{"a", "b"}, Record{"1", "2"}, Record{"3", ""}));
  EXPECT_THAT(read("a"), ElementsAre(Record{"a"}));
  EXPECT_THAT(read(""), IsEmpty());
  EXPECT_THAT(read("\n\r\n"), IsEmpty());
}

TEST(Csv, QuotedFieldsMayContainCommasQuotesAndLineEnds) {
  EXPECT_THAT(read("\"a,b\",\"say \"\"hi\"\"\"\n\"two\r\nlines\",x\n\"\",\n"),
              ElementsAre(Record{"a,b", "say \"hi\""}, Record{"two\nlines", "x"}, Record{"", ""}));
}

TEST(Csv, AByteOrderMarkIsNotPartOfTheFirstField) {
  EXPECT_THAT(read("\xef\xbb\xbf"
                   "date,x\n"),
              ElementsAre(Record{"date", "x"}));
}

TEST(Csv, DamagedRecordsAreReportedByLineAndReadingContinues) {
  EXPECT_THAT(
      read("1\n\"a\"b,c\n2\n"),
      ElementsAre(Record{"1"}, Record{"bad", "2", "field 1: expected a comma after the closing quote"},
                  Record{"2"}));
  EXPECT_THAT(
      read("x,a\"\"b\n2\n"),
      ElementsAre(Record{"bad", "1", "field 2: expected quotes around the whole field, got one inside it"},
                  Record{"2"}));
}

TEST(Csv, AnUnclosedQuoteCostsOnlyOneRecord) {
  EXPECT_THAT(read("1\n\"open,2\n3,4\n5,6"),
              ElementsAre(Record{"1"}, Record{"bad", "2", "expected a closing quote, got none"},
                          Record{"3", "4"}, Record{"5", "6"}));
  EXPECT_THAT(read("\"open\n3,4\n5,6\n", 8),
              ElementsAre(Record{"bad", "1", "expected a closing quote within 8 bytes, got none"},
                          Record{"3", "4"}, Record{"5", "6"}));
}

TEST(Csv, ARecordThatIsTooLongIsReportedAndSkipped) {
  EXPECT_THAT(read("1\n" + std::string(100, 'x') + "\n2\n", 10),
              ElementsAre(Record{"1"}, Record{"bad", "2", "expected at most 10 bytes per record, got more"},
                          Record{"2"}));
}

}  // namespace
}  // namespace backplane::sources
