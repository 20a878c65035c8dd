#pragma once
// How one thread wakes another that polls.

namespace backplane {

/// An eventfd: readable from wake() until drain(). Both may be called from any thread, and never block;
/// wake() also from a signal handler.
class WakeFd {
 public:
  /// Throws std::system_error where the kernel refuses.
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
