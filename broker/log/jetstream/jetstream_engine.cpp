#include "broker/log/jetstream/jetstream_engine.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <span>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "broker/log/jetstream/checkpoints.hpp"
#include "broker/log/jetstream/nats_handles.hpp"
#include "core/log/log.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker {
namespace {

using namespace jetstream;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto idle_wait = 60s;
constexpr auto read_wait = 100ms;
constexpr auto request_wait = 2s;
constexpr auto reconnect_wait = 100ms;
// After this, a server that does not answer is given up: two pings, the second one unanswered.
constexpr auto ping_interval = 2s;
constexpr int pings_max = 2;
// How long JetStream knows the ids of messages. Retries come sooner.
constexpr auto duplicates_window = 120s;
// How often the log's ends are asked for.
constexpr auto ends_interval = 1s;
// A server that has lost touch with the others may answer with an old end.
constexpr int ends_until_believed = 5;

/// For requests that are repeated soon, on a thread that should end soon when it is asked to.
jsOptions short_requests() {
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = milliseconds(request_wait);
  return options;
}

/// What JetStream's names cannot contain becomes `_`, and two names stay two.
std::string stream_name(std::string_view backplane, std::string_view kind) {
  std::string name = "backplane-";
  for (const char each : backplane) {
    const bool fits = (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') ||
                      (each >= '0' && each <= '9') || each == '-';
    name += fits ? std::string(1, each) : fmt::format("_{:02x}", static_cast<unsigned char>(each));
  }
  return fmt::format("{}-{}", name, kind);
}

/// For messages: a URL may contain a password.
std::string without_user(std::string_view url) {
  const std::size_t host = url.find("://");
  const std::size_t at = url.rfind('@');
  if (host == std::string_view::npos || at == std::string_view::npos) return std::string(url);
  return fmt::format("{}{}", url.substr(0, host + 3), url.substr(at + 1));
}

// nats-server 2.9 may not report for minutes that a server is offline. Each broker appends a batch per
// second, which each server that runs confirms.
constexpr std::chrono::nanoseconds silent_after = std::chrono::seconds{10};

/// The leader first.
std::vector<LogServer> servers_of(const jsClusterInfo& cluster) {
  std::vector<LogServer> servers;
  if (cluster.Leader != nullptr && *cluster.Leader != '\0') {
    servers.push_back({.name = cluster.Leader, .is_leader = true, .is_current = true});
  }
  for (int i = 0; i < cluster.ReplicasLen; ++i) {
    const jsPeerInfo& peer = *cluster.Replicas[i];
    servers.push_back({.name = peer.Name == nullptr ? "" : peer.Name,
                       .is_current = peer.Current,
                       .is_offline = peer.Offline || peer.Active > silent_after.count(),
                       .lag = peer.Lag});
  }
  std::ranges::sort(servers, [](const LogServer& a, const LogServer& b) {
    return std::pair(!a.is_leader, a.name) < std::pair(!b.is_leader, b.name);
  });
  return servers;
}

bool has_majority(const std::vector<LogServer>& servers) {
  const bool has_leader = std::ranges::any_of(servers, &LogServer::is_leader);
  const auto online = std::ranges::count_if(servers, [](const LogServer& each) { return !each.is_offline; });
  return has_leader && 2 * static_cast<std::size_t>(online) > servers.size();
}

/// A connection and its JetStream.
struct Link {
  Owned<natsConnection> connection;
  Owned<jsCtx> js;
};

struct StreamPlan {
  std::string name;
  std::string subject;
  std::int64_t per_subject_max{-1};
  std::int64_t bytes_max{-1};
};

}  // namespace

class JetStreamEngine::Impl {
 public:
  Impl(JetStreamOptions options, const std::string& backplane)
      : options_(std::move(options)),
        log_{stream_name(backplane, "log"), "", -1, options_.log_bytes_max},
        state_{stream_name(backplane, "state"), "", 1, -1} {
    log_.subject = log_.name + ".batches";
    state_.subject = state_.name + ".>";
    head_subject_ = state_.name + ".head";
  }
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<Opened> open(const LogHead& mine);
  void start();

  void append(std::string_view bytes, std::string_view id);
  Append append_state();
  void read_from(std::uint64_t index);
  std::optional<Record> next();
  [[nodiscard]] int progress_fd() const { return wake_.fd(); }
  [[nodiscard]] Condition condition() const;
  [[nodiscard]] Status status() const;
  void write_checkpoint(std::uint64_t index, std::string bytes);
  [[nodiscard]] std::uint64_t checkpoint_index() const;
  [[nodiscard]] Result<std::optional<std::string>> older_checkpoint() const;

 private:
  struct Checkpoint {
    std::uint64_t index{};
    std::string bytes;
  };
  struct Job {
    std::uint64_t number{};
    std::string bytes;
    std::string id;
  };
  struct Received {
    std::uint64_t index{};
    std::string bytes;
    std::int64_t stored_ns{};  ///< Unix
  };
  struct Ends {
    std::int64_t created{};  ///< the stream, Unix
    std::uint64_t first{};
    std::uint64_t last{};
  };

  [[nodiscard]] Result<Link> connect(std::string_view what) const;
  [[nodiscard]] Result<Opened> read_all(const LogHead& mine);
  [[nodiscard]] Result<void> make_stream(const StreamPlan& plan);
  [[nodiscard]] Result<void> check_stream(const StreamPlan& plan, const jsStreamConfig& found) const;
  [[nodiscard]] Result<LogHead> make_head(const LogHead& mine);
  [[nodiscard]] Error cannot_open(std::string_view text) const;

  void append_loop();
  void read_loop();
  void checkpoint_loop();
  [[nodiscard]] Checkpoints checkpoints() const {
    return {appends_.js.get(), state_.name, log_.name, options_.checkpoint_chunk_bytes};
  }
  [[nodiscard]] Owned<natsSubscription> subscribe(std::uint64_t from);
  [[nodiscard]] Result<Ends> find_ends();
  [[nodiscard]] bool check_ends();
  void notify() REQUIRES(mutex_);

  const JetStreamOptions options_;
  StreamPlan log_;
  StreamPlan state_;
  std::string head_subject_;
  Link appends_;  // after start(), of the threads that append and write checkpoints
  Link reads_;    // after start(), of the thread that reads
  WakeFd wake_;

  mutable Mutex mutex_;
  CondVar job_comes_;
  CondVar room_or_seek_;
  bool stopping_ GUARDED_BY(mutex_){};
  bool is_readable_ GUARDED_BY(mutex_){};
  // Appending.
  std::optional<Job> job_ GUARDED_BY(mutex_);
  std::uint64_t job_number_ GUARDED_BY(mutex_){};
  Append append_state_ GUARDED_BY(mutex_){Append::none};
  std::string append_error_ GUARDED_BY(mutex_);
  // Checkpoints.
  CondVar checkpoint_comes_;
  std::optional<Checkpoint> checkpoint_ GUARDED_BY(mutex_);
  std::uint64_t checkpoint_index_ GUARDED_BY(mutex_){};
  // Reading.
  std::optional<std::uint64_t> seek_ GUARDED_BY(mutex_);
  std::deque<Received> received_ GUARDED_BY(mutex_);
  std::size_t received_bytes_ GUARDED_BY(mutex_){};
  std::string read_error_ GUARDED_BY(mutex_);
  std::string broken_ GUARDED_BY(mutex_);
  Status status_ GUARDED_BY(mutex_);

  // The reading thread's.
  std::uint64_t next_{1};
  std::int64_t created_{};
  int short_ends_{0};    // the log ended before what was read
  int waiting_ends_{0};  // it had more, and nothing came

  std::string returned_;  // the loop's
  std::vector<std::thread> threads_;
};

// ── opening ──────────────────────────────────────────────────────────────────────────────────────────────

Error JetStreamEngine::Impl::cannot_open(std::string_view text) const {
  std::vector<std::string> servers;
  for (const std::string& each : options_.servers) servers.push_back(without_user(each));
  return {ErrorCode::io, fmt::format("cannot open the log at {}: {}", fmt::join(servers, ","), text)};
}

Result<Link> JetStreamEngine::Impl::connect(std::string_view what) const {
  Owned<natsOptions> options;
  const natsStatus made = natsOptions_Create(Out(options));
  if (made != NATS_OK) return tl::unexpected(cannot_open(text_of(made)));
  std::vector<const char*> servers;
  for (const std::string& each : options_.servers) servers.push_back(each.c_str());
  const std::string name = fmt::format("{} {}", options_.client_name, what);
  natsStatus status = natsOptions_SetServers(options.get(), servers.data(), static_cast<int>(servers.size()));
  if (status == NATS_OK) status = natsOptions_SetName(options.get(), name.c_str());
  if (status == NATS_OK) status = natsOptions_SetMaxReconnect(options.get(), -1);
  if (status == NATS_OK) {
    status = natsOptions_SetReconnectWait(options.get(), milliseconds(reconnect_wait));
  }
  if (status == NATS_OK) status = natsOptions_SetPingInterval(options.get(), milliseconds(ping_interval));
  if (status == NATS_OK) status = natsOptions_SetMaxPingsOut(options.get(), pings_max);
  if (status == NATS_OK && !options_.credentials_file.empty()) {
    status =
        natsOptions_SetUserCredentialsFromFiles(options.get(), options_.credentials_file.c_str(), nullptr);
  }
  if (status != NATS_OK) return tl::unexpected(cannot_open(text_of(status)));

  Link link;
  const auto deadline = Clock::now() + options_.open_wait;
  for (;;) {
    const natsStatus connected = natsConnection_Connect(Out(link.connection), options.get());
    if (connected == NATS_OK) break;

    const bool may_come = connected == NATS_NO_SERVER || connected == NATS_TIMEOUT;
    if (!may_come || Clock::now() >= deadline) return tl::unexpected(cannot_open(text_of(connected)));
    std::this_thread::sleep_for(reconnect_wait);
  }
  jsOptions js_options;
  jsOptions_Init(&js_options);
  js_options.Wait = milliseconds(options_.open_wait);
  const natsStatus has_js = natsConnection_JetStream(Out(link.js), link.connection.get(), &js_options);
  if (has_js != NATS_OK) return tl::unexpected(cannot_open(text_of(has_js)));
  return link;
}

Result<JetStreamEngine::Opened> JetStreamEngine::Impl::open(const LogHead& mine) {
  auto appends = connect("appends");
  if (!appends) return tl::unexpected(appends.error());
  appends_ = std::move(*appends);
  auto reads = connect("reads");
  if (!reads) return tl::unexpected(reads.error());
  reads_ = std::move(*reads);
  // Servers that have just started know each other and the streams' leaders a little later.
  const auto deadline = Clock::now() + options_.open_wait;
  for (;;) {
    auto opened = read_all(mine);
    if (opened || opened.error().code != ErrorCode::io || Clock::now() >= deadline) return opened;
    std::this_thread::sleep_for(reconnect_wait);
  }
}

/// @returns an error with the code io if it may succeed later
Result<JetStreamEngine::Opened> JetStreamEngine::Impl::read_all(const LogHead& mine) {
  for (const StreamPlan* const each : {&state_, &log_}) {
    if (auto made = make_stream(*each); !made) return tl::unexpected(made.error());
  }
  auto head = make_head(mine);
  if (!head) return tl::unexpected(head.error());
  auto checkpoint = checkpoints().newest();
  if (!checkpoint) return tl::unexpected(cannot_open(checkpoint.error().text));
  const auto ends = find_ends();
  if (!ends) return tl::unexpected(ends.error());
  created_ = ends->created;
  Opened opened;
  opened.head = std::move(*head);
  opened.last_index = ends->last;
  opened.created_ns = ends->created;
  opened.message_bytes_max = natsConnection_GetMaxPayload(appends_.connection.get());
  if (*checkpoint) {
    const MutexLock lock(mutex_);
    checkpoint_index_ = (*checkpoint)->index;
    opened.checkpoint = std::move((*checkpoint)->bytes);
  }
  return opened;
}

/// Creates the stream if there is none.
Result<void> JetStreamEngine::Impl::make_stream(const StreamPlan& plan) {
  jsErrCode code{};
  Owned<jsStreamInfo> info;
  const natsStatus found = js_GetStreamInfo(Out(info), appends_.js.get(), plan.name.c_str(), nullptr, &code);
  if (found == NATS_OK) return check_stream(plan, *info->Config);
  if (code == JSNotEnabledErr || code == JSNotEnabledForAccountErr || found == NATS_NO_RESPONDERS) {
    return fail(ErrorCode::invalid_argument,
                cannot_open("the server has no JetStream: it needs -js, or jetstream in its file").text);
  }
  if (found != NATS_NOT_FOUND) return tl::unexpected(cannot_open(text_of(found, code)));

  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  std::array<const char*, 1> subjects{plan.subject.c_str()};
  config.Name = plan.name.c_str();
  config.Subjects = subjects.data();
  config.SubjectsLen = static_cast<int>(subjects.size());
  config.Storage = js_FileStorage;
  config.Replicas = options_.replicas;
  config.MaxMsgsPerSubject = plan.per_subject_max;
  config.MaxBytes = plan.bytes_max;
  // If there is no room, appends fail and publishers wait. Nothing is discarded that a broker may need.
  config.Discard = plan.per_subject_max == 1 ? js_DiscardOld : js_DiscardNew;
  config.Duplicates = std::chrono::nanoseconds(duplicates_window).count();
  const natsStatus status = js_AddStream(Out(info), appends_.js.get(), &config, nullptr, &code);
  if (status == NATS_OK || code == JSStreamNameExistErr) return {};  // another broker was faster
  return tl::unexpected(cannot_open(fmt::format("stream {}: {}", plan.name, text_of(status, code))));
}

Result<void> JetStreamEngine::Impl::check_stream(const StreamPlan& plan, const jsStreamConfig& found) const {
  const auto differs = [&](std::string_view what, const auto& expected, const auto& got) {
    return fail(
        ErrorCode::invalid_argument,
        cannot_open(fmt::format("stream {}: {}: expected {}, got {}", plan.name, what, expected, got)).text);
  };
  if (found.SubjectsLen != 1 || plan.subject != found.Subjects[0]) {
    return differs("subjects", plan.subject, found.SubjectsLen == 0 ? "none" : found.Subjects[0]);
  }
  if (found.Storage != js_FileStorage) return differs("storage", "file", "memory");
  if (found.Retention != js_LimitsPolicy) return differs("retention", "limits", "another");
  if (found.Replicas != options_.replicas) return differs("replicas", options_.replicas, found.Replicas);
  if (found.MaxMsgsPerSubject != plan.per_subject_max) {
    return differs("max_msgs_per_subject", plan.per_subject_max, found.MaxMsgsPerSubject);
  }
  if (found.MaxMsgs > 0) return differs("max_msgs", "no limit", found.MaxMsgs);
  if (found.MaxAge > 0) return differs("max_age", "no limit", found.MaxAge);
  if (plan.per_subject_max != 1 && found.Discard != js_DiscardNew) return differs("discard", "new", "old");
  return {};
}

/// Creates the head if there is none. A later broker compares its own with it.
Result<LogHead> JetStreamEngine::Impl::make_head(const LogHead& mine) {
  const std::string text = encode(mine);
  Owned<natsMsg> message;
  const natsStatus made = natsMsg_Create(Out(message), head_subject_.c_str(), nullptr, text.data(),
                                         static_cast<int>(text.size()));
  if (made != NATS_OK) return tl::unexpected(cannot_open(text_of(made)));
  jsPubOptions options;
  jsPubOptions_Init(&options);
  options.MaxWait = milliseconds(options_.open_wait);
  options.ExpectNoMessage = true;
  jsErrCode code{};
  Owned<jsPubAck> ack;
  const natsStatus status = js_PublishMsg(Out(ack), appends_.js.get(), message.get(), &options, &code);
  if (status == NATS_OK) return mine;
  if (code != JSStreamWrongLastSequenceErr) return tl::unexpected(cannot_open(text_of(status, code)));
  Owned<natsMsg> found;
  const natsStatus got = js_GetLastMsg(Out(found), appends_.js.get(), state_.name.c_str(),
                                       head_subject_.c_str(), nullptr, &code);
  if (got != NATS_OK) return tl::unexpected(cannot_open(text_of(got, code)));
  auto head = decode_head(
      {natsMsg_GetData(found.get()), static_cast<std::size_t>(natsMsg_GetDataLength(found.get()))});
  if (!head) return tl::unexpected(cannot_open(head.error().text));
  if (auto same = check_same(mine, *head); !same) return tl::unexpected(same.error());
  return head;
}

Result<std::optional<std::string>> JetStreamEngine::Impl::older_checkpoint() const {
  auto found = checkpoints().newest(1);
  if (!found) return tl::unexpected(cannot_open(found.error().text));
  if (!*found) return std::optional<std::string>{};
  return std::optional(std::move((*found)->bytes));
}

Result<JetStreamEngine::Impl::Ends> JetStreamEngine::Impl::find_ends() {
  jsErrCode code{};
  Owned<jsStreamInfo> info;
  jsOptions options = short_requests();
  const natsStatus status = js_GetStreamInfo(Out(info), reads_.js.get(), log_.name.c_str(), &options, &code);
  const MutexLock lock(mutex_);
  status_.has_quorum = status == NATS_OK;
  if (status != NATS_OK) return tl::unexpected(cannot_open(text_of(status, code)));
  status_.first_index = info->State.FirstSeq;
  status_.last_index = info->State.LastSeq;
  if (info->Cluster != nullptr) {
    status_.servers = servers_of(*info->Cluster);
    status_.has_quorum = has_majority(status_.servers);
  }
  return Ends{info->Created, info->State.FirstSeq, info->State.LastSeq};
}

void JetStreamEngine::Impl::start() {
  threads_.emplace_back([this] { append_loop(); });
  threads_.emplace_back([this] { read_loop(); });
  threads_.emplace_back([this] { checkpoint_loop(); });
}

JetStreamEngine::Impl::~Impl() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    job_comes_.notify_all();
    room_or_seek_.notify_all();
    checkpoint_comes_.notify_all();
  }
  for (std::thread& each : threads_) each.join();
}

void JetStreamEngine::Impl::notify() {
  if (!std::exchange(is_readable_, true)) wake_.wake();
}

JetStreamEngine::Condition JetStreamEngine::Impl::condition() const {
  const MutexLock lock(mutex_);
  if (!broken_.empty()) return {.accepts = false, .broken = true, .text = broken_};
  if (!append_error_.empty()) return {.accepts = false, .broken = false, .text = append_error_};
  return {.accepts = read_error_.empty(), .broken = false, .text = read_error_};
}

LogEngine::Status JetStreamEngine::Impl::status() const {
  const MutexLock lock(mutex_);
  return status_;
}

// ── appending ────────────────────────────────────────────────────────────────────────────────────────────

void JetStreamEngine::Impl::append(std::string_view bytes, std::string_view id) {
  const MutexLock lock(mutex_);
  job_ = Job{++job_number_, std::string(bytes), std::string(id)};
  append_state_ = Append::under_way;
  job_comes_.notify_all();
}

LogEngine::Append JetStreamEngine::Impl::append_state() {
  const MutexLock lock(mutex_);
  if (append_state_ == Append::under_way) return append_state_;
  return std::exchange(append_state_, Append::none);
}

void JetStreamEngine::Impl::append_loop() {
  for (;;) {
    Job job;
    {
      const MutexLock lock(mutex_);
      while (!stopping_ && !job_) (void)job_comes_.wait_until(mutex_, Clock::now() + idle_wait);
      if (stopping_) return;
      job = std::move(*job_);
      job_.reset();
    }
    jsErrCode code{};
    Owned<natsMsg> message;
    natsStatus status = natsMsg_Create(Out(message), log_.subject.c_str(), nullptr, job.bytes.data(),
                                       static_cast<int>(job.bytes.size()));
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = milliseconds(options_.append_wait);
    options.MsgId = job.id.c_str();
    options.ExpectStream = log_.name.c_str();
    Owned<jsPubAck> ack;
    if (status == NATS_OK) {
      status = js_PublishMsg(Out(ack), appends_.js.get(), message.get(), &options, &code);
    }
    const MutexLock lock(mutex_);
    append_error_ = status == NATS_OK ? std::string()
                                      : fmt::format("cannot append to the log: {}", text_of(status, code));
    if (job.number != job_number_) continue;  // nobody waits for it any more
    append_state_ = status == NATS_OK ? Append::done : Append::failed;
    notify();
  }
}

// ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────

void JetStreamEngine::Impl::write_checkpoint(std::uint64_t index, std::string bytes) {
  const MutexLock lock(mutex_);
  checkpoint_ = Checkpoint{index, std::move(bytes)};
  checkpoint_comes_.notify_all();
}

std::uint64_t JetStreamEngine::Impl::checkpoint_index() const {
  const MutexLock lock(mutex_);
  return checkpoint_index_;
}

void JetStreamEngine::Impl::checkpoint_loop() {
  for (;;) {
    Checkpoint checkpoint;
    {
      const MutexLock lock(mutex_);
      while (!stopping_ && !checkpoint_) (void)checkpoint_comes_.wait_until(mutex_, Clock::now() + idle_wait);
      if (stopping_) return;
      checkpoint = std::move(*checkpoint_);
      checkpoint_.reset();
    }
    const auto written = checkpoints().write(checkpoint.index, checkpoint.bytes);
    // The next one is tried in some minutes, by whichever broker. Until then the log is longer.
    if (!written) {
      log::warning("cannot write a checkpoint of the log: {}", written.error().text);
      continue;
    }
    const MutexLock lock(mutex_);
    checkpoint_index_ = std::max(checkpoint_index_, checkpoint.index);
    notify();
  }
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

void JetStreamEngine::Impl::read_from(std::uint64_t index) {
  const MutexLock lock(mutex_);
  seek_ = index;
  received_.clear();
  received_bytes_ = 0;
  room_or_seek_.notify_all();
}

std::optional<LogEngine::Record> JetStreamEngine::Impl::next() {
  const MutexLock lock(mutex_);
  if (received_.empty()) {
    if (std::exchange(is_readable_, false)) wake_.drain();
    return std::nullopt;
  }
  const std::uint64_t index = received_.front().index;
  const std::int64_t stored_ns = received_.front().stored_ns;
  returned_ = std::move(received_.front().bytes);
  received_.pop_front();
  const bool was_full = received_bytes_ >= options_.read_ahead_bytes;
  received_bytes_ -= returned_.size();
  if (was_full) room_or_seek_.notify_all();
  return Record{index, returned_, stored_ns};
}

Owned<natsSubscription> JetStreamEngine::Impl::subscribe(std::uint64_t from) {
  jsSubOptions options;
  jsSubOptions_Init(&options);
  options.Stream = log_.name.c_str();
  options.Ordered = true;
  options.Config.DeliverPolicy = js_DeliverByStartSequence;
  options.Config.OptStartSeq = from;
  jsErrCode code{};
  Owned<natsSubscription> subscription;
  jsOptions wait = short_requests();
  const natsStatus status =
      js_SubscribeSync(Out(subscription), reads_.js.get(), log_.subject.c_str(), &wait, &options, &code);
  const MutexLock lock(mutex_);
  read_error_ =
      status == NATS_OK ? std::string() : fmt::format("cannot read the log: {}", text_of(status, code));
  return subscription;
}

void JetStreamEngine::Impl::read_loop() {
  Owned<natsSubscription> subscription;
  auto next_ends = Clock::now() + ends_interval;
  for (;;) {
    {
      const MutexLock lock(mutex_);
      while (!stopping_ && !seek_ && received_bytes_ >= options_.read_ahead_bytes) {
        (void)room_or_seek_.wait_until(mutex_, Clock::now() + idle_wait);
      }
      if (stopping_) return;
      if (seek_) {
        if (*seek_ != next_) subscription.reset();
        next_ = *seek_;
        seek_.reset();
        short_ends_ = 0;
      }
    }
    if (subscription == nullptr) {
      subscription = subscribe(next_);
      if (subscription == nullptr) {
        const MutexLock lock(mutex_);
        (void)room_or_seek_.wait_until(mutex_, Clock::now() + reconnect_wait);
        continue;
      }
    }
    Owned<natsMsg> message;
    const natsStatus status =
        natsSubscription_NextMsg(Out(message), subscription.get(), milliseconds(read_wait));
    if (Clock::now() >= next_ends) {
      if (!check_ends()) subscription.reset();
      next_ends = Clock::now() + ends_interval;
    }
    if (status == NATS_TIMEOUT || subscription == nullptr) continue;
    Owned<jsMsgMetaData> meta;
    if (status != NATS_OK || natsMsg_GetMetaData(Out(meta), message.get()) != NATS_OK) {
      subscription.reset();  // begins again where it was
      continue;
    }
    const std::uint64_t index = meta->Sequence.Stream;
    const MutexLock lock(mutex_);
    if (seek_) {
      subscription.reset();  // this message is lost
      continue;
    }
    next_ = index + 1;
    waiting_ends_ = 0;
    const auto bytes = static_cast<std::size_t>(natsMsg_GetDataLength(message.get()));
    received_.push_back({index, std::string(natsMsg_GetData(message.get()), bytes), meta->Timestamp});
    received_bytes_ += bytes;
    notify();
  }
}

/// Whether what was read is still the log. @returns false if messages that are there do not come: the
/// subscription is to be made again.
bool JetStreamEngine::Impl::check_ends() {
  const auto ends = find_ends();
  if (!ends) return true;  // the next time
  const std::uint64_t read = next_ - 1;
  short_ends_ = ends->last < read ? short_ends_ + 1 : 0;
  waiting_ends_ = ends->last >= next_ ? waiting_ends_ + 1 : 0;
  std::string wrong;
  if (ends->created != created_) {
    wrong = fmt::format("stream {} was deleted and created again", log_.name);
  } else if (short_ends_ >= ends_until_believed) {
    wrong =
        fmt::format("the log ends at index {}, but {} has been read: it has lost messages", ends->last, read);
  } else if (ends->first > next_) {
    wrong = fmt::format("the log begins at index {}, but only {} has been read: it was purged or trimmed",
                        ends->first, read);
  }
  if (!wrong.empty()) {
    const MutexLock lock(mutex_);
    broken_ = wrong;
    notify();
  }
  return waiting_ends_ < ends_until_believed;
}

// ── interface ────────────────────────────────────────────────────────────────────────────────────────────

JetStreamEngine::JetStreamEngine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JetStreamEngine::~JetStreamEngine() = default;

Result<JetStreamEngine::Opened> JetStreamEngine::open(JetStreamOptions options, const LogHead& mine) {
  auto impl = std::make_unique<Impl>(std::move(options), mine.backplane);
  auto opened = impl->open(mine);
  if (!opened) return opened;
  impl->start();
  opened->engine.reset(new JetStreamEngine(std::move(impl)));
  return opened;
}

void JetStreamEngine::append(std::string_view bytes, std::string_view id) {
  impl_->append(bytes, id);
}
LogEngine::Append JetStreamEngine::append_state() {
  return impl_->append_state();
}
void JetStreamEngine::read_from(std::uint64_t index) {
  impl_->read_from(index);
}
std::optional<LogEngine::Record> JetStreamEngine::next() {
  return impl_->next();
}
int JetStreamEngine::progress_fd() const {
  return impl_->progress_fd();
}
LogEngine::Condition JetStreamEngine::condition() const {
  return impl_->condition();
}

LogEngine::Status JetStreamEngine::status() const {
  return impl_->status();
}
void JetStreamEngine::write_checkpoint(std::uint64_t index, std::string bytes) {
  impl_->write_checkpoint(index, std::move(bytes));
}
std::uint64_t JetStreamEngine::checkpoint_index() const {
  return impl_->checkpoint_index();
}

Result<std::optional<std::string>> JetStreamEngine::older_checkpoint() const {
  return impl_->older_checkpoint();
}

}  // namespace backplane::broker
