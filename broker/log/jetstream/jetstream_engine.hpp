#pragma once
// A log in NATS JetStream.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/log/log_engine.hpp"
#include "broker/log/log_head.hpp"
#include "core/error/error.hpp"

namespace backplane::broker {

struct JetStreamOptions {
  std::vector<std::string> servers;  ///< nats://HOST:PORT
  std::string credentials_file;      ///< "": none
  std::string client_name;           ///< of the connections, for the server's own tools
  std::int64_t replicas = 3;
  std::int64_t log_bytes_max = std::int64_t{16} << 30;
  std::chrono::milliseconds open_wait{10'000};   ///< for the servers to be reachable
  std::chrono::milliseconds append_wait{1'500};  ///< for the confirmation of an append
  std::size_t checkpoint_chunk_bytes = 256u << 10;
  std::size_t read_ahead_bytes = 16u << 20;  ///< read and not yet taken by next()
};

/// A log in a JetStream stream, with the head in a second one. libnats blocks: one thread appends, another
/// one reads, each with a connection of its own. The loop thread only puts into and takes from what they
/// share.
class JetStreamEngine final : public LogEngine {
 public:
  struct Opened {
    std::unique_ptr<JetStreamEngine> engine;
    LogHead head;                           ///< of the log
    std::uint64_t last_index{};             ///< at this moment; 0: the log is empty
    std::int64_t message_bytes_max{};       ///< of a batch with its id: the server's max_payload
    std::int64_t created_ns{};              ///< Unix time of the servers
    std::optional<std::string> checkpoint;  ///< the newest one, if there is one
  };
  /// Connects, creates the streams and the head if there are none, and compares them with what is expected.
  /// Blocks, for some times open_wait at most. @returns an error that names the server or the setting.
  [[nodiscard]] static Result<Opened> open(JetStreamOptions options, const LogHead& mine);
  ~JetStreamEngine() override;
  JetStreamEngine(const JetStreamEngine&) = delete;
  JetStreamEngine& operator=(const JetStreamEngine&) = delete;

  void append(std::string_view bytes, std::string_view id) override;
  [[nodiscard]] Append append_state() override;
  void read_from(std::uint64_t index) override;
  [[nodiscard]] std::optional<Record> next() override;
  [[nodiscard]] int progress_fd() const override;
  [[nodiscard]] Condition condition() const override;
  [[nodiscard]] Status status() const override;
  void write_checkpoint(std::uint64_t index, std::string bytes) override;
  [[nodiscard]] std::uint64_t checkpoint_index() const override;
  /// The checkpoint before the newest, if there is one: the log begins after it. Blocks; call it before
  /// anything is appended.
  [[nodiscard]] Result<std::optional<std::string>> older_checkpoint() const;

 private:
  class Impl;
  explicit JetStreamEngine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
