// Prints a description as TOML.

#include <iterator>
#include <limits>

#include <fmt/format.h>

#include "core/config/section.hpp"
#include "core/config/size.hpp"
#include "core/time/duration.hpp"

namespace backplane::config {
namespace {

constexpr std::size_t comment_columns = 100;

/// A TOML basic string.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// `text` as comment lines, wrapped between words.
std::string comment(std::string_view text) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (column == 0 || column + 1 + word.size() > comment_columns) {
      out += column == 0 ? "#" : "\n#";
      column = 1;
    }
    out += ' ';
    out += word;
    column += 1 + word.size();
  }
  return out.empty() ? out : out + '\n';
}

/// A section that prints values. Keys come before tables, as TOML requires, in whatever order they are
/// described.
class PrintingSection final : public Section {
 public:
  PrintingSection(std::string path, Comments comments) : path_(std::move(path)), comments_(comments) {}

  [[nodiscard]] bool reading() const noexcept override { return false; }
  [[nodiscard]] bool given(std::string_view) const override { return false; }
  [[nodiscard]] Place place(std::string_view key) const override {
    return Place{{}, 0, path_.empty() ? std::string(key) : fmt::format("[{}].{}", path_, key), {}};
  }
  void error(std::string_view, std::string_view) override {}

  [[nodiscard]] std::string str() const { return keys_ + tables_; }

 protected:
  void text(std::string_view key, std::string& value, std::string_view about, const Check&) override {
    line(key, toml_string(value), about);
  }
  void boolean(std::string_view key, bool& value, std::string_view about) override {
    line(key, value ? "true" : "false", about);
  }
  void integer(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
               std::string_view about) override {
    line(key, fmt::format("{}", value), about, limits(min, max, [](std::int64_t n) { return n; }));
  }
  void real(std::string_view key, double& value, double min, double max, std::string_view about) override {
    std::string number = fmt::format("{}", value);
    if (number.find_first_not_of("-0123456789") == std::string::npos) number += ".0";
    line(key, number, about, fmt::format("{}..{}.", min, max));
  }
  void duration(std::string_view key, std::chrono::nanoseconds& value, std::chrono::nanoseconds min,
                std::chrono::nanoseconds max, std::chrono::nanoseconds, std::string_view about) override {
    line(key, toml_string(format_duration(value)), about,
         limits(min.count(), max.count(),
                [](std::int64_t ns) { return format_duration(std::chrono::nanoseconds{ns}); }));
  }
  void size(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
            std::string_view about) override {
    const auto show = [](std::int64_t bytes) { return format_size(static_cast<std::uint64_t>(bytes)); };
    const std::string shown = show(value);
    const bool is_number = shown.find_first_not_of("0123456789") == std::string::npos;
    line(key, is_number ? shown : toml_string(shown), about, limits(min, max, show));
  }
  void list(std::string_view key, std::vector<std::string>& value, std::string_view about, const Check&,
            bool) override {
    std::vector<std::string> texts;
    for (const std::string& each : value) texts.push_back(toml_string(each));
    line(key, fmt::format("[{}]", fmt::join(texts, ", ")), about);
  }
  void word(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
            std::string_view about) override {
    line(key, toml_string(names[index]), about, fmt::format("One of {}.", fmt::join(names, ", ")));
  }

  bool present(std::string_view key, bool has_value) override {
    if (!has_value && comments_ == Comments::about) keys_ += fmt::format("# {}: not set.\n", key);
    return has_value;
  }

  void child(std::string_view key, std::string_view about,
             const std::function<void(Section&)>& describe) override {
    append_table(fmt::format("[{}]", path_of(key)), key, about, describe);
  }
  std::vector<std::string> names(const Check&) override { return {}; }
  std::size_t child_count(std::string_view, std::size_t count) override { return count; }
  void children(std::string_view key, std::string_view about, std::size_t count,
                const std::function<void(std::size_t, Section&)>& describe) override {
    if (count == 0 && comments_ == Comments::none) return line(key, "[]", about);
    if (count == 0) return append_example(key, about, describe);
    for (std::size_t index = 0; index < count; ++index) {
      append_table(fmt::format("[[{}]]", path_of(key)), key, about,
                   [&](Section& section) { describe(index, section); });
    }
  }

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  template <class Show>
  static std::string limits(std::int64_t min, std::int64_t max, Show show) {
    if (max == std::numeric_limits<std::int64_t>::max()) return fmt::format("At least {}.", show(min));
    return fmt::format("{}..{}.", show(min), show(max));
  }

  void line(std::string_view key, std::string_view value, std::string_view about,
            std::string_view allowed = {}) {
    if (comments_ == Comments::about) {
      keys_ += comment(allowed.empty() ? std::string(about) : fmt::format("{} {}", about, allowed));
    }
    keys_ += fmt::format("{} = {}\n", key, value);
  }

  template <class Callback>
  void append_table(std::string_view header, std::string_view key, std::string_view about,
                    const Callback& describe) {
    PrintingSection section(path_of(key), comments_);
    describe(section);
    tables_ += '\n';
    if (comments_ == Comments::about) tables_ += comment(about);
    tables_ += fmt::format("{}\n{}", header, section.str());
  }

  /// An example of a table, as comments. Without the `#` in front of its lines of TOML it would be a real
  /// one.
  void append_example(std::string_view key, std::string_view about,
                      const std::function<void(std::size_t, Section&)>& describe) {
    PrintingSection section(path_of(key), comments_);
    describe(0, section);
    tables_ += '\n' + comment(fmt::format("{} None is configured. Example:", about));
    const std::string table = fmt::format("[[{}]]\n{}", path_of(key), section.str());
    for (std::string_view rest = table; !rest.empty();) {
      const std::string_view text = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(text.size() + 1);
      if (!text.empty() && text.front() != '#') tables_ += '#';
      tables_.append(text) += '\n';
    }
  }

  std::string path_;
  Comments comments_;
  std::string keys_;
  std::string tables_;
};

}  // namespace

std::string print(const Describe& describe, Comments comments) {
  PrintingSection root("", comments);
  describe(root);
  std::string text = root.str();
  if (text.starts_with('\n')) text.erase(0, 1);
  return text;
}

}  // namespace backplane::config
