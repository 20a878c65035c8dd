#include "fanout/tls_stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include "core/error/error.hpp"
#include "fanout/client.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;

// The first byte of a TLS connection: the type of a record with a handshake message. No text begins with it.
constexpr char handshake_byte = 0x16;
// A client that has sent nothing for this time, while there is something to write to it, does not use TLS.
constexpr auto silence_of_tls_max = 1s;
// For the rest of a first line, and for the client to close after the last bytes.
constexpr auto answer_wait = 1s;
// Enough of a first line to know its protocol.
constexpr std::size_t begun_bytes_max = 1024;

constexpr std::size_t record_bytes = 16'384;  // the most that TLS permits
// So much is encrypted before the kernel gets it: what it does not take is kept.
constexpr std::size_t chunk_bytes = 2 * record_bytes;
// With more bytes to send, nothing is read: TLS answers some input itself. Above what a chunk can be.
constexpr std::size_t kept_bytes_max = 4 * record_bytes;

TlsFailure reason_of(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_NO_CERTIFICATE_ASSIGNED:
    case SSL_R_BAD_SIGNATURE:
      return TlsFailure::client_certificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return TlsFailure::version;
    default:
      return reason >= SSL_AD_REASON_OFFSET ? TlsFailure::rejected : TlsFailure::protocol;
  }
}

/// What OpenSSL says about a failed handshake.
std::string_view detail_of(const SSL* ssl, unsigned long error) {
  const long verified = SSL_get_verify_result(ssl);
  if (verified != X509_V_OK) return X509_verify_cert_error_string(verified);
  const char* const text = ERR_reason_error_string(error);
  return text != nullptr ? text : std::string_view{};
}

/// The records of one chunk.
class Records {
 public:
  void add(std::size_t bytes, std::size_t end) noexcept { records_[count_++] = {bytes, end}; }
  void clear() noexcept { count_ = 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == records_.size(); }
  /// Bytes before encryption of the records that are not complete in the first `sent` encrypted bytes.
  [[nodiscard]] std::size_t unsent(std::size_t sent) const noexcept {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count_; ++i) bytes += records_[i].end > sent ? records_[i].bytes : 0;
    return bytes;
  }

 private:
  struct Record {
    std::size_t bytes;  ///< before encryption
    std::size_t end;    ///< among the encrypted bytes
  };
  std::array<Record, 64> records_;
  std::size_t count_{};
};

}  // namespace

/// Reads from the socket, and writes to the worker's output: OpenSSL never waits for room.
struct TlsStream::Bio {
  static TlsStream& stream(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    TlsStream& of = stream(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = 0;
    do got = ::recv(of.socket_.fd(), into, static_cast<std::size_t>(size), 0);
    while (got < 0 && errno == EINTR);
    of.input_ended_ = got == 0;
    of.would_block_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (of.would_block_) BIO_set_retry_read(bio);
    return static_cast<int>(got);
  }
  static int write(BIO* bio, const char* bytes, int size) {
    std::vector<char>& output = stream(bio).shared_.output();
    output.insert(output.end(), bytes, bytes + size);
    return size;
  }
  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return stream(bio).input_ended_ ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
  /// Shared by all threads; never freed.
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const all = [] {
      BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "backplane");
      CHECK(made != nullptr, "a BIO method can be created");
      BIO_meth_set_read(made, &Bio::read);
      BIO_meth_set_write(made, &Bio::write);
      BIO_meth_set_ctrl(made, &Bio::control);
      return made;
    }();
    return all;
  }
};

TlsStream::~TlsStream() {
  if (state_ == State::handshake) note_left_handshake();
  leave_handshake();
  if (counted_) shared_.count_connection(false);
}

void TlsStream::attach(Client& client) {
  client_ = &client;
  const bool required = shared_.options().required;
  plain_after_ = Clock::now() + silence_of_tls_max;
  client.set_connecting(required);
  shared_.timers().set(*this, required ? Clock::now() + shared_.options().handshake_timeout : plain_after_);
}

void TlsStream::on_time(Clock::time_point) {
  switch (state_) {
    case State::undecided:
      if (!shared_.options().required) return client_->on_writable();  // if there is something to write
      return refuse_plaintext(true);
    case State::refused:
      return refuse_plaintext(true);
    case State::handshake:
      shared_.count_failure(TlsFailure::timed_out, socket_.fd(), {});
      return break_off();
    case State::closing:
      return client_->abort();
    case State::plain:
    case State::encrypted:
    case State::broken:
      return;
  }
}

void TlsStream::give_way() noexcept {
  shared_.count_failure(TlsFailure::too_many, socket_.fd(), {});
  break_off();
}

void TlsStream::break_off() noexcept {
  state_ = State::broken;
  leave_handshake();
  client_->abort();
}

// ---- which protocol ----

ssize_t TlsStream::read(std::span<char> into) noexcept {
  switch (state_) {
    case State::plain:
      return socket_.read(into);
    case State::undecided:
      return decide() ? read(into) : -1;
    case State::refused:
      return read_refused();
    case State::handshake:
      return continue_handshake() ? read_encrypted(into) : -1;
    case State::encrypted:
      return read_encrypted(into);
    case State::closing:
      return discard_input();
    case State::broken:
      break;
  }
  errno = ECONNABORTED;
  return -1;
}

ssize_t TlsStream::write(std::span<const iovec> pieces) noexcept {
  switch (state_) {
    case State::plain:
      return socket_.write(pieces);
    case State::encrypted:
      return write_encrypted(pieces);
    case State::undecided:
      if (shared_.options().required || Clock::now() < plain_after_) break;
      become_plain();
      return socket_.write(pieces);
    case State::broken:
      errno = ECONNABORTED;
      return -1;
    case State::refused:
    case State::handshake:
    case State::closing:
      break;
  }
  errno = EAGAIN;  // until Client::on_connected()
  return -1;
}

/// @returns false, with errno, if no byte has come.
bool TlsStream::decide() {
  char first{};
  const ssize_t got = ::recv(socket_.fd(), &first, 1, MSG_PEEK);
  if (got < 0) return false;
  if (got == 1 && first == handshake_byte) {
    begin_handshake();
  } else if (shared_.options().required) {
    refuse_plaintext(got == 0);
  } else {
    become_plain();
  }
  return true;
}

void TlsStream::become_plain() {
  state_ = State::plain;
  cancel();
  client_->on_connected();
}

void TlsStream::refuse_plaintext(bool last) {
  if (state_ == State::undecided) {
    state_ = State::refused;
    shared_.count_plaintext_refused();
    shared_.timers().set(*this, Clock::now() + answer_wait);
  }
  const auto& refuse = shared_.options().refuse_plaintext;
  const std::string answer = refuse ? refuse(kept_, last) : std::string();
  if (answer.empty() && !last) return;
  (void)send(answer);  // best effort: the socket's buffer is empty, so the answer fits
  std::string().swap(kept_);
  close_soon();
}

ssize_t TlsStream::read_refused() {
  std::array<char, begun_bytes_max> buffer;
  const ssize_t got = ::recv(socket_.fd(), buffer.data(), buffer.size() - kept_.size(), 0);
  if (got < 0) return -1;
  kept_.append(buffer.data(), static_cast<std::size_t>(got));
  refuse_plaintext(got == 0 || kept_.size() == buffer.size());
  errno = EINTR;  // there may be more
  return -1;
}

/// Closing with unread bytes would destroy the last ones that are written.
void TlsStream::close_soon() {
  state_ = State::closing;
  leave_handshake();
  (void)socket_.end_output();
  shared_.timers().set(*this, Clock::now() + answer_wait);
}

ssize_t TlsStream::discard_input() noexcept {
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(socket_.fd(), buffer.data(), buffer.size(), 0);
  if (got > 0) errno = EINTR;
  if (got == 0) errno = ECONNABORTED;
  return -1;
}

// ---- the handshake ----

void TlsStream::begin_handshake() {
  state_ = State::handshake;
  client_->set_connecting(true);
  if (!shared_.options().required) {
    shared_.timers().set(*this, Clock::now() + shared_.options().handshake_timeout);
  }
  handshake_ = shared_.begin_handshake(*this);
  context_ = shared_.context();
  ssl_ = context_->accept();
  BIO* const bio = BIO_new(Bio::method());
  CHECK(ssl_ != nullptr && bio != nullptr, "there is memory for a connection");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

void TlsStream::leave_handshake() noexcept {
  if (handshake_) shared_.end_handshake(*std::exchange(handshake_, std::nullopt));
}

/// @returns whether the handshake is complete. If not, errno is EAGAIN, EINPROGRESS, EINTR, or an error.
bool TlsStream::continue_handshake() {
  if (!shared_.may_continue()) {
    if (!std::exchange(deferred_, true)) shared_.defer(client_->id());
    errno = EAGAIN;
    return false;
  }
  deferred_ = false;
  if (!send_kept()) {
    errno = EINPROGRESS;
    return false;
  }
  const auto began = Clock::now();
  ERR_clear_error();
  would_block_ = false;
  const int result = SSL_do_handshake(ssl_.get());
  const int error = SSL_get_error(ssl_.get(), result);
  shared_.spend(Clock::now() - began);
  answered_ = answered_ || !shared_.output().empty();
  const bool sent = send_output();
  if (result == 1) {
    complete_handshake();
    return true;
  }
  if (error == SSL_ERROR_WANT_READ) {
    errno = !sent ? EINPROGRESS : would_block_ ? EAGAIN : EINTR;
    return false;
  }
  const unsigned long first = ERR_peek_error();
  if (input_ended_ || error == SSL_ERROR_SYSCALL) {
    shared_.count_failure(TlsFailure::closed, socket_.fd(), {});
    state_ = State::broken;
    errno = ECONNRESET;
    return false;
  }
  shared_.count_failure(reason_of(first), socket_.fd(), detail_of(ssl_.get(), first));
  ERR_clear_error();
  std::string().swap(kept_);
  close_soon();  // with the alert that send_output() has sent
  errno = EINTR;
  return false;
}

/// The connection has ended during its handshake. If the client has sent an alert after the gateway's answer,
/// that is the reason.
void TlsStream::note_left_handshake() {
  int error = SSL_ERROR_SYSCALL;
  ERR_clear_error();
  if (answered_) error = SSL_get_error(ssl_.get(), SSL_do_handshake(ssl_.get()));
  const unsigned long first = ERR_peek_error();
  const bool rejected = error == SSL_ERROR_SSL && !input_ended_ && reason_of(first) == TlsFailure::rejected;
  shared_.count_failure(rejected ? TlsFailure::rejected : TlsFailure::closed, socket_.fd(),
                        rejected ? detail_of(ssl_.get(), first) : std::string_view{});
  ERR_clear_error();
  shared_.output().clear();
}

void TlsStream::complete_handshake() {
  state_ = State::encrypted;
  leave_handshake();
  cancel();
  counted_ = true;
  shared_.count_handshake();
  shared_.count_connection(true);
  peer_name_ = peer_common_name(*ssl_);
  client_->on_connected();
}

// ---- data ----

ssize_t TlsStream::read_encrypted(std::span<char> into) {
  if (kept_.size() > kept_bytes_max && !send_kept()) {
    errno = EINPROGRESS;
    return -1;
  }
  ERR_clear_error();
  would_block_ = false;
  const int got = SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size()));
  const int error = SSL_get_error(ssl_.get(), got);
  (void)send_output();
  if (got > 0) return got;
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  if (error == SSL_ERROR_WANT_READ) {
    errno = would_block_ ? EAGAIN : EINTR;
    return -1;
  }
  // The end of the input without TLS's own end is an error too: somebody else may have cut a command short.
  ERR_clear_error();
  state_ = State::broken;
  errno = ECONNRESET;
  return -1;
}

ssize_t TlsStream::write_encrypted(std::span<const iovec> pieces) {
  if (!send_kept()) {
    errno = send_failed_ ? EPIPE : EAGAIN;
    return -1;
  }
  std::vector<char>& output = shared_.output();
  Records records;
  std::size_t accepted = 0;
  const auto send_records = [&] {
    const std::size_t sent = send({output.data(), output.size()});
    unsent_ = records.unsent(sent);
    kept_.append(output.data() + sent, output.size() - sent);
    output.clear();
    records.clear();
    return kept_.empty();
  };
  for (const iovec& piece : pieces) {
    std::string_view left(static_cast<const char*>(piece.iov_base), piece.iov_len);
    while (!left.empty()) {
      const std::string_view record = left.substr(0, record_bytes);
      std::size_t written = 0;
      ERR_clear_error();
      if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &written) != 1 || written != record.size()) {
        ERR_clear_error();
        output.clear();
        state_ = State::broken;
        errno = EPROTO;
        return -1;
      }
      accepted += written;
      left.remove_prefix(written);
      records.add(written, output.size());
      if ((output.size() >= chunk_bytes || records.full()) && !send_records()) {
        return static_cast<ssize_t>(accepted);
      }
    }
  }
  (void)send_records();
  return static_cast<ssize_t>(accepted);
}

bool TlsStream::end_output() noexcept {
  if (state_ == State::encrypted) {
    if (!std::exchange(end_notified_, true)) {
      ERR_clear_error();
      (void)SSL_shutdown(ssl_.get());
      (void)send_output();
    }
    if (!send_kept() && !send_failed_) return false;
  }
  return socket_.end_output();
}

/// Sends what OpenSSL has written, and keeps the rest. @returns whether everything is sent.
bool TlsStream::send_output() noexcept {
  std::vector<char>& output = shared_.output();
  if (!output.empty()) {
    const std::size_t sent = kept_.empty() ? send({output.data(), output.size()}) : 0;
    kept_.append(output.data() + sent, output.size() - sent);
    output.clear();
  }
  return kept_.empty();
}

/// @returns whether nothing is kept any longer.
bool TlsStream::send_kept() noexcept {
  if (kept_.empty()) return true;
  kept_.erase(0, send(kept_));
  if (!kept_.empty()) return false;
  std::string().swap(kept_);
  unsent_ = 0;
  return true;
}

/// @returns how many bytes the kernel has taken.
std::size_t TlsStream::send(std::string_view bytes) noexcept {
  if (bytes.empty()) return 0;
  ssize_t sent = 0;
  do sent = ::send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  send_failed_ = send_failed_ || (errno != EAGAIN && errno != EWOULDBLOCK);
  return 0;
}

}  // namespace backplane::fanout
