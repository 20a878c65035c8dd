#pragma once
// Items that wait until the client's caller takes them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backplane/client.hpp"
#include "core/wire/stamp.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::client {

struct PatternSubscription;

/// Events and notices in the order of their delivery. An event that matches several subscriptions is copied
/// once, into memory that is reused. Belongs to one thread.
class ItemQueue {
 public:
  /// A subscription has caught up: everything up to `at` came before this notice.
  struct Joined {
    StreamPositions at;
  };
  /// A reset, and the position in the new stream from which reading continues.
  struct Restarted {
    Client::Reset reset;
    std::uint64_t position{};
  };
  using Notice =
      std::variant<Client::Gap, Restarted, Client::Subscribed, Client::Refused, Client::Broker, Joined>;

  struct Bytes {
    std::string_view topic;
    std::span<const std::byte> event;
  };
  struct Record {
    PatternSubscription* subscription{};  // nullptr: a notice for all
    Bytes bytes;
    wire::Stamp stamp;
    std::uint32_t notice{no_notice};  // index of the notice; no_notice: an event
    bool from_history{};
    bool late{};
    std::uint64_t resume_at{};  // everything of the stream up to here is before the next record
  };
  static constexpr std::uint32_t no_notice = ~std::uint32_t{0};

  /// Copies an event. The copy is valid until clear().
  [[nodiscard]] Bytes copy(std::string_view topic, std::span<const std::byte> event);
  void push(const Record& event) { records_.push_back(event); }
  void push(PatternSubscription* subscription, Notice notice);

  /// @returns the next record, or nullptr. Every record is valid until clear().
  [[nodiscard]] const Record* pop() noexcept {
    return next_ == records_.size() ? nullptr : &records_[next_++];
  }
  [[nodiscard]] Notice& notice(const Record& record) { return notices_[record.notice]; }
  [[nodiscard]] bool empty() const noexcept { return next_ == records_.size(); }
  /// Discards records that have been taken. Only if empty().
  void clear();

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t size{};
  };
  [[nodiscard]] char* allocate(std::size_t bytes);

  std::vector<Record> records_;
  std::size_t next_{};
  std::vector<Notice> notices_;
  std::vector<Block> blocks_;
  std::size_t block_{};  // the one that is being filled
  std::size_t used_{};   // bytes of it
};

}  // namespace backplane::client
