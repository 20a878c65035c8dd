#pragma once
// What a broker reports about itself.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace backplane {

/// A topic at a broker.
struct TopicInfo {
  std::string name;
  std::uint64_t offset{};       ///< of its last event
  std::uint64_t position{};     ///< of its last event
  std::uint64_t value_bytes{};  ///< of the retained value; 0: none
  std::int64_t received_ns{};   ///< when the broker received its last event, Unix time
  std::uint64_t events{};       ///< since the broker started
  std::uint64_t bytes{};
  std::uint64_t history_events{};  ///< in history now
};

/// A part of a list of topics, ordered by name.
struct TopicsPage {
  std::uint64_t stream{};
  std::uint64_t position{};  ///< of the broker's last event when it replied
  std::vector<TopicInfo> topics;
  std::string cursor;  ///< requests the next page; "": this is the last one
};

/// The files that define some message types.
struct TypesReply {
  std::string files;                 ///< a serialised google.protobuf.FileDescriptorSet
  std::vector<std::string> unknown;  ///< requested names that nobody has registered
};

/// A connected program that sends Hello to a broker.
struct ParticipantInfo {
  enum class Role { unspecified, publisher, gateway, client };
  std::string name;
  std::uint64_t session{};
  Role role{Role::unspecified};
  bool up{};
  std::map<std::string, std::uint64_t> counters;
};

/// The log that the brokers of a cluster share, as one of them sees it. Indices are those of its batches.
struct ClusterInfo {
  struct Member {
    std::string name;
    bool up{};              ///< it has appended something in the last seconds
    bool left{};            ///< in an orderly way
    std::uint64_t index{};  ///< up to which it had applied the log when it appended its last batch
    std::chrono::milliseconds silent{};  ///< since then
  };
  /// A server that has a copy of the log.
  struct Server {
    std::string name;
    bool leader{};
    bool current{};
    bool offline{};
    std::uint64_t lag{};  ///< messages that it does not have yet
  };
  std::string member;  ///< the name of the broker that replied
  std::uint64_t index{};
  std::uint64_t first_index{};
  std::uint64_t last_index{};
  std::uint64_t checkpoint_index{};
  std::vector<Member> members;
  std::vector<Server> servers;
  bool quorum{};
  std::string fault;  ///< why it takes no events; empty: it does
};

/// State and counters of a broker.
struct BrokerStats {
  std::string broker;  ///< its name
  std::uint64_t stream{};
  std::uint64_t position{};  ///< of its last event when it replied
  std::int64_t started_ns{};
  std::map<std::string, std::uint64_t> counters;  ///< by the names of docs/operations.md
  std::vector<ParticipantInfo> participants;      ///< in the order of their first Hello
  std::optional<ClusterInfo> cluster;             ///< none: the broker is alone
};

}  // namespace backplane
