#pragma once
// The formats in which `sub`, `get` and `replay` print events.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cli/connection/gateway_item.hpp"
#include "core/wire/stamp.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::cli {

/// One of the gateway's formats, or the payload alone.
struct OutputFormat {
  gateway::Format format{gateway::Format::text};
  bool value_only{};  ///< text without the topic

  [[nodiscard]] bool binary() const noexcept { return format == gateway::Format::proto; }
};
/// @param name  value, text, text+offset, json or proto
/// @returns nothing for any other name.
[[nodiscard]] std::optional<OutputFormat> parse_output_format(std::string_view name) noexcept;

/// Formats events, and the gaps and resets between them. Belongs to one thread.
class EventWriter {
 public:
  explicit EventWriter(OutputFormat format) : format_(format) {}

  /// Appends an event. @returns false, with `out` unchanged, if the bytes are not an event that a broker
  /// admits.
  /// @param late it is behind an event with a higher position of its stream: shown in json and proto
  [[nodiscard]] bool event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                           std::string& out, bool late = false);
  /// Appends `!GAP …`, or its form in json or proto. `reason` is a reason code.
  void gap(std::string_view topic, std::uint64_t stream, std::uint64_t first, std::uint64_t last,
           std::string_view reason, std::string& out);
  /// Appends `!RESET topic`, or its form in json or proto. `stream` is the new stream.
  void reset(std::string_view topic, std::uint64_t stream, std::string& out);

  /// The types with which payloads are formatted.
  [[nodiscard]] PayloadJson& payloads() { return encoder_.payloads(); }

 private:
  OutputFormat format_;
  gateway::Encoder encoder_;
};

/// Appends an event, a gap or a reset that a gateway has sent. `bytes` is what `item` was parsed from.
void append_gateway_item(OutputFormat format, const GatewayItem& item, std::string_view bytes,
                         std::string& out);

}  // namespace backplane::cli
