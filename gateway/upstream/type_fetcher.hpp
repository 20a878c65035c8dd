#pragma once
// Types of payloads that this program was not built with.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error/error.hpp"
#include "core/log/log.hpp"
#include "core/payload/payload_json.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::gateway {

/// Asks the broker for the types that payloads turn out to have, and gives them to whoever writes payloads.
/// Lives on the hub's thread; `payloads` outlives it, its answers need not.
class TypeFetcher {
 public:
  using Clock = std::chrono::steady_clock;
  using Ask = std::function<void(const std::vector<std::string>&, std::function<void(Result<TypesReply>)>)>;

  TypeFetcher(PayloadJson& payloads, Ask ask)
      : state_(std::make_shared<State>(payloads)), ask_(std::move(ask)) {}

  /// After events have been written.
  void turn(Clock::time_point now) {
    if (now >= ask_again_) {
      ask_again_ = now + ask_again_interval;
      state_->payloads.ask_again();
    }
    if (state_->asking || !state_->payloads.has_unknown_types()) return;
    const std::vector<std::string> names = state_->payloads.take_unknown_types();
    if (names.empty()) return;
    state_->asking = true;
    ask_(names, [weak = std::weak_ptr(state_)](const Result<TypesReply>& answer) {
      const auto state = weak.lock();
      if (!state) return;
      state->asking = false;
      if (!answer || answer->files.empty()) return;
      const auto added = state->payloads.add_types(answer->files);
      if (added.refusal != TypeRegistry::Refusal::none) log::warning("types: {}", added.text);
    });
  }

 private:
  struct State {
    explicit State(PayloadJson& of) : payloads(of) {}
    PayloadJson& payloads;
    bool asking{};
  };
  // A type may be registered after its first event.
  static constexpr std::chrono::seconds ask_again_interval{2};

  std::shared_ptr<State> state_;
  Ask ask_;
  Clock::time_point ask_again_{};
};

}  // namespace backplane::gateway
