#pragma once
// Contexts: named sets of addresses and credential files, in ~/.config/backplane/config.toml.

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/section.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// Where to connect, and with which credentials. Empty texts: not set. Secrets are in files; a context has
/// only their names.
struct Context {
  std::string broker{};   ///< HOST[:PORT][,HOST[:PORT]…]
  std::string gateway{};  ///< HOST:PORT
  std::string key{};
  std::string server_key{};
  std::string token_file{};
  std::string ca{};
  std::string tls_certificate{};
  std::string tls_key{};
  bool tls{};

  friend bool operator==(const Context&, const Context&) = default;
};

/// A text of a context. `option` is also its key in the file, with `_` instead of `-`.
struct ContextField {
  std::string_view option;      ///< `server-key`
  std::string_view value_name;  ///< for the help: `FILE`
  std::string_view about;
  std::string Context::*value;
  bool is_file;

  [[nodiscard]] std::string key() const;
};
/// Every text of a context, in the order in which they are shown.
[[nodiscard]] const std::vector<ContextField>& context_fields();

/// Checks a value as the option that means the same does. The error begins with `where`.
[[nodiscard]] Result<void> check_context_value(const ContextField& field, std::string_view value,
                                               std::string_view where);
/// 1 to 64 letters, digits, `-` and `_`.
[[nodiscard]] Result<void> check_context_name(std::string_view name, std::string_view where);

/// All contexts of a user. A value.
struct Contexts {
  std::string current{};  ///< the name of the one that commands use; empty: none
  std::map<std::string, Context, std::less<>> all{};

  /// Reads the file; without one, there are no contexts. An error names the file and the line.
  static Result<Contexts> load(const std::filesystem::path& file);
  /// Replaces the file, whose folder is created if necessary. Comments in it are lost.
  [[nodiscard]] Result<void> save(const std::filesystem::path& file) const;

  /// The context of that name. The error begins with `where`, and says which there are in `file`.
  [[nodiscard]] Result<Context> find(std::string_view name, std::string_view where,
                                     const std::filesystem::path& file) const;
};

/// $XDG_CONFIG_HOME/backplane/config.toml, or ~/.config/backplane/config.toml; empty if neither variable is
/// an absolute path: then there are no contexts.
[[nodiscard]] std::filesystem::path contexts_file(const Environment& environment);

}  // namespace backplane::cli
