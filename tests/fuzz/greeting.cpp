// Any bytes as the greeting of a ZeroMQ server.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/zmq/mechanism.hpp"
#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  constexpr std::size_t greeting_bytes = 64;
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const mq::Mechanism mechanism = mq::mechanism_in(input);
  if (mechanism == mq::Mechanism::unknown) return 0;
  fuzz::expect(size >= greeting_bytes, "a greeting is complete");
  const std::string_view name = mechanism == mq::Mechanism::curve ? "CURVE" : "NULL";
  fuzz::expect(input.substr(12, name.size()) == name && input[12 + name.size()] == '\0',
               "a mechanism is known by its whole name");
  return 0;
}
