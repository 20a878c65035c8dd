// backplane store: looks at a store's files.

#include <algorithm>
#include <memory>
#include <unordered_set>

#include <fmt/format.h>

#include "broker/store/event_log.hpp"
#include "broker/store/posix_files.hpp"
#include "broker/store/store_directory.hpp"
#include "cli/connection/waiter.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/progress_line.hpp"
#include "cli/console/table.hpp"
#include "cli/console/units.hpp"
#include "cli/store_options.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

using broker::store::find_stores;
using broker::store::LostEvents;
using broker::store::Record;
using broker::store::StoreDamage;
using broker::store::StoredIncarnation;
using broker::store::StoreEnd;
using broker::store::StoreListener;
using broker::store::StoreReader;

struct StoreFlags {
  std::string path;
  bool json{};
};

std::string place(const std::string& path, const StoreDamage& damage) {
  return log::escape(fmt::format("{}/{}:{}: {}", path, damage.file, damage.at, damage.text));
}

// ── info ─────────────────────────────────────────────────────────────────────────────────────────────────

std::string state_text(const OpenStore& store) {
  if (!store.user.empty()) return "in use by " + store.user;
  const auto& mark = store.reader->mark();
  switch (store.reader->end()) {
    case StoreEnd::closed:
      return "closed";
    case StoreEnd::process_ended:
      return "not closed: its broker was killed, or runs on another machine";
    case StoreEnd::machine_crashed:
      return mark && mark->syncs_always
                 ? "not closed: the machine went down; the stream continues at the next start"
                 : "not closed: the machine went down; a new incarnation begins at the next start";
    case StoreEnd::unknown:
      break;
  }
  return "unknown";
}

std::string_view state_code(const OpenStore& store) {
  if (!store.user.empty()) return "in_use";
  switch (store.reader->end()) {
    case StoreEnd::closed:
      return "closed";
    case StoreEnd::process_ended:
      return "killed";
    case StoreEnd::machine_crashed:
      return "machine_down";
    case StoreEnd::unknown:
      break;
  }
  return "unknown";
}

std::string shown_time(std::int64_t unix_ns) {
  constexpr std::int64_t second = 1'000'000'000;
  return unix_ns == 0 ? "-" : format_time(unix_ns / second * second);
}

Table incarnations_table(const StoreReader& reader) {
  using enum Column::Align;
  Table table({{.title = "STREAM"},
               {.title = "INCARNATION"},
               {.title = "SEGMENTS", .align = right},
               {.title = "TOPICS", .align = right},
               {.title = "EVENTS", .align = right},
               {.title = "FIRST", .align = right},
               {.title = "LAST", .align = right},
               {.title = "OLDEST"},
               {.title = "NEWEST"},
               {.title = "BYTES", .align = right}});
  for (const StoredIncarnation& each : reader.incarnations()) {
    table.add({fmt::format("{:016x}", each.stream), each.is_current ? "current" : "earlier",
               grouped(each.segments.size()), grouped(each.topics), grouped(each.events),
               grouped(each.first_position), grouped(each.last_position), shown_time(each.oldest_ns),
               shown_time(each.newest_ns), short_bytes(each.bytes)});
  }
  return table;
}

void print_info(const OpenStore& store, Output& output) {
  const StoreReader& reader = *store.reader;
  const auto row = [&](std::string_view name, std::string_view value) {
    output.line(fmt::format("{:<12}{}", name, value));
  };
  const auto& mark = reader.mark();
  row("store", log::escape(store.path));
  row("backplane", mark ? log::escape(mark->backplane) : "unknown");
  row("state", state_text(store));
  row("sync", !mark ? "unknown" : mark->syncs_always ? "always" : "an interval, or off");
  row("size", fmt::format("{} in {}", short_bytes(reader.bytes()), counted(reader.files(), "file")));
  if (reader.damage().empty()) row("damage", "none found (`backplane store verify` reads everything)");
  for (const StoreDamage& damage : reader.damage()) row("damage", place(store.path, damage));
  output.line("");
  constexpr std::size_t no_width = 1u << 20;
  for (const std::string& line : incarnations_table(reader).lines(no_width)) output.line(line);
}

void append_time_json(std::string_view name, std::int64_t unix_ns, std::string& out) {
  out += fmt::format(",\"{}\":", name);
  if (unix_ns == 0) {
    out += "null";
  } else {
    append_json_string(format_time(unix_ns), out);
  }
}

std::string info_json(const OpenStore& store) {
  const StoreReader& reader = *store.reader;
  const auto& mark = reader.mark();
  std::string out = "{\"store\":";
  append_json_string(store.path, out);
  out += ",\"backplane\":";
  append_json_string(mark ? mark->backplane : "", out);
  out += fmt::format(",\"state\":\"{}\",\"user\":", state_code(store));
  append_json_string(store.user, out);
  out += fmt::format(",\"sync\":\"{}\",\"bytes\":{},\"files\":{},\"damage\":[",
                     !mark                ? "unknown"
                     : mark->syncs_always ? "always"
                                          : "later",
                     reader.bytes(), reader.files());
  for (const StoreDamage& damage : reader.damage()) {
    if (out.back() != '[') out += ',';
    out += "{\"file\":";
    append_json_string(damage.file, out);
    out += fmt::format(",\"at\":{},\"text\":", damage.at);
    append_json_string(damage.text, out);
    out += '}';
  }
  out += "],\"incarnations\":[";
  for (const StoredIncarnation& each : reader.incarnations()) {
    if (out.back() != '[') out += ',';
    out += fmt::format(
        "{{\"stream\":\"{:016x}\",\"current\":{},\"segments\":{},\"topics\":{},\"events\":{},"
        "\"first_position\":{},\"last_position\":{},\"bytes\":{}",
        each.stream, each.is_current, each.segments.size(), each.topics, each.events, each.first_position,
        each.last_position, each.bytes);
    append_time_json("oldest", each.oldest_ns, out);
    append_time_json("newest", each.newest_ns, out);
    out += '}';
  }
  return out + "]}";
}

ExitCode run_info(const StoreFlags& flags) {
  const auto paths = find_stores(flags.path);
  if (!paths) return print_error("store info", paths.error());
  Output output;
  for (const std::string& path : *paths) {
    const auto store = open_store(path);
    if (!store) return print_error("store info", store.error());
    if (auto ok = store->reader->summarize(); !ok) return print_error("store info", ok.error());
    if (flags.json) {
      output.line(info_json(*store));
      continue;
    }
    if (path != paths->front()) output.line("");
    print_info(*store, output);
  }
  output.flush();
  if (output.problem().empty()) return ExitCode::done;
  print_message("store info", output.problem());
  return ExitCode::failed;
}

// ── verify ───────────────────────────────────────────────────────────────────────────────────────────────

/// Prints what read() finds. Lives on the main thread.
class Verification final : public StoreListener {
 public:
  Verification(const std::string& path, Output& output, Waiter& waiter)
      : path_(path), output_(output), waiter_(waiter), progress_("backplane store verify") {}

  void on_types(std::string_view) override {}
  void on_event(std::uint64_t, const Record&) override {}
  void on_damage(const StoreDamage& damage) override {
    ++places_;
    output_.line(place(path_, damage));
  }
  void on_lost(const LostEvents& lost, const Record*) override {
    if (lost_.add(lost)) output_.line(fmt::format("{}: {}", log::escape(path_), lost_text(lost)));
  }
  bool on_progress(std::uint64_t bytes, std::uint64_t bytes_all) override {
    (void)waiter_.wait({}, Waiter::Clock::time_point::min());
    if (!output_.buffer().empty()) {
      progress_.erase();
      output_.flush();
    }
    if (waiter_.stopped() || output_.closed()) return false;
    progress_.show(bytes, bytes_all, ProgressLine::Clock::now());
    return true;
  }

  [[nodiscard]] bool is_intact() const noexcept { return places_ == 0 && lost_.events() == 0; }
  [[nodiscard]] std::string summary(const StoreReader& reader) {
    progress_.erase();
    std::uint64_t events = 0;
    std::uint64_t topics = 0;
    std::uint64_t segments = 0;
    for (const StoredIncarnation& each : reader.incarnations()) {
      events += each.events;
      topics += each.topics;
      segments += each.segments.size();
    }
    const std::string what =
        fmt::format("{} of {} in {}, {}", counted(events, "event"), counted(topics, "topic"),
                    counted(segments, "segment"), short_bytes(reader.bytes()));
    if (is_intact()) return "intact: " + what;
    if (lost_.unlisted() > 0) output_.line(fmt::format("{} more of these", grouped(lost_.unlisted())));
    return fmt::format("damaged: {}, {} of {} lost; left: {}", counted(places_, "place"),
                       counted(lost_.events(), "event"), counted(lost_.topics(), "topic"), what);
  }

 private:
  const std::string& path_;
  Output& output_;
  Waiter& waiter_;
  ProgressLine progress_;
  std::uint64_t places_{0};
  LostCount lost_;
};

ExitCode run_verify(const StoreFlags& flags) {
  const auto paths = find_stores(flags.path);
  if (!paths) return print_error("store verify", paths.error());
  Signals signals(Signals::Hangup::stop);
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  Output output(1, "standard output", &waiter);
  bool is_intact = true;
  for (const std::string& path : *paths) {
    const auto store = open_store(path);
    if (!store) return print_error("store verify", store.error());
    Verification verification(path, output, waiter);
    const auto complete = store->reader->read(verification);
    if (!complete) {
      output.flush();
      return print_error("store verify", complete.error());
    }
    if (!*complete) {
      if (!output.closed()) print_message("store verify", "interrupted");
      return output.closed() ? ExitCode::done : ExitCode::failed;
    }
    const std::string summary = verification.summary(*store->reader);
    output.line(paths->size() > 1 ? fmt::format("{}: {}", log::escape(path), summary) : summary);
    output.flush();
    print_store_notes("store verify", *store);
    is_intact = is_intact && verification.is_intact();
  }
  if (!output.problem().empty()) {
    print_message("store verify", output.problem());
    return ExitCode::failed;
  }
  return is_intact ? ExitCode::done : ExitCode::gaps;
}

}  // namespace

Result<OpenStore> open_store(const std::string& path) {
  (void)raise_open_files_limit();  // each segment stays open
  OpenStore store{path, broker::store::store_user(path),
                  std::make_unique<StoreReader>(broker::store::read_only_posix_files(path))};
  if (auto ok = store.reader->open(); !ok) return tl::unexpected(ok.error());
  if (store.user.empty()) store.user = broker::store::store_user(path);
  return store;
}

void print_store_notes(std::string_view command, const OpenStore& store) {
  if (!store.user.empty()) {
    print_message(command, fmt::format("{} is in use by {}; what was written later was not read", store.path,
                                       store.user));
  } else if (const auto& unfinished = store.reader->unfinished()) {
    print_message(command, fmt::format("{}/{}:{}: the last write was interrupted; the next start removes it",
                                       store.path, unfinished->file, unfinished->at));
  }
}

std::string lost_text(const LostEvents& lost) {
  const std::string topic = log::escape(lost.topic);
  if (lost.first == lost.last) return fmt::format("{}: offset {} is lost", topic, lost.first);
  return fmt::format("{}: offsets {} to {} are lost", topic, lost.first, lost.last);
}

bool LostCount::add(const LostEvents& lost) {
  events_ += lost.last - lost.first + 1;
  if (!topics_.contains(lost.topic)) topics_.emplace(lost.topic);
  return ++ranges_ <= listed_max;
}

void add_store(const Command& program) {
  const Command command =
      program.add_command("store", "Look at a store's files, also while a broker uses them");
  command.require_command();
  command.set_footer(
      "DIR is the directory of one backplane (./data/default), or that of --data (./data).\n"
      "Nothing in it is changed.\n"
      "\n"
      "Examples:\n"
      "  backplane store info ./data/default\n"
      "  backplane store verify ./data\n"
      "  backplane store export ./data/default 'stock.>' --to stock.events");
  auto flags = std::make_shared<StoreFlags>();
  const Command info = command.add_command("info", "Show what a store has");
  info.add_option("DIR", flags->path, "The store").required().value_name("");
  info.add_flag("-j,--json", flags->json, "Print one JSON object per store");
  info.set_footer("Examples:\n  backplane store info ./data/default");
  info.set_run([flags] { return run_info(*flags); });
  const Command verify =
      command.add_command("verify", "Read everything and list all damage (exit code 3 if there is any)");
  verify.add_option("DIR", flags->path, "The store").required().value_name("");
  verify.set_footer("Examples:\n  backplane store verify ./data/default");
  verify.set_run([flags] { return run_verify(*flags); });
  add_store_export(command);
}

}  // namespace backplane::cli
