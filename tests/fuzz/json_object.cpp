// Any bytes as a JSON object, as a source reads it from a record.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/json/object.hpp"
#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  (void)json::is_number(input);
  const auto object = json::parse_object(input);
  if (!object) {
    fuzz::expect(!object.error().text.empty() && object.error().text.find('\n') == std::string::npos,
                 "an error is one line");
    return 0;
  }
  const std::string text = json::to_text(*object);
  fuzz::expect(wire::is_utf8(text), "JSON is UTF-8");
  const auto again = json::parse_object(text);
  fuzz::expect(again && again->values().size() == object->values().size(), "what was read can be written");
  for (std::size_t i = 0; i < object->values().size(); ++i) {
    const auto& [name, value] = object->values()[i];
    const auto& [same_name, same_value] = again->values()[i];
    fuzz::expect(name == same_name && value.kind == same_value.kind, "names and kinds stay the same");
    fuzz::expect(value.kind != json::Value::Kind::text || value.text == same_value.text,
                 "texts stay the same");
  }
  return 0;
}
