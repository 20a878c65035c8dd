#pragma once
// How failures are reported: as a value (Result), or by CHECK if our own code breaks a promise.

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace backplane {

/// The kind of failure, for code that reacts to it. `Error::text` is for people.
enum class ErrorCode {
  invalid_argument,  ///< the caller or the user gave something unusable
  not_found,         ///< a file, a topic or a process does not exist
  unavailable,       ///< the other side cannot be reached now; a retry may help
  timeout,           ///< no reply in time
  exhausted,         ///< a limit is reached: memory, descriptors, topics
  protocol,          ///< the other side violated the protocol
  io,                ///< the operating system refused
};

/// A failure as a value. The text is one line: where, what was expected, what was there.
struct Error {
  ErrorCode code{ErrorCode::invalid_argument};
  std::string text;
};

template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorCode::io, "…")` in a function that returns a Result.
inline tl::unexpected<Error> fail(ErrorCode code, std::string text) {
  return tl::unexpected(Error{code, std::move(text)});
}

/// Prints the promise and aborts; see CHECK.
[[noreturn]] void check_failed(const char* condition, const char* what_must_hold, const char* file, int line);

}  // namespace backplane

/// A promise of our own code, checked in every build: if it is broken, prints it and aborts. Never for input
/// from outside.
#define CHECK(condition, what_must_hold) \
  ((condition) ? void(0) : ::backplane::check_failed(#condition, what_must_hold, __FILE__, __LINE__))
