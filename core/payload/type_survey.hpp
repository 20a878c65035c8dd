#pragma once
// Looks through a .proto file before it is given to protobuf's validation, whose cost has no bound of its
// own.

#include <cstddef>
#include <string>

namespace google::protobuf {
class FileDescriptorProto;
}

namespace backplane {

/// What a file is found to be.
struct TypeSurvey {
  std::size_t names_bytes{};  ///< the full names of all that it defines, added up
  std::string fault;          ///< why it cannot be validated at all; empty: it can
};

/// In time linear in the file's size. Any file that could be parsed may be given.
[[nodiscard]] TypeSurvey survey(const google::protobuf::FileDescriptorProto& file);

/// Takes out what differs between compilers for the same .proto file: comments and their places, and JSON
/// names that are what the field's name makes them anyway.
void normalise(google::protobuf::FileDescriptorProto& file);

}  // namespace backplane
