#include "links/passed_event.hpp"

#include <algorithm>
#include <cctype>
#include <optional>

#include <fmt/format.h>

#include "core/wire/little_endian.hpp"
#include "core/wire/write.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::links {
namespace {

/// Reads the fields of one message. The broker that admitted the event has checked them.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  /// @returns false at the end, or at bytes that are no field: then is_good() is false.
  bool next() {
    if (bytes_.empty()) return false;
    const char* const begin = bytes_.data();
    const auto tag = varint();
    good_ = tag && skip_value(*tag & 7);
    if (!good_) return false;
    number_ = *tag >> 3;
    all_ = {begin, static_cast<std::size_t>(bytes_.data() - begin)};
    return true;
  }
  [[nodiscard]] bool is_good() const noexcept { return good_; }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] std::string_view content() const noexcept { return content_; }  ///< if it is delimited
  [[nodiscard]] std::string_view all() const noexcept { return all_; }          ///< with the tag

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }
  bool skip(std::uint64_t count) {
    if (count > bytes_.size()) return false;
    content_ = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return true;
  }
  bool skip_value(std::uint64_t wire_type) {
    content_ = {};
    switch (wire_type) {
      case 0:
        return varint().has_value();
      case 1:
        return skip(8);
      case 2: {
        const auto length = varint();
        return length && skip(*length);
      }
      case 5:
        return skip(4);
      default:
        return false;
    }
  }

  std::string_view bytes_;
  bool good_{true};
  std::uint64_t number_{};
  std::string_view content_;
  std::string_view all_;
};

/// Field `number` of a message, if it is delimited: the last one counts.
std::string_view field(std::string_view message, std::uint64_t number) {
  std::string_view found;
  for (Fields fields(message); fields.next();) {
    if (fields.number() == number) found = fields.content();
  }
  return found;
}

void append_attribute(std::string_view key, std::string_view value, std::string& out) {
  wire::append_delimited_head(8, wire::delimited_bytes(key.size()) + wire::delimited_bytes(value.size()),
                              out);
  wire::append_delimited(1, key, out);
  wire::append_delimited(2, value, out);
}

constexpr std::size_t stream_digits = 16;
constexpr std::size_t backplane_digits = 8;

/// Calls `use` with each entry of the form `<16 hex digits>:<position>`; a publisher may have put something
/// else into its attribute.
template <class Use>
void for_each_hop(std::string_view origin, Use use) {
  while (!origin.empty()) {
    const std::size_t comma = origin.find(',');
    const std::string_view hop = origin.substr(0, comma);
    origin.remove_prefix(comma == std::string_view::npos ? origin.size() : comma + 1);
    const auto is_hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
    if (hop.size() > stream_digits && hop[stream_digits] == ':' &&
        std::all_of(hop.begin(), hop.begin() + stream_digits, is_hex)) {
      use(hop);
    }
  }
}

}  // namespace

bool PassedEvent::read(std::span<const std::byte> event) {
  publisher_ = origin_ = type_ = {};
  has_publisher_attribute_ = false;
  kept_.clear();
  Fields fields({reinterpret_cast<const char*>(event.data()), event.size()});
  const auto keep = [&] {
    const std::string_view all = fields.all();
    if (!kept_.empty() && kept_.back().data() + kept_.back().size() == all.data()) {
      kept_.back() = {kept_.back().data(), kept_.back().size() + all.size()};
    } else {
      kept_.push_back(all);
    }
  };
  while (fields.next()) {
    switch (fields.number()) {
      case 1:
        publisher_ = fields.content();
        break;
      case 2:
      case 3:
      case 9:
      case 14:
      case 15:
        break;
      case 5: {
        const std::string_view url = field(fields.content(), 1);
        type_ = url.substr(url.rfind('/') == std::string_view::npos ? 0 : url.rfind('/') + 1);
        keep();
        break;
      }
      case 8: {
        const std::string_view key = field(fields.content(), 1);
        if (key == origin_attribute) {
          origin_ = field(fields.content(), 2);
          break;
        }
        if (key == publisher_attribute) has_publisher_attribute_ = true;
        keep();
        break;
      }
      default:
        keep();
    }
  }
  return fields.is_good();
}

bool PassedEvent::has_passed(std::uint32_t backplane) const {
  if (origin_.empty()) return false;
  const std::string digits = fmt::format("{:08x}", backplane);
  bool passed = false;
  for_each_hop(origin_, [&](std::string_view hop) { passed |= hop.substr(0, backplane_digits) == digits; });
  return passed;
}

std::size_t PassedEvent::hops() const {
  std::size_t count = 0;
  for_each_hop(origin_, [&](std::string_view) { ++count; });
  return count;
}

void PassedEvent::write_head(const Place& place, std::string& out) const {
  wire::append_delimited(1, name_, out);
  out.push_back(2 << 3 | 1);
  char session[sizeof place.session];
  wire::store_little_endian(place.session, session);
  out.append(session, sizeof session);
  wire::append_number(3, place.sequence, out);
  if (place.after > 0) wire::append_number(9, place.after, out);
}

std::string PassedEvent::write(const Place& place, const StreamPosition& from) const {
  std::string out;
  std::size_t bytes = name_.size() + origin_.size() + publisher_.size() + 128;
  for (const std::string_view each : kept_) bytes += each.size();
  out.reserve(bytes);
  write_head(place, out);
  for (const std::string_view each : kept_) out.append(each);
  std::string origin(origin_);
  if (!origin.empty()) origin.push_back(',');
  fmt::format_to(std::back_inserter(origin), "{:016x}:{}", from.stream, from.position);
  append_attribute(origin_attribute, origin, out);
  if (!has_publisher_attribute_) append_attribute(publisher_attribute, publisher_, out);
  return out;
}

std::string PassedEvent::write_lost(const Place& place, std::uint64_t count) const {
  std::string out;
  write_head(place, out);
  out.push_back(14 << 3 | 1);
  char lost[sizeof count];
  wire::store_little_endian(count, lost);
  out.append(lost, sizeof lost);
  return out;
}

}  // namespace backplane::links
