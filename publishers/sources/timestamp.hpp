#pragma once
// Times in the typed payloads.

#include <cstdint>

#include <google/protobuf/timestamp.pb.h>

namespace backplane::sources {

/// Converts Unix nanoseconds to a Timestamp, whose nanoseconds count forward, also before 1970.
inline void set_time(google::protobuf::Timestamp& time, std::int64_t unix_ns) {
  constexpr std::int64_t second_ns = 1'000'000'000;
  const std::int64_t nanos = ((unix_ns % second_ns) + second_ns) % second_ns;
  time.set_seconds((unix_ns - nanos) / second_ns);
  time.set_nanos(static_cast<std::int32_t>(nanos));
}

}  // namespace backplane::sources
