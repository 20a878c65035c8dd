#pragma once
// Wakes a thread that polls.

namespace backplane {

/// An eventfd: readable from wake() until drain(). Any thread may call both, and neither blocks. A signal
/// handler may call wake().
class WakeFd {
 public:
  /// Throws std::system_error if the kernel refuses.
  WakeFd();
  ~WakeFd();
  WakeFd(const WakeFd&) = delete;
  WakeFd& operator=(const WakeFd&) = delete;

  void wake() const noexcept;
  void drain() const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace backplane
