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
/// the broker has confirmed, the publisher's session and that line's sequence. After a kill -9, the next run
/// continues the session: it offers the same lines with the same sequences, and the broker refuses those that
/// it has, also if they are still on their way from the killed run. This works because each line is one
/// event, in order, and because unconfirmed events always come from a single file.
class FileSource {
 public:
  /// What the state of the last run leads to.
  struct Restart {
    FileState state;
    std::vector<Result<GrowingFile>> files;  // those of the state
    /// The session to continue. Nothing if the last run confirmed everything, or if its numbers cannot be
    /// given to the same lines again.
    std::optional<Publisher::Options::Resume> resume;
    bool broker_asked{};  // whether a broker has said how far the session came
  };
  /// Finds the saved files, and asks the brokers how far the last run came.
  static Restart find_restart(const FileOptions& file, FileState state, std::uint64_t numbering,
                              std::size_t line_bytes_max, SessionLookup& lookup,
                              const std::string& source_name);

  FileSource(Runner& runner, const SourceOptions& options, const FileOptions& file,
             std::size_t line_bytes_max, std::uint64_t numbering, std::optional<FileStateStore>& store);

  /// Follows the file until the source is to stop. @param restart of the last run, if there was one
  ExitCode run(std::optional<Restart> restart);

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

  bool start(std::optional<Restart> restart);
  bool resume(Restart restart);
  std::optional<std::uint64_t> last_run_confirmed(std::uint64_t session);
  void ask_later(const PublisherStatus& status);
  Followed& follow(GrowingFile file, std::filesystem::path place);
  [[nodiscard]] std::vector<std::filesystem::path> places(const std::filesystem::path& former = {}) const;
  [[nodiscard]] bool make_last(FileId id);
  [[nodiscard]] bool follows(FileId id) const;
  bool open_new_file();
  [[nodiscard]] std::optional<FileId> id_of_name() const;
  void begin_search();
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
  const std::uint64_t numbering_;         // see FileState
  std::uint64_t session_;                 // 0: all its events are confirmed
  std::uint64_t sequence_{};              // of the last event before the active file's confirmed position
  std::uint64_t reserved_{};              // see FileState
  std::uint64_t unknown_session_{};       // the session that a broker will be asked about; 0: none
  FileWatch watch_;
  Timer timer_{CLOCK_MONOTONIC};

  std::vector<std::unique_ptr<Followed>> files_;   // ordered by when they had the name
  Followed* active_{};                             // the file that unconfirmed events come from
  std::deque<UnconfirmedLine> unconfirmed_lines_;  // of the active file
  std::vector<FileId> finished_;                   // files that were followed in this run and no longer are
  std::optional<FileId> reported_unreadable_;      // unreadable file that has been reported
  std::int64_t newest_modified_ns_{};              // modification time of the newest known file
  std::int64_t last_created_ns_{};                 // when it was created; 0: not known
  bool searching_{};                               // for files that had the name since the last look
  bool resuming_{};                                // during the first look after a restart
  bool files_changed_{};                           // files_ has changed, iterate again
  bool dirty_{};
  Clock::time_point save_at_{};
  log::RateLimit save_problems_{std::chrono::seconds{10}};
};

}  // namespace backplane::sources
