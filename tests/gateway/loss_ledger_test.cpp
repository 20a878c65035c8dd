#include "gateway/loss_ledger.hpp"

#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

EventLine lost(const char* topic, std::uint64_t offset, std::uint64_t stream = 7) {
  return {"line\n", topic, stream, offset};
}

TEST(LossLedger, SaysEachRangeOnce) {
  LossLedger ledger;
  for (const std::uint64_t offset : {101u, 102u, 103u}) {
    ledger.add(lost("b", offset));
    ledger.add(lost("a", offset + 10));
  }
  std::string out;
  ledger.report(Format::text, out);
  EXPECT_EQ(out, "!GAP a 111 113 slow_consumer\n!GAP b 101 103 slow_consumer\n");
  out.clear();
  ledger.report(Format::text, out);
  EXPECT_EQ(out, "");
}

TEST(LossLedger, NeverCallsLostWhatItWasNotTold) {
  LossLedger ledger;
  ledger.add(lost("a", 1));
  ledger.add(lost("a", 3));
  ledger.add(lost("a", 4, /*stream=*/8));
  std::string out;
  ledger.report(Format::json, out);
  EXPECT_EQ(out,
            "{\"gap\":{\"topic\":\"a\",\"stream\":\"0000000000000007\",\"first\":1,\"last\":1,\"reason\":"
            "\"slow_consumer\"}}\n"
            "{\"gap\":{\"topic\":\"a\",\"stream\":\"0000000000000007\",\"first\":3,\"last\":3,\"reason\":"
            "\"slow_consumer\"}}\n"
            "{\"gap\":{\"topic\":\"a\",\"stream\":\"0000000000000008\",\"first\":4,\"last\":4,\"reason\":"
            "\"slow_consumer\"}}\n");
}

}  // namespace
}  // namespace backplane::gateway
