#pragma once
// One list of topics from the lists of several brokers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error/error.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::follower {

/// Merges one page of topics of each broker into one page, in order of names. Of a topic that several brokers
/// have, the one whose last event was received last remains. Nothing is kept between pages: the cursor holds
/// the brokers' own cursors and the last name. A value of its owner's thread.
class TopicsMerge {
 public:
  using Handler = std::function<void(Result<TopicsPage>)>;

  /// `cursor` is "", or the cursor of the page before. `handler` is called once.
  TopicsMerge(std::string_view cursor, std::size_t brokers, Handler handler)
      : parts_(brokers), handler_(std::move(handler)) {
    if (!cursor.empty()) is_valid_ = read(cursor);
  }

  /// Whether broker `i` has topics that have not been reported.
  [[nodiscard]] bool wants(std::size_t i) const { return !parts_[i].done; }
  [[nodiscard]] const std::string& cursor(std::size_t i) const { return parts_[i].cursor; }

  /// These brokers will reply.
  void expect(const std::vector<std::size_t>& brokers) {
    open_ = brokers.size();
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (std::find(brokers.begin(), brokers.end(), i) == brokers.end()) parts_[i].done = true;
    }
  }

  void add(std::size_t i, Result<TopicsPage> page) {
    if (page) {
      parts_[i].page = std::move(*page);
    } else {
      error_ = page.error();
      parts_[i].done = true;
    }
    if (--open_ == 0) finish();
  }

 private:
  struct Part {
    std::string cursor;
    bool done{};
    std::optional<TopicsPage> page;
  };

  void finish() {
    if (!is_valid_) {
      return handler_(fail(ErrorCode::invalid_argument, "topics: expected a cursor of an earlier page"));
    }
    const bool any = std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.page; });
    if (!any) return handler_(tl::unexpected(error_.value_or(Error{ErrorCode::unavailable, "no broker"})));
    // A name above the end of a page that is not a broker's last one may be on that broker's next page.
    std::optional<std::string> bound;
    for (const Part& part : parts_) {
      if (!part.page || part.page->cursor.empty() || part.page->topics.empty()) continue;
      const std::string& last = part.page->topics.back().name;
      if (!bound || last < *bound) bound = last;
    }
    TopicsPage result;
    std::map<std::string, TopicInfo> merged;
    for (Part& part : parts_) {
      if (!part.page) continue;
      result.stream = part.page->stream;
      result.position = std::max(result.position, part.page->position);
      bool whole = true;
      for (const TopicInfo& topic : part.page->topics) {
        if (bound && topic.name > *bound) {
          whole = false;
          break;
        }
        if (topic.name <= last_ && !last_.empty()) continue;
        const auto [found, is_new] = merged.try_emplace(topic.name, topic);
        if (!is_new && found->second.received_ns < topic.received_ns) found->second = topic;
      }
      if (!whole) continue;  // the rest of this page is requested again
      part.cursor = part.page->cursor;
      part.done = part.cursor.empty();
    }
    for (auto& [name, topic] : merged) result.topics.push_back(std::move(topic));
    if (bound) last_ = *bound;
    result.cursor = write();
    handler_(std::move(result));
  }

  static void append(std::string& out, std::string_view text) {
    const auto size = static_cast<std::uint32_t>(text.size());
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift & 0xff));
    out += text;
  }
  static std::optional<std::string_view> take(std::string_view& from) {
    if (from.size() < 4) return std::nullopt;
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size |= std::size_t{static_cast<unsigned char>(from[i])} << (8 * i);
    from.remove_prefix(4);
    if (from.size() < size) return std::nullopt;
    const std::string_view text = from.substr(0, size);
    from.remove_prefix(size);
    return text;
  }

  /// "" if every broker's list has been reported.
  [[nodiscard]] std::string write() const {
    std::string out;
    bool all_done = true;
    for (const Part& part : parts_) {
      out.push_back(part.done ? '1' : '0');
      append(out, part.cursor);
      all_done = all_done && part.done;
    }
    append(out, last_);
    return all_done ? std::string{} : out;
  }
  bool read(std::string_view cursor) {
    for (Part& part : parts_) {
      if (cursor.empty()) return false;
      part.done = cursor.front() == '1';
      cursor.remove_prefix(1);
      const auto text = take(cursor);
      if (!text) return false;
      part.cursor = *text;
    }
    const auto last = take(cursor);
    if (!last || !cursor.empty()) return false;
    last_ = *last;
    return true;
  }

  std::vector<Part> parts_;
  Handler handler_;
  std::string last_;
  bool is_valid_{true};
  std::size_t open_{};
  std::optional<Error> error_;
};

}  // namespace backplane::follower
