#pragma once
// Converts records to typed messages, by field names.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/record.hpp"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace backplane::sources {

/// The unit of a number that is used as a time. Text is parsed by parse_time(), unless it is a number.
enum class TimeUnit {
  by_size,  ///< seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else nanoseconds
  seconds,
  milliseconds,
  microseconds,
  nanoseconds,
};

/// The time in Unix nanoseconds. An error begins with `where`.
[[nodiscard]] Result<std::int64_t> read_time(const Value& value, TimeUnit unit, std::string_view where);

/// Which column a field of a message is taken from.
struct FieldRule {
  std::string field;
  std::vector<std::string> columns;  ///< the first of these that the record has is used
  bool required{};                   ///< whether a record without it is bad
};

/// Chosen by the user: field → column.
using ColumnNames = std::map<std::string, std::string>;

/// Creates messages of one type. Lives on one thread; the type must outlive it (generated types always do).
class Mapping {
 public:
  /// @param type a full name, or a name in backplane.events.v1
  /// @param rules for fields of the type; a field without a rule uses the column of its own name, if any
  /// @param columns override the rules; these columns are required
  static Result<Mapping> make(const std::string& type, std::vector<FieldRule> rules,
                              const ColumnNames& columns, TimeUnit unit);

  /// Whether a table with these columns has all that are required.
  [[nodiscard]] Result<void> check_columns(std::span<const std::string> columns,
                                           std::string_view where) const;

  /// Converts a record. An error begins with `where`, which is file:line. Optional fields without a value
  /// stay unset.
  [[nodiscard]] Result<std::unique_ptr<google::protobuf::Message>> message(const Record& record,
                                                                           std::string_view where) const;

  /// The record's value for a field; null if it has none.
  [[nodiscard]] const Value* find(const Record& record, std::string_view field) const;

 private:
  Mapping(const google::protobuf::Descriptor* type, std::vector<FieldRule> rules, TimeUnit unit)
      : type_(type), rules_(std::move(rules)), unit_(unit) {}
  [[nodiscard]] Result<std::string> literal(const google::protobuf::FieldDescriptor& field,
                                            const Value& value, std::string_view where) const;

  const google::protobuf::Descriptor* type_;
  std::vector<FieldRule> rules_;  // one per field; those given to make() first
  TimeUnit unit_;
};

/// Parses all of `text` as a finite number.
[[nodiscard]] Result<double> parse_number(std::string_view text, std::string_view where);

}  // namespace backplane::sources
