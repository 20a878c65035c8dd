#include "core/credentials/key_file.hpp"

#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane {
namespace {

unsigned mode_of(const std::filesystem::path& file) {
  struct stat found {};
  EXPECT_EQ(::stat(file.c_str(), &found), 0);
  return found.st_mode & 07777U;
}

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream content;
  content << std::ifstream(file, std::ios::binary).rdbuf();
  return content.str();
}

TEST(KeyFile, APairIsWrittenAndRead) {
  const TemporaryFolder folder;
  const KeyFiles files = key_files(folder.path("broker"));
  const SecretKey key = make_secret_key();
  ASSERT_TRUE(write_key_files(files, key));
  EXPECT_EQ(mode_of(folder.path("broker.key")), 0600U);
  EXPECT_EQ(mode_of(folder.path("broker.pub")), 0644U);
  EXPECT_EQ(read_secret_key(folder.path("broker.key"))->bytes(), key.bytes());
  EXPECT_EQ(read_public_key(folder.path("broker.pub")), key.public_key());
}

TEST(KeyFile, AnExistingFileIsNeverChanged) {
  for (const char* const existing : {"broker.key", "broker.pub"}) {
    const TemporaryFolder folder;
    const auto file = folder.write(existing, "precious", 0600);
    const auto written = write_key_files(key_files(folder.path("broker")), make_secret_key());
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().text, "cannot create " + file.string() + ": File exists");
    EXPECT_EQ(content_of(file), "precious");
    const auto files = std::filesystem::directory_iterator(file.parent_path());
    EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "the other file was created";
  }
}

TEST(KeyFile, ALinkThatLeadsNowhereIsNotFollowed) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(folder.path("elsewhere"), folder.path("broker.key"));
  EXPECT_FALSE(write_key_files(key_files(folder.path("broker")), make_secret_key()));
  EXPECT_FALSE(std::filesystem::exists(folder.path("elsewhere")));
  EXPECT_FALSE(std::filesystem::exists(folder.path("broker.pub")));
}

TEST(KeyFile, ASecretKeyThatOthersCanReadIsRefused) {
  const TemporaryFolder folder;
  const std::string text = to_text(make_secret_key());
  EXPECT_TRUE(read_secret_key(folder.write("a.key", text, 0400)));
  for (const auto& [mode, shown] : {std::pair<mode_t, const char*>{0640, "0640"},
                                    {0604, "0604"},
                                    {0620, "0620"},
                                    {0602, "0602"},
                                    {0644, "0644"}}) {
    const auto file = folder.write("b.key", text, mode);
    const auto key = read_secret_key(file);
    ASSERT_FALSE(key) << shown;
    EXPECT_EQ(key.error().text,
              file.string() + ": expected a file that other users can neither read nor write, got mode " +
                  shown + " (use chmod 600)");
  }
}

TEST(KeyFile, APublicKeyMayBeReadButNotWrittenByOthers) {
  const TemporaryFolder folder;
  const std::string text = to_text(make_secret_key().public_key()) + "\r\n";
  EXPECT_TRUE(read_public_key(folder.write("a.pub", text, 0644)));
  EXPECT_FALSE(read_public_key(folder.write("a.pub", text, 0664)));
}

TEST(KeyFile, AnErrorDoesNotContainWhatIsInTheFile) {
  const TemporaryFolder folder;
  const auto file = folder.write("a.key", "my password", 0600);
  EXPECT_EQ(read_secret_key(file).error().text,
            file.string() + ": expected a key of 40 Z85 characters, got 11 characters");
}

}  // namespace
}  // namespace backplane
