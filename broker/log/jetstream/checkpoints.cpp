#include "broker/log/jetstream/checkpoints.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "broker/log/jetstream/nats_handles.hpp"

namespace backplane::broker::jetstream {
namespace {

constexpr std::size_t checkpoints_kept = 2;
constexpr std::string_view end_suffix = ".end";

Error failed(std::string_view what, natsStatus status, jsErrCode code) {
  return {status == NATS_NOT_FOUND ? ErrorCode::not_found : ErrorCode::io,
          fmt::format("{}: {}", what, text_of(status, code))};
}

}  // namespace

// With leading zeros, so that they are in order.
std::string Checkpoints::prefix_of(std::uint64_t index) const {
  return fmt::format("{}.checkpoint.{:020}.", stream_, index);
}

Result<std::vector<std::uint64_t>> Checkpoints::list() const {
  const std::string filter = fmt::format("{}.checkpoint.*{}", stream_, end_suffix);
  jsOptions options;
  jsOptions_Init(&options);
  options.Stream.Info.SubjectsFilter = filter.c_str();
  jsErrCode code{};
  Owned<jsStreamInfo> info;
  const natsStatus status = js_GetStreamInfo(Out(info), js_, stream_.c_str(), &options, &code);
  if (status != NATS_OK) return tl::unexpected(failed(filter, status, code));
  std::vector<std::uint64_t> indices;
  const jsStreamStateSubjects* const subjects = info->State.Subjects;
  for (int i = 0; subjects != nullptr && i < subjects->Count; ++i) {
    std::string_view subject = subjects->List[i].Subject;
    subject.remove_suffix(std::min(end_suffix.size(), subject.size()));
    const std::string_view digits = subject.substr(subject.rfind('.') + 1);
    std::uint64_t index = 0;
    if (std::from_chars(digits.begin(), digits.end(), index).ec == std::errc{}) indices.push_back(index);
  }
  std::ranges::sort(indices, std::ranges::greater{});
  return indices;
}

Result<std::string> Checkpoints::read(const std::string& subject) const {
  jsErrCode code{};
  Owned<natsMsg> message;
  const natsStatus status =
      js_GetLastMsg(Out(message), js_, stream_.c_str(), subject.c_str(), nullptr, &code);
  if (status != NATS_OK) return tl::unexpected(failed(subject, status, code));
  const char* const data = natsMsg_GetData(message.get());
  const auto bytes = static_cast<std::size_t>(natsMsg_GetDataLength(message.get()));
  return bytes == 0 ? std::string() : std::string(data, bytes);
}

Result<std::optional<Checkpoints::Stored>> Checkpoints::newest(std::size_t age) const {
  // While it is read, another broker may replace it: then there is a newer one.
  constexpr int attempts = 3;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const auto indices = list();
    if (!indices) return tl::unexpected(indices.error());
    if (indices->size() <= age) return std::optional<Stored>{};
    const std::uint64_t index = (*indices)[age];
    const std::string prefix = prefix_of(index);
    const auto end = read(prefix + std::string(end_suffix.substr(1)));
    std::size_t chunks = 0;
    if (end) std::from_chars(end->data(), end->data() + end->size(), chunks);
    Stored stored{index, {}};
    std::size_t complete = 0;
    for (; end && complete < chunks; ++complete) {
      const auto chunk = read(fmt::format("{}{}", prefix, complete));
      if (!chunk && chunk.error().code != ErrorCode::not_found) return tl::unexpected(chunk.error());
      if (!chunk) break;
      stored.bytes += *chunk;
    }
    if (!end && end.error().code != ErrorCode::not_found) return tl::unexpected(end.error());
    if (end && chunks > 0 && complete == chunks) return std::optional(std::move(stored));
  }
  return fail(ErrorCode::io, fmt::format("the newest checkpoint in stream {} is not complete", stream_));
}

Result<void> Checkpoints::publish(const std::string& subject, std::string_view bytes) const {
  Owned<natsMsg> message;
  natsStatus status =
      natsMsg_Create(Out(message), subject.c_str(), nullptr, bytes.data(), static_cast<int>(bytes.size()));
  jsErrCode code{};
  Owned<jsPubAck> ack;
  jsPubOptions options;
  jsPubOptions_Init(&options);
  options.ExpectStream = stream_.c_str();
  if (status == NATS_OK) status = js_PublishMsg(Out(ack), js_, message.get(), &options, &code);
  if (status != NATS_OK) return tl::unexpected(failed(subject, status, code));
  return {};
}

Result<void> Checkpoints::write(std::uint64_t index, std::string_view bytes) const {
  const std::string prefix = prefix_of(index);
  std::size_t chunks = 0;
  for (std::string_view rest = bytes; !rest.empty(); ++chunks) {
    const std::string_view chunk = rest.substr(0, chunk_bytes_);
    if (auto ok = publish(fmt::format("{}{}", prefix, chunks), chunk); !ok) return ok;
    rest.remove_prefix(chunk.size());
  }
  if (auto ok = publish(prefix + std::string(end_suffix.substr(1)), fmt::format("{}\n", chunks)); !ok) {
    return ok;
  }
  const auto indices = list();
  if (!indices) return tl::unexpected(indices.error());
  for (std::size_t i = checkpoints_kept; i < indices->size(); ++i) {
    if (auto ok = remove((*indices)[i]); !ok) return ok;
  }
  if (indices->size() < checkpoints_kept) return {};
  return trim((*indices)[checkpoints_kept - 1]);
}

/// The end goes first: what is left is not a checkpoint.
Result<void> Checkpoints::remove(std::uint64_t index) const {
  const std::string prefix = prefix_of(index);
  for (const std::string& subject : {prefix + std::string(end_suffix.substr(1)), prefix + ">"}) {
    jsOptions options;
    jsOptions_Init(&options);
    options.Stream.Purge.Subject = subject.c_str();
    jsErrCode code{};
    const natsStatus status = js_PurgeStream(js_, stream_.c_str(), &options, &code);
    if (status != NATS_OK) return tl::unexpected(failed(subject, status, code));
  }
  return {};
}

Result<void> Checkpoints::trim(std::uint64_t through) const {
  jsOptions options;
  jsOptions_Init(&options);
  options.Stream.Purge.Sequence = through + 1;
  jsErrCode code{};
  const natsStatus status = js_PurgeStream(js_, log_stream_.c_str(), &options, &code);
  if (status != NATS_OK) return tl::unexpected(failed(log_stream_, status, code));
  return {};
}

}  // namespace backplane::broker::jetstream
