#pragma once
// Decides about requests.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/access/access.hpp"
#include "broker/control/fault.hpp"
#include "broker/state/backplane_state.hpp"
#include "core/log/log.hpp"

namespace backplane::broker {

class Participants;
struct Participant;

/// What of a request its user may read: everything, or what a filter leaves.
struct Readable {
  std::shared_ptr<const TopicFilter> filter;
  [[nodiscard]] bool hides_topics() const noexcept { return filter != nullptr; }
  /// Patterns that are compared with each topic, beside those of the request.
  [[nodiscard]] std::size_t patterns() const noexcept { return filter ? filter->patterns().size() : 0; }
};

/// What the senders of requests may do. Without a policy, everything. With one, every decision is counted,
/// and the refusals (`not_permitted`) are logged at a limited rate. Lives on the loop thread; owns nothing.
class Permissions {
 public:
  Permissions(BackplaneState& state, Access& access) : state_(state), access_(access) {}

  /// Whether the sender may send requests at all.
  ControlResult<void> known(const Sender& sender);
  /// What the sender may read of a pattern; `where` begins the error.
  ControlResult<Readable> read(const Sender& sender, std::string_view where, const Pattern& pattern);
  /// The same for several patterns: removes those of which the user may read nothing. If none is left, the
  /// first is refused.
  ControlResult<Readable> read_some(const Sender& sender, std::string_view where,
                                    std::vector<Pattern>& patterns);
  /// Whether the sender may do `what`, which needs `admin`.
  ControlResult<void> administer(const Sender& sender, std::string_view what);
  /// Whether the sender may send Hello or goodbye as `participant`.
  ControlResult<void> appear(const Sender& sender, const Participants& participants,
                             const Participant& participant);
  /// Whether the sender may know what was admitted of a session. nullptr: one that is unknown.
  ControlResult<void> confirm(const Sender& sender, const SessionEntry* session);
  /// What every user may do.
  void permit();

 private:
  [[nodiscard]] tl::unexpected<Fault> forbid(const Sender& sender, std::string text);

  BackplaneState& state_;
  Access& access_;
  log::RateLimit lines_{std::chrono::seconds{1}};
};

}  // namespace backplane::broker
