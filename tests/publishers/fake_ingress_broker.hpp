#pragma once
// The part of a broker that a publisher sees, controlled by a test.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <zmq.h>

#include "backplane/publisher.hpp"
#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/process/host.hpp"
#include "core/process/wake_fd.hpp"
#include "core/zmq/socket.hpp"
#include "tests/core/zmq/zap_server.hpp"

namespace backplane::testing {

/// Receives events on an XSUB and replies to Hello, Admitted and Types on a ROUTER, on free ports. Owns its
/// thread, which owns the sockets. Every method may be called from the test's thread and has taken effect
/// when it returns.
class FakeIngressBroker {
 public:
  struct Admitted {
    std::string topic;
    v1::Event event;
  };

  FakeIngressBroker();
  ~FakeIngressBroker();

  [[nodiscard]] PublisherEndpoints endpoints() const { return endpoints_; }

  /// Cuts all connections, and binds again with CURVE; all keys are admitted or refused, by the status.
  void require_keys(const CurveKeys& keys, const std::string& zap_status = "200");
  /// Cuts all connections; sent events that have not been read are lost. Then binds the same endpoints again.
  void cut();
  /// Like cut(), and loses all state: a new incarnation.
  void restart();
  /// Stops listening until listen_again().
  void stop_listening();
  void listen_again();
  /// Whether it reads events.
  void read_events(bool on);
  /// Whether it replies to requests.
  void send_replies(bool on);
  void drain(bool on);
  void refuse(std::string topic);
  /// Refuses all types.
  void refuse_types(bool on);
  /// Refuses requests as not_permitted: Hello; and Admitted, of the sessions that it knows now.
  void forbid_hello(bool on);
  void forbid_sessions();
  /// Refuses larger events. After the next bind, an event of more than four times the limit ends the
  /// connection.
  void limit_event_bytes(std::uint64_t bytes_max);
  /// Another program sends an event with this sequence in every session that has sent one.
  void forge(std::uint64_t sequence);
  /// Cuts the connections once, after this many more events.
  void cut_after(std::uint64_t events);

  /// Waits until this many events have been admitted, over all incarnations.
  [[nodiscard]] bool wait_admitted(std::size_t count);
  [[nodiscard]] bool wait_hellos(std::size_t count);
  [[nodiscard]] bool wait_goodbye();

  [[nodiscard]] std::vector<Admitted> admitted() const;
  [[nodiscard]] std::vector<v1::HelloRequest> hellos() const;
  /// Names of the files registered, over all incarnations, and how many events had been admitted by then.
  [[nodiscard]] std::vector<std::pair<std::string, std::size_t>> types() const;
  /// Sequences that were missing when a later one arrived.
  [[nodiscard]] std::uint64_t holes() const;
  [[nodiscard]] std::uint64_t duplicates() const;
  [[nodiscard]] std::uint64_t cuts() const;

 private:
  struct Sockets {
    Sockets(const PublisherEndpoints& where, std::uint64_t event_bytes_max,
            const std::optional<mq::CurveServer>& keys, const std::string& zap_status);
    mq::Context context;
    std::optional<ZapServer> zap;
    mq::Socket ingress;
    mq::Socket control;
  };
  struct Session {
    std::uint64_t sequence{};
    std::uint64_t refused_sequence{};
    std::uint64_t refused{};
    bool forbidden{};
  };

  void on_thread(std::function<void()> command);
  void run();
  void run_commands();
  void bind();
  void unbind_all();
  void read_ingress();
  void admit(const std::string& topic, const std::string& bytes);
  void read_control();
  v1::ControlReply reply_to(const v1::ControlRequest& request);
  bool wait(const std::function<bool()>& condition);

  PublisherEndpoints endpoints_{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0"};
  WakeFd wake_;

  // Used on the thread only.
  std::optional<mq::CurveServer> keys_;
  std::string zap_status_;
  std::unique_ptr<Sockets> sockets_;
  std::map<std::pair<std::string, std::uint64_t>, Session> sessions_;
  std::uint64_t stream_{random_id()};
  std::uint64_t event_bytes_max_{1u << 20};
  std::string refused_topic_;
  std::optional<std::uint64_t> cut_after_;
  bool reading_{true};
  bool replying_{true};
  bool draining_{};
  bool refusing_types_{};
  bool forbidding_hello_{};

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  std::vector<std::function<void()>> commands_;
  std::uint64_t commands_done_{};
  std::uint64_t commands_queued_{};
  std::vector<Admitted> admitted_;
  std::vector<v1::HelloRequest> hellos_;
  std::vector<std::pair<std::string, std::size_t>> types_;
  std::uint64_t holes_{};
  std::uint64_t duplicates_{};
  std::uint64_t cuts_{};
  bool ending_{};

  std::thread thread_;
};

}  // namespace backplane::testing
