#pragma once
// Checks a .proto file before protobuf validates it: the cost of the validation is not bounded by itself.

#include <cstddef>
#include <string>

namespace google::protobuf {
class FileDescriptorProto;
}

namespace backplane {

/// The result for one file.
struct TypeSurvey {
  std::size_t names_bytes{};  ///< total length of the full names of everything that it defines
  std::string fault;          ///< why it cannot be validated; empty: it can
};

/// Surveys a file in linear time. Accepts any file that was parsed.
[[nodiscard]] TypeSurvey survey(const google::protobuf::FileDescriptorProto& file);

/// Removes what differs between compilers for the same .proto file: comments, their locations, JSON names
/// that are the default, and the options of the file, which are for code generators (go_package,
/// java_package).
void normalise(google::protobuf::FileDescriptorProto& file);

}  // namespace backplane
