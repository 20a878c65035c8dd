#pragma once
// What the subcommands of `backplane store` share.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "broker/store/store_reader.hpp"
#include "cli/console/output.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// A store that was opened for reading.
struct OpenStore {
  std::string path;
  std::string user;  ///< the process that has it open; empty: none
  std::unique_ptr<broker::store::StoreReader> reader;
};
[[nodiscard]] Result<OpenStore> open_store(const std::string& path);

/// Reports on standard error that a broker writes the store, or that its last write was interrupted.
void print_store_notes(std::string_view command, const OpenStore& store);

/// `stock.MSFT: offsets 101 to 105 are lost`
[[nodiscard]] std::string lost_text(const broker::store::LostEvents& lost);

/// Counts lost events, and says which of them are to be listed: a missing segment has events of many topics.
class LostCount {
 public:
  static constexpr std::size_t listed_max = 20;
  /// @returns whether to list it.
  bool add(const broker::store::LostEvents& lost);
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t topics() const noexcept { return topics_.size(); }
  /// How many were not listed.
  [[nodiscard]] std::uint64_t unlisted() const noexcept {
    return ranges_ > listed_max ? ranges_ - listed_max : 0;
  }

 private:
  std::uint64_t events_{0};
  std::uint64_t ranges_{0};
  std::set<std::string, std::less<>> topics_;
};

}  // namespace backplane::cli
