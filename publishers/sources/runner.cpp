#include "publishers/sources/runner.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <fmt/format.h>
#include <poll.h>

#include "core/credentials/broker_keys.hpp"
#include "core/log/line_writer.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/topic.hpp"
#include "publishers/sources/pace.hpp"

namespace backplane::sources {
namespace {

using Clock = log::RateLimit::Clock;

// Ctrl-C must end a whole set of programs in under two seconds.
constexpr std::chrono::milliseconds stop_time{1000};
// After a signal, what was already read may still wait this long for the broker to make room.
constexpr std::chrono::milliseconds room_time{400};

Publisher::Options publisher_options(const SourceOptions& options, const std::string& source_name,
                                     const WakeFd& changed,
                                     const std::optional<Publisher::Options::Resume>& resume) {
  Publisher::Options publisher;
  publisher.brokers = options.brokers;
  publisher.credentials = options.credentials;
  publisher.source = source_name;
  publisher.max_event_bytes = options.max_event_bytes;
  publisher.resume = resume;
  publisher.number_too_large = options.number_too_large;
  publisher.on_change = [&changed](const PublisherStatus&) { changed.wake(); };
  return publisher;
}

std::string suppressed_note(const log::RateLimit& limit) {
  return limit.suppressed() == 0 ? "" : fmt::format(" ({} more since the last line)", limit.suppressed());
}

}  // namespace

Runner::Runner(const SourceOptions& options, std::string_view source, Signals& signals,
               const std::optional<Publisher::Options::Resume>& resume)
    : options_(options),
      signals_(signals),
      source_name_(source_name_of(options, source)),
      publisher_(publisher_options(options, source_name_, changed_, resume)),
      first_sequence_(resume ? resume->sequence : 0) {}

bool Runner::wait(std::initializer_list<int> fds) {
  constexpr std::size_t own = 2;
  std::array<pollfd, 8> descriptors{{{signals_.fd(), POLLIN, 0}, {changed_.fd(), POLLIN, 0}}};
  CHECK(fds.size() <= descriptors.size() - own, "a source waits for a few descriptors");
  std::size_t count = own;
  for (const int fd : fds) descriptors[count++] = {fd, POLLIN, 0};
  unpolled_ = 0;
  while (!stopping_) {
    ::poll(descriptors.data(), count, -1);
    if (descriptors[0].revents != 0) read_signals();
    if (descriptors[1].revents != 0) report();
    if (std::any_of(descriptors.begin() + own, descriptors.begin() + static_cast<std::ptrdiff_t>(count),
                    [](const pollfd& each) { return each.revents != 0; })) {
      break;
    }
  }
  return !stopping_;
}

bool Runner::wait_until(Timer& timer, std::int64_t due_ns) {
  // At high rates many events are late, and checking for signals each time would cost more than the event.
  constexpr std::uint32_t unpolled_max = 64;
  if (timer.now_ns() >= due_ns && ++unpolled_ < unpolled_max) return !stopping_;
  timer.set(due_ns);
  return wait({timer.fd()});
}

bool Runner::flush() {
  for (;;) {
    publisher_.request_confirmation();
    const PublisherStatus status = publisher_.status();
    if (status.confirmed == status.offered) break;
    if (!wait_for_change()) return false;
  }
  report();
  return !stopping_;
}

bool Runner::wait_for_change() {
  std::array<pollfd, 2> descriptors{{{signals_.fd(), POLLIN, 0}, {changed_.fd(), POLLIN, 0}}};
  if (!stopping_) ::poll(descriptors.data(), descriptors.size(), -1);
  if (descriptors[0].revents != 0) read_signals();
  if (descriptors[1].revents != 0) report();
  return !stopping_;
}

bool Runner::wait_for_room() {
  if (!stopping_) {
    (void)wait_for_change();
  } else {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(publish_until_ - Clock::now());
    pollfd changed{changed_.fd(), POLLIN, 0};
    ::poll(&changed, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (changed.revents != 0) report();
  }
  return !stopping_ || (publisher_.status().ready && Clock::now() < publish_until_);
}

void Runner::read_signals() {
  for (;;) {
    switch (signals_.next()) {
      case Signals::Event::stop:
        if (!stopping_) publish_until_ = Clock::now() + room_time;
        stopping_ = true;
        break;
      case Signals::Event::reload:
        log::info("{} has nothing to reload", source_name_);
        break;
      case Signals::Event::none:
        return;
    }
  }
}

void Runner::report() {
  changed_.drain();
  const PublisherStatus status = publisher_.status();
  const Clock::time_point now = Clock::now();
  if (status.ready && !ready_printed_) {
    ready_printed_ = true;
    log::standard_output().write(fmt::format("ready role=publisher source={}\n", source_name_));
  } else if (status.ready && !reported_.ready && connections_.allow(now)) {
    log::info("{}: reconnected to a broker{}", source_name_, suppressed_note(connections_));
  }
  if (status.ready) key_problems_.clear();
  if (!status.key_problem.empty()) {
    if (key_problems_.insert(status.key_problem).second)
      log::warning("{}: waiting for a broker: {}", source_name_, status.key_problem);
  } else if (!status.ready && !status.last_problem.empty() && (reported_.ready || !waiting_logged_)) {
    if (!waiting_logged_ || connections_.allow(now)) {
      log::warning("{}: waiting for a broker at {}: {}", source_name_, options_.brokers.front().ingress,
                   status.last_problem);
    }
    waiting_logged_ = true;
  }
  if (status.refused > reported_.refused && refusals_.allow(now)) {
    log::warning("{}: {}{}", source_name_, status.last_problem, suppressed_note(refusals_));
  }
  if (status.session != reported_.session && reported_.session != 0) {
    log::warning("{}: {}", source_name_, status.last_problem);
  }
  if (status.in_doubt > reported_.in_doubt) {
    log::warning("{}: {}; {} events sent before are in doubt", source_name_,
                 status.session != reported_.session && reported_.session != 0
                     ? "they were resent"
                     : "the broker restarted or another one took over",
                 status.in_doubt - reported_.in_doubt);
  }
  reported_ = status;
  if (on_progress_) on_progress_(status);
}

bool Runner::publish(std::string_view where, std::string_view topic, const google::protobuf::Message& message,
                     const EventOptions& event) {
  return publish_with(where, topic, [&] { return publisher_.offer(topic, message, event); });
}

bool Runner::publish_text(std::string_view where, std::string_view topic, std::string_view text) {
  return publish_with(where, topic, [&] { return publisher_.offer_text(topic, text); });
}

bool Runner::publish_with(std::string_view where, std::string_view topic,
                          const std::function<Offer()>& offer) {
  for (;;) {
    switch (offer()) {
      case Offer::accepted:
        return true;
      case Offer::backpressured:
        if (pressure_.allow(Clock::now())) {
          log::warning("{}: waiting for the broker to confirm {} events", source_name_,
                       publisher_.status().offered - publisher_.status().confirmed);
        }
        if (!wait_for_room()) return false;
        break;
      case Offer::too_large:
        return bad_record(fmt::format("{}: expected an event of at most {} bytes, got more", where,
                                      publisher_.status().event_bytes_max));
      case Offer::bad_topic:
        return bad_record(fmt::format("{}: expected a topic, got \"{}\"", where, topic));
      case Offer::closed:
        return false;
    }
  }
}

bool Runner::bad_record(std::string_view problem, std::string_view consequence) {
  ++bad_records_;
  if (options_.stop_on_error) {
    log::error("{}", problem);
    failed_ = true;
    return false;
  }
  if (records_.allow(Clock::now())) log::warning("{}{}{}", problem, consequence, suppressed_note(records_));
  return true;
}

ExitCode Runner::fail(std::string_view problem, ExitCode code) {
  log::error("{}", problem);
  return std::max(finish(), code);
}

ExitCode Runner::finish() {
  // Wait until the broker has everything, however long that takes: piped input must be delivered.
  if (!stopping_) (void)flush();
  report();
  const bool flushed = publisher_.close(publisher_.status().ready ? stop_time : std::chrono::milliseconds{0});
  report();
  const PublisherStatus status = publisher_.status();
  if (bad_records_ > 0) {
    log::warning(
        "{}: bad records: {}; events published: {}", source_name_, bad_records_,
        status.confirmed - first_sequence_ - std::min(status.refused, status.confirmed - first_sequence_));
  }
  bool lost = false;
  if (lost_records_ > 0) {
    log::warning("{}: exiting with {} records that were read and not published: they are lost", source_name_,
                 lost_records_);
    lost = true;
  }
  if (status.confirmed < status.offered) {
    lost = lost || !resumable_;
    log::warning("{}: exiting with {} unconfirmed events: {}", source_name_,
                 status.offered - status.confirmed,
                 resumable_ ? "the next run publishes those that have not arrived" : "they are lost");
  }
  const bool ended_well = stopping_ ? !lost : flushed;
  return ended_well && !failed_ ? ExitCode::done : ExitCode::failed;
}

bool Runner::lose(std::uint64_t records) noexcept {
  if (stopping_) lost_records_ += records;
  return stopping_;
}

ExitCode run_source(const SourceOptions& options, std::string_view name, Signals& signals,
                    const std::function<ExitCode(Runner&)>& source,
                    const std::optional<Publisher::Options::Resume>& resume) {
  try {
    Runner runner(options, name, signals, resume);
    return source(runner);
  } catch (const std::invalid_argument& error) {
    return wrong_usage(error.what());
  } catch (const std::exception& error) {
    log::error("{}: {}", name, error.what());
    return ExitCode::failed;
  }
}

std::string source_name_of(const SourceOptions& options, std::string_view source) {
  return options.source_name.empty() ? default_name(source, keys_of(options.credentials))
                                     : options.source_name;
}

Result<void> check_source_topic(std::string_view topic) {
  const TopicFault fault = check_topic(topic);
  if (fault != TopicFault::none) {
    return fail(ErrorCode::invalid_argument, fmt::format("--topic: {}", describe(fault, topic)));
  }
  if (is_system_topic(topic)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--topic: expected a topic outside $SYS., got \"{}\"", topic));
  }
  return {};
}

Result<void> check_every(std::chrono::nanoseconds every) {
  if (every >= std::chrono::milliseconds{1} && every <= std::chrono::hours{24}) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("--every: expected 1ms to 24h, got {}", format_duration(every)));
}

Result<std::optional<double>> even_rate(const SourceOptions& options, const std::optional<double>& rate) {
  constexpr double rate_max = 1e6;
  if (rate && options.every) {
    return fail(ErrorCode::invalid_argument, "expected only one of --every and --rate, got both");
  }
  if (options.every) {
    const double every_s = std::chrono::duration<double>(*options.every).count();
    if (!(every_s > 0 && every_s >= 1 / rate_max)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--every: expected at least 1us, got {}", format_duration(*options.every)));
    }
    return std::optional(1 / every_s);
  }
  if (rate && !(*rate > 0 && *rate <= rate_max)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--rate: expected more than 0 and at most {} events per second, got {}", rate_max,
                            *rate));
  }
  return rate;
}

ExitCode wrong_usage(std::string_view problem) {
  log::error("{}", problem);
  return ExitCode::usage;
}

}  // namespace backplane::sources
