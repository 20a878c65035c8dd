#pragma once
// Several descriptors to be waited for as one.

#include <span>

namespace backplane::follower {

/// A descriptor that is readable whenever one of its group is; which may change, while it stays. Lives on
/// one thread; owns its descriptor, not those of the group.
class FdGroup {
 public:
  /// Throws std::system_error where there are no descriptors left.
  FdGroup();
  ~FdGroup();
  FdGroup(const FdGroup&) = delete;
  FdGroup& operator=(const FdGroup&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// Throws std::system_error as above.
  void add(std::span<const int> fds);
  void remove(std::span<const int> fds) noexcept;

 private:
  int fd_;
};

}  // namespace backplane::follower
