#pragma once
// Protobuf messages from JSON.

#include <memory>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace google::protobuf {
class Message;
}

namespace backplane::cli {

/// Makes messages of the types that the program was built with (backplane/events/v1 and Google's well-known
/// types) and of types that are added. Belongs to one thread; must outlive the messages.
class JsonMessages {
 public:
  JsonMessages();
  ~JsonMessages();
  JsonMessages(const JsonMessages&) = delete;
  JsonMessages& operator=(const JsonMessages&) = delete;

  /// The full name of a known type: `name` itself or backplane.events.v1.<name>; empty if neither is known.
  [[nodiscard]] std::string find(std::string_view name) const;

  /// Adds the files of a serialised FileDescriptorSet. @returns an error if they are invalid.
  Result<void> add_types(std::string_view file_descriptor_set);

  /// Makes the message that `json` describes, with proto field names or JSON names.
  /// @param type  a full name that find() returned
  /// @returns an error if the JSON does not fit the type.
  Result<std::unique_ptr<google::protobuf::Message>> make(const std::string& type, std::string_view json);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
