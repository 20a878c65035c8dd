#include "gateway/operations/pages.hpp"

#include "core/metrics/exposition.hpp"

namespace backplane::gateway {

std::string metrics_page(const GatewayConfig& config, const FiguresBoard& board) {
  std::string page = config.process_pages.metrics ? config.process_pages.metrics() : std::string();
  page += metrics::expose(families(board.latest()));
  return page;
}

std::string why_not_ready(const GatewayConfig& config, const FiguresBoard& board) {
  if (config.process_pages.why_not_ready) {
    if (std::string reason = config.process_pages.why_not_ready(); !reason.empty()) return reason;
  }
  return not_ready_reason(board.latest());
}

}  // namespace backplane::gateway
