#pragma once
// Events as `sub`, `get` and `replay` print them.

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

/// How events are printed: as the gateway does for its clients, or the payload alone.
struct OutputFormat {
  gateway::Format format{gateway::Format::text};
  bool value_only{};  ///< text without topic

  [[nodiscard]] bool binary() const noexcept { return format == gateway::Format::proto; }
};
/// value, text, text+offset, json or proto; nothing for any other name.
[[nodiscard]] std::optional<OutputFormat> parse_output_format(std::string_view name) noexcept;

/// Writes events and what is to be said between them. Belongs to one thread.
class EventWriter {
 public:
  explicit EventWriter(OutputFormat format) : format_(format) {}

  /// Appends an event. @returns false, `out` being as it was, where it is none that a broker lets through.
  [[nodiscard]] bool event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                           std::string& out);
  /// Appends `!GAP …`, or what stands for it. `reason` is a word of the ledger's.
  void gap(std::string_view topic, std::uint64_t stream, std::uint64_t first, std::uint64_t last,
           std::string_view reason, std::string& out);
  /// Appends `!RESET topic`, or what stands for it. `stream` is the new one.
  void reset(std::string_view topic, std::uint64_t stream, std::string& out);

  /// The types that it writes payloads with.
  [[nodiscard]] PayloadJson& payloads() { return encoder_.payloads(); }

 private:
  OutputFormat format_;
  gateway::Encoder encoder_;
};

/// Appends an event, a gap or a reset that a gateway has sent. `bytes` is what `item` was parsed from.
void append_gateway_item(OutputFormat format, const GatewayItem& item, std::string_view bytes,
                         std::string& out);

}  // namespace backplane::cli
