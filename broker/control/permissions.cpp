#include "broker/control/permissions.hpp"

#include <utility>

#include <fmt/format.h>

#include "broker/state/participants.hpp"
#include "core/log/escape.hpp"

namespace backplane::broker {

using policy::Visibility;

void Permissions::permit() {
  if (access_.has_policy()) ++state_.counters.control_permitted_total;
}

tl::unexpected<Fault> Permissions::forbid(const Sender& sender, std::string text) {
  ++state_.counters.control_not_permitted_total;
  if (lines_.allow(log::RateLimit::Clock::now())) {
    log::warning("{}: refused a request of {} from {}: {}{}", state_.name,
                 sender.name.empty() ? "nobody" : sender.name,
                 sender.address.empty() ? "this machine" : sender.address, text,
                 lines_.suppressed() == 0
                     ? std::string()
                     : fmt::format(" ({} more refusals since the last line)", lines_.suppressed()));
  }
  return refuse("not_permitted", std::move(text));
}

ControlResult<void> Permissions::known(const Sender& sender) {
  if (!access_.has_policy() || sender.user != nullptr) return {};
  if (sender.name.empty()) return forbid(sender, "the connection has no user");
  return forbid(sender, fmt::format("the policy has no user {}", sender.name));
}

ControlResult<Readable> Permissions::read(const Sender& sender, std::string_view where,
                                          const Pattern& pattern) {
  const Visibility visibility = access_.visibility(sender.user, pattern);
  if (visibility == Visibility::none) {
    return forbid(sender, fmt::format("{}: {} may not read \"{}\"", where, sender.name, pattern.str()));
  }
  permit();
  if (visibility == Visibility::all) return Readable{};
  return Readable{access_.readable_topics(*sender.user)};
}

ControlResult<Readable> Permissions::read_some(const Sender& sender, std::string_view where,
                                               std::vector<Pattern>& patterns) {
  if (!access_.has_policy()) return Readable{};
  const std::string first = patterns.front().str();
  bool all = true;
  std::erase_if(patterns, [&](const Pattern& each) {
    const Visibility visibility = access_.visibility(sender.user, each);
    all = all && visibility != Visibility::part;
    return visibility == Visibility::none;
  });
  if (patterns.empty()) {
    return forbid(sender, fmt::format("{}: {} may not read \"{}\"", where, sender.name, first));
  }
  permit();
  if (all) return Readable{};
  return Readable{access_.readable_topics(*sender.user)};
}

ControlResult<void> Permissions::administer(const Sender& sender, std::string_view what) {
  if (!access_.is_admin(sender.user)) {
    return forbid(sender,
                  fmt::format("{} may not {}: no role of this user has admin = true", sender.name, what));
  }
  permit();
  return {};
}

ControlResult<void> Permissions::appear(const Sender& sender, const Participants& participants,
                                        const Participant& participant) {
  if (access_.has_policy() && participants.belongs_to_another(participant)) {
    return forbid(sender,
                  fmt::format("hello.name: expected one that no other user than {} has, got \"{}\"",
                              sender.name, log::escape(participant.name.substr(0, source_name_bytes_max))));
  }
  permit();
  return {};
}

ControlResult<void> Permissions::confirm(const Sender& sender, const SessionEntry* session) {
  if (access_.has_policy() && session != nullptr && session->user != no_user &&
      session->user != access_.number_of(sender.user)) {
    return forbid(sender,
                  fmt::format("admitted: expected a session of {}, got one of another user", sender.name));
  }
  permit();
  return {};
}

}  // namespace backplane::broker
