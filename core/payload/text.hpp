#pragma once
// Escapes for text in lines and in JSON, and back.

#include <string>
#include <string_view>

namespace backplane {

/// Appends `text` in the text format: `\n`, `\r`, `\t`, `\\`, and `\xNN` for the other bytes below 0x20 and
/// for 0x7f. Everything else is unchanged.
void append_escaped(std::string_view text, std::string& out);

/// Reverses append_escaped(). An unknown escape is unchanged.
[[nodiscard]] std::string unescape(std::string_view text);

/// Appends `bytes` in base64 with padding (RFC 4648, section 4), on one line.
void append_base64(std::string_view bytes, std::string& out);

/// Appends `text` as a JSON string with its quotes. Each byte that is not UTF-8 becomes `\u00NN`, so that the
/// result is always JSON.
void append_json_string(std::string_view text, std::string& out);

}  // namespace backplane
