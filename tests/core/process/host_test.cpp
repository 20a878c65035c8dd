#include "core/process/host.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane {
namespace {

TEST(Host, HasANameWithoutItsDomain) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_EQ(host_name().find('.'), std::string::npos);
}

TEST(Host, RandomIdsDifferAndAreNeverZero) {
  const std::uint64_t first = random_id();
  const std::uint64_t second = random_id();
  EXPECT_NE(first, 0u);
  EXPECT_NE(first, second);
}

TEST(Host, TheLimitOfOpenFilesIsRaisedToTheHardOne) {
  const std::uint64_t in_force = raise_open_files_limit();
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
  EXPECT_EQ(in_force, limit.rlim_cur);
}

TEST(Host, TheFiguresOfAProcessAreBelowItsLimits) {
  const ProcessFigures figures = process_figures();
  EXPECT_GT(figures.memory_bytes, 100'000u);
  EXPECT_GT(figures.memory_bytes_max, figures.memory_bytes);
  EXPECT_GT(figures.open_files, 2u);
  EXPECT_GT(figures.open_files_max, figures.open_files);
}

TEST(Host, OpenFilesAreCounted) {
  const std::uint64_t before = process_figures().open_files;
  const Descriptor opened(::dup(STDERR_FILENO));
  EXPECT_GT(process_figures().open_files, before);
}

}  // namespace
}  // namespace backplane
