#pragma once
// How a failure is told: as a value (Result), or, for a broken promise of our own code, by CHECK.

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace backplane {

/// What kind of thing went wrong, for code that decides; `Error::text` is for people.
enum class ErrorCode {
  invalid_argument,  ///< the caller or the user gave something that cannot be used
  not_found,         ///< a file, a topic or a process that should be there is not
  unavailable,       ///< the other side cannot be reached now; trying again may help
  timeout,           ///< nothing answered within the time given
  exhausted,         ///< a limit is reached: memory, descriptors, topics
  protocol,          ///< the other side said something that it must not say
  io,                ///< the operating system refused
};

/// A failure as a value. The text is one line: where, what was wanted, what was there.
struct Error {
  ErrorCode code{ErrorCode::invalid_argument};
  std::string text;
};

template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorCode::io, "…")` from a function that returns a Result.
inline tl::unexpected<Error> fail(ErrorCode code, std::string text) {
  return tl::unexpected(Error{code, std::move(text)});
}

/// Logs and aborts; see CHECK.
[[noreturn]] void check_failed(const char* condition, const char* what_must_hold, const char* file, int line);

}  // namespace backplane

/// A promise of our own code, checked in every build: logs it and aborts where it is broken.
/// Never for input from outside.
#define CHECK(condition, what_must_hold) \
  ((condition) ? void(0) : ::backplane::check_failed(#condition, what_must_hold, __FILE__, __LINE__))
