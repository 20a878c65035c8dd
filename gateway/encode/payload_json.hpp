#pragma once
// Typed payloads as JSON.

#include <memory>
#include <string>
#include <string_view>

namespace backplane::gateway {

/// Writes the message in an Any as JSON on one line: proto field names, defaults printed. Types are
/// those that the program was built with, the events of backplane/events/v1 and of the $SYS. topics among
/// them. Belongs to one thread; owns one message object a type, which it reuses.
class PayloadJson {
 public:
  PayloadJson();
  ~PayloadJson();
  PayloadJson(const PayloadJson&) = delete;
  PayloadJson& operator=(const PayloadJson&) = delete;

  /// Appends the message; `{"@type":…,"value":base64}` where its type is not known, or where the bytes
  /// are not one of that type. Any bytes may be given.
  void append(std::string_view type_url, std::string_view value, std::string& out);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The type's full name: what follows the last slash of a type URL.
[[nodiscard]] std::string_view type_name(std::string_view type_url) noexcept;

/// Makes protobuf's own complaints (a string that is not UTF-8, once an event) debug lines of our log,
/// so that hostile payloads cannot flood standard error. For the whole process: once, at its start.
void route_protobuf_log();

}  // namespace backplane::gateway
