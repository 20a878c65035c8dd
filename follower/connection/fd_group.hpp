#pragma once
// One descriptor that stands for several.

#include <span>

namespace backplane::follower {

/// A descriptor that is readable whenever one of its group is. Members can be added and removed; the
/// descriptor stays the same. Lives on one thread; owns its own descriptor, not those of the group.
class FdGroup {
 public:
  /// Throws std::system_error if no descriptor is left.
  FdGroup();
  ~FdGroup();
  FdGroup(const FdGroup&) = delete;
  FdGroup& operator=(const FdGroup&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// Throws std::system_error if the kernel refuses one.
  void add(std::span<const int> fds);
  void remove(std::span<const int> fds) noexcept;

 private:
  int fd_;
};

}  // namespace backplane::follower
