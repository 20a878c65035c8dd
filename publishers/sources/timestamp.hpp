#pragma once
// Instants as the typed payloads carry them.

#include <cstdint>

#include <google/protobuf/timestamp.pb.h>

namespace backplane::sources {

/// Unix nanoseconds into a Timestamp, which counts its nanoseconds forward before 1970 too.
inline void set_time(google::protobuf::Timestamp& time, std::int64_t unix_ns) {
  constexpr std::int64_t second_ns = 1'000'000'000;
  const std::int64_t nanos = ((unix_ns % second_ns) + second_ns) % second_ns;
  time.set_seconds((unix_ns - nanos) / second_ns);
  time.set_nanos(static_cast<std::int32_t>(nanos));
}

}  // namespace backplane::sources
