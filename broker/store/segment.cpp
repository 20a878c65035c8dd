#include "broker/store/segment.hpp"

#include <algorithm>

#include "broker/store/bytes.hpp"

namespace backplane::broker::store {

void Segment::add(std::uint64_t position, std::int64_t time, std::uint64_t at) {
  if (blocks.empty() || at - blocks.back().at >= block_bytes) {
    blocks.push_back({position, time, static_cast<std::uint32_t>(at)});
  }
  ++records;
  through = std::max(through, position);
  last_time = std::max(last_time, time);
}

std::uint64_t Segment::start_after(std::uint64_t position, std::int64_t since) const {
  // In the last block that begins before, unless even that is too late.
  const auto after = std::partition_point(blocks.begin(), blocks.end(), [&](const Block& block) {
    return block.position <= position || block.time < since;
  });
  return after == blocks.begin() ? records_at() : std::prev(after)->at;
}

std::uint64_t Segment::position_before(std::uint64_t start) const {
  const auto block =
      std::partition_point(blocks.begin(), blocks.end(), [&](const Block& each) { return each.at < start; });
  return block == blocks.end() || block->at != start || block == blocks.begin() ? first() - 1
                                                                                : block->position - 1;
}

std::uint64_t Segment::block_end(std::uint64_t start) const {
  const auto next = std::partition_point(blocks.begin(), blocks.end(),
                                         [&](const Block& block) { return block.at <= start; });
  return next == blocks.end() ? bytes : next->at;
}

std::string encode_index(const Segment& segment) {
  FileHeader header = segment.header;
  header.kind = FileKind::index;
  std::string out = encode(header);
  put(out, segment.bytes);
  put(out, segment.records);
  put(out, segment.through);
  put(out, segment.last_time);
  put(out, static_cast<std::uint32_t>(segment.blocks.size()));
  for (const Block& block : segment.blocks) {
    put(out, block.position);
    put(out, block.time);
    put(out, block.at);
  }
  put(out, crc32c(out));
  return out;
}

bool decode_index(std::string_view bytes, Segment& segment) {
  if (bytes.size() < header_bytes + 4) return false;
  const auto header = decode_header(bytes, FileKind::index, "index");
  if (!header || header->serial != segment.header.serial || header->stream != segment.header.stream) {
    return false;
  }
  ByteReader crc(bytes.substr(bytes.size() - 4));
  if (crc.get<std::uint32_t>() != crc32c(bytes.substr(0, bytes.size() - 4))) return false;
  ByteReader in(bytes.substr(header_bytes, bytes.size() - header_bytes - 4));
  const bool is_same_size = in.get<std::uint64_t>() == segment.bytes;
  segment.records = in.get<std::uint64_t>();
  segment.through = in.get<std::uint64_t>();
  segment.last_time = in.get<std::int64_t>();
  segment.blocks.resize(std::min<std::size_t>(in.get<std::uint32_t>(), in.left() / 20));
  for (Block& block : segment.blocks) {
    block.position = in.get<std::uint64_t>();
    block.time = in.get<std::int64_t>();
    block.at = in.get<std::uint32_t>();
  }
  if (!is_same_size) segment.is_damaged = true;
  return in.ok() && is_same_size;
}

}  // namespace backplane::broker::store
