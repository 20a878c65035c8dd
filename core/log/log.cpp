#include "core/log/log.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>

#include "core/log/escape.hpp"

namespace backplane::log {
namespace {

// Shared by all threads of the process, like standard error itself.
std::atomic<Level> current_level{Level::info};

std::unique_ptr<spdlog::logger> make_logger(std::string_view program) {
  // https://no-color.org: if set and not empty, no colours.
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = no_color != nullptr && *no_color != '\0';
  auto sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>(
      plain ? spdlog::color_mode::never : spdlog::color_mode::automatic);
  auto logger = std::make_unique<spdlog::logger>(std::string(program), std::move(sink));
  logger->set_level(spdlog::level::trace);  // enabled() decides, before anything is formatted
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %^%-7l%$ %n: %v",
                                                                    spdlog::pattern_time_type::utc));
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
  logger() = make_logger(name);
}

bool enabled(Level level) noexcept {
  return level != Level::off && level >= current_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view text) {
  if (!enabled(level)) return;
  logger()->log(to_spdlog(level), spdlog::string_view_t(escape(text)));
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
