// Reads a Source as a description says.

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "core/config/document.hpp"
#include "core/config/section.hpp"
#include "core/config/size.hpp"
#include "core/log/escape.hpp"
#include "core/spelling/closest_name.hpp"
#include "core/time/duration.hpp"
#include "core/wire/scan.hpp"

namespace backplane::config {
namespace {

/// Shared by all sections of one read().
struct Reading {
  const Source& source;
  struct Problem {
    std::uint32_t line;
    std::string text;
  };
  std::vector<Problem> problems;
  std::set<std::string, std::less<>> flags_used;  ///< paths
};

std::string got(std::string_view text) {
  return fmt::format("\"{}\"", log::escape(text));
}

std::string got(const toml::node& node) {
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  if (const auto text = node.value_exact<std::string_view>()) return got(*text);
  std::ostringstream out;
  out << toml::default_formatter(node);
  return got(out.str());
}

/// "1..65535", or "at least 1" if only the type limits it.
template <class T, class Show>
std::string range(T min, T max, T unbounded, Show show) {
  if (max == unbounded) return fmt::format("at least {}", show(min));
  return fmt::format("{}..{}", show(min), show(max));
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || rest != end) return {};
  return number;
}

/// A section that reads values. `table` is nullptr if the file has no such table.
class ReadingSection final : public Section {
 public:
  ReadingSection(Reading& shared, std::string path, const toml::table* table)
      : shared_(shared), path_(std::move(path)), table_(table) {}

  [[nodiscard]] bool reading() const noexcept override { return true; }
  [[nodiscard]] bool given(std::string_view key) const override {
    return node(key) != nullptr || shared_.source.document().flag(path_of(key)) != nullptr;
  }

  [[nodiscard]] Place place(std::string_view key) const override {
    return shared_.source.place(path_of(key));
  }

  void error(std::string_view key, std::string_view text) override {
    const Place where = place(key);
    shared_.problems.push_back(
        {where.flag.empty() ? where.line : 0, fmt::format("{}: {}", where.str(), text)});
  }

  /// Call it after the description has described all its keys.
  void report_unknown_keys() {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
      if (known_.contains(key.str())) continue;
      const bool is_table = node.is_table() || node.is_array_of_tables();
      const std::string_view near = closest_name(key.str(), {known_.begin(), known_.end()});
      std::string text = is_table ? "unknown table" : "unknown key";
      if (!near.empty()) text += fmt::format("; did you mean \"{}\"?", near);
      Place where{shared_.source.file(),
                  key.source().begin.line,
                  log::escape(shown_key(path_of(key.str()), is_table)),
                  {}};
      shared_.problems.push_back({where.line, fmt::format("{}: {}", where.str(), text)});
    }
  }

 protected:
  void text(std::string_view key, std::string& value, std::string_view, const Check& check) override {
    const auto given_text = take<std::string>(
        key, "a string", [](std::string_view flag) { return std::optional<std::string>(flag); });
    if (given_text && good_text(key, *given_text, check)) value = *given_text;
  }

  void boolean(std::string_view key, bool& value, std::string_view) override {
    const auto flag = take<bool>(key, "true or false", [](std::string_view text) -> std::optional<bool> {
      if (text == "true") return true;
      if (text == "false") return false;
      return {};
    });
    if (flag) value = *flag;
  }

  void integer(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
               std::string_view) override {
    const std::string expected =
        range(min, max, std::numeric_limits<std::int64_t>::max(), [](std::int64_t n) { return n; });
    const auto number = take<std::int64_t>(key, expected, parse_number<std::int64_t>);
    if (!number) return;
    if (*number < min || *number > max) return wrong(key, expected);
    value = *number;
  }

  void real(std::string_view key, double& value, double min, double max, std::string_view) override {
    const std::string expected = fmt::format("{}..{}", min, max);
    const auto number = take<double>(key, expected, parse_number<double>);
    if (!number) return;
    if (!(*number >= min && *number <= max)) return wrong(key, expected);  // NaN is wrong, too
    value = *number;
  }

  void duration(std::string_view key, std::chrono::nanoseconds& value, std::chrono::nanoseconds min,
                std::chrono::nanoseconds max, std::chrono::nanoseconds unit, std::string_view) override {
    const std::string expected =
        "a duration of " + range(min, max, std::chrono::nanoseconds::max(), format_duration);
    const auto text = take<std::string>(
        key, expected, [](std::string_view flag) { return std::optional<std::string>(flag); });
    if (!text) return;
    const auto parsed = parse_duration(*text, "");
    if (!parsed || *parsed < min || *parsed > max) return wrong(key, expected);
    if (*parsed % unit != std::chrono::nanoseconds{0}) {
      return wrong(key, fmt::format("a whole multiple of {}", format_duration(unit)));
    }
    value = *parsed;
  }

  void size(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
            std::string_view) override {
    const std::string expected =
        "a size of " + range(min, max, std::numeric_limits<std::int64_t>::max(), [](std::int64_t bytes) {
          return format_size(static_cast<std::uint64_t>(bytes));
        });
    const toml::node* const in_file = node(key);
    const bool is_number = in_file != nullptr && in_file->is_integer() && !flag(key);
    std::int64_t bytes = -1;
    if (is_number) {
      know(key);
      bytes = in_file->value_or(std::int64_t{-1});
    } else {
      const auto text = take<std::string>(
          key, expected, [](std::string_view each) { return std::optional<std::string>(each); });
      if (!text) return;
      const auto parsed = parse_size(*text, "");
      if (parsed && std::in_range<std::int64_t>(*parsed)) bytes = static_cast<std::int64_t>(*parsed);
    }
    if (bytes < min || bytes > max) return wrong(key, expected);
    value = bytes;
  }

  void list(std::string_view key, std::vector<std::string>& value, std::string_view, const Check& check,
            bool may_be_single) override {
    know(key);
    std::vector<std::string> given_list;
    if (const auto* from_flag = flag(key)) {
      given_list = from_flag->values;
    } else if (const toml::node* in_file = node(key)) {
      const toml::array* array = in_file->as_array();
      const auto single = may_be_single ? in_file->value_exact<std::string>() : std::nullopt;
      if (single) given_list.push_back(*single);
      if (array == nullptr && !single) {
        return wrong(key, may_be_single ? "a string or a list of strings" : "a list of strings");
      }
      for (std::size_t index = 0; array != nullptr && index < array->size(); ++index) {
        const toml::node& each = (*array)[index];
        const auto text = each.value_exact<std::string>();
        if (!text) return error(key, fmt::format("expected a list of strings, got {} in it", got(each)));
        given_list.push_back(*text);
      }
    } else {
      return;
    }
    // Every element is checked, so that all errors are reported at once.
    const auto good = std::count_if(given_list.begin(), given_list.end(),
                                    [&](const std::string& each) { return good_text(key, each, check); });
    if (static_cast<std::size_t>(good) == given_list.size()) value = std::move(given_list);
  }

  void word(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
            std::string_view) override {
    const std::string expected = fmt::format("one of {}", fmt::join(names, ", "));
    const auto text = take<std::string>(
        key, expected, [](std::string_view flag) { return std::optional<std::string>(flag); });
    if (!text) return;
    const auto found = std::find(names.begin(), names.end(), *text);
    if (found == names.end()) return wrong(key, expected);
    index = static_cast<std::size_t>(found - names.begin());
  }

  bool present(std::string_view key, bool) override {
    know(key);
    return given(key);
  }

  void child(std::string_view key, std::string_view, const std::function<void(Section&)>& describe) override {
    know(key);
    const toml::node* const in_file = node(key);
    if (in_file != nullptr && !in_file->is_table()) {
      return error(key, fmt::format("expected a table [{}], got {}", shown_path(key), got(*in_file)));
    }
    visit(path_of(key), in_file == nullptr ? nullptr : in_file->as_table(), describe);
  }

  std::vector<std::string> names(const Check& check) override {
    std::vector<std::string> good;
    if (table_ == nullptr) return good;
    for (const auto& [key, node] : *table_) {
      // A path cannot name it otherwise.
      const bool is_bare = !key.str().empty() && std::all_of(key.begin(), key.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-';
      });
      const std::string where = fmt::format("{}:{} [{}]", shared_.source.file(), key.source().begin.line,
                                            log::escape(path_of(key.str())));
      Result<void> checked = check ? check(key.str(), where) : Result<void>{};
      if (checked && !is_bare) {
        checked = fail(ErrorCode::invalid_argument,
                       fmt::format("{}: expected a name of letters, digits, - and _, got {}", where,
                                   got(std::string_view(key.str()))));
      }
      know(key.str());
      if (checked) {
        good.emplace_back(key.str());
      } else {
        shared_.problems.push_back({key.source().begin.line, checked.error().text});
      }
    }
    return good;
  }

  std::size_t child_count(std::string_view key, std::size_t count) override {
    if (const toml::node* in_file = node(key)) {
      const toml::array* array = in_file->as_array();
      count = array == nullptr ? 0 : array->size();
    }
    const auto& flags = shared_.source.document().flags;
    const auto has_flag_for = [&](std::size_t index) {
      const std::string prefix = fmt::format("{}[{}].", path_of(key), index);
      const auto next = flags.lower_bound(prefix);
      return next != flags.end() && next->first.starts_with(prefix);
    };
    while (has_flag_for(count)) ++count;
    return count;
  }

  void children(std::string_view key, std::string_view, std::size_t count,
                const std::function<void(std::size_t, Section&)>& describe) override {
    know(key);
    const toml::node* const in_file = node(key);
    const toml::array* const array = in_file == nullptr ? nullptr : in_file->as_array();
    if (in_file != nullptr && array == nullptr) {
      return error(key, fmt::format("expected tables [[{}]], got {}", shown_path(key), got(*in_file)));
    }
    for (std::size_t index = 0; index < count; ++index) {
      const toml::node* const element =
          array != nullptr && index < array->size() ? array->get(index) : nullptr;
      if (element != nullptr && !element->is_table()) {
        error(key, fmt::format("expected tables [[{}]], got {} in it", shown_path(key), got(*element)));
        continue;
      }
      visit(fmt::format("{}[{}]", path_of(key), index), element == nullptr ? nullptr : element->as_table(),
            [&](Section& section) { describe(index, section); });
    }
  }

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  [[nodiscard]] std::string shown_path(std::string_view key) const {
    const std::string shown = shown_key(path_of(key), true);
    return shown.substr(1, shown.size() - 2);
  }
  [[nodiscard]] const toml::node* node(std::string_view key) const {
    return table_ == nullptr ? nullptr : table_->get(key);
  }
  void know(std::string_view key) { known_.emplace(key); }

  /// The flag that sets `key`; it counts as used from now on.
  const Source::Document::Flag* flag(std::string_view key) {
    const std::string path = path_of(key);
    const Source::Document::Flag* found = shared_.source.document().flag(path);
    if (found != nullptr) shared_.flags_used.insert(path);
    return found;
  }

  /// The value from the flag, or else from the file, if it has the right type; otherwise adds an error that
  /// says what was expected. Nothing if no value is given.
  template <class T, class Parse>
  std::optional<T> take(std::string_view key, std::string_view expected, Parse parse) {
    know(key);
    if (const auto* from_flag = flag(key)) {
      CHECK(from_flag->values.size() == 1, "only a list takes several values from a flag");
      std::optional<T> value = parse(std::string_view(from_flag->values.front()));
      if (!value) wrong(key, expected);
      return value;
    }
    const toml::node* const in_file = node(key);
    if (in_file == nullptr) return {};
    std::optional<T> value = in_file->value_exact<T>();
    if constexpr (std::is_same_v<T, double>) {
      if (!value) value = in_file->value<double>();  // 5 is a number, as is 5.0
      if (in_file->is_boolean()) value.reset();
    }
    if (!value) wrong(key, expected);
    return value;
  }

  /// Adds the error that the value of `key` is not the expected one.
  void wrong(std::string_view key, std::string_view expected) {
    const auto* from_flag = flag(key);
    const toml::node* const in_file = node(key);
    const std::string there = from_flag != nullptr ? got(from_flag->values.front()) : got(*in_file);
    error(key, fmt::format("expected {}, got {}", expected, there));
  }

  bool good_text(std::string_view key, std::string_view value, const Check& check) {
    if (has_control_characters(value) || !wire::is_utf8(value)) {
      error(key, fmt::format("expected UTF-8 without control characters, got {}", got(value)));
      return false;
    }
    if (!check) return true;
    const auto checked = check(value, place(key).str());
    if (checked) return true;
    const Place where = place(key);
    shared_.problems.push_back({where.flag.empty() ? where.line : 0, checked.error().text});
    return false;
  }

  template <class Callback>
  void visit(std::string path, const toml::table* table, const Callback& describe) {
    ReadingSection section(shared_, std::move(path), table);
    describe(section);
    section.report_unknown_keys();
  }

  Reading& shared_;
  std::string path_;
  const toml::table* table_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace

std::vector<std::string> read(const Source& source, const Describe& describe) {
  Reading shared{source, {}, {}};
  ReadingSection root(shared, "", &source.document().root);
  describe(root);
  root.report_unknown_keys();
  for (const auto& [path, flag] : source.document().flags) {
    // If the file has errors, a description may not have reached the flag's table.
    CHECK(shared.flags_used.contains(path) || !shared.problems.empty(),
          "a flag sets a value that is described");
  }
  std::stable_sort(shared.problems.begin(), shared.problems.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  std::vector<std::string> texts;
  for (Reading::Problem& problem : shared.problems) texts.push_back(std::move(problem.text));
  return texts;
}

}  // namespace backplane::config
