#pragma once
// What libnats has made, with owners. Private to the engine: it includes libnats.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nats/nats.h>

namespace backplane::broker::jetstream {

struct Destroy {
  void operator()(natsOptions* each) const noexcept { natsOptions_Destroy(each); }
  void operator()(natsConnection* each) const noexcept { natsConnection_Destroy(each); }
  void operator()(natsSubscription* each) const noexcept { natsSubscription_Destroy(each); }
  void operator()(natsMsg* each) const noexcept { natsMsg_Destroy(each); }
  void operator()(jsCtx* each) const noexcept { jsCtx_Destroy(each); }
  void operator()(jsStreamInfo* each) const noexcept { jsStreamInfo_Destroy(each); }
  void operator()(jsPubAck* each) const noexcept { jsPubAck_Destroy(each); }
  void operator()(jsMsgMetaData* each) const noexcept { jsMsgMetaData_Destroy(each); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;

/// For a function of libnats that sets a pointer: `status = nats_…(Out(owned), …)`.
template <class T>
class Out {
 public:
  explicit Out(Owned<T>& owner) : owner_(owner) {}
  ~Out() { owner_.reset(made_); }
  Out(const Out&) = delete;
  Out& operator=(const Out&) = delete;
  operator T**() noexcept { return &made_; }  // NOLINT(google-explicit-constructor)

 private:
  Owned<T>& owner_;
  T* made_{};
};

/// One line about a failed call, by the thread that has called.
inline std::string text_of(natsStatus status, jsErrCode code = {}) {
  natsStatus last = NATS_OK;
  const char* const detail = nats_GetLastError(&last);
  std::string text =
      last == status && detail != nullptr && *detail != '\0' ? detail : natsStatus_GetText(status);
  if (code != 0) text += fmt::format(" (JetStream error {})", static_cast<int>(code));
  return text;
}

inline std::int64_t milliseconds(std::chrono::milliseconds time) {
  return time.count();
}

}  // namespace backplane::broker::jetstream
