#pragma once
// Finds the patterns with wildcards that match a topic.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/topic/string_hash.hpp"
#include "core/topic/topic.hpp"

namespace backplane::gateway {

/// Patterns, each with a value, stored token by token: the cost of a match depends on the number of tokens in
/// the topic, not on the number of patterns. Belongs to one thread. `Value` is cheap to copy; Value{} means
/// none.
template <class Value>
class PatternTrie {
 public:
  /// Sets the value of a pattern.
  /// @param pattern a valid pattern (core/topic)
  void insert(std::string_view pattern, Value value) { *place(root_, pattern) = value; }

  void erase(std::string_view pattern) { erase_below(root_, pattern); }

  /// Calls `found` with the value of each pattern that matches `topic`, which is valid (core/topic).
  template <class Found>
  void match(std::string_view topic, Found&& found) const {
    match_below(root_, topic, /*wildcards=*/!is_system_topic(topic), found);
  }

  [[nodiscard]] bool empty() const noexcept { return root_.is_leaf(); }

 private:
  struct Node {
    std::unordered_map<std::string, std::unique_ptr<Node>, StringHash, std::equal_to<>>
        children;  // `*` is one of them
    Value here{};  // of the pattern that ends at this node
    Value rest{};  // of the pattern that ends with `>` below this node

    [[nodiscard]] bool is_leaf() const noexcept {
      return children.empty() && here == Value{} && rest == Value{};
    }
  };

  /// Removes the first token from `rest`.
  static std::string_view take_token(std::string_view& rest) {
    const std::size_t dot = rest.find('.');
    const std::string_view token = rest.substr(0, dot);
    rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(dot + 1);
    return token;
  }

  // The recursion is bounded: a pattern has at most 128 tokens.
  static Value* place(Node& node, std::string_view rest) {
    if (rest.empty()) return &node.here;
    const std::string_view token = take_token(rest);
    if (token == ">") return &node.rest;
    auto child = node.children.find(token);
    if (child == node.children.end()) child = node.children.emplace(token, std::make_unique<Node>()).first;
    return place(*child->second, rest);
  }

  static void erase_below(Node& node, std::string_view rest) {
    if (rest.empty()) {
      node.here = Value{};
      return;
    }
    const std::string_view token = take_token(rest);
    if (token == ">") {
      node.rest = Value{};
      return;
    }
    const auto child = node.children.find(token);
    if (child == node.children.end()) return;
    erase_below(*child->second, rest);
    if (child->second->is_leaf()) node.children.erase(child);
  }

  template <class Found>
  static void match_below(const Node& node, std::string_view rest, bool wildcards, Found& found) {
    if (rest.empty()) {
      if (!(node.here == Value{})) found(node.here);
      return;
    }
    if (wildcards && !(node.rest == Value{})) found(node.rest);
    const std::string_view token = take_token(rest);
    if (const auto child = node.children.find(token); child != node.children.end()) {
      match_below(*child->second, rest, true, found);
    }
    if (!wildcards) return;
    if (const auto star = node.children.find("*"); star != node.children.end()) {
      match_below(*star->second, rest, true, found);
    }
  }

  Node root_;
};

}  // namespace backplane::gateway
