// The cost of encoding an event in each format, in nanoseconds and allocations.

#include <array>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>
#include <string>

#include <benchmark/benchmark.h>
#include <google/protobuf/descriptor.pb.h>

#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/wire/stamp.hpp"
#include "gateway/encode/encoder.hpp"

namespace {

std::size_t allocations = 0;  // of this thread

}  // namespace

// Not inlined: GCC would warn about free() of memory from new.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  void* const block = std::malloc(bytes);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}

namespace backplane::gateway {
namespace {

const wire::Stamp stamp{.stream = 0x00c0ffee0000002a,
                        .position = 123'456,
                        .offset = 1234,
                        .previous = 123'450,
                        .received_ns = 1'000'000'000'123'456'789};

std::string stamped(v1::Event event) {
  event.set_source("quotes@host7");
  event.set_session(0x1122334455667788);
  event.set_sequence(123'456);
  event.mutable_time()->set_seconds(946'684'800);
  event.mutable_time()->set_nanos(500'000'000);
  std::string bytes = event.SerializeAsString();
  std::array<std::byte, wire::stamp_bytes> tail{};
  wire::write_stamp(stamp, tail);
  return bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
}

v1::Event text() {
  v1::Event event;
  event.set_text(std::string(128, 'x'));
  return event;
}

v1::Event binary() {
  v1::Event event;
  event.set_binary(std::string(128, '\xfe'));
  return event;
}

v1::Event text_message() {
  events::v1::TextMessage message;
  message.set_author("somebody");
  message.set_text(std::string(100, 'x'));
  v1::Event event;
  event.mutable_message()->PackFrom(message);
  return event;
}

events::v1::Quote a_quote() {
  events::v1::Quote quote;
  quote.set_symbol("MSFT");
  quote.set_price(39.81);
  quote.mutable_time()->set_seconds(946'684'800);
  return quote;
}

v1::Event quote() {
  v1::Event event;
  event.mutable_message()->PackFrom(a_quote());
  return event;
}

/// The same message under a type name that is not built in.
v1::Event foreign_quote() {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/acme.Quote");
  event.mutable_message()->set_value(a_quote().SerializeAsString());
  return event;
}

std::string foreign_types() {
  google::protobuf::FileDescriptorSet set;
  events::v1::Quote::descriptor()->file()->CopyTo(set.add_file());
  set.mutable_file(0)->set_name("acme/quote.proto");
  set.mutable_file(0)->set_package("acme");
  return set.SerializeAsString();
}

void encode(benchmark::State& state, v1::Event (*make)()) {
  const auto format = static_cast<Format>(state.range(0));
  state.SetLabel(std::string(name(format)));
  const std::string event = stamped(make());
  Encoder encoder;
  if (encoder.payloads().add_types(foreign_types()).refusal != TypeRegistry::Refusal::none) std::abort();
  std::string out;
  const auto once = [&] {
    out.clear();
    if (!encoder.encode(format, "stock.MSFT", std::as_bytes(std::span(event)), stamp, out)) std::abort();
    benchmark::DoNotOptimize(out.data());
  };
  once();  // grows the buffers, and makes the message that is reused
  const std::size_t before = allocations;
  for (auto _ : state) once();
  state.counters["allocations"] =
      benchmark::Counter(static_cast<double>(allocations - before), benchmark::Counter::kAvgIterations);
  state.counters["bytes"] = static_cast<double>(out.size());
}

void all_formats(benchmark::internal::Benchmark* benchmark) {
  for (std::size_t format = 0; format < format_count; ++format) {
    benchmark->Arg(static_cast<std::int64_t>(format));
  }
}

BENCHMARK_CAPTURE(encode, text_128, text)->Apply(all_formats);
BENCHMARK_CAPTURE(encode, bytes_128, binary)->Apply(all_formats);
BENCHMARK_CAPTURE(encode, text_message, text_message)->Apply(all_formats);
BENCHMARK_CAPTURE(encode, quote, quote)->Apply(all_formats);
BENCHMARK_CAPTURE(encode, foreign_quote, foreign_quote)->Apply(all_formats);

}  // namespace
}  // namespace backplane::gateway
