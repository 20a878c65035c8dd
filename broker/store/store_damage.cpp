#include "broker/store/store_damage.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "broker/store/event_log.hpp"
#include "broker/store/record.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::string_view magic = "bplstore";
constexpr std::size_t checksum_bytes = 4;
constexpr std::size_t shown_bytes_max = 16;

std::string wrong_checksum(std::uint32_t expected, std::uint32_t got) {
  return fmt::format("expected checksum {:08x}, got {:08x}", expected, got);
}

std::string hex(std::string_view bytes) {
  if (std::ranges::all_of(bytes, [](char byte) { return byte == 0; })) return "zeros";
  std::string out;
  for (const char byte : bytes.substr(0, shown_bytes_max)) {
    out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<unsigned char>(byte));
  }
  return out;
}

std::uint32_t last_number(std::string_view bytes) {
  return ByteReader(bytes.substr(bytes.size() - checksum_bytes)).get<std::uint32_t>();
}

}  // namespace

std::optional<FileName> parse_file_name(std::string_view name) {
  constexpr std::size_t bytes = stream_digits + 1 + position_digits;
  if (name.size() < bytes || name[stream_digits] != '-') return std::nullopt;
  FileName parsed;
  const auto number = [&](std::size_t at, std::size_t digits, int base, std::uint64_t& value) {
    const char* const end = name.data() + at + digits;
    return std::from_chars(name.data() + at, end, value, base).ptr == end;
  };
  constexpr int hexadecimal = 16;
  constexpr int decimal = 10;
  if (!number(0, stream_digits, hexadecimal, parsed.stream) ||
      !number(stream_digits + 1, position_digits, decimal, parsed.position))
    return std::nullopt;
  return parsed;
}

std::optional<StoreDamage> damage_of_name(const std::string& name, std::uint64_t stream,
                                          std::uint64_t position) {
  constexpr std::uint64_t stream_at = 16;
  constexpr std::uint64_t position_at = 32;
  const auto expected = parse_file_name(name);
  if (!expected) return std::nullopt;
  if (stream != expected->stream)
    return StoreDamage{name, stream_at,
                       fmt::format("expected stream {:016x}, got {:016x}", expected->stream, stream)};
  if (position != expected->position)
    return StoreDamage{name, position_at,
                       fmt::format("expected position {}, got {}", expected->position, position)};
  return std::nullopt;
}

StoreDamage damage_of_file(std::string_view bytes, const std::string& name, std::string_view what) {
  if (bytes.size() < header_bytes)
    return {name, bytes.size(),
            fmt::format("expected a header of {} bytes, got {}", header_bytes, bytes.size())};
  if (!bytes.starts_with(magic))
    return {name, 0, fmt::format("expected {}, got {}", what, hex(bytes.substr(0, magic.size())))};
  const std::string_view header = bytes.substr(0, header_bytes);
  const std::string_view rest = header.substr(0, header_bytes - checksum_bytes);
  if (last_number(header) != crc32c(rest))
    return {name, rest.size(), wrong_checksum(last_number(header), crc32c(rest))};
  if (bytes.size() < header_bytes + checksum_bytes)
    return {name, header_bytes, fmt::format("expected {}, got another kind of file", what)};
  const std::string_view before = bytes.substr(0, bytes.size() - checksum_bytes);
  if (last_number(bytes) != crc32c(before))
    return {name, before.size(), wrong_checksum(last_number(bytes), crc32c(before))};
  return {name, header_bytes, fmt::format("expected {}, got other bytes with a valid checksum", what)};
}

StoreDamage damage_of_mark(std::string_view text, const std::string& name) {
  constexpr std::string_view key = "crc ";
  const std::size_t line = text.rfind(key);
  if (line == std::string_view::npos || (line > 0 && text[line - 1] != '\n'))
    return {name, text.size(), "expected a line with a checksum, got none"};
  std::string_view got = text.substr(line + key.size());
  got = got.substr(0, got.find('\n'));
  return {name, line + key.size(),
          fmt::format("expected checksum {:08x}, got {}", crc32c(text.substr(0, line)),
                      got.size() <= shown_bytes_max ? got : got.substr(0, shown_bytes_max))};
}

StoreDamage damage_of_records(const Segment& segment, std::uint64_t from, std::uint64_t to) {
  StoreDamage damage{segment.name + std::string(log_suffix), from, {}};
  const std::string what = fmt::format("; {} bytes cannot be read", to - from);
  std::string bytes(std::min<std::uint64_t>(to - from, record_header_bytes), '\0');
  const auto load = [&] {
    const auto read = segment.file->read(from, std::as_writable_bytes(std::span(bytes)));
    bytes.resize(read.value_or(0));
  };
  load();
  const std::size_t claimed = claimed_bytes(bytes);
  if (claimed == 0) {
    damage.text = fmt::format("expected a record, got {}", bytes.empty() ? "nothing" : hex(bytes)) + what;
    return damage;
  }
  if (claimed > to - from) {
    damage.text = fmt::format("expected a record of {} bytes, got {}", claimed, to - from) + what;
    return damage;
  }
  bytes.resize(claimed);
  load();
  if (bytes.size() < claimed) {
    damage.text = fmt::format("expected a record of {} bytes, got {}", claimed, bytes.size()) + what;
    return damage;
  }
  const std::uint32_t expected = ByteReader(bytes).get<std::uint32_t>();
  const std::uint32_t got = crc32c(std::string_view(bytes).substr(checksum_bytes));
  damage.text =
      (expected != got ? wrong_checksum(expected, got) : "expected a record, got other bytes") + what;
  return damage;
}

bool is_part_of_record(const Segment& segment, std::uint64_t from) {
  const std::uint64_t left = segment.bytes - from;
  if (left < record_header_bytes) return true;
  std::string bytes(record_header_bytes, '\0');
  const auto read = segment.file->read(from, std::as_writable_bytes(std::span(bytes)));
  return !read || *read < bytes.size() || claimed_bytes(bytes) > left;
}

}  // namespace backplane::broker::store
