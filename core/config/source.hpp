#pragma once
// The sources of a configuration: a TOML file, and command-line flags that override it.

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
  std::string flag;      ///< "--port"; not empty: the flag set the value

  /// How an error begins: `backplane.toml:7 [gateway].port`, `--port`, or `[gateway].port`.
  [[nodiscard]] std::string str() const;
  /// How another error refers to it: `backplane.toml:7`, `--port`, or `the default`.
  [[nodiscard]] std::string spot() const;
};

/// One configuration as given, not yet interpreted. Movable; a value for one thread. A path names a value:
/// "gateway.port", "backplane[0].ingress".
class Source {
 public:
  /// No file: only defaults and flags.
  Source();
  ~Source();
  Source(Source&&) noexcept;
  Source& operator=(Source&&) noexcept;

  /// Reads a file of at most 1 MiB. @returns not_found or io with the file's name, or invalid_argument with
  /// `backplane.toml:7: …` if it is not TOML.
  static Result<Source> load(const std::filesystem::path& file);

  /// The same for text; errors use `name` as the file's name.
  static Result<Source> parse(std::string_view toml, std::string_view name);

  /// A flag sets the value at `path`, whatever the file says. Only a list takes several values. A path that
  /// the description does not know is a broken promise (CHECK) when the source is read.
  void set_flag(std::string path, std::string flag, std::vector<std::string> values);

  /// Where the value at `path` came from. A value that the file does not give has the line of its table.
  [[nodiscard]] Place place(std::string_view path) const;

  /// How many tables the file has in the array at `path`, such as "backplane".
  [[nodiscard]] std::size_t table_count(std::string_view path) const;

  /// The file as the user named it; empty: no file.
  [[nodiscard]] const std::string& file() const noexcept;

  struct Document;  ///< private to core/config
  [[nodiscard]] const Document& document() const noexcept { return *document_; }

 private:
  std::unique_ptr<Document> document_;
};

}  // namespace backplane::config
