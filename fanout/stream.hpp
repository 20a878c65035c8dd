#pragma once
// The byte stream between a client and its peer.

#include <cstddef>
#include <span>
#include <string_view>

#include <sys/types.h>
#include <sys/uio.h>

namespace backplane::fanout {

/// A byte stream that never blocks: a socket, with or without TLS, or a simulated one in tests. The results
/// are those of recv() and sendmsg(): a number of bytes, or -1 and errno.
class Stream {
 public:
  virtual ~Stream() = default;
  /// @returns 0 if the peer will send no more; -1 with EINPROGRESS if there can be input only after the
  /// output
  ///          has room again (Client::on_writable())
  [[nodiscard]] virtual ssize_t read(std::span<char> into) noexcept = 0;
  /// Writes nothing new, even if `pieces` are empty, before everything accepted earlier is sent.
  [[nodiscard]] virtual ssize_t write(std::span<const iovec> pieces) noexcept = 0;
  /// How many of the bytes that the last write() accepted are not sent yet. They are at the end, and the next
  /// write() goes on with them.
  [[nodiscard]] virtual std::size_t unsent() const noexcept { return 0; }
  /// Shuts the output down: the peer sees its end. @returns false if there is no room for it: to be called
  /// again after Client::on_writable()
  [[nodiscard]] virtual bool end_output() noexcept = 0;
  [[nodiscard]] virtual bool is_encrypted() const noexcept { return false; }
  /// The common name in the peer's certificate, which has been verified; empty: none.
  [[nodiscard]] virtual std::string_view peer_certificate_name() const noexcept { return {}; }
};

}  // namespace backplane::fanout
