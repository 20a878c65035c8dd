#include "links/link_state.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace backplane::links {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view first_line = "backplane link state 1";

tl::unexpected<Error> cannot(std::string_view what, const fs::path& file, int error) {
  return fail(ErrorCode::io, fmt::format("cannot {} {}: {}", what, file.string(), std::strerror(error)));
}

std::string to_text(const LinkState& state) {
  std::string text = fmt::format("{}\nto {:016x}\n", first_line, state.to);
  for (const auto& [backplane, source] : state.sources) {
    text += fmt::format("source {:016x} position {} session {:016x} sequence {}\n", source.stream,
                        source.position, source.session, source.sequence);
  }
  for (const std::uint32_t target : state.targets) text += fmt::format("target {:08x}\n", target);
  return text + "end\n";
}

std::optional<LinkState> from_text(const std::string& text) {
  std::istringstream in(text);
  std::string line;
  if (!std::getline(in, line) || line != first_line) return std::nullopt;
  LinkState state;
  for (std::string word; in >> word;) {
    if (word == "end") return state;
    std::string name;
    if (word == "source") {
      LinkState::Source source;
      if (!(in >> std::hex >> source.stream >> std::dec >> name >> source.position) || name != "position" ||
          !(in >> name >> std::hex >> source.session >> std::dec) || name != "session" ||
          !(in >> name >> source.sequence) || name != "sequence") {
        return std::nullopt;
      }
      state.sources[static_cast<std::uint32_t>(source.stream >> 32)] = source;
    } else if (word == "to") {
      if (!(in >> std::hex >> state.to >> std::dec)) return std::nullopt;
    } else if (word == "target") {
      std::uint32_t target = 0;
      if (!(in >> std::hex >> target >> std::dec)) return std::nullopt;
      state.targets.insert(target);
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<LinkStateFile> LinkStateFile::open(const fs::path& folder, const std::string& name) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return cannot("create", folder, error.value());
  const fs::path file = folder / (name + ".link");
  const fs::path lock_file = file.string() + ".lock";
  Descriptor lock(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock) return cannot("write", lock_file, errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("cannot lock {}: another process has this state file open", file.string()));
  }
  LinkStateFile opened(file, std::move(lock));
  std::ifstream in(file, std::ios::binary);
  if (!in && errno == ENOENT) return opened;
  std::ostringstream text;
  text << in.rdbuf();
  auto state = from_text(text.str());
  if (!in || !state) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{}: expected a state file written by `backplane link`, got something else; delete "
                    "the file to start over",
                    file.string()));
  }
  opened.loaded_ = std::move(*state);
  return opened;
}

Result<void> LinkStateFile::save(const LinkState& state) const {
  const fs::path next = file_.string() + ".new";
  {
    const Descriptor out(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!out) return cannot("write", next, errno);
    const std::string text = to_text(state);
    const ssize_t written = ::write(out.get(), text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size()))
      return cannot("write", next, written < 0 ? errno : ENOSPC);
    if (::fdatasync(out.get()) != 0) return cannot("write", next, errno);
  }
  if (::rename(next.c_str(), file_.c_str()) != 0) return cannot("replace", file_, errno);
  return {};
}

}  // namespace backplane::links
