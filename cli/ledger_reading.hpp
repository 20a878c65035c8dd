#pragma once
// Reading the ledgers that `audit` and `doctor` check.

#include <vector>

#include "cli/connection/broker_requests.hpp"
#include "cli/console/audit_report.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// The ledgers of one broker and of its gateways and publishers. If they do not balance, it reads them again:
/// what gateways and publishers report is up to a second old. A real error is still there in the next
/// reading. Blocks for some seconds at most, or until the waiter is stopped.
Result<std::vector<Ledger>> read_ledgers(BrokerRequests& requests, Waiter& waiter);

}  // namespace backplane::cli
