#pragma once
// Reads that may begin in an earlier incarnation of the stream.

#include <cstdint>
#include <map>
#include <memory>

#include "broker/state/history_store.hpp"
#include "broker/store/files.hpp"
#include "broker/store/log_reader.hpp"
#include "broker/store/log_state.hpp"

namespace backplane::broker::store {

/// Reads slices from the log, and from what earlier incarnations have left. These are opened when a read
/// comes to them, and never changed. The slice after the last one of an incarnation belongs to the next one
/// and is empty. Lives on the reader's thread.
class EarlierStreams {
 public:
  /// `state`: of the current stream; it names the earlier ones.
  EarlierStreams(Files& files, LogState& state, HistoryLimits limits, const ReadWork& work);
  ~EarlierStreams();
  EarlierStreams(const EarlierStreams&) = delete;
  EarlierStreams& operator=(const EarlierStreams&) = delete;

  /// `survey`: of the current stream.
  [[nodiscard]] LogSlice read(const ReadRequest& request, DamageSurvey& survey);

 private:
  struct Stream;

  [[nodiscard]] LogSlice read_in(std::uint64_t stream, ReadRequest request, DamageSurvey& survey);
  [[nodiscard]] Stream* opened(std::uint64_t stream);
  [[nodiscard]] std::uint64_t next_after(std::uint64_t stream);
  [[nodiscard]] std::uint64_t first_since(std::int64_t since_ns);
  void sync_with_state(Stream& stream);

  Files& files_;
  LogState& state_;
  const HistoryLimits limits_;
  const ReadWork work_;
  std::map<std::uint64_t, std::unique_ptr<Stream>> streams_;
};

}  // namespace backplane::broker::store
