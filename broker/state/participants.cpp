#include "broker/state/participants.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "backplane/v1/system.pb.h"
#include "core/log/escape.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"

namespace backplane::broker {
namespace {

static_assert(source_topic_prefix.size() + source_name_bytes_max == topic_bytes_max);

constexpr std::array<std::string_view, role_count> role_names{"unspecified", "publisher", "gateway",
                                                              "client"};

constexpr std::size_t index(Role role) {
  return static_cast<std::size_t>(role);
}

}  // namespace

std::string_view name(Role role) noexcept {
  return role_names[index(role)];
}

std::string source_topic(std::string_view name) {
  CHECK(!name.empty() && name.size() <= source_name_bytes_max, "a source name fits into a topic");
  const bool utf8 = wire::is_utf8(name);
  std::string topic(source_topic_prefix);
  for (std::size_t at = 0; at < name.size(); ++at) {
    const auto byte = static_cast<unsigned char>(name[at]);
    const bool last = at + 1 == name.size();
    if (utf8 && byte == 0xc2 && static_cast<unsigned char>(name[at + 1]) <= 0x9f) {
      topic += "__";  // U+0080 to U+009F: control characters of two bytes
      ++at;
      continue;
    }
    const bool empty_token = byte == '.' && (topic.back() == '.' || last);
    const bool illegal =
        byte <= 0x20 || byte == 0x7f || byte == '*' || byte == '>' || (byte >= 0x80 && !utf8);
    topic += empty_token || illegal ? '_' : name[at];
  }
  CHECK(check_topic(topic) == TopicFault::none, "an escaped source name makes a topic");
  return topic;
}

std::size_t Participants::KeyHash::operator()(const Key& key) const noexcept {
  return std::hash<std::string>{}(key.name) ^
         (std::hash<std::uint64_t>{}(key.session) * 31 + index(key.role));
}

Participants::Participants(OnStatus on_status) : Participants(std::move(on_status), Options{}) {}

Participants::Participants(OnStatus on_status, Options options)
    : on_status_(std::move(on_status)), options_(options) {}

Result<void> Participants::check(const Participant& participant) const {
  if (participant.name.empty() || participant.name.size() > source_name_bytes_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("hello.name: expected 1 to {} bytes, got {}",
                                                         source_name_bytes_max, participant.name.size()));
  }
  if (index(participant.role) >= role_count) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("hello.role: expected 0 to {}, got {}", role_count - 1, index(participant.role)));
  }
  if (participant.counters.size() > options_.counters_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("hello.counters: expected at most {}, got {}",
                                                         options_.counters_max, participant.counters.size()));
  }
  for (const auto& counter : participant.counters) {
    if (counter.first.size() <= options_.counter_name_bytes_max) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("hello.counters: expected names of at most {} bytes, got {} bytes",
                            options_.counter_name_bytes_max, counter.first.size()));
  }
  return {};
}

void Participants::count(const Participant& participant, bool add) {
  const auto change = [add](auto& figure, std::uint64_t by) {
    if (add) {
      figure += by;
    } else {
      figure -= by;
    }
  };
  change((participant.up ? figures_.up : figures_.down)[index(participant.role)], 1);
  const auto counter = [&](std::string_view name) {
    return std::ranges::find(participant.counters, name,
                             [](const auto& each) { return std::string_view(each.first); });
  };
  const auto lag = counter("link_lag_positions");
  if (lag == participant.counters.end()) return;
  change(participant.up ? figures_.links_up : figures_.links_down, 1);
  if (participant.up) change(figures_.link_lag_positions, lag->second);
  if (const auto lost = counter("link_lost_total"); lost != participant.counters.end())
    change(figures_.link_lost, lost->second);
}

bool Participants::belongs_to_another(const Participant& participant) const {
  const auto known = numbers_.find(Key{participant.role, participant.session, participant.name});
  if (known != numbers_.end()) {
    const UserNumber user = entries_.at(known->second).participant.user;
    if (user != no_user && user != participant.user) return true;
  }
  if (participant.role != Role::publisher) return false;
  const auto source = sources_.find(participant.name);
  return source != sources_.end() && source->second.up && source->second.user != no_user &&
         source->second.user != participant.user;
}

Result<void> Participants::hello(Participant participant, bool closing, Clock::time_point now) {
  if (auto checked = check(participant); !checked) return checked;
  const auto known = numbers_.find(Key{participant.role, participant.session, participant.name});
  if (closing) {
    if (known == numbers_.end()) return {};
    Entry& entry = entries_.at(known->second);
    count(entry.participant, false);
    entry.participant.counters = std::move(participant.counters);
    count(entry.participant, true);
    if (entry.participant.up) mark_down(known->second, entry, "closed");
    return {};
  }
  if (known != numbers_.end()) {
    refresh(entries_.at(known->second), known->second, participant, now);
    return {};
  }
  const auto number = add(participant);
  if (!number) return tl::unexpected(number.error());
  Entry& entry = entries_.at(*number);
  entry.last_hello = now;
  if (entry.participant.role == Role::publisher) source_is_up(entry.participant, true);
  return {};
}

Result<std::uint64_t> Participants::add(Participant& participant) {
  if (entries_.size() >= options_.participants_max) {
    if (down_.empty()) {
      return fail(ErrorCode::exhausted,
                  fmt::format("hello: limit of {} participants reached", options_.participants_max));
    }
    evict(down_.front());
  }
  const std::uint64_t number = ++last_number_;
  participant.up = true;
  numbers_.emplace(Key{participant.role, participant.session, participant.name}, number);
  count(participant, true);
  if (participant.role == Role::publisher) ++sources_[participant.name].entries;
  entries_.emplace(number, Entry{std::move(participant), {}, up_.insert(up_.end(), number)});
  return number;
}

void Participants::refresh(Entry& entry, std::uint64_t number, Participant& participant,
                           Clock::time_point now) {
  entry.last_hello = now;
  count(entry.participant, false);
  entry.participant.counters = std::move(participant.counters);
  entry.participant.user = participant.user;
  up_.splice(up_.end(), entry.participant.up ? up_ : down_, entry.list_entry);
  entry.participant.up = true;
  count(entry.participant, true);
  CHECK(*entry.list_entry == number, "a participant is in the list at its own entry");
  if (entry.participant.role == Role::publisher) source_is_up(entry.participant, false);
}

void Participants::source_is_up(const Participant& participant, bool is_new) {
  Source& source = sources_.at(participant.name);
  const bool is_active = source.up && source.session == participant.session;
  // An older session that still sends Hello beside a newer one does not take the name back.
  if (is_active || (source.up && !is_new)) return;
  source.session = participant.session;
  source.user = participant.user;
  source.up = true;
  announce(participant, true, "");
}

void Participants::mark_down(std::uint64_t number, Entry& entry, const char* reason) {
  CHECK(*entry.list_entry == number, "a participant is in the list at its own entry");
  count(entry.participant, false);
  entry.participant.up = false;
  count(entry.participant, true);
  down_.splice(down_.end(), up_, entry.list_entry);
  if (entry.participant.role != Role::publisher) return;
  Source& source = sources_.at(entry.participant.name);
  if (!source.up || source.session != entry.participant.session) return;
  source.up = false;
  announce(entry.participant, false, reason);
}

void Participants::expire(Clock::time_point now) {
  while (!up_.empty()) {
    const std::uint64_t number = up_.front();
    Entry& entry = entries_.at(number);
    if (now - entry.last_hello < options_.silence_max) return;
    mark_down(number, entry, "silent");
  }
}

void Participants::evict(std::uint64_t number) {
  const auto found = entries_.find(number);
  const Participant& participant = found->second.participant;
  if (participant.role == Role::publisher) {
    const auto source = sources_.find(participant.name);
    if (--source->second.entries == 0) sources_.erase(source);
  }
  count(participant, false);
  down_.erase(found->second.list_entry);
  numbers_.erase(Key{participant.role, participant.session, participant.name});
  entries_.erase(found);
}

void Participants::announce_again(
    const std::function<bool(const std::string& topic, std::uint64_t session)>& is_wanted) {
  for (const auto& [name, source] : sources_) {
    if (!source.up || !is_wanted(source_topic(name), source.session)) continue;
    announce({.name = name, .session = source.session}, true, "");
  }
}

void Participants::announce(const Participant& participant, bool up, const char* reason) {
  v1::SourceStatus status;
  status.set_name(wire::is_utf8(participant.name) ? participant.name : log::escape(participant.name));
  status.set_session(participant.session);
  status.set_up(up);
  status.set_reason(reason);
  on_status_(source_topic(participant.name), status);
}

Participants::Page Participants::list(std::uint64_t after, std::size_t participants_max) const {
  Page page;
  auto next = entries_.upper_bound(after);
  for (; next != entries_.end() && page.participants.size() < participants_max; ++next) {
    page.participants.push_back(&next->second.participant);
    page.numbers.push_back(next->first);
  }
  page.more = next != entries_.end();
  return page;
}

}  // namespace backplane::broker
