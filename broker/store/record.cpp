#include "broker/store/record.hpp"

#include <limits>

#include <fmt/format.h>
#include <isa-l/crc.h>

#include "broker/store/bytes.hpp"
#include "core/topic/topic.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::string_view magic = "bplstore";
constexpr std::uint32_t cleaned_flag = 1;
constexpr std::uint8_t clears_value_flag = 1;
constexpr std::size_t removed_body_bytes = 16;

}  // namespace

std::uint32_t crc32c(std::string_view bytes) noexcept {
  // The library neither inverts the start nor the result, takes an int, and does not know const.
  std::uint32_t crc = ~std::uint32_t{0};
  constexpr std::size_t part_max = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, part_max);
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(part.data())),  // NOLINT
                      static_cast<int>(part.size()), crc);
    bytes.remove_prefix(part.size());
  }
  return ~crc;
}

std::string encode(const FileHeader& header) {
  std::string out(magic);
  put(out, header.version);
  put(out, static_cast<std::uint16_t>(header.kind));
  put(out, header.cleaned ? cleaned_flag : std::uint32_t{0});
  put(out, header.stream);
  put(out, header.serial);
  put(out, header.first);
  put(out, header.through);
  put(out, header.last_time);
  put(out, header.removals_bytes);
  put(out, crc32c(out));
  return out;
}

Result<FileHeader> decode_header(std::string_view bytes, FileKind kind, std::string_view name) {
  ByteReader in(bytes.substr(0, header_bytes));
  const std::string_view found_magic = in.take(magic.size());
  FileHeader header;
  header.version = in.get<std::uint16_t>();
  const auto found_kind = in.get<std::uint16_t>();
  header.kind = static_cast<FileKind>(found_kind);
  header.cleaned = (in.get<std::uint32_t>() & cleaned_flag) != 0;
  header.stream = in.get<std::uint64_t>();
  header.serial = in.get<std::uint64_t>();
  header.first = in.get<std::uint64_t>();
  header.through = in.get<std::uint64_t>();
  header.last_time = in.get<std::int64_t>();
  header.removals_bytes = in.get<std::uint32_t>();
  const auto crc = in.get<std::uint32_t>();
  if (!in.ok() || found_magic != magic || crc != crc32c(bytes.substr(0, header_bytes - 4)))
    return fail(ErrorCode::io, fmt::format("{}: its header is damaged", name));
  const bool may_have_users = header.kind == FileKind::checkpoint;
  if (header.version != format_version && !(may_have_users && header.version == format_version_with_users)) {
    return fail(
        ErrorCode::protocol,
        fmt::format("{}: expected format version {}{}, got {}", name, format_version,
                    may_have_users ? fmt::format(" or {}", format_version_with_users) : "", header.version));
  }
  if (header.kind != kind)
    return fail(ErrorCode::io, fmt::format("{}: expected a file of kind {}, got {}", name,
                                           static_cast<unsigned>(kind), found_kind));
  return header;
}

void encode(const Record& record, std::string& out) {
  const bool is_removal = record.kind == RecordKind::removed;
  const std::size_t bytes =
      record_header_bytes + record.name.size() + (is_removal ? removed_body_bytes : record.body.size());
  CHECK(bytes <= record_bytes_max, "a record is smaller than 1 GiB");
  const std::size_t start = out.size();
  out.resize(start + bytes);
  char* const at = out.data() + start;
  wire::store_little_endian(static_cast<std::uint32_t>(bytes), at + 4);
  at[8] = static_cast<char>(record.kind);
  at[9] = static_cast<char>(record.clears_value ? clears_value_flag : 0);
  at[10] = static_cast<char>(record.name.size());
  at[11] = 0;
  wire::store_little_endian(record.topic, at + 12);
  wire::store_little_endian(static_cast<std::uint64_t>(record.time), at + 16);
  wire::store_little_endian(record.number, at + 24);
  record.name.copy(at + record_header_bytes, record.name.size());
  char* const body = at + record_header_bytes + record.name.size();
  if (is_removal) {
    wire::store_little_endian(record.position, body);
    wire::store_little_endian(record.offset, body + 8);
  } else {
    record.body.copy(body, record.body.size());
  }
  wire::store_little_endian(crc32c({at + 4, bytes - 4}), at);
}

std::string session_body(std::string_view source, std::uint64_t session, std::string_view user) {
  std::string body;
  put_text(body, source);
  put(body, session);
  put_text(body, user);
  return body;
}

std::size_t claimed_bytes(std::string_view bytes) {
  if (bytes.size() < record_header_bytes) return 0;
  const auto size = wire::load_little_endian<std::uint32_t>(bytes.data() + 4);
  const auto kind = static_cast<std::uint8_t>(bytes[8]);
  const auto flags = static_cast<std::uint8_t>(bytes[9]);
  const auto name_bytes = static_cast<std::uint8_t>(bytes[10]);
  const bool plausible = size >= record_header_bytes + name_bytes && size <= record_bytes_max && kind >= 1 &&
                         kind <= static_cast<std::uint8_t>(RecordKind::session) &&
                         flags <= clears_value_flag && bytes[11] == 0;
  return plausible ? size : 0;
}

Parsed parse_record(std::string_view bytes, Record& record) {
  if (bytes.size() < record_header_bytes) return Parsed::incomplete;
  const std::size_t size = claimed_bytes(bytes);
  if (size == 0) return Parsed::damaged;
  if (size > bytes.size()) return Parsed::incomplete;
  const char* const at = bytes.data();
  if (wire::load_little_endian<std::uint32_t>(at) != crc32c({at + 4, size - 4})) return Parsed::damaged;
  record.bytes = size;
  record.kind = static_cast<RecordKind>(bytes[8]);
  record.clears_value = bytes[9] != 0;
  record.topic = wire::load_little_endian<std::uint32_t>(at + 12);
  record.time = static_cast<std::int64_t>(wire::load_little_endian<std::uint64_t>(at + 16));
  record.number = wire::load_little_endian<std::uint64_t>(at + 24);
  const auto name_bytes = static_cast<std::uint8_t>(bytes[10]);
  record.name = bytes.substr(record_header_bytes, name_bytes);
  record.body = bytes.substr(record_header_bytes + name_bytes, size - record_header_bytes - name_bytes);
  record.position = record.offset = record.previous = record.first_offset = record.session = 0;
  record.source = record.user = {};
  if (record.kind == RecordKind::event) {
    const auto stamp = wire::read_stamp(record.event());
    if (!stamp) return Parsed::damaged;
    record.position = stamp->position;
    record.offset = stamp->offset;
    record.previous = stamp->previous;
    const std::uint64_t lost = wire::lost_events(record.event());
    record.first_offset = stamp->offset - (lost > 0 ? lost - 1 : 0);
  } else if (record.kind == RecordKind::removed) {
    if (record.body.size() != removed_body_bytes) return Parsed::damaged;
    record.position = wire::load_little_endian<std::uint64_t>(record.body.data());
    record.offset = wire::load_little_endian<std::uint64_t>(record.body.data() + 8);
  } else if (record.kind == RecordKind::session) {
    ByteReader in(record.body);
    record.source = in.text();
    record.session = in.get<std::uint64_t>();
    record.user = in.text();
    if (!in.ok() || in.left() != 0) return Parsed::damaged;
  }
  return Parsed::ok;
}

}  // namespace backplane::broker::store
