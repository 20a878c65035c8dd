#pragma once
// Follows a growing file across rotation, truncation and restarts of the source.

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "publishers/sources/file_state.hpp"
#include "publishers/sources/file_watch.hpp"
#include "publishers/sources/growing_file.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/session_lookup.hpp"

namespace backplane::sources {

/// The source `file`. Lives on the source's thread; owns the files that it follows.
///
/// Why a restart loses and duplicates nothing: the state on disk contains the position of the last line that
/// the broker has confirmed, the publisher's session and that line's sequence. After a kill -9, the broker
/// reports how far the session really got, and the lines up to there are skipped. This works because each
/// line is one event, in order, and because unconfirmed events always come from a single file.
class FileSource {
 public:
  FileSource(Runner& runner, const SourceOptions& options, const FileOptions& file,
             std::size_t line_bytes_max, std::optional<FileStateStore>& store);

  /// Follows the file until the source is to stop. @param saved the state of the last run, if any
  ExitCode run(const std::optional<FileState>& saved);

 private:
  using Clock = std::chrono::steady_clock;
  /// A file that has, or had, the followed name.
  struct Followed {
    GrowingFile file;
    std::filesystem::path place;       // what the name led to, over all links, when it was opened
    FilePosition confirmed{};          // the broker has confirmed everything before it
    Clock::time_point last_read_at{};  // when something new was last read
    std::int64_t last_read_ns{};       // the same in Unix time
  };
  /// An unconfirmed event, and the position after its line in the active file.
  struct UnconfirmedLine {
    std::uint64_t sequence;
    FilePosition position;
  };

  bool start(const std::optional<FileState>& saved);
  bool resume(const FileState& state);
  std::optional<std::uint64_t> last_run_confirmed(std::uint64_t session);
  void skip(Followed& followed, std::uint64_t events);
  Followed& follow(GrowingFile file, std::filesystem::path place);
  [[nodiscard]] std::vector<std::filesystem::path> places(const std::filesystem::path& former = {}) const;
  [[nodiscard]] bool follows(FileId id) const;
  bool open_new_file();
  void follow_rotated(FileId newest);
  bool read_all();
  bool read_one(Followed& followed);
  bool publish_line(Followed& followed);
  bool activate(Followed& followed);
  bool handle_truncation(Followed& followed);
  bool drop_rotated();
  bool stop_following(Followed& followed);
  void on_progress(const PublisherStatus& status);
  void save();
  bool pause(std::chrono::milliseconds time);

  Runner& runner_;
  const SourceOptions& options_;
  const FileOptions& file_;
  std::size_t line_bytes_max_;
  std::optional<FileStateStore>& store_;  // none: the position is not saved
  const std::uint64_t run_id_;            // identifies our session in the broker's statistics
  std::uint64_t session_{};               // 0: unknown, or all its events are confirmed
  std::uint64_t sequence_{};              // of the last event before the active file's confirmed position
  FileWatch watch_;
  Timer timer_{CLOCK_MONOTONIC};

  std::vector<std::unique_ptr<Followed>> files_;   // ordered by when they had the name
  Followed* active_{};                             // the file that unconfirmed events come from
  std::deque<UnconfirmedLine> unconfirmed_lines_;  // of the active file
  std::vector<FileId> finished_;                   // files that were followed in this run and no longer are
  std::optional<FileId> reported_unreadable_;      // unreadable file that has been reported
  std::int64_t newest_modified_ns_{};              // modification time of the newest known file
  bool resuming_{};                                // during the first look after a restart
  bool files_changed_{};                           // files_ has changed, iterate again
  bool dirty_{};
  Clock::time_point save_at_{};
  log::RateLimit save_problems_{std::chrono::seconds{10}};
};

}  // namespace backplane::sources
