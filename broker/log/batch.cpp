#include "broker/log/batch.hpp"

#include <span>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "broker/store/record.hpp"
#include "core/wire/little_endian.hpp"

namespace backplane::broker {
namespace {

using store::ByteReader;
using store::put;

// magic, rules, length of the broker's name, 0, entries, log, incarnation, number, wall_ns, applied; then the
// name.
constexpr std::uint32_t magic = 0x314c'5042;  // "BPL1"
constexpr std::size_t fixed_header_bytes = 4 + 2 + 1 + 1 + 4 + 5 * 8;
constexpr std::size_t crc_bytes = 4;
// kind, flags, length of the name, length of the body.
constexpr std::size_t item_header_bytes = 1 + 1 + 2 + 4;
constexpr std::uint8_t has_session_flag = 1;
// The body of a `refused`, before the source.
constexpr std::size_t refused_last_at = 8 + 8;
constexpr std::size_t refused_after_at = refused_last_at + 8;
constexpr std::size_t refused_reason_at = refused_after_at + 8;
constexpr std::size_t refused_head_bytes = refused_reason_at + 1;
// The body of a `source`, before the event.
constexpr std::size_t source_head_bytes = 8 + 1 + 8;

}  // namespace

BatchWriter::BatchWriter(std::string_view broker) : broker_(broker) {
  CHECK(broker_.size() <= broker_name_bytes_max, "the name of a broker has at most 64 bytes");
  begin();
}

void BatchWriter::begin() {
  bytes_.assign(fixed_header_bytes + broker_.size(), '\0');
  items_ = 0;
  has_from_ = false;
  refused_at_ = 0;
}

void BatchWriter::put_item(BatchItemKind kind, bool has_session, std::string_view name,
                           std::size_t body_bytes) {
  put(bytes_, static_cast<std::uint8_t>(kind));
  put(bytes_, has_session ? has_session_flag : std::uint8_t{0});
  put(bytes_, static_cast<std::uint16_t>(name.size()));
  put(bytes_, static_cast<std::uint32_t>(body_bytes));
  bytes_.append(name);
  ++items_;
  refused_at_ = 0;
}

void BatchWriter::add_join(std::uint64_t replaces) {
  put_item(BatchItemKind::join, false, {}, sizeof replaces);
  put(bytes_, replaces);
}

void BatchWriter::add_leave() {
  put_item(BatchItemKind::leave, false, {}, 0);
}

void BatchWriter::put_from(std::string_view user, Peer peer) {
  if (has_from_ && peer == peer_ && user == user_) return;
  has_from_ = true;
  user_ = user;
  peer_ = peer;
  put_item(BatchItemKind::from, false, user, sizeof(std::uint64_t));
  put(bytes_, static_cast<std::uint64_t>(peer));
}

void BatchWriter::put_refused(const LogEntry& entry) {
  const std::uint64_t sequence = entry.view->sequence;
  const std::uint64_t after = entry.view->after_sequence;
  if (refused_at_ != 0 && after == 0) {
    // Continues the last entry, if it is of the same session, whose sequences count by one.
    char* const body = bytes_.data() + refused_at_;
    const std::string_view source = std::string_view(bytes_).substr(refused_at_ + refused_head_bytes);
    const auto session = wire::load_little_endian<std::uint64_t>(body);
    const auto last = wire::load_little_endian<std::uint64_t>(body + refused_last_at);
    const bool counts_by_one = wire::load_little_endian<std::uint64_t>(body + refused_after_at) == 0;
    if (session == entry.view->session && last + 1 == sequence && counts_by_one &&
        source == entry.view->source) {
      wire::store_little_endian(sequence, body + refused_last_at);
      body[refused_reason_at] = static_cast<char>(entry.refused);
      return;
    }
  }
  put_item(BatchItemKind::refused, true, {}, refused_head_bytes + entry.view->source.size());
  refused_at_ = bytes_.size();
  put(bytes_, entry.view->session);
  put(bytes_, sequence);
  put(bytes_, sequence);
  put(bytes_, after);
  put(bytes_, static_cast<std::uint8_t>(entry.refused));
  bytes_.append(entry.view->source);
}

void BatchWriter::add(const LogEntry& entry, std::string_view user, Peer peer) {
  switch (entry.kind) {
    case LogEntry::Kind::event:
    case LogEntry::Kind::raw: {
      if (entry.has_session) put_from(user, peer);
      const std::size_t event_bytes = entry.event_bytes();
      put_item(BatchItemKind::event, entry.has_session, entry.topic, event_bytes);
      bytes_.resize(bytes_.size() + event_bytes);
      entry.write_event(std::as_writable_bytes(std::span(bytes_)).last(event_bytes));
      return;
    }
    case LogEntry::Kind::refused:
      put_from(user, peer);
      return put_refused(entry);
    case LogEntry::Kind::source:
      CHECK(entry.source != nullptr, "a source's entry says what changes");
      put_item(BatchItemKind::source, false, entry.topic, source_head_bytes + entry.bytes.size());
      put(bytes_, entry.source->session);
      put(bytes_, static_cast<std::uint8_t>(entry.source->up ? 1 : 0));
      put(bytes_, entry.source->owner);
      bytes_.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
      return;
    case LogEntry::Kind::types:
      put_item(BatchItemKind::types, false, {}, entry.bytes.size());
      bytes_.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
      return;
    case LogEntry::Kind::system:
      break;
  }
  CHECK(false, "a broker's events about itself are not in the log");
}

std::string BatchWriter::finish(const BatchHeader& header) {
  CHECK(header.broker == broker_, "the header has the writer's name");
  std::string head;
  put(head, magic);
  put(head, header.rules);
  put(head, static_cast<std::uint8_t>(broker_.size()));
  put(head, std::uint8_t{0});
  put(head, items_);
  put(head, header.log);
  put(head, header.incarnation);
  put(head, header.number);
  put(head, header.wall_ns);
  put(head, header.applied);
  head += broker_;
  bytes_.replace(0, head.size(), head);
  put(bytes_, store::crc32c(bytes_));
  std::string finished = std::move(bytes_);
  begin();
  return finished;
}

Result<BatchReader> BatchReader::open(std::string_view bytes) {
  ByteReader in(bytes);
  if (bytes.size() < fixed_header_bytes + crc_bytes || in.get<std::uint32_t>() != magic) {
    return fail(ErrorCode::protocol, fmt::format("expected a batch, got {} other bytes", bytes.size()));
  }
  const std::string_view covered = bytes.substr(0, bytes.size() - crc_bytes);
  if (wire::load_little_endian<std::uint32_t>(bytes.data() + covered.size()) != store::crc32c(covered)) {
    return fail(ErrorCode::io, fmt::format("a batch of {} bytes is damaged", bytes.size()));
  }
  BatchReader reader;
  reader.header_.rules = in.get<std::uint16_t>();
  if (reader.header_.rules != rules_version) {
    return fail(ErrorCode::protocol,
                fmt::format("expected a batch of rules version {}, got one of version {}", rules_version,
                            reader.header_.rules));
  }
  const auto name_bytes = in.get<std::uint8_t>();
  in.get<std::uint8_t>();
  reader.items_ = in.get<std::uint32_t>();
  reader.header_.log = in.get<std::uint64_t>();
  reader.header_.incarnation = in.get<std::uint64_t>();
  reader.header_.number = in.get<std::uint64_t>();
  reader.header_.wall_ns = in.get<std::int64_t>();
  reader.header_.applied = in.get<std::uint64_t>();
  reader.header_.broker = in.take(name_bytes);
  if (!in.ok() || in.left() < crc_bytes) {
    return fail(ErrorCode::io, fmt::format("a batch of {} bytes is damaged", bytes.size()));
  }
  reader.rest_ = in.take(in.left() - crc_bytes);
  return reader;
}

bool BatchReader::next(BatchItem& item) {
  if (damaged_) return false;
  if (items_ == 0) {
    damaged_ = !rest_.empty();
    return false;
  }
  ByteReader in(rest_);
  item.kind = static_cast<BatchItemKind>(in.get<std::uint8_t>());
  item.has_session = (in.get<std::uint8_t>() & has_session_flag) != 0;
  const auto name_bytes = in.get<std::uint16_t>();
  const auto body_bytes = in.get<std::uint32_t>();
  item.name = in.take(name_bytes);
  item.body = in.take(body_bytes);
  if (!in.ok() || item.kind < BatchItemKind::join || item.kind > BatchItemKind::types) {
    damaged_ = true;
    return false;
  }
  --items_;
  rest_ = rest_.substr(item_header_bytes + name_bytes + body_bytes);
  return true;
}

}  // namespace backplane::broker
