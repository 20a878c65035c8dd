#pragma once
// Bytes that no line may hold, as characters that any line may hold, and back.

#include <string>
#include <string_view>

namespace backplane {

/// Appends `text` as the text format has it: `\n`, `\r`, `\t`, `\\`, and `\xNN` for the other bytes
/// below 0x20 and for 0x7f. All else stands as it is.
void append_escaped(std::string_view text, std::string& out);

/// Undoes append_escaped; an escape that it does not know stands as it is.
[[nodiscard]] std::string unescape(std::string_view text);

/// Appends `bytes` in base64 with padding (RFC 4648, section 4), on one line.
void append_base64(std::string_view bytes, std::string& out);

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 come out as one
/// `\u00NN` each, so that the result is JSON whatever is given.
void append_json_string(std::string_view text, std::string& out);

}  // namespace backplane
