// Any bytes from a client without credentials, in whatever protocol it begins, to a whole gateway with a
// policy: the first byte determines the pieces, the rest is the stream. Nothing of the topics that it may not
// read comes out.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/log/log.hpp"
#include "gateway/access/authenticator.hpp"
#include "tests/fuzz/expect.hpp"
#include "tests/gateway/access/policies.hpp"
#include "tests/gateway/protocols/http/http_stage.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway;
using namespace std::chrono_literals;

// What must not come out. If the client sends it, an error may contain it.
constexpr std::string_view hidden_topic = "hidden.k7w2";
constexpr std::string_view hidden_text = "v9q4z1";
constexpr std::string_view hidden_part = "k7w";

const std::shared_ptr<const policy::Policy>& some_policy() {
  static const auto policy = policy_of(user_text("anna", "a1", "\"all\"") +
                                       "[users.anonymous]\nroles = ['open']\n"
                                       "[roles.open]\nsubscribe = ['open.>']\npublish = ['open.in']\n"
                                       "[roles.all]\nsubscribe = ['>']\n");
  return policy;
}

/// Tokens that are unknown are not verified, because that happens on another thread: all are refused.
Authenticator::Limits no_verification() {
  Authenticator::Limits limits;
  limits.waiting_clients_max = 0;
  return limits;
}

class Gateway final : public http::HttpStage {
 public:
  Gateway() {
    hub_.remove(peer_.id);
    hub_.use_policy(some_policy(), {authenticator_, requests_, access_});
    services_.access = &access_;
    come_up();
    peer_ = connect();
  }

  void give(std::string_view bytes, std::size_t piece) {
    peer_.stream->read_max = piece;
    send(peer_, bytes);
  }

  /// Everything that a broker can send while the client is there.
  void live() {
    prove();
    reply_to_requests();
    if (upstream_.topics_handler) {
      std::exchange(upstream_.topics_handler,
                    nullptr)(TopicsPage{1, 1, {{.name = std::string(hidden_topic)}, {.name = "open.a"}}, {}});
    }
    turn();
    for (const char* const text : {"one", "two"}) {
      publish("open.a", text);
      publish(std::string(hidden_topic), std::string(hidden_text));
    }
    hub_.on_gap({broker_.stream(), std::string(hidden_topic), 3, 4, GapReason::history_gone, 99});
    hub_.on_gap({broker_.stream(), "open.a", 3, 4, GapReason::history_gone, 99});
    admit_all();
  }

  void finish() {
    end_input(peer_);
    now_ += 90s;
    turn();
  }

  [[nodiscard]] const std::string& output() const { return peer_.stream->output; }
  [[nodiscard]] const std::string& published_topic() const { return publisher_.last_topic; }

 private:
  void TestBody() override {}

  void reply_to_requests() {
    for (; replied_ < upstream_.requests; ++replied_) {
      const std::uint64_t request = replied_ + 1;
      const bool is_replay = std::any_of(upstream_.replays.begin(), upstream_.replays.end(),
                                         [&](const auto& each) { return each.request == request; });
      const auto shown = broker_.publish("open.a", "old");
      const auto hidden = broker_.publish(std::string(hidden_topic), std::string(hidden_text));
      if (!is_replay) {
        retained(request, shown);
        retained(request, hidden);
        retained_end(request);
        continue;
      }
      hub_.on_replayed(request, shown.delivery());
      hub_.on_replayed(request, hidden.delivery());
      hub_.on_replayed_gap(request,
                           {broker_.stream(), std::string(hidden_topic), 2, 3, GapReason::damaged, 3});
      ReplaySlice slice;
      slice.complete = true;
      slice.through = {{broker_.stream(), broker_.position()}};
      hub_.on_replay_slice(request, slice);
      turn();
    }
  }

  AccessCounters access_;
  Authenticator authenticator_{some_policy(), no_verification(), is_secret_of};
  std::uint64_t replied_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t bytes_max = 8192;
  log::set_level(log::Level::error);  // refusals are warnings
  if (size == 0 || size > bytes_max) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  Gateway gateway;
  gateway.give(bytes.substr(0, bytes.size() / 2), data[0] % 16u + 1u);
  gateway.live();
  gateway.give(bytes.substr(bytes.size() / 2), data[0] % 16u + 1u);
  gateway.live();
  gateway.finish();
  fuzz::expect(gateway.published_topic().empty() || gateway.published_topic() == "open.in",
               "only what the client may publish is");
  const std::string& output = gateway.output();
  if (bytes.find(hidden_part) == std::string_view::npos &&
      bytes.find(hidden_text) == std::string_view::npos) {
    fuzz::expect(output.find(hidden_topic) == std::string::npos, "a hidden topic does not come out");
    fuzz::expect(output.find(hidden_text) == std::string::npos, "a hidden event does not come out");
  }
  return 0;
}
