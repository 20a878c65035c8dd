#pragma once
// One description of a configuration struct is used to read it, to print it and to print its reference.
//
//   void describe(config::Section& section, GatewayConfig& gateway) {
//     section.field("listen", gateway.listen, "Addresses to listen on.");
//     section.field("workers", gateway.workers, 1, 256, "Threads that write to clients.");
//     section.bytes("max_line_bytes", gateway.max_line_bytes, 64, 16u << 20, "Longest command.");
//     section.field("first_byte_timeout", gateway.first_byte_timeout, 1ms, 1h, "…");
//     section.tables("feed", gateway.feeds, "Ports that need no command.", describe_feed);
//   }

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/config/source.hpp"
#include "core/error/error.hpp"

namespace backplane::config {

/// Checks a text value. The error's text begins with `where`, as that of mq::check_endpoint() does.
using Check = std::function<Result<void>(std::string_view value, std::string_view where)>;

/// One table of the configuration, as a description sees it: it names its fields, and they are read or
/// printed. Values that the source does not give are left alone, so the struct's own initialisers are the
/// defaults. Errors are collected, never thrown. Exists during one read() or print(), on one thread.
class Section {
 public:
  template <class T>
  using Same = std::type_identity_t<T>;

  virtual ~Section() = default;

  /// Text without control characters.
  void field(std::string_view key, std::string& value, std::string_view about, const Check& check = {}) {
    text(key, value, about, check);
  }

  void field(std::string_view key, bool& value, std::string_view about) { boolean(key, value, about); }

  /// A whole number of min..max.
  template <std::integral T>
  void field(std::string_view key, T& value, Same<T> min, Same<T> max, std::string_view about) {
    std::int64_t number = to_signed(value);
    integer(key, number, to_signed(min), to_signed(max), about);
    value = static_cast<T>(number);
  }

  /// A number of min..max, with or without decimals.
  void field(std::string_view key, double& value, double min, double max, std::string_view about) {
    real(key, value, min, max, about);
  }

  /// A duration of min..max: "250ms", "5s", "10m".
  template <class Rep, class Period>
  void field(std::string_view key, std::chrono::duration<Rep, Period>& value, std::chrono::nanoseconds min,
             std::chrono::nanoseconds max, std::string_view about) {
    using Value = std::chrono::duration<Rep, Period>;
    std::chrono::nanoseconds ns = value;
    duration(key, ns, min, max, Value{1}, about);
    value = std::chrono::duration_cast<Value>(ns);
  }

  /// A size of min..max bytes: 1048576 or "1MiB".
  template <std::integral T>
  void bytes(std::string_view key, T& value, Same<T> min, Same<T> max, std::string_view about) {
    std::int64_t number = to_signed(value);
    size(key, number, to_signed(min), to_signed(max), about);
    value = static_cast<T>(number);
  }

  /// A list of strings; `check` checks each. What the source gives replaces the default list.
  void field(std::string_view key, std::vector<std::string>& value, std::string_view about,
             const Check& check = {}) {
    list(key, value, about, check, /*may_be_single=*/false);
  }

  /// The same, but a single string stands for a list of one.
  void one_or_more(std::string_view key, std::vector<std::string>& value, std::string_view about,
                   const Check& check = {}) {
    list(key, value, about, check, /*may_be_single=*/true);
  }

  /// One of several words. The current value must be one of them.
  template <class Enum>
  void choice(std::string_view key, Enum& value,
              std::initializer_list<std::pair<std::string_view, Enum>> choices, std::string_view about) {
    std::vector<std::string_view> names;
    std::vector<Enum> values;
    std::size_t index = 0;
    for (const auto& [name, each] : choices) {
      if (each == value) index = values.size();
      names.push_back(name);
      values.push_back(each);
    }
    word(key, index, names, about);
    value = values[index];
  }

  /// A field that may be absent: `section.optional("ttl", ttl, 1ms, 24h, "…")`. The arguments after the
  /// value are those of field().
  template <class T, class... Arguments>
  void optional(std::string_view key, std::optional<T>& value, Arguments&&... arguments) {
    if (!present(key, value.has_value())) return;
    T inner = value.value_or(T{});
    field(key, inner, std::forward<Arguments>(arguments)...);
    value = std::move(inner);
  }

  /// A table: [key].
  void table(std::string_view key, std::string_view about, const std::function<void(Section&)>& describe) {
    child(key, about, describe);
  }

  /// An array of tables: [[key]]. What the file gives replaces the default; each begins as T{}.
  template <class T, class Describe>
  void tables(std::string_view key, std::vector<T>& values, std::string_view about, Describe&& describe) {
    const std::size_t count = child_count(key, values.size());
    if (reading() && given(key)) values.assign(count, T{});
    if (count > values.size()) values.resize(count);
    children(key, about, count, [&](std::size_t index, Section& section) {
      if (index < values.size()) return describe(section, values[index]);
      T example{};  // if there is none, the reference shows an example
      describe(section, example);
    });
  }

  /// Tables whose names the file chooses: [key.NAME]. `check_name` checks each name, which must be one that
  /// TOML accepts without quotes; a table with a bad name is reported and not read. What the file gives is
  /// added to `values`, each as T{}.
  template <class T, class Describe>
  void named_tables(std::string_view key, std::map<std::string, T, std::less<>>& values,
                    std::string_view about, const Check& check_name, Describe&& describe) {
    table(key, about, [&](Section& section) {
      for (std::string& name : section.names(check_name)) values.try_emplace(std::move(name));
      for (auto& [name, value] : values) {
        section.table(name, {},
                      [&, &value = value, &name = name](Section& each) { describe(each, name, value); });
      }
    });
  }

  /// Whether values are being read (otherwise printed). Only then check across fields.
  [[nodiscard]] virtual bool reading() const noexcept = 0;
  /// Whether the file or a flag gives `key`.
  [[nodiscard]] virtual bool given(std::string_view key) const = 0;
  /// Where the value of `key` came from.
  [[nodiscard]] virtual Place place(std::string_view key) const = 0;
  /// Adds the error `<place of key>: <text>`. Does nothing when printing.
  virtual void error(std::string_view key, std::string_view text) = 0;

 protected:
  virtual void text(std::string_view key, std::string& value, std::string_view about, const Check& check) = 0;
  virtual void boolean(std::string_view key, bool& value, std::string_view about) = 0;
  virtual void integer(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
                       std::string_view about) = 0;
  virtual void real(std::string_view key, double& value, double min, double max, std::string_view about) = 0;
  virtual void duration(std::string_view key, std::chrono::nanoseconds& value, std::chrono::nanoseconds min,
                        std::chrono::nanoseconds max, std::chrono::nanoseconds unit,
                        std::string_view about) = 0;
  virtual void size(std::string_view key, std::int64_t& value, std::int64_t min, std::int64_t max,
                    std::string_view about) = 0;
  virtual void list(std::string_view key, std::vector<std::string>& value, std::string_view about,
                    const Check& check, bool may_be_single) = 0;
  virtual void word(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
                    std::string_view about) = 0;
  /// Whether an optional field is to be read or printed.
  virtual bool present(std::string_view key, bool has_value) = 0;
  virtual void child(std::string_view key, std::string_view about,
                     const std::function<void(Section&)>& describe) = 0;
  /// The keys of this table in the file that `check` accepts. Adds an error for each other key.
  virtual std::vector<std::string> names(const Check& check) = 0;
  /// How many tables there will be, if the struct now has `count`.
  virtual std::size_t child_count(std::string_view key, std::size_t count) = 0;
  virtual void children(std::string_view key, std::string_view about, std::size_t count,
                        const std::function<void(std::size_t, Section&)>& describe) = 0;

 private:
  /// TOML's integers have 63 bits and a sign; larger limits are reduced to that.
  template <std::integral T>
  static std::int64_t to_signed(T value) {
    if (!std::in_range<std::int64_t>(value)) return std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(value);
  }
};

using Describe = std::function<void(Section&)>;

/// Fills the struct that `describe` describes from `source`. @returns all errors in the order of the lines,
/// each as `backplane.toml:7 [gateway].port: expected 1..65535, got "99999"`; empty: none. Unknown keys and
/// tables are errors. After an error the struct is only partly filled: do not use it.
[[nodiscard]] std::vector<std::string> read(const Source& source, const Describe& describe);

enum class Comments : std::uint8_t { none, about };

/// Prints the current values as TOML, which read() turns back into equal values. With Comments::about, each
/// is preceded by its meaning and its limits, and for an array without tables the comments show an example:
/// the reference.
[[nodiscard]] std::string print(const Describe& describe, Comments comments = Comments::none);

}  // namespace backplane::config
