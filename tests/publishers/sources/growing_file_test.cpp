#include "publishers/sources/growing_file.hpp"

#include <cstdlib>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>

#include "publishers/sources/file_state.hpp"
#include "publishers/sources/sources.hpp"
#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using backplane::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

void append(const fs::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary | std::ios::app) << text;
}

GrowingFile open(const fs::path& file, const FilePosition& position = {}) {
  return GrowingFile::open(file, position, 1000).value();
}

std::vector<std::string> lines_of(GrowingFile& file) {
  std::vector<std::string> lines;
  for (std::string_view chunk = file.read(); !chunk.empty(); chunk = file.read()) {
    file.lines().feed(chunk);
    while (file.lines().take_line()) lines.emplace_back(file.lines().text());
  }
  return lines;
}

TEST(GrowingFile, ReturnsWholeLinesAndThePositionAfterThem) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\ntw");
  GrowingFile file = open(path);
  EXPECT_THAT(lines_of(file), ElementsAre("one"));
  EXPECT_EQ(file.position().offset, 4U);
  append(path, "o\r\nthree\n");
  EXPECT_THAT(lines_of(file), ElementsAre("two", "three"));
  EXPECT_EQ(file.position().offset, 15U);
  EXPECT_EQ(file.position().line, 3U);
}

TEST(GrowingFile, AnotherReaderContinuesAtAPosition) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\ntwo\nthr");
  GrowingFile first = open(path);
  (void)lines_of(first);
  append(path, "ee\n");
  GrowingFile second = open(path, first.position());
  EXPECT_FALSE(second.truncated());
  EXPECT_THAT(lines_of(second), ElementsAre("three"));
  EXPECT_EQ(second.position().line, 3U);
}

TEST(GrowingFile, DetectsTruncationEvenIfTheFileHasGrownSince) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\ntwo\n");
  GrowingFile file = open(path);
  (void)lines_of(file);
  EXPECT_FALSE(file.truncated());
  files.write("log", "x\n");
  EXPECT_TRUE(file.truncated());
  EXPECT_THAT(lines_of(file), IsEmpty());
  append(path, "and so much more that it is longer than ever\n");
  EXPECT_TRUE(file.truncated()) << "its first bytes differ";
  file.restart();
  EXPECT_FALSE(file.truncated());
  EXPECT_THAT(lines_of(file), ElementsAre("x", "and so much more that it is longer than ever"));
}

TEST(GrowingFile, SkippingToTheEndStopsAfterTheLastWholeLine) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\ntwo\nthr");
  GrowingFile file = open(path);
  file.skip_to_end();
  EXPECT_THAT(lines_of(file), IsEmpty());
  append(path, "ee\n");
  EXPECT_THAT(lines_of(file), ElementsAre("three"));
  EXPECT_EQ(file.position().line, 3U);
}

TEST(GrowingFile, OpeningSomethingElseThanAFileFails) {
  const TemporaryDirectory files;
  EXPECT_EQ(GrowingFile::open(files.path() / "none", {}, 10).error().code, ErrorCode::not_found);
  EXPECT_THAT(GrowingFile::open("/dev/null", {}, 10).error().text, HasSubstr("expected a regular file"));
}

TEST(GrowingFile, IsFoundUnderItsNameAfterARotation) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\ntwo\n");
  GrowingFile file = open(path);
  (void)lines_of(file);
  fs::rename(path, files.path() / "log.1");
  append(files.path() / "log.1", "three\n");
  files.write("log", "other\n");
  auto found = find_moved({path}, file.position(), 0, 1000);
  ASSERT_TRUE(found.has_value()) << found.error().text;
  EXPECT_EQ(found->id(), file.id());
  EXPECT_THAT(lines_of(*found), ElementsAre("three"));
}

TEST(GrowingFile, ACopyMadeBeforeTruncationContainsTheRest) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\n");
  GrowingFile file = open(path);
  (void)lines_of(file);
  append(path, "two\n");
  fs::copy_file(path, files.path() / "log.1");
  files.write("log.2", "older\n");
  files.write("log", "new\n");
  auto found = find_moved({path}, file.position(), 0, 1000);
  ASSERT_TRUE(found.has_value()) << found.error().text;
  EXPECT_THAT(lines_of(*found), ElementsAre("two"));
  constexpr std::int64_t later_ns = std::int64_t{1} << 62;
  EXPECT_FALSE(find_moved({path}, file.position(), later_ns, 1000).has_value())
      << "an old file is not a copy";
}

std::vector<std::string> names_of(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& each : files) names.push_back(each.filename().string());
  return names;
}

TEST(GrowingFile, RotatedFilesHaveItsNameAndASuffixOfARotation) {
  const TemporaryDirectory files;
  for (const char* name : {"log", "log.1", "log-20240101", "log.2.gz", "logbook", "other", "log.env",
                           "log.offset", "log.8080", "log.1.env", "log.", "log-", "log.bak"})
    files.write(name, "x");
  EXPECT_THAT(names_of(rotated_files({files.path() / "log"})),
              ::testing::UnorderedElementsAre("log.1", "log-20240101"));
}

TEST(GrowingFile, SuffixesOfRotationsAreNumbersDatesAndTimes) {
  for (const char* suffix : {"0", "1", "999", "old", "20240101", "202401", "2024010113", "1704067200",
                             "2024-01-01", "2024-01", "20240101-120000", "2024-01-01_13-05-00",
                             "2024-01-01T13:05:00Z", "2024-01-01.1", "20240101-1704067200", "31-12-2024"})
    EXPECT_TRUE(is_rotation_suffix(suffix)) << suffix;
  for (const char* suffix :
       {"", "env", "offset", "8080", "2024", "1.env", "env.1", "pid", "swp", "127.0.0.1", "1.2", "1-",
        "5432.1", "bak", "2024-13-01", "9999999999", "-", "key", "20240101.env"})
    EXPECT_FALSE(is_rotation_suffix(suffix)) << suffix;
}

TEST(GrowingFile, IsFoundUnderAnyNameIfItsContentIsKnown) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "one\n");
  GrowingFile file = open(path);
  const FilePosition unread = file.position();
  (void)lines_of(file);
  fs::rename(path, files.path() / "yesterday.txt");
  EXPECT_TRUE(find_moved({path}, file.position(), 0, 1000).has_value());
  EXPECT_FALSE(find_moved({path}, unread, 0, 1000).has_value()) << "it may be another file by now";
}

TEST(GrowingFile, BehindALinkRotatedFilesAreBesideTheTarget) {
  const TemporaryDirectory files;
  const fs::path target = files.write("docker/abc/abc-json.log", "one\n");
  fs::create_directories(files.path() / "pods");
  fs::create_symlink(target, files.path() / "pods" / "0.log");
  fs::create_symlink("pods/0.log", files.path() / "app.log");
  const std::vector<fs::path> places = file_places(files.path() / "app.log");
  EXPECT_THAT(places, ElementsAre(files.path() / "app.log", files.path() / "pods/0.log", target));
  GrowingFile file = open(files.path() / "app.log");
  (void)lines_of(file);
  fs::rename(target, target.string() + ".1");
  files.write("docker/abc/abc-json.log", "two\n");
  files.write("docker/abc/config.v2.json", "{}");
  EXPECT_THAT(names_of(rotated_files(places)), ElementsAre("abc-json.log.1"));
  EXPECT_TRUE(find_moved(places, file.position(), 0, 1000).has_value());
}

TEST(GrowingFile, NulsThatATruncationLeftAreNotPartOfTheFirstLine) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", std::string(100'000, '\0') + "one\ntwo\n");
  GrowingFile file = open(path);
  EXPECT_THAT(lines_of(file), ElementsAre("one", "two"));
  EXPECT_EQ(file.position().offset, 100'008U);
}

TEST(GrowingFile, AByteOrderMarkIsRemovedOnlyAtTheBeginning) {
  const TemporaryDirectory files;
  const fs::path path = files.write("log", "\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n");
  GrowingFile file = open(path);
  EXPECT_THAT(lines_of(file), ElementsAre("{}", "\xef\xbb\xbf{}"));
  GrowingFile second = open(path, {.id = {}, .offset = 6});
  EXPECT_THAT(lines_of(second), ElementsAre("\xef\xbb\xbf{}"));
}

FileState some_state() {
  FileState state{.session = 0x123,
                  .sequence = 45,
                  .saved_ns = 67,
                  .reserved = 89,
                  .numbering = 10,
                  .files = {},
                  .active = 1};
  state.files.push_back({.id = {1, 2}, .offset = 3, .line = 4, .head_bytes = 5, .head_hash = 0xabc});
  state.files.push_back({.id = {6, 7}, .offset = 8, .line = 9, .head_bytes = 0, .head_hash = 0});
  state.places = {"/var/log/with space/100%\n.log", ""};
  return state;
}

TEST(FileState, IsReadAsItWasWritten) {
  const TemporaryDirectory files;
  const fs::path path = files.path() / "folder" / "state";
  const auto store = FileStateStore::open(path);
  ASSERT_TRUE(store.has_value()) << store.error().text;
  ASSERT_TRUE(store->load().has_value());
  EXPECT_FALSE(store->load()->has_value()) << "there is none yet";
  ASSERT_TRUE(store->save(some_state()).has_value());
  const FileState state = store->load().value().value();
  EXPECT_EQ(state.session, 0x123U);
  EXPECT_EQ(state.sequence, 45U);
  EXPECT_EQ(state.saved_ns, 67);
  EXPECT_EQ(state.reserved, 89U);
  EXPECT_EQ(state.numbering, 10U);
  EXPECT_EQ(state.active, 1U);
  ASSERT_EQ(state.files.size(), 2U);
  EXPECT_EQ(state.files[0].id, (FileId{1, 2}));
  EXPECT_EQ(state.files[0].head_hash, 0xabcU);
  EXPECT_EQ(state.files[1].offset, 8U);
  EXPECT_THAT(state.places, ElementsAre("/var/log/with space/100%\n.log", ""));
  EXPECT_FALSE(fs::exists(path.string() + ".new"));
}

TEST(FileState, AnIncompleteFileIsRefused) {
  const TemporaryDirectory files;
  const fs::path path = files.path() / "state";
  const auto store = FileStateStore::open(path).value();
  ASSERT_TRUE(store.save(some_state()).has_value());
  const auto bytes = fs::file_size(path);
  for (std::uintmax_t part = 0; part + 1 < bytes; ++part) {  // the last line end does not matter
    ASSERT_TRUE(store.save(some_state()).has_value());
    fs::resize_file(path, part);
    EXPECT_FALSE(store.load().has_value()) << part;
  }
}

/// Sets an environment variable, and restores it.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(FileState, ItsDefaultFolderIsTheFirstOfSystemdsOrOfTheUser) {
  const Environment home("HOME", "/home/me");
  const Environment xdg("XDG_STATE_HOME", nullptr);
  for (const auto& [systemd, folder] :
       std::vector<std::pair<const char*, const char*>>{{"/var/lib/a:/var/lib/b", "/var/lib/a"},
                                                        {"/var/lib/a", "/var/lib/a"},
                                                        {"", "/home/me/.local/state/backplane"},
                                                        {nullptr, "/home/me/.local/state/backplane"}}) {
    const Environment state("STATE_DIRECTORY", systemd);
    EXPECT_EQ(default_state_file("/var/log/x", "t"), fs::path(folder) / "t@_var_log_x");
  }
  const Environment state("STATE_DIRECTORY", nullptr);
  const Environment relative("XDG_STATE_HOME", "relative");
  EXPECT_EQ(default_state_file("/x", "t").parent_path(), "/home/me/.local/state/backplane");
}

TEST(FileState, ItsDefaultNameFitsIntoAFileName) {
  const Environment systemd("STATE_DIRECTORY", "/var/lib/a");
  const std::string folders = "/" + std::string(120, 'a') + "/" + std::string(120, 'b');
  const fs::path one = default_state_file(folders + "/one.log", "t");
  const fs::path two = default_state_file(folders + "/two.log", "t");
  EXPECT_LE(one.filename().string().size() + 5, 255U) << "with .lock";
  EXPECT_NE(one, two);
  EXPECT_EQ(one, default_state_file(folders + "/one.log", "t"));
  const std::string longest_topic(255, 't');
  EXPECT_LE(default_state_file("/x", longest_topic).filename().string().size() + 5, 255U);
}

TEST(FileState, OnlyOneProcessAtATimeCanOpenIt) {
  const TemporaryDirectory files;
  const fs::path path = files.path() / "state";
  {
    const auto store = FileStateStore::open(path).value();
    EXPECT_THAT(FileStateStore::open(path).error().text, HasSubstr("another process has"));
  }
  EXPECT_TRUE(FileStateStore::open(path).has_value());
}

}  // namespace
}  // namespace backplane::sources
