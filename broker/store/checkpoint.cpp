#include "broker/store/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"

namespace backplane::broker::store {

std::string encode(const Checkpoint& checkpoint) {
  // Without users, an earlier version of this program can read it.
  const bool has_users = std::ranges::any_of(
      checkpoint.sessions, [](const HistoryStore::Session& each) { return !each.user.empty(); });
  std::string out = encode(FileHeader{.version = has_users ? format_version_with_users : format_version,
                                      .kind = FileKind::checkpoint,
                                      .stream = checkpoint.stream,
                                      .first = checkpoint.position});
  put(out, checkpoint.floor);
  put(out, checkpoint.clock_now);
  put(out, checkpoint.clock_shift);
  put(out, static_cast<std::uint32_t>(checkpoint.topics.size()));
  for (const Checkpoint::Topic& topic : checkpoint.topics) {
    put_text(out, topic.name);
    put(out, topic.number);
    put(out, topic.position);
    put(out, topic.offset);
    put(out, topic.bytes);
    put(out, topic.time);
    put(out, topic.record_at);
    put(out, topic.record_bytes);
    put(out, static_cast<std::uint8_t>(topic.has_value ? 1 : 0));
  }
  put(out, static_cast<std::uint32_t>(checkpoint.sessions.size()));
  for (const HistoryStore::Session& session : checkpoint.sessions) {
    put_text(out, session.source);
    put(out, session.session);
    put(out, session.sequence);
  }
  put(out, static_cast<std::uint32_t>(checkpoint.types.size()));
  for (const std::string& types : checkpoint.types) put_text(out, types);
  if (has_users) {
    for (const HistoryStore::Session& session : checkpoint.sessions) put_text(out, session.user);
  }
  put(out, crc32c(out));
  return out;
}

Result<Checkpoint> decode_checkpoint(std::string_view bytes, std::string_view name) {
  const auto header = decode_header(bytes, FileKind::checkpoint, name);
  if (!header) return tl::unexpected(header.error());
  const auto damaged = [&] { return fail(ErrorCode::io, fmt::format("{}: it is damaged", name)); };
  if (bytes.size() < header_bytes + 4) return damaged();
  ByteReader crc(bytes.substr(bytes.size() - 4));
  if (crc.get<std::uint32_t>() != crc32c(bytes.substr(0, bytes.size() - 4))) return damaged();
  ByteReader in(bytes.substr(header_bytes, bytes.size() - header_bytes - 4));
  Checkpoint checkpoint{.stream = header->stream, .position = header->first};
  checkpoint.floor = in.get<std::uint64_t>();
  checkpoint.clock_now = in.get<std::int64_t>();
  checkpoint.clock_shift = in.get<std::int64_t>();
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    Checkpoint::Topic& topic = checkpoint.topics.emplace_back();
    topic.name = in.text();
    topic.number = in.get<std::uint32_t>();
    topic.position = in.get<std::uint64_t>();
    topic.offset = in.get<std::uint64_t>();
    topic.bytes = in.get<std::uint64_t>();
    topic.time = in.get<std::int64_t>();
    topic.record_at = in.get<std::uint32_t>();
    topic.record_bytes = in.get<std::uint32_t>();
    topic.has_value = in.get<std::uint8_t>() != 0;
  }
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    HistoryStore::Session& session = checkpoint.sessions.emplace_back();
    session.source = in.text();
    session.session = in.get<std::uint64_t>();
    session.sequence = in.get<std::uint64_t>();
  }
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    checkpoint.types.emplace_back(in.text());
  }
  if (header->version == format_version_with_users) {
    for (HistoryStore::Session& session : checkpoint.sessions) session.user = in.text();
  }
  if (!in.ok() || in.left() != 0) return damaged();
  return checkpoint;
}

std::string encode(const StoreMark& mark) {
  std::string text =
      fmt::format("backplane-store {}\nbackplane {}\nstream {:016x}\nboot {}\nstate {}\nsync {}\n",
                  mark.version, mark.backplane, mark.stream, mark.boot, mark.is_clean ? "closed" : "open",
                  mark.syncs_always ? "always" : "later");
  if (!mark.earlier.empty()) text += fmt::format("earlier {:016x}\n", fmt::join(mark.earlier, " "));
  text += fmt::format("crc {:08x}\n", crc32c(text));
  return text;
}

Result<StoreMark> decode_mark(std::string_view text, std::string_view name) {
  std::map<std::string, std::string, std::less<>> lines;
  std::string_view rest = text;
  std::size_t before_crc = 0;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t space = line.find(' ');
    if (line.starts_with("crc ")) before_crc = static_cast<std::size_t>(line.data() - text.data());
    if (space != std::string_view::npos) lines.emplace(line.substr(0, space), line.substr(space + 1));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  const std::string& version = lines["backplane-store"];
  if (lines["crc"] != fmt::format("{:08x}", crc32c(text.substr(0, before_crc))))
    return fail(ErrorCode::io, fmt::format("{}: it is damaged", name));
  StoreMark mark;
  if (version == std::to_string(format_version_with_users)) {
    mark.version = format_version_with_users;
  } else if (version != std::to_string(format_version)) {
    return fail(ErrorCode::protocol, fmt::format("{}: expected format version {} or {}, got \"{}\"", name,
                                                 format_version, format_version_with_users, version));
  }
  mark.backplane = lines["backplane"];
  const std::string& stream = lines["stream"];
  std::from_chars(stream.data(), stream.data() + stream.size(), mark.stream, 16);
  mark.boot = lines["boot"];
  mark.is_clean = lines["state"] == "closed";
  mark.syncs_always = lines["sync"] == "always";
  for (std::string_view rest_of = lines["earlier"]; !rest_of.empty();) {
    const std::string_view each = rest_of.substr(0, rest_of.find(' '));
    std::from_chars(each.data(), each.data() + each.size(), mark.earlier.emplace_back(), 16);
    rest_of.remove_prefix(std::min(each.size() + 1, rest_of.size()));
  }
  return mark;
}

}  // namespace backplane::broker::store
