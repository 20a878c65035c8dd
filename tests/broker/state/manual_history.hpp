#pragma once
// A history store whose every step the test decides.

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "broker/state/history_store.hpp"

namespace backplane::broker {

/// Stores nothing. Accepts each batch as `answer` says, and has written and made durable what the test says.
class ManualHistory final : public HistoryStore {
 public:
  Result<Opened> open(std::uint64_t new_stream) override { return Opened{.stream = new_stream}; }
  Result<void> begin_after(std::span<const Tail> /*tails*/, std::uint64_t /*position*/) override {
    return {};
  }
  Ticket append(std::span<const HistoryAppend> batch) override {
    if (answer != Accepted::accepted) return {answer, 0};
    appended += batch.size();
    for (const HistoryAppend& each : batch) users.emplace_back(each.user);
    if (writes_at_once) written = last_batch + 1;
    return {answer, ++last_batch};
  }
  [[nodiscard]] int progress_fd() const override { return -1; }
  [[nodiscard]] Progress progress() const override { return {written, durable}; }
  [[nodiscard]] Guarantee guarantee() const override { return promise; }
  [[nodiscard]] Condition condition() const override { return {}; }
  void remember_types(std::string_view set) override { types.emplace_back(set); }
  std::uint64_t start_read(const ReadRequest&) override { return ++last_read; }
  std::optional<ReadSlice> next_slice() override {
    if (ready.empty()) return std::nullopt;
    ReadSlice slice = std::move(ready.front());
    ready.pop_front();
    return slice;
  }
  void set_limits(HistoryLimits) override {}
  void expire(std::int64_t) override {}
  [[nodiscard]] Figures figures() const override { return {}; }
  [[nodiscard]] TopicFigures figures(std::string_view) const override { return {}; }

  Accepted answer{Accepted::accepted};
  bool writes_at_once{true};
  Guarantee promise{Guarantee::none};
  std::uint64_t written{};  ///< Progress, in batches
  std::uint64_t durable{};
  std::uint64_t last_batch{};
  std::size_t appended{};          ///< events accepted
  std::vector<std::string> users;  ///< of each of them
  std::uint64_t last_read{};
  std::deque<ReadSlice> ready;
  std::vector<std::string> types;
};

}  // namespace backplane::broker
