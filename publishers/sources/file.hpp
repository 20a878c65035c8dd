#pragma once
// Follows a growing file across rotation, truncation and its own restarts.

#include <chrono>
#include <cstdint>
#include <deque>
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
/// What makes a restart repeat and lose nothing: the state on disk has the position of the last line that the
/// broker has confirmed, the publisher's session and that line's sequence. After a kill -9 the broker says
/// how far the session came in truth; so many lines are passed over. This holds because each line is one
/// event, in order, and because events of two files are never under way together.
class FileSource {
 public:
  FileSource(Runner& runner, const SourceOptions& options, const FileOptions& file,
             std::size_t line_bytes_max, std::optional<FileStateStore>& store);

  /// Follows until the source is to end. @param saved by the last run
  ExitCode run(const std::optional<FileState>& saved);

 private:
  using Clock = std::chrono::steady_clock;
  /// A file that has the name, or had it.
  struct Followed {
    GrowingFile file;
    FilePosition confirmed{};          // the broker has everything before it
    Clock::time_point last_read_at{};  // when it last had something new
    std::int64_t last_read_ns{};       // the same as Unix time
  };
  /// An event, and the position behind its line in the active file.
  struct UnconfirmedLine {
    std::uint64_t sequence;
    FilePosition position;
  };

  bool start(const std::optional<FileState>& saved);
  bool resume(const FileState& state);
  std::optional<std::uint64_t> last_run_confirmed(std::uint64_t session);
  void skip(Followed& followed, std::uint64_t events);
  Followed& follow(GrowingFile file);
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
  std::optional<FileStateStore>& store_;  // none: nothing is remembered
  const std::uint64_t run_id_;            // finds our session among the broker's
  std::uint64_t session_{};               // 0: not known, or nothing of it is in doubt
  std::uint64_t sequence_{};              // of the last event before the active file's confirmed position
  FileWatch watch_;
  Timer timer_{CLOCK_MONOTONIC};

  std::vector<std::unique_ptr<Followed>> files_;   // in the order in which they had the name
  Followed* active_{};                             // whose lines are under way
  std::deque<UnconfirmedLine> unconfirmed_lines_;  // lines of it that are not confirmed
  std::vector<FileId> finished_;                   // followed in this run, and let go
  std::optional<FileId> reported_unreadable_;      // was told of
  std::int64_t newest_modified_ns_{};              // when the newest file that we know of was written last
  bool resuming_{};                                // looks for the first time after a restart
  bool files_changed_{};                           // the order of files_ has changed
  bool dirty_{};
  Clock::time_point save_at_{};
  log::RateLimit save_problems_{std::chrono::seconds{10}};
};

}  // namespace backplane::sources
