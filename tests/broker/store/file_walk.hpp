#pragma once
// Random walks that compare the store on disk with the model.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "broker/store/file_history.hpp"
#include "core/log/log.hpp"
#include "tests/broker/state/history_model.hpp"
#include "tests/broker/store/simulated_files.hpp"

namespace backplane::broker::testing {

/// A walk through random operations on a store on a simulated disk, with restarts.
class FileWalk : public HistoryWalk {
 public:
  explicit FileWalk(unsigned seed) : HistoryWalk(seed), disk_(seed) { log::set_level(log::Level::off); }

  [[nodiscard]] std::uint64_t cleaned_bytes() const {
    return cleaned_bytes_ + store_->figures().cleaned_bytes;
  }

 protected:
  void make_store(const HistoryLimits& limits) override {
    options_.path = "/simulated";
    options_.backplane = "test";
    options_.limits = limits;
    options_.segment_bytes = pick(300, 4000);
    if (pick(0, 2) != 0) options_.scan_bytes_max = pick(1, 2000);
    if (pick(0, 2) != 0) options_.walk_events_max = pick(1, 6);
    options_.threads = false;
    start();
  }
  HistoryStore& store() override { return *store_; }
  void compare_figures(const HistoryStore::Figures& got, const HistoryStore::Figures& expected) override {
    EXPECT_GE(got.events, expected.events);
    EXPECT_GE(got.values, expected.values);
  }
  [[nodiscard]] bool finds_losses_late() const override { return true; }

  void interrupt() override {
    if (pick(0, 60) == 0) restart();
  }

  void start() {
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    const auto opened = store_->open(++last_stream_);
    ASSERT_TRUE(opened) << opened.error().text;
    opened_ = *opened;
  }
  void restart() {
    cleaned_bytes_ += store_->figures().cleaned_bytes;
    store_.reset();
    const std::uint64_t stream = opened_.stream;
    start();
    ASSERT_TRUE(opened_.continues);
    ASSERT_EQ(opened_.stream, stream);
    ASSERT_EQ(opened_.position, numbering_.position());
    compare_tails();
  }
  void compare_tails() {
    std::map<std::string, std::uint64_t> expected;
    for (const auto& record : model_->records()) expected[record.topic] = record.position;
    std::map<std::string, std::uint64_t> got;
    for (const HistoryStore::Tail& tail : opened_.tails) got[tail.topic] = tail.position;
    ASSERT_EQ(got, expected);
  }

  SimulatedDisk disk_;
  FileHistoryOptions options_;
  std::unique_ptr<FileHistory> store_;
  HistoryStore::Opened opened_;
  std::uint64_t last_stream_{0};
  std::uint64_t cleaned_bytes_{0};
};

}  // namespace backplane::broker::testing
