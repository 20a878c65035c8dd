#pragma once
// A client that speaks HTTP/1.

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

/// One client's requests, answered in their order, one at a time: while one waits for its answer, no more is
/// read. It becomes another session where events are asked for. Lives on its worker; owned by its
/// fanout::Client.
class HttpSession final : public Session {
 public:
  using Clock = fanout::Client::Clock;

  /// `services` have a site.
  /// @param begun_at when the first byte of the first request came
  HttpSession(fanout::Client& client, const Services& services, Clock::time_point begun_at);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_replies_drained() override;
  void on_alarm() override;

  void on_topics(std::span<const TopicInfo> topics) override;
  void on_topics_end(std::size_t count, std::string_view code, std::string_view text) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;

 protected:
  void last_words(std::string_view reason) override;

 private:
  enum class Doing { nothing, publishing, listing };

  void go_on();
  void handle();
  void execute(Response& response) { respond(std::move(response)); }
  void execute(PublishRoute& route);
  void execute(TopicsRoute& route);
  void execute(const EventsRoute&);
  void execute(const SocketRoute&);
  void respond(Response response);
  void done();
  void refuse(const Fault& fault);
  void begin_list();
  void give(std::string_view text);
  void set_time();

  const Site& site_;
  RequestReader reader_;
  Request request_;  ///< under way
  Doing doing_{Doing::nothing};
  bool listed_{};  ///< the list has begun to be written
  bool waits_for_room_{};
  bool became_{};               ///< another session, which goes on with the client
  Clock::time_point begun_at_;  ///< the request that is being read
};

}  // namespace backplane::gateway::http
