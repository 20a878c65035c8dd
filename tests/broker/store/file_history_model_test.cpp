// The store on disk against the model, with restarts, kills and power losses in between.

#include <algorithm>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "tests/broker/store/file_walk.hpp"

namespace backplane::broker {
namespace {

using testing::FileWalk;
using testing::Stamped;

class FileHistoryModel : public ::testing::TestWithParam<unsigned> {};

TEST_P(FileHistoryModel, TheStoreReturnsWhatTheModelHasAndContinuesAfterEachRestart) {
  std::uint64_t cleaned = 0;
  for (unsigned seed = GetParam(); seed < GetParam() + 20; ++seed) {
    SCOPED_TRACE(seed);
    FileWalk walk(seed);
    walk.run(400);
    if (HasFailure()) return;
    cleaned += walk.cleaned_bytes();
  }
  EXPECT_GT(cleaned, 0u) << "the walks include the cleaner";
}

INSTANTIATE_TEST_SUITE_P(Seeds, FileHistoryModel, ::testing::Range(0u, 200u, 20u));

/// Its process or its machine dies in the middle of operations.
class CrashWalk final : public FileWalk {
 public:
  CrashWalk(unsigned seed, bool loses_power) : FileWalk(seed), loses_power_(loses_power) {
    options_.sync = loses_power && pick(0, 1) == 0 ? StoreSync::always : StoreSync::interval;
  }
  [[nodiscard]] int crashes() const { return crashes_; }

 private:
  void interrupt() override {
    if (!is_armed_ && pick(0, 60) == 0) restart();
    if (!is_armed_ && pick(0, 20) == 0) {
      disk_.die_after(pick(0, 60));
      is_armed_ = true;
    }
  }
  // A kill may lose how far the clock was moved back, if no event followed.
  void step_time() override {
    if (pick(0, 2) == 0) wall_ns_ += static_cast<std::int64_t>(pick(0, 400)) * 1'000'000;
  }

  void change() override {
    interrupt();
    if (disk_.is_dead()) return crash(nullptr);
    step_time();
    if (pick(0, 14) == 0) {
      store_->expire(wall_ns_);
      if (disk_.is_dead()) return crash(nullptr);
      model_->expire(wall_ns_);
      return;
    }
    const std::string& topic = topics_[std::min(pick(0, topics_.size() - 1), pick(0, topics_.size() - 1))];
    Stamped event =
        numbering_.next(topic, wall_ns_, pick(0, 30) == 0 ? pick(0, 3000) : pick(0, 60), pick(0, 9) == 0);
    const auto session = static_cast<char>(pick(1, 5));
    write_session(event, session, ++sequence_);
    const HistoryAppend item = event.append();
    const HistoryStore::Ticket ticket = store_->append({&item, 1});
    const bool is_promised =
        ticket.result == HistoryStore::Accepted::accepted && store_->progress().durable >= ticket.number;
    if (!disk_.is_dead()) {
      ASSERT_TRUE(is_promised);
    }
    if (is_promised) {
      model_->append(event);
      sessions_[session] = sequence_;
    }
    if (disk_.is_dead()) crash(is_promised ? nullptr : &event, session);
  }

  // `unsure`: an event that may or may not be stored.
  void crash(const Stamped* unsure, char session = 0) {
    ++crashes_;
    is_armed_ = false;
    const bool loses_power = loses_power_ && options_.sync == StoreSync::always && pick(0, 1) == 0;
    if (loses_power_) options_.sync = StoreSync::always;  // what was written before must be safe then, too
    loses_power ? disk_.power_loss() : disk_.kill();
    store_.reset();
    const std::uint64_t stream = opened_.stream;
    start();
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(opened_.continues);
    ASSERT_EQ(opened_.stream, stream);
    const std::uint64_t promised = model_->records().empty() ? 0 : model_->records().back().position;
    if (unsure != nullptr && opened_.position == unsure->stamp.position) {
      model_->append(*unsure);
      sessions_[session] = sequence_;
    } else {
      ASSERT_EQ(opened_.position, promised) << "no event that was promised is lost, no number is used again";
    }
    compare_tails();
    compare_sessions();
    numbering_.restore(opened_);
    store_->expire(wall_ns_);
    model_->expire(wall_ns_);
    if (loses_power_) {
      ASSERT_EQ(store_->figures().damaged_ranges, 0u);
    }
  }

  // The event becomes one of the session "s"/`session`.
  static void write_session(Stamped& event, char session, std::uint64_t sequence) {
    const std::string fields = std::string("\x0a\x01s\x11") + session + std::string(7, '\0') + "\x18" +
                               static_cast<char>(0x80 | (sequence & 0x7f)) + static_cast<char>(sequence >> 7);
    event.bytes.insert(event.bytes.begin(), fields.size(), std::byte{});
    std::ranges::copy(std::as_bytes(std::span(fields)), event.bytes.begin());
    // What follows is a field that nobody knows.
    const std::size_t rest = event.bytes.size() - fields.size() - wire::stamp_bytes;
    const std::string head =
        std::string("\xa2\x06") + static_cast<char>(0x80 | (rest & 0x7f)) + static_cast<char>(rest >> 7);
    const auto bytes = std::as_bytes(std::span(head));
    event.bytes.insert(event.bytes.begin() + static_cast<std::ptrdiff_t>(fields.size()), bytes.begin(),
                       bytes.end());
  }
  void compare_sessions() {
    std::map<char, std::uint64_t> got;
    for (const HistoryStore::Session& session : opened_.sessions) {
      ASSERT_EQ(session.source, "s");
      got[static_cast<char>(session.session)] = session.sequence;
    }
    ASSERT_EQ(got, sessions_);
  }

  std::uint64_t sequence_{0};
  std::map<char, std::uint64_t> sessions_;
  bool loses_power_;
  bool is_armed_{false};
  int crashes_{0};
};

class FileHistoryCrash : public ::testing::TestWithParam<unsigned> {};

TEST_P(FileHistoryCrash, AKillAtAnyOperationLosesNothingThatWasWritten) {
  int crashes = 0;
  for (unsigned seed = GetParam(); seed < GetParam() + 10; ++seed) {
    SCOPED_TRACE(seed);
    CrashWalk walk(seed, /*loses_power=*/false);
    walk.run(500);
    if (HasFailure()) return;
    crashes += walk.crashes();
  }
  EXPECT_GT(crashes, 50);
}

TEST_P(FileHistoryCrash, APowerLossAtAnyOperationLosesNothingThatWasDurable) {
  int crashes = 0;
  for (unsigned seed = GetParam(); seed < GetParam() + 10; ++seed) {
    SCOPED_TRACE(seed);
    CrashWalk walk(seed, /*loses_power=*/true);
    walk.run(500);
    if (HasFailure()) return;
    crashes += walk.crashes();
  }
  EXPECT_GT(crashes, 50);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FileHistoryCrash, ::testing::Range(0u, 200u, 10u));

}  // namespace
}  // namespace backplane::broker
