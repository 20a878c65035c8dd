#pragma once
// What a link remembers on disk.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/error/error.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::links {

/// How far the target has confirmed each source, by the upper half of its stream. A value.
struct LinkState {
  struct Source {
    std::uint64_t stream{};
    std::uint64_t position{};  ///< everything up to here has been passed on
    std::uint64_t session{};   ///< at the target
    std::uint64_t sequence{};  ///< the last one of it that the target has confirmed
    friend bool operator==(const Source&, const Source&) = default;
  };
  std::map<std::uint32_t, Source> sources;
  std::uint64_t to{};               ///< a hash of the target's endpoints: the rest is about that target
  std::set<std::uint32_t> targets;  ///< the backplanes at the other end: the upper halves of their streams
  friend bool operator==(const LinkState&, const LinkState&) = default;
};

/// A file in a folder, locked against other processes. Belongs to one thread.
class LinkStateFile {
 public:
  /// Creates the folder if it is missing. @returns an error if the folder cannot be written, if another
  /// process has the file open, or if it is no state file.
  static Result<LinkStateFile> open(const std::filesystem::path& folder, const std::string& name);

  [[nodiscard]] const LinkState& loaded() const noexcept { return loaded_; }
  /// Replaces the file. The old or the new one is there, whatever happens.
  Result<void> save(const LinkState& state) const;

 private:
  LinkStateFile(std::filesystem::path file, Descriptor lock)
      : file_(std::move(file)), lock_(std::move(lock)) {}

  std::filesystem::path file_;
  Descriptor lock_;
  LinkState loaded_;
};

}  // namespace backplane::links
