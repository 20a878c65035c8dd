#include "core/log/line_writer.hpp"

#include <array>
#include <chrono>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane::log {
namespace {

using namespace std::chrono_literals;

/// A pipe of 4 KiB. Nobody reads it but read_until().
class Pipe {
 public:
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read_ = Descriptor(ends[0]);
    write_ = Descriptor(ends[1]);
    EXPECT_EQ(::fcntl(write_.get(), F_SETPIPE_SZ, 4096), 4096);
  }
  [[nodiscard]] int fd() const { return write_.get(); }
  void close_reader() { read_.reset(); }

  /// Reads until `end` has come.
  std::string read_until(const std::string& end) const {
    std::string text;
    while (text.find(end) == std::string::npos) {
      pollfd readable{read_.get(), POLLIN, 0};
      if (::poll(&readable, 1, 10'000) != 1) return text + "(nothing more)";
      std::array<char, 4096> chunk{};
      const ssize_t bytes = ::read(read_.get(), chunk.data(), chunk.size());
      if (bytes <= 0) return text + "(end)";
      text.append(chunk.data(), static_cast<std::size_t>(bytes));
    }
    return text;
  }

 private:
  Descriptor read_;
  Descriptor write_;
};

/// A pipe for a writer whose thread may stay in write() when the test ends.
const Pipe& pipe_that_stays_open() {
  return *new Pipe;
}

const std::string long_line = std::string(999, 'x') + '\n';

TEST(LineWriter, WritesLinesInTheirOrder) {
  const Pipe pipe;
  LineWriter writer(pipe.fd());
  EXPECT_TRUE(writer.write("one\n"));
  EXPECT_TRUE(writer.write("two\nthree\n"));
  EXPECT_TRUE(writer.flush(10s));
  EXPECT_TRUE(writer.idle());
  EXPECT_EQ(pipe.read_until("three\n"), "one\ntwo\nthree\n");
  EXPECT_EQ(writer.dropped(), 0u);
}

TEST(LineWriter, IfNobodyReadsItDropsCountsAndThenReportsHowMany) {
  const Pipe pipe;
  LineWriter writer(pipe.fd(), /*bytes_max=*/10'000);
  writer.set_notice([](std::uint64_t dropped) { return "dropped: " + std::to_string(dropped) + "\n"; });
  std::uint64_t dropped = 0;
  for (int line = 0; line < 100; ++line) dropped += writer.write(long_line) ? 0u : 1u;
  EXPECT_GE(dropped, 70u);
  EXPECT_EQ(writer.dropped(), dropped);
  EXPECT_FALSE(writer.flush(10ms));
  // One report for each time that the queue was full.
  std::uint64_t reported = 0;
  std::size_t all_bytes = 0;
  std::size_t report_bytes = 0;
  while (reported < dropped) {
    std::string text = pipe.read_until("dropped: ");
    ASSERT_THAT(text, testing::HasSubstr("dropped: "));
    if (!text.ends_with('\n')) text += pipe.read_until("\n");
    for (std::size_t at = 0; (at = text.find("dropped: ", at)) != std::string::npos; ++at) {
      const std::string report = text.substr(at, text.find('\n', at) + 1 - at);
      reported += std::stoull(report.substr(9));
      report_bytes += report.size();
    }
    all_bytes += text.size();
  }
  EXPECT_EQ(reported, dropped);
  EXPECT_EQ(all_bytes, (100 - dropped) * long_line.size() + report_bytes);
  EXPECT_TRUE(writer.flush(10s));
  EXPECT_TRUE(writer.write("again\n"));
  EXPECT_EQ(pipe.read_until("again\n"), "again\n");
}

TEST(LineWriter, AfterADroppedLineNoOtherTakesItsPlace) {
  static const Pipe& pipe = pipe_that_stays_open();
  LineWriter writer(pipe.fd(), /*bytes_max=*/5'000);
  writer.set_notice([](std::uint64_t) { return "dropped\n"; });
  while (writer.write(long_line)) {
  }
  EXPECT_FALSE(writer.write("short\n"));
  EXPECT_THAT(pipe.read_until("dropped\n"), testing::Not(testing::HasSubstr("short")));
}

TEST(LineWriter, BytesThatNeedNotBeCountedAreDroppedWithoutAReport) {
  static const Pipe& pipe = pipe_that_stays_open();
  LineWriter writer(pipe.fd(), /*bytes_max=*/5'000);
  while (writer.write_uncounted(long_line)) {
  }
  EXPECT_EQ(writer.dropped(), 0u);
}

TEST(LineWriter, LinesThatCannotBeWrittenAreCounted) {
  Pipe pipe;
  pipe.close_reader();
  LineWriter writer(pipe.fd());
  writer.write("one\ntwo\n");
  EXPECT_TRUE(writer.flush(10s));
  EXPECT_EQ(writer.dropped(), 2u);
}

TEST(LineWriter, ItsDestructorDoesNotWaitForTheReader) {
  static const Pipe& pipe = pipe_that_stays_open();
  LineWriter writer(pipe.fd());
  for (int line = 0; line < 10; ++line) writer.write(long_line);
  EXPECT_FALSE(writer.flush(10ms));
}

}  // namespace
}  // namespace backplane::log
