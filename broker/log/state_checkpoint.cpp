#include "broker/log/state_checkpoint.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>

#include "broker/store/bytes.hpp"
#include "broker/store/record.hpp"
#include "core/payload/type_registry.hpp"
#include "core/wire/little_endian.hpp"

namespace backplane::broker {
namespace {

using store::ByteReader;
using store::put;
using store::put_text;

constexpr std::uint32_t magic = 0x3143'5042;  // "BPC1"
constexpr std::size_t crc_bytes = 4;

Result<void> damaged() {
  return fail(ErrorCode::io, "the checkpoint of the log is damaged");
}

void put_session(std::string& out, std::string_view source, std::uint64_t session, const SessionEntry& entry,
                 std::string_view user) {
  put_text(out, source);
  put(out, session);
  put(out, entry.sequence);
  put(out, entry.refused_sequence);
  put(out, entry.refused);
  put(out, entry.refused_reason);
  put_text(out, user);
  put(out, entry.connections);
  put(out, static_cast<std::uint64_t>(entry.peer));
  put(out, static_cast<std::uint32_t>(entry.earlier_peers.size()));
  for (const Peer each : entry.earlier_peers) put(out, static_cast<std::uint64_t>(each));
}

/// File by file, in the order in which they were registered: a registry accepts no more at once.
void put_types(std::string& out, const TypeRegistry* types) {
  if (types == nullptr) return put(out, std::uint32_t{0});
  const TypeRegistry::Page all = types->find({}, 0, std::numeric_limits<std::size_t>::max());
  put(out, static_cast<std::uint32_t>(all.files.size()));
  for (const auto* const file : all.files) {
    google::protobuf::FileDescriptorSet set;
    *set.add_file() = *file;
    put_text(out, set.SerializeAsString());
  }
}

Result<void> read_types(ByteReader& in, TypeRegistry* types) {
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    const std::string_view set = in.text();
    if (!in.ok() || types == nullptr) return damaged();
    if (const auto added = types->add(set); added.refusal != TypeRegistry::Refusal::none) {
      return fail(ErrorCode::protocol, fmt::format("the checkpoint of the log: types: {}", added.text));
    }
  }
  return {};
}

/// What begins a checkpoint, after magic and version.
struct Start {
  LogPlace place;
  std::uint64_t stream{};
  std::uint64_t position{};
};

Start read_start(ByteReader& in) {
  Start start;
  start.place.index = in.get<std::uint64_t>();
  start.place.received_ns = in.get<std::int64_t>();
  Fences::Members members;
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    Fences::Member& member = members[std::string(in.text())];
    member.incarnation = in.get<std::uint64_t>();
    member.number = in.get<std::uint64_t>();
    member.has_left = in.get<std::uint8_t>() != 0;
  }
  start.place.fences.restore(std::move(members));
  start.stream = in.get<std::uint64_t>();
  start.position = in.get<std::uint64_t>();
  return start;
}

Result<void> read_topics(ByteReader& in, BackplaneState& state) {
  std::vector<TopicEntry*> topics;
  std::uint64_t offsets = 0;
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    TopicEntry& topic = state.topics.find_or_add_own(in.text());
    topic.offset = in.get<std::uint64_t>();
    offsets += topic.offset;
    topic.position = in.get<std::uint64_t>();
    topic.bytes = in.get<std::uint64_t>();
    topic.received_ns = in.get<std::int64_t>();
    topics.push_back(&topic);
  }
  if (!in.ok()) return damaged();
  state.offsets_without_position = offsets - std::min(offsets, state.position);
  std::ranges::sort(topics, {}, &TopicEntry::position);
  for (TopicEntry* const each : topics) state.topics.touched(*each);
  return {};
}

Result<void> read_sessions(ByteReader& in, BackplaneState& state, Access& users) {
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    const std::string_view source = in.text();
    const auto session = in.get<std::uint64_t>();
    bool is_new = false;
    SessionEntry& entry = state.sessions.use(source, session, is_new);
    entry.sequence = in.get<std::uint64_t>();
    entry.refused_sequence = in.get<std::uint64_t>();
    entry.refused = in.get<std::uint64_t>();
    entry.refused_reason = in.get<std::uint8_t>();
    const std::string_view user = in.text();
    entry.user = user.empty() ? no_user : users.number_of_name(user);
    entry.connections = in.get<std::uint32_t>();
    entry.peer = Peer{in.get<std::uint64_t>()};
    for (auto peers = in.get<std::uint32_t>(); peers > 0 && in.ok(); --peers) {
      entry.earlier_peers.push_back(Peer{in.get<std::uint64_t>()});
    }
    if (!is_new || entry.refused_reason >= refusal_count) return damaged();
  }
  if (state.sessions.evicted() > 0) {
    return fail(ErrorCode::invalid_argument, "the checkpoint of the log has more sessions than max_sessions");
  }
  return {};
}

}  // namespace

std::string encode_state(const BackplaneState& state, const Access& users, const LogPlace& place,
                         const TypeRegistry* types) {
  std::string out;
  put(out, magic);
  put(out, rules_version);
  put(out, place.index);
  put(out, place.received_ns);
  put(out, static_cast<std::uint32_t>(place.fences.members().size()));
  for (const auto& [name, member] : place.fences.members()) {
    put_text(out, name);
    put(out, member.incarnation);
    put(out, member.number);
    put(out, static_cast<std::uint8_t>(member.has_left ? 1 : 0));
  }
  put(out, state.stream);
  put(out, state.position);
  put(out, static_cast<std::uint64_t>(state.source_topics));
  put(out, static_cast<std::uint32_t>(state.sources.size()));
  for (const auto& [topic, source] : state.sources) {
    put_text(out, topic);
    put(out, source.session);
    put(out, source.owner);
    put(out, static_cast<std::uint8_t>(source.up ? 1 : 0));
  }
  put(out, static_cast<std::uint32_t>(state.topics.size()));
  state.topics.visit([&](const TopicEntry& topic) {
    put_text(out, topic.name);
    put(out, topic.offset);
    put(out, topic.position);
    put(out, topic.bytes);
    put(out, topic.received_ns);
  });
  put(out, static_cast<std::uint32_t>(state.sessions.size()));
  state.sessions.visit([&](std::string_view source, std::uint64_t session, const SessionEntry& entry) {
    put_session(out, source, session, entry, users.name_of(entry.user));
  });
  put_types(out, types);
  put(out, store::crc32c(out));
  return out;
}

Result<std::uint64_t> position_in_checkpoint(std::string_view bytes) {
  ByteReader in(bytes);
  in.get<std::uint32_t>();
  in.get<std::uint16_t>();
  const Start start = read_start(in);
  if (!in.ok()) return tl::unexpected(damaged().error());
  return start.position;
}

Result<LogPlace> restore_state(std::string_view bytes, BackplaneState& state, Access& users,
                               TypeRegistry* types) {
  const auto is_damaged = [] { return tl::unexpected(damaged().error()); };
  if (bytes.size() < crc_bytes) return is_damaged();
  const std::string_view covered = bytes.substr(0, bytes.size() - crc_bytes);
  if (wire::load_little_endian<std::uint32_t>(bytes.data() + covered.size()) != store::crc32c(covered)) {
    return is_damaged();
  }
  ByteReader in(covered);
  if (in.get<std::uint32_t>() != magic) return is_damaged();
  if (const auto rules = in.get<std::uint16_t>(); rules != rules_version) {
    return fail(
        ErrorCode::protocol,
        fmt::format("the checkpoint of the log: expected rules version {}, got {}", rules_version, rules));
  }
  auto start = read_start(in);
  LogPlace place = std::move(start.place);
  state.stream = start.stream;
  state.position = state.start_position = start.position;
  state.source_topics = static_cast<std::size_t>(in.get<std::uint64_t>());
  for (auto left = in.get<std::uint32_t>(); left > 0 && in.ok(); --left) {
    KnownSource& source = state.sources[std::string(in.text())];
    source.session = in.get<std::uint64_t>();
    source.owner = in.get<std::uint64_t>();
    source.up = in.get<std::uint8_t>() != 0;
  }
  if (auto ok = read_topics(in, state); !ok) return tl::unexpected(ok.error());
  if (auto ok = read_sessions(in, state, users); !ok) return tl::unexpected(ok.error());
  if (auto ok = read_types(in, types); !ok) return tl::unexpected(ok.error());
  if (!in.ok() || in.left() != 0) return is_damaged();
  return place;
}

}  // namespace backplane::broker
