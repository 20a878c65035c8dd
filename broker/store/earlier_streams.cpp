#include "broker/store/earlier_streams.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "broker/store/bytes.hpp"
#include "broker/store/damage.hpp"
#include "broker/store/event_log.hpp"
#include "core/log/log.hpp"

namespace backplane::broker::store {
namespace {

using End = ReadSlice::End;
using What = ReadRequest::What;

constexpr char earlier_mark = 'e';

/// The cursor of a read that began in an earlier incarnation.
struct StreamCursor {
  std::uint64_t stream{};
  std::string_view rest{};  // within it; empty: at its beginning
};

std::string encode(std::uint64_t stream, std::string_view rest) {
  std::string out(1, earlier_mark);
  put(out, stream);
  return out.append(rest);
}

std::optional<StreamCursor> decode(std::string_view cursor) {
  ByteReader in(cursor);
  if (in.take(1) != std::string_view(&earlier_mark, 1)) return std::nullopt;
  StreamCursor decoded;
  decoded.stream = in.get<std::uint64_t>();
  if (!in.ok()) return std::nullopt;
  decoded.rest = in.take(in.left());
  return decoded;
}

// Whether the first event is older than `since`.
bool begins_before(LogState& state, std::int64_t since) REQUIRES(state.mutex) {
  return !state.segments.empty() && !state.segments.front()->blocks.empty() &&
         state.segments.front()->blocks.front().time < since;
}

}  // namespace

struct EarlierStreams::Stream {
  Stream(Files& files, const HistoryLimits& limits)
      : state(limits, 1), survey(state), log(files, state, {}) {}
  LogState state;
  DamageSurvey survey;
  EventLog log;
};

EarlierStreams::EarlierStreams(Files& files, LogState& state, HistoryLimits limits, const ReadWork& work)
    : files_(files), state_(state), limits_(std::move(limits)), work_(work) {}
EarlierStreams::~EarlierStreams() = default;

LogSlice EarlierStreams::read(const ReadRequest& request, DamageSurvey& survey) {
  std::uint64_t current = 0;
  bool has_earlier = false;
  {
    const MutexLock lock(state_.mutex);
    current = state_.stream;
    has_earlier = !state_.earlier.empty();
  }
  const auto cursor = decode(request.cursor);
  if (!cursor) {
    std::uint64_t stream = current;
    if (request.stream != 0) stream = request.stream;
    if (request.cursor.empty() && has_earlier && request.earlier && request.what == What::since_time) {
      stream = first_since(request.since_ns);
    }
    if (stream == current) return LogReader(state_, survey, request, work_).read();
    return read_in(stream, request, survey);
  }
  if (!request.earlier && request.stream == 0) {
    LogSlice slice;
    slice.slice.end = End::bad_cursor;
    return slice;
  }
  if (cursor->rest.empty()) {
    LogSlice slice;
    slice.slice.end = End::more;
    slice.slice.stream = cursor->stream == current ? 0 : cursor->stream;
    slice.slice.cursor = encode(cursor->stream, "-");
    return slice;
  }
  ReadRequest within = request;
  within.cursor = cursor->rest == "-" ? std::string_view{} : cursor->rest;
  return read_in(cursor->stream, std::move(within), survey);
}

// A slice of a read that includes more than the current stream.
LogSlice EarlierStreams::read_in(std::uint64_t stream, ReadRequest request, DamageSurvey& survey) {
  // Of the streams that follow, everything is read.
  if (stream != request.stream) request.position = 0;
  Stream* const earlier = opened(stream);
  std::uint64_t current = 0;
  {
    const MutexLock lock(state_.mutex);
    current = state_.stream;
  }
  LogSlice slice;
  if (earlier != nullptr) {
    slice = LogReader(earlier->state, earlier->survey, request, work_).read();
  } else if (stream == current) {
    slice = LogReader(state_, survey, request, work_).read();
  } else {
    slice.slice.through_position = request.position;  // it has been removed meanwhile
  }
  ReadSlice& result = slice.slice;
  result.stream = stream == current ? 0 : stream;
  if (result.end == End::more) result.cursor = encode(stream, result.cursor);
  if (result.end == End::complete && stream != current && request.until_position == 0) {
    result.end = End::more;
    result.cursor = encode(next_after(stream), {});
  }
  return slice;
}

EarlierStreams::Stream* EarlierStreams::opened(std::uint64_t stream) {
  {
    const MutexLock lock(state_.mutex);
    std::erase_if(streams_, [&](const auto& each) REQUIRES(state_.mutex) {
      return std::ranges::find(state_.earlier, each.first) == state_.earlier.end();
    });
    if (std::ranges::find(state_.earlier, stream) == state_.earlier.end()) return nullptr;
  }
  std::unique_ptr<Stream>& found = streams_[stream];
  if (found == nullptr) {
    found = std::make_unique<Stream>(files_, limits_);
    if (const auto ok = found->log.open_earlier(stream); !ok) {
      log::warning("store: cannot read what is left of stream {:016x}: {}", stream, ok.error().text);
    }
  }
  sync_with_state(*found);
  return found.get();
}

// Ages are those of now.
void EarlierStreams::sync_with_state(Stream& stream) {
  StoreClock clock;
  {
    const MutexLock lock(state_.mutex);
    clock = state_.clock;
  }
  const MutexLock lock(stream.state.mutex);
  stream.state.clock = clock;
}

// The stream that followed.
std::uint64_t EarlierStreams::next_after(std::uint64_t stream) {
  const MutexLock lock(state_.mutex);
  const auto found = std::ranges::find(state_.earlier, stream);
  // If it has been removed, so have those before it.
  if (found == state_.earlier.end()) return state_.earlier.empty() ? state_.stream : state_.earlier.front();
  return found + 1 == state_.earlier.end() ? state_.stream : *(found + 1);
}

// The first stream with events of that time or later. Older ones are not even opened.
std::uint64_t EarlierStreams::first_since(std::int64_t since_ns) {
  std::vector<std::uint64_t> earlier;
  std::uint64_t first = 0;
  std::int64_t since = 0;
  {
    const MutexLock lock(state_.mutex);
    earlier = state_.earlier;
    first = state_.stream;
    since = state_.clock.of(since_ns);
    if (begins_before(state_, since)) return first;
  }
  for (; !earlier.empty(); earlier.pop_back()) {
    Stream* const stream = opened(earlier.back());
    if (stream == nullptr) continue;
    const MutexLock lock(stream->state.mutex);
    if (stream->state.segments.empty()) continue;
    if (stream->state.segments.back()->last_time < since) break;
    first = earlier.back();
    if (begins_before(stream->state, since)) break;
  }
  return first;
}

}  // namespace backplane::broker::store
