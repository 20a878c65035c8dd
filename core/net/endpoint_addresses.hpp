#pragma once
// The addresses that the host of a ZeroMQ endpoint has.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace backplane {

/// Whether the name means the loopback interface: both 127.0.0.1 and ::1.
[[nodiscard]] bool is_localhost(std::string_view host);

/// The addresses of `localhost`, in the order in which they are tried and bound; IPv6 in brackets.
[[nodiscard]] const std::vector<std::string>& localhost_addresses();

/// The endpoints with numeric addresses that stand for an endpoint with a host name: libzmq itself knows only
/// the first address of one family. They are tried one after another, again and again. Lives on one thread; a
/// name is looked up on a thread of its own, which outlives it if the resolver hangs.
class EndpointAddresses {
 public:
  /// Looks a host name up. @returns its addresses, IPv6 in brackets; empty if it has none. May block, and is
  /// called on another thread.
  using LookUp = std::function<std::vector<std::string>(const std::string& host)>;

  /// Starts to look the name up, if it is one, and waits up to `wait` for the result.
  explicit EndpointAddresses(std::string endpoint,
                             std::chrono::milliseconds wait = std::chrono::milliseconds{200});
  EndpointAddresses(std::string endpoint, std::chrono::milliseconds wait, LookUp look_up);

  /// The endpoint to connect to. As long as the addresses are unknown, it is the endpoint itself.
  [[nodiscard]] const std::string& current() const { return all_[at_]; }
  /// Whether there may be another address than current().
  [[nodiscard]] bool may_change() const { return all_.size() > 1 || !host_.empty(); }
  /// Moves on to the next address. @returns whether all have been tried, and it begins again. Then the name
  /// is looked up again, too, because it may have other addresses now.
  bool next();

 private:
  struct Lookup;
  void start();
  void take_result(std::chrono::milliseconds wait);

  std::string endpoint_;
  std::string host_;  // a name to look up; empty if there is none
  std::string port_;  // with its colon
  LookUp look_up_;
  std::shared_ptr<Lookup> lookup_;  // one that runs, or whose result was not taken yet
  std::vector<std::string> all_;
  std::size_t at_{};
};

}  // namespace backplane
