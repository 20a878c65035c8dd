#pragma once
// The pages /metrics and /readyz of a gateway's process.

#include <string>

#include "gateway/config/config.hpp"
#include "gateway/operations/figures.hpp"

namespace backplane::gateway {

/// The body of /metrics: what `config.process_pages` adds, then the gateway's own metrics. Any thread.
[[nodiscard]] std::string metrics_page(const GatewayConfig& config, const FiguresBoard& board);

/// Why /readyz is 503, first for the rest of the process; empty: it is 200. Any thread.
[[nodiscard]] std::string why_not_ready(const GatewayConfig& config, const FiguresBoard& board);

}  // namespace backplane::gateway
