#pragma once
// Makes typed messages of records, by the names of their fields.

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

/// What a number says where a time is wanted. Text is read as parse_time() does, or is such a number.
enum class TimeUnit {
  by_size,  ///< seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else nanoseconds
  seconds,
  milliseconds,
  microseconds,
  nanoseconds,
};

/// Unix nanoseconds. `where` begins the error.
[[nodiscard]] Result<std::int64_t> read_time(const Value& value, TimeUnit unit, std::string_view where);

/// Where a field of a message comes from.
struct FieldRule {
  std::string field;
  std::vector<std::string> columns;  ///< the first of these that a record has
  bool required{};                   ///< a record without it is a bad one
};

/// By the user's wish: field → column.
using ColumnNames = std::map<std::string, std::string>;

/// Makes messages of one type. Lives on one thread; the type outlives it (generated ones always do).
class Mapping {
 public:
  /// @param type a full name, or one in backplane.events.v1
  /// @param rules of the type's fields; those without one take the column of their own name, if there is one
  /// @param columns go before the rules, and are required
  static Result<Mapping> make(const std::string& type, std::vector<FieldRule> rules,
                              const ColumnNames& columns, TimeUnit unit);

  /// Whether a table with these columns can give what is required.
  [[nodiscard]] Result<void> check_columns(std::span<const std::string> columns,
                                           std::string_view where) const;

  /// `where` is file:line and begins the error. What is not required and missing stays unset.
  [[nodiscard]] Result<std::unique_ptr<google::protobuf::Message>> message(const Record& record,
                                                                           std::string_view where) const;

  /// What the record has for a field; nothing where it has none.
  [[nodiscard]] const Value* find(const Record& record, std::string_view field) const;

 private:
  Mapping(const google::protobuf::Descriptor* type, std::vector<FieldRule> rules, TimeUnit unit)
      : type_(type), rules_(std::move(rules)), unit_(unit) {}
  [[nodiscard]] Result<std::string> literal(const google::protobuf::FieldDescriptor& field,
                                            const Value& value, std::string_view where) const;

  const google::protobuf::Descriptor* type_;
  std::vector<FieldRule> rules_;  // one a field, in the order of the first ones given
  TimeUnit unit_;
};

/// A finite number that is the whole of `text`.
[[nodiscard]] Result<double> parse_number(std::string_view text, std::string_view where);

}  // namespace backplane::sources
