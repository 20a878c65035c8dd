#include "cli/input/payload_flags.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

using testing::HasSubstr;

TEST(Payload, ExactlyOneOfTextFileStdinAndClearIsAllowed) {
  EXPECT_EQ(read_payload({.text = "x"}, 100).value(), "x");
  EXPECT_EQ(read_payload({.text = ""}, 100).value(), "");
  EXPECT_EQ(read_payload({.clear = true}, 100).value(), std::nullopt);
  EXPECT_EQ(read_payload({}, 100).error().text,
            "expected one of TEXT, --file, --stdin and --clear, got none");
  EXPECT_EQ(read_payload({.text = "x", .file = "f"}, 100).error().text,
            "expected one of TEXT, --file, --stdin and --clear, got several");
  EXPECT_EQ(read_payload({.json_type = "Quote", .clear = true}, 100).error().text,
            "--json: cannot be combined with --clear");
}

TEST(Payload, AnErrorNamesTheFileThatCannotBeRead) {
  EXPECT_EQ(read_payload({.file = "/nowhere"}, 100).error().text,
            "--file /nowhere: No such file or directory");
  EXPECT_THAT(read_payload({.file = "/"}, 100).error().text, HasSubstr("--file /: "));
}

TEST(Payload, AnEndlessInputIsReadUpToTheLimit) {
  EXPECT_EQ(read_payload({.file = "/dev/zero"}, 1000).error().text,
            "--file /dev/zero: expected at most 1000 bytes, got more");
}

}  // namespace
}  // namespace backplane::cli
