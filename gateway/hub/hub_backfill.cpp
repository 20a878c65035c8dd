// Backfill of either kind: its state, and how it waits for a slow client.
#include <utility>

#include "gateway/encode/json_record.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

void Hub::mark_started(Subscription& subscription) {
  subscription.backfill->started = true;
  ++subscription.client->backfills_started;
}

void Hub::pause_until_drained(Subscription& subscription) {
  subscription.client->paused.push_back(&subscription);
}

void Hub::end_backfill(Subscription& subscription) {
  if (!subscription.backfill) return;
  const Backfill& backfill = *subscription.backfill;
  Client& client = *subscription.client;
  const bool started = backfill.started;
  if (backfill.kind == Backfill::Kind::replay) {
    if (backfill.request != 0) {
      replays_.erase(backfill.request);
      broker_->cancel(backfill.request);
    }
  } else if (started) {
    retained_.end_slices(*subscription.pattern->retained);
  } else if (const auto waiting = awaiting_values_.find(subscription.pattern->retained);
             waiting != awaiting_values_.end()) {
    std::erase(waiting->second, &subscription);
    if (waiting->second.empty()) awaiting_values_.erase(waiting);
  }
  if (started) {
    client.paused.remove(&subscription);
    --client.backfills_started;
  }
  const bool was_replay = backfill.kind == Backfill::Kind::replay;
  subscription.backfill.reset();
  if (was_replay && is_sse(client.format) && !client.leaving) request_waiting_replays(client);
  if (started && client.backfills_started == 0 && !client.deferred.empty() && !client.resuming)
    resume_deferred(client);
}

}  // namespace backplane::gateway
