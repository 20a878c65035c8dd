#pragma once
// A replicated log in memory, and what can go wrong with one.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/log/log_engine.hpp"

namespace backplane::broker::testing {

/// How often something goes wrong, from 0 to 1.
struct LogFaults {
  double append_lost{};      ///< on its way to the log; there is no reply
  double append_repeated{};  ///< another copy comes later
  double reply_lost{};
  double reply_fails{};  ///< although the append may succeed
  double reply_lies{};   ///< the append is confirmed and lost
  double nothing_read{};
  double read_again{};        ///< next() returns something older
  double read_skipped{};      ///< next() leaves something out
  std::uint64_t delay_max{};  ///< of an append, in steps; copies overtake each other
};

/// The log, and the appends that are on their way to it. Outlives the engines that are connected to it.
class SimulatedLog {
 public:
  explicit SimulatedLog(std::uint64_t seed) : random_(seed) {}
  SimulatedLog(const SimulatedLog&) = delete;
  SimulatedLog& operator=(const SimulatedLog&) = delete;

  /// What is in the log: index 1 first.
  std::vector<std::string> records;
  LogFaults faults;
  std::int64_t clock_ns{};  ///< its time of everything; 0: it has none
  bool skips_known_ids{};   ///< an append is skipped if there was one with its id

  [[nodiscard]] std::unique_ptr<LogEngine> connect() { return std::make_unique<Engine>(*this); }

  /// Time passes.
  void step() {
    ++now_;
    for (std::size_t i = 0; i < on_their_way_.size();) {
      if (on_their_way_[i].arrives_at > now_) {
        ++i;
        continue;
      }
      Copy copy = std::move(on_their_way_[i]);
      on_their_way_.erase(on_their_way_.begin() + static_cast<std::ptrdiff_t>(i));
      arrive(std::move(copy));
    }
  }
  [[nodiscard]] bool is_quiet() const noexcept { return on_their_way_.empty(); }

 private:
  /// The state of one append, which its engine may no longer wait for.
  struct Reply {
    LogEngine::Append state{LogEngine::Append::under_way};
  };
  struct Copy {
    std::string bytes;
    std::string id;
    std::uint64_t arrives_at{};
    std::shared_ptr<Reply> reply;
  };

  class Engine final : public LogEngine {
   public:
    explicit Engine(SimulatedLog& log) : log_(log) {}
    void append(std::string_view bytes, std::string_view id) override {
      reply_ = std::make_shared<Reply>();
      log_.send(bytes, id, reply_);
    }
    [[nodiscard]] Append append_state() override {
      if (reply_ == nullptr) return Append::none;
      const Append state = reply_->state;
      if (state != Append::under_way) reply_.reset();
      return state;
    }
    void read_from(std::uint64_t index) override { next_ = index; }
    [[nodiscard]] std::optional<Record> next() override {
      if (log_.happens(log_.faults.nothing_read)) return std::nullopt;
      if (next_ > 1 && log_.happens(log_.faults.read_again)) return record(1 + log_.below(next_ - 1));
      if (log_.happens(log_.faults.read_skipped)) next_ += 1 + log_.below(3);
      if (next_ > log_.records.size()) return std::nullopt;
      return record(next_++);
    }
    void write_checkpoint(std::uint64_t, std::string) override {}
    [[nodiscard]] std::uint64_t checkpoint_index() const override { return 0; }
    [[nodiscard]] int progress_fd() const override { return -1; }
    [[nodiscard]] Condition condition() const override { return {}; }
    [[nodiscard]] Status status() const override {
      return {.first_index = 1, .last_index = log_.records.size(), .has_quorum = true, .servers = {}};
    }

   private:
    std::optional<Record> record(std::uint64_t index) {
      if (index > log_.records.size()) return std::nullopt;
      returned_ = log_.records[index - 1];
      return Record{index, returned_, log_.clock_ns};
    }

    SimulatedLog& log_;
    std::shared_ptr<Reply> reply_;
    std::uint64_t next_{1};
    std::string returned_;
  };

  bool happens(double probability) {
    return probability > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < probability;
  }
  std::uint64_t below(std::uint64_t limit) {
    return std::uniform_int_distribution<std::uint64_t>(0, limit - 1)(random_);
  }

  void send(std::string_view bytes, std::string_view id, std::shared_ptr<Reply> reply) {
    if (happens(faults.reply_lies)) {
      reply->state = LogEngine::Append::done;
      return;
    }
    if (happens(faults.reply_fails)) reply->state = LogEngine::Append::failed;
    if (happens(faults.append_repeated)) {
      on_their_way_.push_back({std::string(bytes), std::string(id),
                               now_ + 1 + below(10 * faults.delay_max + 1), std::make_shared<Reply>()});
    }
    if (happens(faults.append_lost)) return;
    if (happens(faults.reply_lost)) reply = std::make_shared<Reply>();
    on_their_way_.push_back(
        {std::string(bytes), std::string(id), now_ + 1 + below(faults.delay_max + 1), std::move(reply)});
  }

  void arrive(Copy copy) {
    const bool is_known = !ids_.insert(copy.id).second;
    if (!is_known || !skips_known_ids) records.push_back(std::move(copy.bytes));
    if (copy.reply->state == LogEngine::Append::under_way) copy.reply->state = LogEngine::Append::done;
  }

  std::mt19937_64 random_;
  std::uint64_t now_{};
  std::vector<Copy> on_their_way_;
  std::set<std::string> ids_;
};

}  // namespace backplane::broker::testing
