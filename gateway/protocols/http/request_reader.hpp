#pragma once
// Splits bytes into requests.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::http {

/// Reads requests, with Boost.Beast's parser, from bytes that arrive in pieces of any size. Refuses what two
/// readers of one stream might interpret differently (RFC 9112, 11.2): both a length and a transfer coding,
/// two lengths, folded lines, bare LF or CR, malformed chunks. Belongs to one session; keeps at most one
/// request and the bytes after it.
class RequestReader {
 public:
  struct Limits {
    std::size_t header_bytes_max = 16u << 10;
    std::size_t body_bytes_max = 1u << 20;
  };
  enum class State {
    empty,    ///< no byte of a request has arrived
    reading,  ///< the request is incomplete
    whole,    ///< take() returns it
    bad,      ///< see fault(); the bytes after it cannot be read
  };

  explicit RequestReader(Limits limits);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  void add(std::string_view bytes) { bytes_ += bytes; }
  /// Continues to read the bytes that were added.
  State read();
  /// Whether the client waits for `100 Continue` before it sends an acceptable body. True once per request.
  [[nodiscard]] bool take_continue() noexcept;
  /// Called after State::whole.
  [[nodiscard]] Request take();
  [[nodiscard]] const Fault& fault() const noexcept { return fault_; }
  /// The bytes after the requests that were taken.
  [[nodiscard]] std::string_view rest() const noexcept { return bytes_; }

 private:
  class Parser;

  State fail(Refusal refusal, int status, std::string detail);
  State read_head();
  State read_body();
  [[nodiscard]] bool find_end_of_head();
  bool check_fields();
  bool take_target(std::string_view target);

  const Limits limits_;
  std::string bytes_;
  std::size_t searched_{};  ///< bytes that have been searched for the end of the head
  std::unique_ptr<Parser> parser_;
  Request request_;
  Fault fault_;
  State state_{State::empty};
  bool wants_continue_{};
  bool skipped_line_{};  ///< an empty line before the request
};

}  // namespace backplane::gateway::http
