#pragma once
// The cost of a message, computed before it is parsed and printed.

#include <cstddef>
#include <functional>
#include <string_view>
#include <unordered_map>

namespace google::protobuf {
class Descriptor;
namespace io {
class CodedInputStream;
}
}  // namespace google::protobuf

namespace backplane {

/// Adds up what the objects in a serialised message take, in memory and as JSON with all defaults: the two
/// bytes of an empty field can stand for a message of ten thousand fields. Not thread-safe.
class MessageCost {
 public:
  using FindType = std::function<const google::protobuf::Descriptor*(std::string_view full_name)>;

  /// `find_type` returns the type of the content of an Any; the types live as long as this object.
  explicit MessageCost(FindType find_type) : find_type_(std::move(find_type)) {}

  /// Whether `bytes`, a message of `type`, take at most `most`. Reads each byte once, except those in an Any.
  /// Accepts any bytes; false also if they are not a message, or are nested too deeply for a parser.
  [[nodiscard]] bool within(const google::protobuf::Descriptor& type, std::string_view bytes,
                            std::size_t most);

 private:
  bool message(const google::protobuf::Descriptor& type, google::protobuf::io::CodedInputStream& input,
               int group, int depth);
  bool serialised(const google::protobuf::Descriptor& type, std::string_view bytes, int depth);
  bool any(google::protobuf::io::CodedInputStream& input, int depth);
  bool spend(const google::protobuf::Descriptor& type);

  FindType find_type_;
  std::unordered_map<const google::protobuf::Descriptor*, std::size_t> weights_;
  std::size_t left_{};
};

}  // namespace backplane
