#pragma once
// Bytes into requests.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::http {

/// Reads requests from bytes that come in any pieces, with Boost.Beast's parser. What two readers of one
/// stream might take differently (RFC 9112, 11.2) is refused rather than repaired: both a length and a
/// transfer coding, two lengths, folded lines, bare LF or CR, chunks that are none. Belongs to one session;
/// holds at most one request and what was added behind it.
class RequestReader {
 public:
  struct Limits {
    std::size_t header_bytes_max = 16u << 10;
    std::size_t body_bytes_max = 1u << 20;
  };
  enum class State {
    empty,    ///< nothing of a request is there
    reading,  ///< something is, and more is wanted
    whole,    ///< take() gives it
    bad,      ///< fault() says why; nothing behind it can be read
  };

  explicit RequestReader(Limits limits);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  void add(std::string_view bytes) { bytes_ += bytes; }
  /// Reads on in what was added.
  State read();
  /// True once, where the client waits for `100 Continue` before it sends a body that may be sent.
  [[nodiscard]] bool take_continue() noexcept;
  /// After State::whole.
  [[nodiscard]] Request take();
  [[nodiscard]] const Fault& fault() const noexcept { return fault_; }
  /// What was added behind the requests that were taken.
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
  std::size_t searched_{};  ///< of bytes_, for the end of the head
  std::unique_ptr<Parser> parser_;
  Request request_;
  Fault fault_;
  State state_{State::empty};
  bool wants_continue_{};
  bool passed_line_{};  ///< an empty one before the request
};

}  // namespace backplane::gateway::http
