#include "core/credentials/protected_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane {
namespace {

TEST(ProtectedFile, IsReadIfOnlyItsOwnerCanWriteIt) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_protected_file(folder.write("a", "text", 0644), OthersMay::read, 10), "text");
  EXPECT_EQ(read_protected_file(folder.write("a", "", 0600), OthersMay::nothing, 10), "");
}

TEST(ProtectedFile, IsRefusedIfOthersCanWriteIt) {
  const TemporaryFolder folder;
  for (const mode_t mode : {0664U, 0646U, 0666U, 0777U}) {
    EXPECT_FALSE(read_protected_file(folder.write("a", "text", mode), OthersMay::read, 10)) << mode;
  }
  const auto file = folder.write("a", "text", 0666);
  EXPECT_EQ(
      read_protected_file(file, OthersMay::read, 10).error().text,
      file.string() + ": expected a file that other users cannot write, got mode 0666 (use chmod go-w)");
}

TEST(ProtectedFile, IsRefusedIfAnybodyCanReplaceIt) {
  const TemporaryFolder folder;
  const auto file = folder.write("a", "text", 0644);
  std::filesystem::create_directory(folder.path("links"));
  std::filesystem::create_symlink(file, folder.path("links") / "a");
  EXPECT_TRUE(read_protected_file(folder.path("links") / "a", OthersMay::read, 10));
  ASSERT_EQ(::chmod(folder.path("links").c_str(), 0777), 0);
  EXPECT_EQ(read_protected_file(folder.path("links") / "a", OthersMay::read, 10).error().text,
            (folder.path("links") / "a").string() +
                ": expected a folder in which other users cannot replace the file, got " +
                folder.path("links").string());
  // As /tmp: only the owner of a file can replace it.
  ASSERT_EQ(::chmod(folder.path("links").c_str(), 01777), 0);
  EXPECT_TRUE(read_protected_file(folder.path("links") / "a", OthersMay::read, 10));
  ASSERT_EQ(::chmod(folder.path("").c_str(), 0777), 0);
  EXPECT_FALSE(read_protected_file(folder.path("links") / "a", OthersMay::read, 10));
}

TEST(ProtectedFile, IsRefusedIfItBelongsToAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const TemporaryFolder folder;
  const auto file = folder.write("a", "text", 0600);
  ASSERT_EQ(::chown(file.c_str(), 4711, 0), 0);
  EXPECT_EQ(read_protected_file(file, OthersMay::nothing, 10).error().text,
            file.string() + ": expected a file of this user or of root, got one of user 4711");
}

TEST(ProtectedFile, IsRefusedIfItIsNoFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_protected_file(folder.path("none"), OthersMay::read, 10).error().text,
            "cannot read " + folder.path("none").string() + ": no such file");
  EXPECT_FALSE(read_protected_file(folder.path(""), OthersMay::read, 10));
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_protected_file(folder.path("pipe"), OthersMay::read, 10).error().text,
            folder.path("pipe").string() + ": expected a regular file, got a device, a pipe or a socket");
}

TEST(ProtectedFile, IsRefusedIfItIsTooLarge) {
  const TemporaryFolder folder;
  const auto file = folder.write("a", "0123456789", 0600);
  EXPECT_TRUE(read_protected_file(file, OthersMay::read, 10));
  EXPECT_EQ(read_protected_file(file, OthersMay::read, 9).error().text,
            file.string() + ": expected at most 9 bytes, got more");
}

TEST(ProtectedFile, ANewOneIsItsOwnersWhateverTheUmask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(0);
  const auto created = create_protected_file(folder.path("a"), "text", OthersMay::nothing);
  ::umask(before);
  ASSERT_TRUE(created);
  EXPECT_EQ(read_protected_file(folder.path("a"), OthersMay::nothing, 10), "text");
}

TEST(ProtectedFile, ANameIsEscapedInErrors) {
  EXPECT_EQ(read_protected_file("/none\n\x1b[31m", OthersMay::read, 1).error().text,
            "cannot read /none\\n\\x1B[31m: no such file");
}

}  // namespace
}  // namespace backplane
