#pragma once
// What a broker answers to requests about itself, as values.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace backplane {

/// A topic as a broker has it.
struct TopicInfo {
  std::string name;
  std::uint64_t offset{};       ///< of its last event
  std::uint64_t position{};     ///< of its last event
  std::uint64_t value_bytes{};  ///< of the retained value; 0: there is none
  std::int64_t received_ns{};   ///< when its last event came, Unix time
  std::uint64_t events{};       ///< since the broker's start
  std::uint64_t bytes{};
  std::uint64_t history_events{};  ///< held now
};

/// A part of a list of topics, in order of names.
struct TopicsPage {
  std::uint64_t stream{};
  std::uint64_t position{};  ///< of the broker's last event as it answered
  std::vector<TopicInfo> topics;
  std::string cursor;  ///< ask again with it for the next page; empty: that was all
};

/// The files that define some message types.
struct TypesReply {
  std::string files;                 ///< a serialised google.protobuf.FileDescriptorSet
  std::vector<std::string> unknown;  ///< names asked for that nobody registered
};

/// Who says Hello to a broker.
struct ParticipantInfo {
  enum class Role { unspecified, publisher, gateway, client };
  std::string name;
  std::uint64_t session{};
  Role role{Role::unspecified};
  bool up{};
  std::map<std::string, std::uint64_t> counters;
};

/// What a broker says of itself.
struct BrokerStats {
  std::string broker;  ///< its name
  std::uint64_t stream{};
  std::uint64_t position{};  ///< of its last event as it answered
  std::int64_t started_ns{};
  std::map<std::string, std::uint64_t> counters;  ///< by the names of docs/operations.md
  std::vector<ParticipantInfo> participants;      ///< in the order in which they first came
};

}  // namespace backplane
