#include "broker/store/posix_files.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/broker/store/temporary_directory.hpp"

namespace backplane::broker::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(PosixFiles, AFileIsAppendedToReadAndCut) {
  const TemporaryDirectory directory;
  const auto files = posix_files(directory.path() + "/new");
  ASSERT_TRUE(files->open());
  const auto file = files->create("a").value();
  ASSERT_TRUE(file->append(bytes("hello ")));
  ASSERT_TRUE(file->append(bytes("world")));
  EXPECT_EQ(read_all(*file).value(), "hello world");
  std::string part(8, '\0');
  EXPECT_EQ(file->read(6, std::as_writable_bytes(std::span(part))).value(), 5u) << "fewer only at the end";
  ASSERT_TRUE(file->truncate(5));
  ASSERT_TRUE(file->append(bytes("!")));
  ASSERT_TRUE(file->sync());
  EXPECT_EQ(read_all(*files->open("a").value()).value(), "hello!");
  EXPECT_EQ(files->open("b").error().code, ErrorCode::not_found);
}

TEST(PosixFiles, ReplaceLeavesOneCompleteFile) {
  const TemporaryDirectory directory;
  const auto files = posix_files(directory.path());
  ASSERT_TRUE(files->open());
  ASSERT_TRUE(replace(*files, "a", "old"));
  ASSERT_TRUE(replace(*files, "a", "new"));
  EXPECT_THAT(files->list().value(), ElementsAre("a")) << "the lock is not listed";
  EXPECT_EQ(read_all(*files->open("a").value()).value(), "new");
  ASSERT_TRUE(files->remove("a"));
  EXPECT_THAT(files->list().value(), ElementsAre());
}

TEST(PosixFiles, ASecondOpenNamesTheProcessThatHasTheDirectoryUntilItEnds) {
  const TemporaryDirectory directory;
  auto first = posix_files(directory.path());
  ASSERT_TRUE(first->open());
  const auto second = posix_files(directory.path());
  const auto refused = second->open();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("in use by process " + std::to_string(::getpid()) + " on "));
  first.reset();
  EXPECT_TRUE(second->open());
}

TEST(PosixFiles, UnusablePathsAreRefusedWithTheReason) {
  const TemporaryDirectory directory;
  const auto error = [](const std::string& path) { return posix_files(path)->open().error().text; };
  std::ofstream(directory.path() + "/file") << "text";
  EXPECT_THAT(error(directory.path() + "/file"), HasSubstr("expected a directory, got a file"));
  EXPECT_THAT(error("relative/path"), HasSubstr("expected an absolute path, got \"relative/path\""));
  EXPECT_THAT(error(directory.path() + "/a/b"), HasSubstr("does not exist"));
  if (::geteuid() == 0) {
    std::filesystem::create_directory(directory.path() + "/other");
    ASSERT_EQ(::chown((directory.path() + "/other").c_str(), 12345, 12345), 0);
    EXPECT_THAT(error(directory.path() + "/other"),
                HasSubstr("expected a directory of user 0, got one of user 12345"));
  } else {
    std::filesystem::create_directory(directory.path() + "/readonly");
    ASSERT_EQ(::chmod((directory.path() + "/readonly").c_str(), 0500), 0);
    EXPECT_THAT(error(directory.path() + "/readonly"), HasSubstr("Permission denied"));
  }
}

// Connections may take all descriptors for a moment. Then the store waits, as it does for room.
TEST(PosixFiles, TooManyOpenFilesAreNoFinalError) {
  const TemporaryDirectory directory;
  const auto files = posix_files(directory.path());
  ASSERT_TRUE(files->open());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto file = files->create("a");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::exhausted) << file.error().text;
  EXPECT_TRUE(files->create("a").has_value());
}

TEST(PosixFiles, AFullDiskIsAnErrorOfItsOwn) {
  // /dev/full: every write fails as on a full disk.
  const TemporaryDirectory directory;
  const auto files = posix_files(directory.path());
  ASSERT_TRUE(files->open());
  std::filesystem::create_symlink("/dev/full", directory.path() + "/full");
  const auto file = files->open("full").value();
  EXPECT_EQ(file->append(bytes("x")).error().code, ErrorCode::exhausted);
}

}  // namespace
}  // namespace backplane::broker::store
