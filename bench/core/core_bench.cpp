// The cost of each step that every event goes through, in nanoseconds.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

#include "backplane/v1/event.pb.h"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"

namespace backplane {
namespace {

// An event as our publishers send it, with `payload_bytes` of text, bytes or a message.
std::string event_with(wire::Payload kind, std::size_t payload_bytes) {
  v1::Event event;
  event.set_source("clock@host7");
  event.set_session(0x1122334455667788);
  event.set_sequence(123'456);
  event.mutable_time()->set_seconds(946'684'800);
  event.mutable_time()->set_nanos(500'000'000);
  const std::string payload(payload_bytes, 'x');
  switch (kind) {
    case wire::Payload::text:
      event.set_text(payload);
      break;
    case wire::Payload::binary:
      event.set_binary(payload);
      break;
    case wire::Payload::message:
      event.mutable_message()->set_type_url("type.googleapis.com/backplane.events.v1.Quote");
      event.mutable_message()->set_value(payload);
      break;
    case wire::Payload::none:
      break;
  }
  return event.SerializeAsString();
}

void scan(benchmark::State& state, wire::Payload kind) {
  const std::string event = event_with(kind, static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(wire::scan_event(std::as_bytes(std::span(event))));
  }
}
BENCHMARK_CAPTURE(scan, text, wire::Payload::text)->Arg(128)->Arg(4096);
BENCHMARK_CAPTURE(scan, binary, wire::Payload::binary)->Arg(128)->Arg(4096);
BENCHMARK_CAPTURE(scan, message, wire::Payload::message)->Arg(128)->Arg(4096);

// For comparison: parsing the event with protobuf into a reused message.
void protobuf_parse(benchmark::State& state) {
  const std::string event = event_with(wire::Payload::text, static_cast<std::size_t>(state.range(0)));
  v1::Event parsed;
  for (auto _ : state) {
    benchmark::DoNotOptimize(parsed.ParseFromString(event));
  }
}
BENCHMARK(protobuf_parse)->Arg(128)->Arg(4096);

void topic(benchmark::State& state, std::string_view name) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(name);
    benchmark::DoNotOptimize(check_topic(name));
  }
}
BENCHMARK_CAPTURE(topic, ascii_20_bytes, "stock.nasdaq.MSFT.us");
BENCHMARK_CAPTURE(topic, ascii_64_bytes, "weather.stations.europe.germany.bavaria.munich.roof.temperature1");
BENCHMARK_CAPTURE(topic, utf8_20_bytes, "wetter.münchen.dach");

void match(benchmark::State& state, std::string_view text, std::string_view name) {
  const Pattern pattern = Pattern::parse(text).value();
  for (auto _ : state) {
    benchmark::DoNotOptimize(name);
    benchmark::DoNotOptimize(pattern.matches(name));
  }
}
BENCHMARK_CAPTURE(match, exact, "stock.nasdaq.MSFT.us", "stock.nasdaq.MSFT.us");
BENCHMARK_CAPTURE(match, other_prefix, "clock.>", "stock.nasdaq.MSFT.us");
BENCHMARK_CAPTURE(match, long_wildcard, "stock.>", "stock.nasdaq.MSFT.us");
BENCHMARK_CAPTURE(match, two_stars, "stock.*.*.us", "stock.nasdaq.MSFT.us");

void stamp_write(benchmark::State& state) {
  wire::Stamp stamp{.stream = 1, .position = 2, .offset = 3, .previous = 1, .received_ns = 5};
  std::array<std::byte, wire::stamp_bytes> out{};
  for (auto _ : state) {
    ++stamp.position;
    wire::write_stamp(stamp, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(stamp_write);

void stamp_read(benchmark::State& state) {
  std::array<std::byte, wire::stamp_bytes> bytes{};
  wire::write_stamp({.stream = 1, .position = 2, .offset = 3, .previous = 1, .received_ns = 5}, bytes);
  for (auto _ : state) {
    benchmark::DoNotOptimize(wire::read_stamp(bytes));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(stamp_read);

}  // namespace
}  // namespace backplane
