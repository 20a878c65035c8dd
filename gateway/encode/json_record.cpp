#include "gateway/encode/json_record.hpp"

#include "gateway/encode/websocket_frame.hpp"

namespace backplane::gateway {

std::size_t begin_json_record(Format format, std::string& out) {
  if (is_sse(format)) out.append("data: ");
  return out.size();
}

void end_json_record(Format format, std::size_t begin, std::string& out) {
  if (is_sse(format)) out.push_back('\n');
  if (format == Format::websocket) websocket::frame_lines(begin, out);
}

}  // namespace backplane::gateway
