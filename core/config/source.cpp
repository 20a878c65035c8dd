#include "core/config/source.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "core/config/document.hpp"
#include "core/log/escape.hpp"

namespace backplane::config {
namespace {

/// People write configurations by hand: a larger file was named by mistake.
constexpr std::size_t file_bytes_max = 1u << 20;

}  // namespace

std::string Place::str() const {
  if (!flag.empty()) return flag;
  if (file.empty()) return key;
  if (line == 0) return fmt::format("{} {}", file, key);
  return fmt::format("{}:{} {}", file, line, key);
}

std::string Place::spot() const {
  if (!flag.empty()) return flag;
  return line == 0 ? "the default" : fmt::format("{}:{}", file, line);
}

const Source::Document::Flag* Source::Document::flag(std::string_view path) const {
  const auto found = flags.find(path);
  return found == flags.end() ? nullptr : &found->second;
}

std::string shown_key(std::string_view path, bool is_table) {
  std::string names;
  bool in_index = false;
  for (const char c : path) {
    if (c == '[') in_index = true;
    if (!in_index) names += c;
    if (c == ']') in_index = false;
  }
  if (names.empty()) return names;
  if (is_table) return fmt::format("[{}]", names);
  const std::size_t dot = names.rfind('.');
  if (dot == std::string::npos) return names;
  return fmt::format("[{}].{}", names.substr(0, dot), names.substr(dot + 1));
}

Source::Source() : document_(std::make_unique<Document>()) {}
Source::~Source() = default;
Source::Source(Source&&) noexcept = default;
Source& Source::operator=(Source&&) noexcept = default;

Result<Source> Source::load(const std::filesystem::path& file) {
  const std::string name = log::escape(file.string());
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return fail(ErrorCode::not_found, fmt::format("cannot read {}: no such file", name));
  }
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorCode::io, fmt::format("cannot read {}: it is a directory", name));
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(ErrorCode::io, fmt::format("cannot read {}: {}", name, std::strerror(errno)));
  std::string text(file_bytes_max + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return fail(ErrorCode::io, fmt::format("cannot read {}: {}", name, std::strerror(errno)));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > file_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected at most 1 MiB of configuration, got more", name));
  }
  return parse(text, name);
}

Result<Source> Source::parse(std::string_view toml, std::string_view name) {
  Source source;
  source.document_->file = name;
  try {
    source.document_->root = toml::parse(toml, name);
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}:{}: {}", name, error.source().begin.line, log::escape(error.description())));
  }
  return source;
}

void Source::set_flag(std::string path, std::string flag, std::vector<std::string> values) {
  document_->flags[std::move(path)] = Document::Flag{std::move(flag), std::move(values)};
}

Place Source::place(std::string_view path) const {
  Place place;
  place.file = document_->file;
  const auto node = toml::at_path(document_->root, path);
  const bool is_table = path.ends_with(']') || node.is_table() || node.is_array_of_tables();
  place.key = log::escape(shown_key(path, is_table));
  // A value that the file does not give has the line of its table.
  for (std::string_view at = path; place.line == 0 && !at.empty();) {
    if (const auto found = toml::at_path(document_->root, at)) place.line = found.node()->source().begin.line;
    const std::size_t dot = at.rfind('.');
    at = at.substr(0, dot == std::string_view::npos ? 0 : dot);
  }
  if (const Document::Flag* flag = document_->flag(path)) place.flag = flag->name;
  return place;
}

std::size_t Source::table_count(std::string_view path) const {
  const auto node = toml::at_path(document_->root, path);
  const toml::array* array = node.as_array();
  return array == nullptr ? 0 : array->size();
}

const std::string& Source::file() const noexcept {
  return document_->file;
}

}  // namespace backplane::config
