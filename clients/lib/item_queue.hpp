#pragma once
// What waits to be given to a client's caller.

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

/// Events and notices in the order in which they are to be given. Copies an event once, however many
/// subscriptions match it, into memory that it uses again. A value of its owner's thread.
class ItemQueue {
 public:
  /// A subscription has come to its live events: everything up to `at` is behind it.
  struct Joined {
    StreamPosition at;
  };
  /// Where the reading goes on after a reset.
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
    PatternSubscription* subscription{};  // nullptr: it concerns all
    Bytes bytes;
    wire::Stamp stamp;
    std::uint32_t notice{no_notice};  // or, without one, an event
    bool from_history{};
    bool late{};
  };
  static constexpr std::uint32_t no_notice = ~std::uint32_t{0};

  /// Copies; holds until clear().
  [[nodiscard]] Bytes copy(std::string_view topic, std::span<const std::byte> event);
  void push(const Record& event) { records_.push_back(event); }
  void push(PatternSubscription* subscription, Notice notice);

  /// The next one; nullptr: none. What was returned before stays until clear().
  [[nodiscard]] const Record* pop() noexcept {
    return next_ == records_.size() ? nullptr : &records_[next_++];
  }
  [[nodiscard]] Notice& notice(const Record& record) { return notices_[record.notice]; }
  [[nodiscard]] bool empty() const noexcept { return next_ == records_.size(); }
  /// Throws away what was given. Only where nothing is left.
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
  std::size_t block_{};  // that is being filled
  std::size_t used_{};   // of it
};

}  // namespace backplane::client
