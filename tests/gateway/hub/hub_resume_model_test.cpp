// Clients whose connection is cut at any byte, and that resume where the gateway says, while the broker's
// events and replies arrive at any pace: nothing is missing, and nothing comes twice.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "follower/order/reader_progress.hpp"
#include "tests/gateway/hub/broker_model.hpp"
#include "tests/gateway/protocols/http/http_stage.hpp"

namespace backplane::gateway {
namespace {

std::string member(const std::string& line, const std::string& name) {
  const std::size_t at = line.find("\"" + name + "\":");
  if (at == std::string::npos) return {};
  const std::size_t begin = line.find_first_not_of('"', at + name.size() + 3);
  return line.substr(begin, line.find_first_of(",\"}", begin) - begin);
}

/// The client's own part: what it sends and how it reads is the protocol's.
struct ModelClient {
  enum class Begin { now, values, history };
  std::vector<std::string> patterns;
  Begin begin{};
  std::size_t read{};  ///< bytes of the output
  ReaderProgress progress;
  std::string last_id;  ///< of a Server-Sent Event
  std::set<std::pair<std::string, std::uint64_t>> received;
  std::map<std::string, std::uint64_t> first;   ///< the first offset of each topic that arrived
  std::map<std::string, std::uint64_t> newest;  ///< the last one
  std::uint64_t owed_after{};                   ///< everything that is published after this position
  std::size_t unconfirmed{};
  bool confirmed{};  ///< once
  bool position_requested{};

  [[nodiscard]] bool wants(const std::string& topic) const {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return Pattern::parse(pattern)->matches(topic); });
  }
};

const std::vector<std::vector<std::string>> pattern_choices{
    {"t.*"}, {"t.a"}, {"t.a", "t.b"}, {"t.a", "u.*"}, {"*.a", "t.*"}, {"t.*", "u.>", "*.b"}, {">"}};
const std::vector<std::string> all_topics{"t.a", "t.b", "u.a", "u.b"};

class HubResumeModel : public http::HttpStage, public ::testing::WithParamInterface<int> {
 protected:
  void set_up(bool loses_events) {
    model_.emplace(hub_, upstream_, broker_, random_, loses_events);
    for (int i = 0; i < 6; ++i) model_->publish(all_topics[pick(all_topics.size())]);
    model_->settle();
    come_up();
    client_.patterns = pattern_choices[pick(pattern_choices.size())];
    client_.begin = static_cast<ModelClient::Begin>(pick(3));
  }
  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }

  [[nodiscard]] std::string description() const {
    std::string text = "begins with " + std::to_string(static_cast<int>(client_.begin)) + ":";
    for (const std::string& pattern : client_.patterns) text += " " + pattern;
    return text;
  }

  /// The connection ends after a part of what was written; the client has received that.
  virtual void receive(std::string_view bytes) = 0;
  virtual void request() = 0;

  void reconnect() {
    peer_ = connect();
    peer_.stream->room = pick(3) == 0 ? pick(300) : fanout::SimulatedStream::no_limit;
    client_.read = 0;
    request();
  }
  void cut() {
    const std::string& output = peer_.stream->output;
    receive(std::string_view(output).substr(client_.read, pick(output.size() - client_.read + 1)));
    if (fanout::Client* const of = shard_.find(peer_.id)) of->abort();
    client_.progress.on_disconnected();
    turn();
    reconnect();
  }
  void read_some() {
    if (peer_.stream->room != fanout::SimulatedStream::no_limit) peer_.stream->room += pick(300);
    if (fanout::Client* const of = shard_.find(peer_.id)) of->on_writable();
    turn();
    const std::string_view output = std::string_view(peer_.stream->output).substr(client_.read);
    const std::size_t end = output.rfind('\n');
    if (end == std::string_view::npos) return;
    client_.read += end + 1;
    receive(output.substr(0, end + 1));
  }
  /// Whether the client can resume without a loss: it knows a position, or its first request is repeated.
  [[nodiscard]] virtual bool can_resume() const = 0;

  void step() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
        model_->publish(all_topics[pick(all_topics.size())]);
        break;
      case 3:
      case 4:
        model_->arrive();
        break;
      case 5:
        model_->confirm_soon();
        break;
      case 6:
        model_->handle_requests();
        break;
      case 7:
        model_->reply();
        break;
      case 8:
        model_->recover(all_topics[pick(all_topics.size())]);
        break;
      case 9:
        if (pick(12) == 0 && can_resume()) cut();
        break;
      case 10:
        now_ += std::chrono::milliseconds{pick(400)};
        break;
      default:
        read_some();
    }
    model_->find_low_watermark();
    if (pick(3) == 0) turn();
  }
  void finish() {
    peer_.stream->room = fanout::SimulatedStream::no_limit;
    for (int i = 0; i < 200; ++i) {
      model_->settle();
      now_ += std::chrono::milliseconds{600};
      turn();
      read_some();
    }
    ASSERT_TRUE(client_.confirmed);
    for (const auto& event : model_->history()) {
      if (!client_.wants(event.topic) || event.stamp.position <= client_.owed_after) continue;
      // A retained value is the newest one when it is sent.
      const auto first = client_.first.find(event.topic);
      const bool superseded = client_.begin == ModelClient::Begin::values && first != client_.first.end() &&
                              event.stamp.offset < first->second;
      if (superseded) continue;
      EXPECT_TRUE(client_.received.contains({event.topic, event.stamp.offset}))
          << event.topic << ' ' << event.stamp.offset << " at " << event.stamp.position << " is missing";
    }
  }
  void take_event(const std::string& topic, std::uint64_t offset, bool may_come_again) {
    if (may_come_again && client_.received.contains({topic, offset})) return;
    EXPECT_TRUE(client_.received.emplace(topic, offset).second) << topic << ' ' << offset << " came twice";
    client_.first.emplace(topic, offset);
    std::uint64_t& newest = client_.newest[topic];
    EXPECT_TRUE(newest == 0 || offset == newest + 1) << topic << ": " << offset << " follows " << newest;
    newest = offset;
  }

  std::mt19937 random_{static_cast<unsigned>(GetParam())};
  std::optional<BrokerModel> model_;
  ModelClient client_;
};

/// A client of the line protocol, as `sub --gateway` and the page.
class LineResumeModel : public HubResumeModel {
 protected:
  void request() override {
    const StreamPositions from = client_.progress.resume_at();
    std::string options;
    if (!from.empty()) {
      options = " since=" + resume_token(from);
    } else if (client_.begin == ModelClient::Begin::values) {
      options = " last";
    } else if (client_.begin == ModelClient::Begin::history) {
      options = " since=10m";
    }
    client_.unconfirmed = client_.patterns.size();
    client_.position_requested = false;
    std::string lines = "FORMAT json\n";
    for (const std::string& pattern : client_.patterns) lines += "SUB " + pattern + options + "\n";
    send(peer_, lines);
  }
  [[nodiscard]] bool can_resume() const override {
    return client_.begin == ModelClient::Begin::history || !client_.progress.resume_at().empty();
  }
  void receive(std::string_view bytes) override {
    for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
      take_line(std::string(bytes.substr(0, end)));
      bytes.remove_prefix(end + 1);
    }
    if (client_.unconfirmed > 0 || client_.position_requested || pick(3) != 0) return;
    client_.position_requested = true;
    send(peer_, "POSITION\n");
  }
  void take_line(const std::string& line) {
    if (line.starts_with("+OK SUB") && --client_.unconfirmed == 0 &&
        !std::exchange(client_.confirmed, true)) {
      client_.owed_after = client_.begin == ModelClient::Begin::history ? 0 : broker_.position();
    }
    if (line.starts_with("+OK POSITION")) {
      client_.position_requested = false;
      if (line.size() > 13) client_.progress.complete(*parse_resume_token(line.substr(13)));
    }
    if (!line.starts_with('{')) return;
    ASSERT_FALSE(line.starts_with("{\"gap\"") || line.starts_with("{\"reset\"")) << line;
    const std::string topic = member(line, "topic");
    const std::uint64_t offset = std::stoull(member(line, "offset"));
    if (client_.progress.admit(topic, broker_.stream(), std::stoull(member(line, "position")), offset)) {
      take_event(topic, offset, false);
    }
  }
};

/// A browser's EventSource: it knows nothing but the last id, and shows every event that it gets.
class SseResumeModel : public HubResumeModel {
 protected:
  void request() override {
    std::string query;
    for (const std::string& pattern : client_.patterns) query += "topic=" + pattern + "&";
    if (client_.begin == ModelClient::Begin::values) query += "last";
    if (client_.begin == ModelClient::Begin::history) query += "since=10m";
    on_this_connection_.clear();
    pending_.clear();  // an event that has not arrived completely does not count
    next_id_.clear();
    data_.clear();
    resumed_at_ = client_.last_id;
    const std::string field = client_.last_id.empty() ? "" : "Last-Event-ID: " + client_.last_id + "\r\n";
    send(peer_, get("/v1/events?" + query, "localhost", field));
  }
  [[nodiscard]] bool can_resume() const override {
    return client_.begin == ModelClient::Begin::history || !client_.last_id.empty();
  }
  void receive(std::string_view bytes) override {
    pending_ += bytes;
    for (std::size_t end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n')) {
      take_line(pending_.substr(0, end));
      pending_.erase(0, end + 1);
    }
  }
  void take_line(const std::string& line) {
    if (line.starts_with("retry:") && !std::exchange(client_.confirmed, true)) {
      client_.owed_after = client_.begin == ModelClient::Begin::history ? 0 : broker_.position();
    }
    if (line.starts_with("id: ")) next_id_ = line.substr(4);
    if (line.empty()) {
      if (!next_id_.empty()) client_.last_id = std::exchange(next_id_, {});
      if (!data_.empty()) take_data(std::exchange(data_, {}));
    }
    ASSERT_FALSE(line.starts_with("event: ")) << line;
    if (line.starts_with("data: ")) data_ = line.substr(6);
  }
  void take_data(const std::string& data) {
    const std::string topic = member(data, "topic");
    const std::uint64_t offset = std::stoull(member(data, "offset"));
    EXPECT_TRUE(on_this_connection_.emplace(topic, offset).second)
        << topic << ' ' << offset << " came twice on one connection, resumed at " << resumed_at_;
    // Without an id, the client was not told that it has this event.
    take_event(topic, offset, /*may_come_again=*/true);
  }

  std::set<std::pair<std::string, std::uint64_t>> on_this_connection_;
  std::string resumed_at_;
  std::string pending_;
  std::string next_id_;
  std::string data_;
};

TEST_P(LineResumeModel, NothingIsMissingOrTwiceWhereverTheConnectionIsCut) {
  set_up(/*loses_events=*/true);
  const ::testing::ScopedTrace trace(__FILE__, __LINE__, description());
  reconnect();
  for (int i = 0; i < 1500 && !HasFailure(); ++i) step();
  finish();
}
INSTANTIATE_TEST_SUITE_P(Seeds, LineResumeModel, ::testing::Range(1, 121));

TEST_P(SseResumeModel, NothingIsMissingOrTwiceWhereverTheConnectionIsCut) {
  set_up(/*loses_events=*/false);
  const ::testing::ScopedTrace trace(__FILE__, __LINE__, description());
  reconnect();
  for (int i = 0; i < 1500 && !HasFailure(); ++i) step();
  finish();
}
INSTANTIATE_TEST_SUITE_P(Seeds, SseResumeModel, ::testing::Range(1, 121));

}  // namespace
}  // namespace backplane::gateway
