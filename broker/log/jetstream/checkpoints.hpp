#pragma once
// Checkpoints of the state machine in JetStream. Private to the engine: it includes libnats.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nats/nats.h>

#include "core/error/error.hpp"

namespace backplane::broker::jetstream {

/// A checkpoint is in messages `STREAM.checkpoint.INDEX.0`, `.1`, … and `.end`, which is written last and
/// says how many there are. Two brokers that write the same one at the same time write the same messages. Its
/// calls block. Owns nothing.
class Checkpoints {
 public:
  Checkpoints(jsCtx* js, std::string stream, std::string log_stream, std::size_t chunk_bytes)
      : js_(js), stream_(std::move(stream)), log_stream_(std::move(log_stream)), chunk_bytes_(chunk_bytes) {}

  struct Stored {
    std::uint64_t index{};
    std::string bytes;
  };
  /// The newest one, or the one before (`age` 1).
  [[nodiscard]] Result<std::optional<Stored>> newest(std::size_t age = 0) const;
  /// Writes one, removes all but the two newest, and trims the log to the older one.
  [[nodiscard]] Result<void> write(std::uint64_t index, std::string_view bytes) const;

 private:
  [[nodiscard]] std::string prefix_of(std::uint64_t index) const;
  [[nodiscard]] Result<std::vector<std::uint64_t>> list() const;
  [[nodiscard]] Result<std::string> read(const std::string& subject) const;
  [[nodiscard]] Result<void> publish(const std::string& subject, std::string_view bytes) const;
  [[nodiscard]] Result<void> remove(std::uint64_t index) const;
  [[nodiscard]] Result<void> trim(std::uint64_t through) const;

  jsCtx* js_;
  std::string stream_;
  std::string log_stream_;
  std::size_t chunk_bytes_;
};

}  // namespace backplane::broker::jetstream
