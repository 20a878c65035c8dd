#pragma once
// Decides which batches of a log are applied.

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "broker/log/batch.hpp"

namespace backplane::broker {

/// The brokers that have joined a log, and how far the batches of each have been applied. Batches may come
/// late, more than once, or with one missing before them. What is decided depends on the log only: brokers
/// skip the same batches. A value type.
class Fences {
 public:
  enum class Verdict : std::uint8_t {
    apply,
    duplicate,  ///< a batch with this number has been applied
    fenced,     ///< the incarnation has been replaced, or has not joined
    hole,       ///< the one before is missing: its broker appends both again
  };
  struct Member {
    std::uint64_t incarnation{};
    std::uint64_t number{};  ///< of its last batch that was applied
    bool has_left{};
  };
  using Members = std::map<std::string, Member, std::less<>>;

  /// Decides about the next batch of the log, and takes note of it. `replaces`: of a batch with number 0, the
  /// incarnation in its `join`.
  [[nodiscard]] Verdict pass(const BatchHeader& header, std::uint64_t replaces);
  void leave(std::string_view broker);

  /// The incarnation of a broker; 0: it has not joined.
  [[nodiscard]] std::uint64_t incarnation_of(std::string_view broker) const;
  [[nodiscard]] const Members& members() const noexcept { return members_; }
  void restore(Members members) { members_ = std::move(members); }

 private:
  Members members_;
};

}  // namespace backplane::broker
