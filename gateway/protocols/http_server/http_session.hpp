#pragma once
// An HTTP/1 client.

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/protocols/http/message.hpp"
#include "gateway/protocols/http/request_reader.hpp"
#include "gateway/protocols/http_server/routes.hpp"
#include "gateway/protocols/http_server/site.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway::http {

/// Handles one client's requests in order, one at a time: while a response is outstanding, input is paused. A
/// request for events replaces the session by one for Server-Sent Events or WebSocket. Lives on its worker;
/// owned by its fanout::Client.
class HttpSession final : public Session {
 public:
  using Clock = fanout::Client::Clock;

  /// `services` have a site.
  /// @param begun_at when the first byte of the first request arrived
  HttpSession(fanout::Client& client, const Services& services, Clock::time_point begun_at);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_replies_drained() override;
  void on_alarm() override;

  void on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                        std::chrono::seconds retry_after) override;
  void on_topics(std::span<const TopicInfo> topics) override;
  void on_topics_end(std::size_t count, std::string_view code, std::string_view text) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;

 protected:
  void close_with_reason(std::string_view reason) override;

 private:
  enum class Pending { none, authentication, publish, list };

  void continue_reading();
  void handle();
  void execute_route(Route& route);
  void execute(const StatusRoute& route);
  void execute(Response& response) { respond(std::move(response)); }
  void execute(PublishRoute& route);
  void execute(TopicsRoute& route);
  void execute(const EventsRoute&);
  void execute(const SocketRoute&);
  void respond(Response response);
  void finish_request();
  void refuse(const Fault& fault);
  void begin_list();
  void append_to_list(std::string_view text);
  void set_timeout();

  const Site& site_;
  RequestReader reader_;
  Request request_;  ///< the current one
  Route route_;      ///< its, while it is being authenticated
  Rights rights_;    ///< of its user, if there is a policy
  Pending pending_{Pending::none};
  bool list_begun_{};           ///< part of the list has been sent
  bool awaits_drain_{};         ///< the client has too many unread responses
  bool replaced_{};             ///< by another session
  Clock::time_point begun_at_;  ///< of the request that is being read; {}: of none
};

}  // namespace backplane::gateway::http
