#include "core/log/log.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"

namespace backplane::log {
namespace {

// Shared by all threads of the process, like standard error itself.
std::atomic<Level> current_level{Level::info};

std::string_view colour(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug:
      return "\x1b[36m";
    case spdlog::level::info:
      return "\x1b[32m";
    case spdlog::level::warn:
      return "\x1b[33m\x1b[1m";
    case spdlog::level::err:
      return "\x1b[31m\x1b[1m";
    default:
      return "\x1b[0m";
  }
}

/// Queues lines for standard error, where nobody may be reading.
class StandardErrorSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit StandardErrorSink(bool colours) : colours_(colours) {}

  /// The line that reports dropped lines.
  std::string notice(const std::string& program, std::uint64_t dropped) {
    const std::string text =
        fmt::format("{} log lines were dropped here, because they could not be written", dropped);
    const std::lock_guard lock(mutex_);
    return format({program, spdlog::level::warn, text});
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override { standard_error().write(format(message)); }
  void flush_() override {}

 private:
  /// The line of a message. Needs the lock, because the formatter caches the time.
  std::string format(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    std::string line(buffer.data(), buffer.size());
    if (colours_ && message.color_range_end > message.color_range_start) {
      line.insert(message.color_range_end, "\x1b[0m");
      line.insert(message.color_range_start, colour(message.level));
    }
    return line;
  }

  bool colours_;
};

std::unique_ptr<spdlog::formatter> make_formatter() {
  return std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %^%-7l%$ %n: %v",
                                                     spdlog::pattern_time_type::utc);
}

std::unique_ptr<spdlog::logger> make_logger(std::string_view program) {
  // https://no-color.org: if set and not empty, no colours.
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = no_color != nullptr && *no_color != '\0';
  const bool colours =
      !plain && spdlog::details::os::in_terminal(stderr) && spdlog::details::os::is_color_terminal();
  auto sink = std::make_shared<StandardErrorSink>(colours);
  sink->set_formatter(make_formatter());
  standard_error().set_notice(
      [sink, name = std::string(program)](std::uint64_t dropped) { return sink->notice(name, dropped); });
  auto logger = std::make_unique<spdlog::logger>(std::string(program), std::move(sink));
  logger->set_level(spdlog::level::trace);  // enabled() decides, before anything is formatted
  return logger;
}

std::unique_ptr<spdlog::logger>& logger() {
  static std::unique_ptr<spdlog::logger> instance = make_logger("backplane");
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::off:
      break;
  }
  return spdlog::level::off;
}

}  // namespace

Result<Level> parse_level(std::string_view text) {
  if (text == "debug") return Level::debug;
  if (text == "info") return Level::info;
  if (text == "warning") return Level::warning;
  if (text == "error") return Level::error;
  if (text == "off") return Level::off;
  return fail(ErrorCode::invalid_argument,
              fmt::format("expected debug, info, warning, error or off, got \"{}\"", escape(text)));
}

void set_level(Level level) noexcept {
  current_level.store(level, std::memory_order_relaxed);
}

void set_program(std::string_view name) {
  std::unique_ptr<spdlog::logger>& current = logger();  // first: it makes one, too
  current = make_logger(name);
}

bool enabled(Level level) noexcept {
  return level != Level::off && level >= current_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view text) {
  if (!enabled(level)) return;
  logger()->log(to_spdlog(level), spdlog::string_view_t(escape(text)));
}

std::uint64_t dropped_lines() noexcept {
  return standard_error().dropped();
}

bool RateLimit::allow(Clock::time_point now) {
  if (now < next_) {
    ++pending_;
    return false;
  }
  next_ = now + interval_;
  suppressed_ = pending_;
  pending_ = 0;
  return true;
}

}  // namespace backplane::log
