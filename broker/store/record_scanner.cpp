#include "broker/store/record_scanner.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace backplane::broker::store {

RecordScanner::RecordScanner(std::shared_ptr<const File> file, std::uint64_t from, std::uint64_t to,
                             std::size_t read_bytes)
    : file_(std::move(file)),
      next_at_(from),
      end_(std::max(from, to)),
      read_bytes_(std::max(read_bytes, record_header_bytes)),
      intact_end_(from) {}

bool RecordScanner::next() {
  // After damage, the next record may begin at any byte.
  while (next_at_ < end_) {
    const Parsed parsed = parse();
    if (!error_) return false;
    if (parsed == Parsed::ok) {
      if (next_at_ > intact_end_) {
        if (damaged_bytes_ == 0) first_damage_at_ = intact_end_;
        damaged_bytes_ += next_at_ - intact_end_;
      }
      record_at_ = next_at_;
      next_at_ += record_.bytes;
      intact_end_ = next_at_;
      return true;
    }
    ++next_at_;
  }
  return false;
}

bool RecordScanner::ends_in_part_of_record() {
  next_at_ = intact_end_;
  const std::uint64_t left = end_ - intact_end_;
  if (left < record_header_bytes) return true;
  if (loaded().size() < record_header_bytes && !load(next_at_, record_header_bytes)) return false;
  return claimed_bytes(loaded()) > left;
}

// The bytes of the chunk from next_at_ on.
std::string_view RecordScanner::loaded() const {
  if (next_at_ < chunk_at_ || next_at_ >= chunk_at_ + chunk_bytes_) return {};
  const std::size_t skip = next_at_ - chunk_at_;
  return {chunk_.get() + skip, chunk_bytes_ - skip};
}

Parsed RecordScanner::parse() {
  const std::uint64_t left = end_ - next_at_;
  if (left < record_header_bytes) return Parsed::damaged;
  if (loaded().size() < record_header_bytes && !load(next_at_, record_header_bytes)) return Parsed::damaged;
  const std::size_t bytes = claimed_bytes(loaded());
  if (bytes == 0 || bytes > left) return Parsed::damaged;
  if (loaded().size() < bytes && !load(next_at_, bytes)) return Parsed::damaged;
  return parse_record(loaded(), record_);
}

// Loads at least `bytes` from `at` on. @returns false if the file is shorter, or cannot be read.
bool RecordScanner::load(std::uint64_t at, std::size_t bytes) {
  const std::size_t wanted = std::min<std::uint64_t>(std::max(bytes, read_bytes_), end_ - at);
  const std::string_view have = loaded();
  if (chunk_.use_count() != 1 || chunk_capacity_ < wanted) {
    Chunk larger = std::make_shared_for_overwrite<char[]>(wanted);
    if (!have.empty()) std::memcpy(larger.get(), have.data(), have.size());
    chunk_ = std::move(larger);
    chunk_capacity_ = wanted;
  } else if (!have.empty()) {
    std::memmove(chunk_.get(), have.data(), have.size());
  }
  chunk_at_ = at;
  chunk_bytes_ = have.size();
  const auto read =
      file_->read(at + chunk_bytes_,
                  std::as_writable_bytes(std::span(chunk_.get() + chunk_bytes_, wanted - chunk_bytes_)));
  if (!read) {
    error_ = tl::unexpected(read.error());
    return false;
  }
  chunk_bytes_ += *read;
  return chunk_bytes_ >= bytes;
}

}  // namespace backplane::broker::store
