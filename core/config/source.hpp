#pragma once
// What a configuration is read from: a TOML file, and the command line's flags over it.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::config {

/// Where a value came from: a line of the file, a flag, or neither (then it is a default).
struct Place {
  std::string file;      ///< as the user named it; empty: not from a file
  std::uint32_t line{};  ///< 1, 2, 3, …; 0: none
  std::string key;       ///< "[gateway].port"
  std::string flag;      ///< "--port"; not empty: the flag decided

  /// How an error begins: `backplane.toml:7 [gateway].port`, `--port`, or `[gateway].port`.
  [[nodiscard]] std::string str() const;
  /// How another error refers to it: `backplane.toml:7`, `--port`, or `the default`.
  [[nodiscard]] std::string spot() const;
};

/// One configuration as it was given, before anything is made of it. Movable; a value for one thread.
/// A path names a value: "gateway.port", "backplane[0].ingress".
class Source {
 public:
  /// No file: defaults and flags alone.
  Source();
  ~Source();
  Source(Source&&) noexcept;
  Source& operator=(Source&&) noexcept;

  /// Reads a file of at most 1 MiB. @returns not_found or io with the file named, or invalid_argument
  /// with `backplane.toml:7: …` where it is not TOML.
  static Result<Source> load(const std::filesystem::path& file);

  /// The same for text; `name` stands for the file in errors.
  static Result<Source> parse(std::string_view toml, std::string_view name);

  /// A flag decides the value at `path`, whatever the file says. Only a list takes several values. A path
  /// that the description does not know is a broken promise (CHECK) when the source is read.
  void set_flag(std::string path, std::string flag, std::vector<std::string> values);

  /// Where the value at `path` came from; what the file doesn't give has the line of its table.
  [[nodiscard]] Place place(std::string_view path) const;

  /// How many tables the file has in the array at `path`: "backplane"; 0 where it has none.
  [[nodiscard]] std::size_t table_count(std::string_view path) const;

  /// As the user named the file; empty without one.
  [[nodiscard]] const std::string& file() const noexcept;

  struct Document;  ///< private to core/config
  [[nodiscard]] const Document& document() const noexcept { return *document_; }

 private:
  std::unique_ptr<Document> document_;
};

}  // namespace backplane::config
