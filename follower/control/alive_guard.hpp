#pragma once
// Callbacks that may run after their object has been destroyed.

#include <memory>

namespace backplane::follower {

/// A member of an object whose callbacks are kept elsewhere, for example in a ControlChannel. Each callback
/// keeps a token and does nothing once the token has expired. Object and callbacks live on one thread.
class AliveGuard {
 public:
  class Token {
   public:
    /// Whether the guard's object has been destroyed.
    [[nodiscard]] bool expired() const noexcept { return alive_.expired(); }

   private:
    friend class AliveGuard;
    explicit Token(const std::shared_ptr<const bool>& alive) : alive_(alive) {}
    std::weak_ptr<const bool> alive_;
  };

  AliveGuard() = default;
  AliveGuard(const AliveGuard&) = delete;
  AliveGuard& operator=(const AliveGuard&) = delete;

  [[nodiscard]] Token token() const { return Token{alive_}; }

 private:
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace backplane::follower
