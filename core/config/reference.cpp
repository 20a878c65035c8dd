#include "core/config/reference.hpp"

#include <limits>

#include <fmt/format.h>

#include "core/config/size.hpp"
#include "core/time/duration.hpp"

namespace backplane::config {
namespace {

/// A text within a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<') out += '\\';
    out += c;
  }
  return out;
}

std::string code(std::string_view text) {
  return fmt::format("`{}`", text);
}

std::string text_code(std::string_view text) {
  return fmt::format("`\"{}\"`", text);
}

/// A section that writes rows of a table. Tables within it follow it, each with a heading of its own.
class ReferenceSection final : public Section {
 public:
  ReferenceSection(std::string path, std::string& out) : path_(std::move(path)), out_(out) {}

  [[nodiscard]] bool reading() const noexcept override { return false; }
  [[nodiscard]] bool given(std::string_view) const override { return false; }
  [[nodiscard]] Place place(std::string_view key) const override {
    return Place{{}, 0, path_.empty() ? std::string(key) : fmt::format("[{}].{}", path_, key), {}};
  }
  void error(std::string_view, std::string_view) override {}

  /// Writes the rows, then the tables within.
  void finish() {
    if (!rows_.empty()) out_ += "\n| key | default | values | meaning |\n|---|---|---|---|\n" + rows_;
    out_ += tables_;
  }

 protected:
  void text(std::string_view key, std::string& value, std::string_view about, const Check&) override {
    row(key, text_code(value), "text", about);
  }
  void boolean(std::string_view key, bool& value, std::string_view about) override {
    row(key, code(value ? "true" : "false"), "`true`, `false`", about);
  }
  void integer(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
               std::string_view about) override {
    row(key, code(fmt::format("{}", value)), limits(min, max, [](std::int64_t n) { return n; }), about);
  }
  void real(std::string_view key, double& value, double min, double max, std::string_view about) override {
    row(key, code(fmt::format("{}", value)), fmt::format("{} to {}", min, max), about);
  }
  void duration(std::string_view key, std::chrono::nanoseconds& value, std::chrono::nanoseconds min,
                std::chrono::nanoseconds max, std::chrono::nanoseconds, std::string_view about) override {
    row(key, text_code(format_duration(value)),
        limits(min.count(), max.count(),
               [](std::int64_t ns) { return format_duration(std::chrono::nanoseconds{ns}); }),
        about);
  }
  void size(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
            std::string_view about) override {
    const auto show = [](std::int64_t bytes) { return format_size(static_cast<std::uint64_t>(bytes)); };
    row(key, text_code(show(value)), limits(min, max, show), about);
  }
  void list(std::string_view key, std::vector<std::string>& value, std::string_view about, const Check&,
            bool may_be_single) override {
    std::vector<std::string> texts;
    for (const std::string& each : value) texts.push_back(fmt::format("\"{}\"", each));
    row(key, code(fmt::format("[{}]", fmt::join(texts, ", "))),
        may_be_single ? "a list of texts, or one text" : "a list of texts", about);
  }
  void word(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
            std::string_view about) override {
    std::vector<std::string> words;
    for (const std::string_view each : names) words.push_back(text_code(each));
    row(key, text_code(names[index]), fmt::format("{}", fmt::join(words, ", ")), about);
  }

  /// Optional fields are shown, too, without a default.
  bool present(std::string_view, bool has_value) override {
    without_default_ = !has_value;
    return true;
  }

  void child(std::string_view key, std::string_view about,
             const std::function<void(Section&)>& describe) override {
    append_table(fmt::format("[{}]", path_of(key)), key, about, describe);
  }
  std::vector<std::string> names(const Check&) override { return {}; }
  std::size_t child_count(std::string_view, std::size_t count) override { return count; }
  void children(std::string_view key, std::string_view about, std::size_t,
                const std::function<void(std::size_t, Section&)>& describe) override {
    append_table(fmt::format("[[{}]]", path_of(key)), key, about,
                 [&](Section& section) { describe(0, section); });
  }

 private:
  [[nodiscard]] std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  template <class Show>
  static std::string limits(std::int64_t min, std::int64_t max, Show show) {
    if (max == std::numeric_limits<std::int64_t>::max()) return fmt::format("at least {}", show(min));
    return fmt::format("{} to {}", show(min), show(max));
  }

  void row(std::string_view key, std::string_view value, std::string_view values, std::string_view about) {
    const std::string_view shown = std::exchange(without_default_, false) ? "not set" : value;
    rows_ += fmt::format("| `{}` | {} | {} | {} |\n", key, cell(shown), cell(values), cell(about));
  }

  template <class Callback>
  void append_table(std::string_view header, std::string_view key, std::string_view about,
                    const Callback& describe) {
    tables_ += fmt::format("\n## `{}`\n", header);
    if (!about.empty()) tables_ += fmt::format("\n{}\n", about);
    ReferenceSection section(path_of(key), tables_);
    describe(section);
    section.finish();
  }

  std::string path_;
  std::string& out_;
  std::string rows_;
  std::string tables_;
  bool without_default_{};  // of the next field
};

}  // namespace

std::string print_reference(const Describe& describe) {
  std::string out;
  ReferenceSection root("", out);
  describe(root);
  root.finish();
  return out;
}

}  // namespace backplane::config
