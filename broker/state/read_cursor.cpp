#include "broker/state/read_cursor.hpp"

#include <cstring>
#include <type_traits>

#include "broker/state/history_store.hpp"
#include "core/topic/topic.hpp"

namespace backplane::broker {
namespace {

constexpr char history_mark = 'h';
constexpr char retained_mark = 'r';

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  // Only the process that wrote it reads it: the machine's own byte order.
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <class T>
bool get(std::string_view& in, T& value) {
  if (in.size() < sizeof value) return false;
  std::memcpy(&value, in.data(), sizeof value);
  in.remove_prefix(sizeof value);
  return true;
}

std::string begin(char mark, std::uint32_t incarnation, std::uint32_t request) {
  std::string out(1, mark);
  put(out, incarnation);
  put(out, request);
  return out;
}

bool begins(std::string_view& in, char mark, std::uint32_t incarnation, std::uint32_t request) {
  char found_mark = 0;
  std::uint32_t found_incarnation = 0;
  std::uint32_t found_request = 0;
  return get(in, found_mark) && get(in, found_incarnation) && get(in, found_request) && found_mark == mark &&
         found_incarnation == incarnation && found_request == request;
}

}  // namespace

std::uint32_t request_hash(const ReadRequest& request) {
  std::string all = request.pattern.str();
  if (request.filter != nullptr) {
    for (const Pattern& each : request.filter->patterns()) all.append(1, ' ').append(each.str());
  }
  put(all, request.what);
  put(all, request.position);
  put(all, request.offset);
  // A request that says how long ago has another `since_ns` each time; its cursor keeps the first.
  put(all, request.since_ago_ns == 0 ? request.since_ns : 0);
  put(all, request.since_ago_ns);
  put(all, request.until_position);
  if (request.partial) put(all, request.partial);
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : all) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::string encode(const HistoryCursor& cursor, std::uint32_t incarnation, std::uint32_t request) {
  std::string out = begin(history_mark, incarnation, request);
  put(out, cursor.phase);
  put(out, cursor.restarts);
  put(out, cursor.position);
  put(out, cursor.since);
  put(out, cursor.drops_seen);
  put(out, cursor.next_block);
  put(out, cursor.lost_position);
  return out;
}

std::optional<HistoryCursor> decode_history(std::string_view text, std::uint32_t incarnation,
                                            std::uint32_t request) {
  HistoryCursor cursor;
  std::uint8_t phase = 0;
  if (!begins(text, history_mark, incarnation, request) || !get(text, phase) || !get(text, cursor.restarts) ||
      !get(text, cursor.position) || !get(text, cursor.since) || !get(text, cursor.drops_seen) ||
      !get(text, cursor.next_block) || !get(text, cursor.lost_position) || !text.empty()) {
    return std::nullopt;
  }
  if (phase > static_cast<std::uint8_t>(HistoryCursor::Phase::checked)) return std::nullopt;
  cursor.phase = static_cast<HistoryCursor::Phase>(phase);
  return cursor;
}

std::string encode(std::string_view name, std::uint32_t incarnation, std::uint32_t request) {
  return begin(retained_mark, incarnation, request).append(name);
}

std::optional<std::string_view> decode_retained(std::string_view text, std::uint32_t incarnation,
                                                std::uint32_t request) {
  if (!begins(text, retained_mark, incarnation, request) || check_topic(text) != TopicFault::none)
    return std::nullopt;
  return text;
}

}  // namespace backplane::broker
