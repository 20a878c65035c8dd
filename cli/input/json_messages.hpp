#pragma once
// Messages made of JSON, for whoever publishes from a shell.

#include <memory>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace google::protobuf {
class Message;
}

namespace backplane::cli {

/// Makes messages of the types that the program was built with (the events of backplane/events/v1, Google's
/// well-known ones) and of those that it is given. Belongs to one thread; outlives the messages.
class JsonMessages {
 public:
  JsonMessages();
  ~JsonMessages();
  JsonMessages(const JsonMessages&) = delete;
  JsonMessages& operator=(const JsonMessages&) = delete;

  /// The full name of a type that is known: `name` itself, or backplane.events.v1.<name>; else "".
  [[nodiscard]] std::string find(std::string_view name) const;

  /// Takes the files of a serialised FileDescriptorSet. @returns what is wrong with them, in one line.
  Result<void> add_types(std::string_view file_descriptor_set);

  /// The message of this type (a full name that find() gave) which `json` describes, with proto field names
  /// or JSON's. The error says what is wrong with the JSON.
  Result<std::unique_ptr<google::protobuf::Message>> make(const std::string& type, std::string_view json);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
