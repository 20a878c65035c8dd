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
  CHECK(!name.empty() && name.size() <= source_name_bytes_max, "a source's name fits a topic");
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

Result<void> Participants::check(const Participant& who) const {
  if (who.name.empty() || who.name.size() > source_name_bytes_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("hello.name: 1 to {} bytes are wanted, got {}",
                                                         source_name_bytes_max, who.name.size()));
  }
  if (index(who.role) >= role_count) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("hello.role: 0 to {} is wanted, got {}", role_count - 1, index(who.role)));
  }
  if (who.counters.size() > options_.counters_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("hello.counters: at most {} are taken, got {}",
                                                         options_.counters_max, who.counters.size()));
  }
  for (const auto& counter : who.counters) {
    if (counter.first.size() <= options_.counter_name_bytes_max) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("hello.counters: names of at most {} bytes are taken, got {} bytes",
                            options_.counter_name_bytes_max, counter.first.size()));
  }
  return {};
}

Result<void> Participants::hello(Participant who, bool closing, Clock::time_point now) {
  if (auto checked = check(who); !checked) return checked;
  const auto known = numbers_.find(Key{who.role, who.session, who.name});
  if (closing) {
    if (known == numbers_.end()) return {};
    Entry& entry = entries_.at(known->second);
    entry.who.counters = std::move(who.counters);
    if (entry.who.up) take_down(known->second, entry, "closed");
    return {};
  }
  if (known != numbers_.end()) {
    refresh(entries_.at(known->second), known->second, who, now);
    return {};
  }
  const auto number = add(who);
  if (!number) return tl::unexpected(number.error());
  Entry& entry = entries_.at(*number);
  entry.heard = now;
  if (entry.who.role == Role::publisher) source_is_up(entry.who, true);
  return {};
}

Result<std::uint64_t> Participants::add(Participant& who) {
  if (entries_.size() >= options_.participants_max) {
    if (down_.empty()) {
      return fail(ErrorCode::exhausted, fmt::format("hello: {} participants are up, which is the limit",
                                                    options_.participants_max));
    }
    evict(down_.front());
  }
  const std::uint64_t number = ++last_number_;
  who.up = true;
  numbers_.emplace(Key{who.role, who.session, who.name}, number);
  ++figures_.up[index(who.role)];
  if (who.role == Role::publisher) ++sources_[who.name].entries;
  entries_.emplace(number, Entry{std::move(who), {}, up_.insert(up_.end(), number)});
  return number;
}

void Participants::refresh(Entry& entry, std::uint64_t number, Participant& who, Clock::time_point now) {
  entry.heard = now;
  entry.who.counters = std::move(who.counters);
  up_.splice(up_.end(), entry.who.up ? up_ : down_, entry.place);
  if (!entry.who.up) {
    entry.who.up = true;
    --figures_.down[index(entry.who.role)];
    ++figures_.up[index(entry.who.role)];
  }
  CHECK(*entry.place == number, "a participant's place is its own");
  if (entry.who.role == Role::publisher) source_is_up(entry.who, false);
}

void Participants::source_is_up(const Participant& who, bool is_new) {
  Source& source = sources_.at(who.name);
  const bool speaks = source.up && source.session == who.session;
  // An older session that goes on saying Hello beside a newer one does not take the name back.
  if (speaks || (source.up && !is_new)) return;
  source.session = who.session;
  source.up = true;
  tell(who, true, "");
}

void Participants::take_down(std::uint64_t number, Entry& entry, const char* reason) {
  CHECK(*entry.place == number, "a participant's place is its own");
  entry.who.up = false;
  --figures_.up[index(entry.who.role)];
  ++figures_.down[index(entry.who.role)];
  down_.splice(down_.end(), up_, entry.place);
  if (entry.who.role != Role::publisher) return;
  Source& source = sources_.at(entry.who.name);
  if (!source.up || source.session != entry.who.session) return;
  source.up = false;
  tell(entry.who, false, reason);
}

void Participants::expire(Clock::time_point now) {
  while (!up_.empty()) {
    const std::uint64_t number = up_.front();
    Entry& entry = entries_.at(number);
    if (now - entry.heard < options_.silence_max) return;
    take_down(number, entry, "silent");
  }
}

void Participants::evict(std::uint64_t number) {
  const auto found = entries_.find(number);
  const Participant& who = found->second.who;
  if (who.role == Role::publisher) {
    const auto source = sources_.find(who.name);
    if (--source->second.entries == 0) sources_.erase(source);
  }
  --figures_.down[index(who.role)];
  down_.erase(found->second.place);
  numbers_.erase(Key{who.role, who.session, who.name});
  entries_.erase(found);
}

void Participants::tell(const Participant& who, bool up, const char* reason) {
  v1::SourceStatus status;
  status.set_name(wire::is_utf8(who.name) ? who.name : log::escape(who.name));
  status.set_session(who.session);
  status.set_up(up);
  status.set_reason(reason);
  on_status_(source_topic(who.name), status);
}

Participants::Page Participants::list(std::uint64_t after, std::size_t participants_max) const {
  Page page;
  auto next = entries_.upper_bound(after);
  for (; next != entries_.end() && page.participants.size() < participants_max; ++next) {
    page.participants.push_back(&next->second.who);
    page.numbers.push_back(next->first);
  }
  page.more = next != entries_.end();
  return page;
}

}  // namespace backplane::broker
