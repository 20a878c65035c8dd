#include "follower/order/delivery.hpp"

namespace backplane {

std::string_view name(GapReason reason) noexcept {
  switch (reason) {
    case GapReason::history_gone:
      return "history_gone";
    case GapReason::recovery_timeout:
      return "recovery_timeout";
    case GapReason::damaged:
      return "damaged";
    case GapReason::lost_upstream:
      return "lost_upstream";
  }
  return "unknown";
}

}  // namespace backplane
