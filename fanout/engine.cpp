#include "fanout/engine.hpp"

#include <algorithm>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::fanout {

Engine::Engine(const EngineOptions& options) : log_(options.log, std::max<std::size_t>(options.workers, 1)) {
  slots_.resize(std::max<std::size_t>(options.workers, 1));
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].worker = std::make_unique<Worker>(options.worker, log_, closed_clients_, i);
  }
  for (WorkerSlot& slot : slots_) slot.worker->start();
}

Engine::~Engine() = default;

void Engine::command(WorkerSlot& slot, std::function<void(Shard&)> run) {
  slot.commands.push_back({log_.appended(), std::move(run)});
  ++slot.commanded;
}

void Engine::command_all(const std::function<void(Shard&)>& run) {
  for (WorkerSlot& slot : slots_) command(slot, run);
}

ClientId Engine::adopt(Descriptor socket, MakeHandler make) {
  const ClientId id{++last_client_};
  WorkerSlot& slot = slot_of(id);
  // A command must be copyable, and a descriptor is not.
  auto shared = std::make_shared<Descriptor>(std::move(socket));
  command(slot, [worker = slot.worker.get(), id, shared, make = std::move(make)](Shard&) {
    worker->add(id, std::move(*shared), make);
  });
  return id;
}

void Engine::set_tls_context(const std::shared_ptr<const TlsContext>& context) {
  for (WorkerSlot& slot : slots_) {
    command(slot, [worker = slot.worker.get(), context](Shard&) { worker->set_tls_context(context); });
  }
}

void Engine::post(ClientId client, std::function<void(Client&)> task) {
  command(slot_of(client), [client, task = std::move(task)](Shard& shard) {
    if (Client* const found = shard.find(client)) task(*found);
  });
}

void Engine::reply(ClientId client, std::string bytes) {
  post(client, [bytes = std::move(bytes)](Client& to) { to.reply(bytes); });
}

void Engine::say_goodbye(std::string_view reason) {
  command_all([reason = std::string(reason)](Shard& shard) { shard.say_goodbye(reason); });
}

void Engine::set_route(RouteId route, std::vector<AudienceId> audiences) {
  command_all([route, audiences = std::move(audiences)](Shard& shard) { shard.set_route(route, audiences); });
}

void Engine::set_interval(AudienceId audience, std::chrono::milliseconds interval) {
  command_all([=](Shard& shard) { shard.set_interval(audience, interval); });
}

void Engine::join(ClientId client, AudienceId audience) {
  command(slot_of(client), [=](Shard& shard) { shard.join(client, audience); });
}

void Engine::transfer_skips(ClientId client, AudienceId from, AudienceId to) {
  command(slot_of(client), [=](Shard& shard) { shard.transfer_skips(client, from, to); });
}

void Engine::leave(ClientId client, AudienceId audience) {
  command(slot_of(client), [=](Shard& shard) { shard.leave(client, audience); });
}

void Engine::join_buffered(ClientId client, AudienceId audience) {
  command(slot_of(client), [=](Shard& shard) { shard.join_buffered(client, audience); });
}

void Engine::release_join_buffer(ClientId client, AudienceId audience, SkipPtr skip) {
  command(slot_of(client), [client, audience, skip = std::move(skip)](Shard& shard) {
    shard.release_join_buffer(client, audience, skip);
  });
}

void Engine::advance_low_watermark(StreamId stream, std::uint64_t position) {
  command_all([=](Shard& shard) { shard.advance_low_watermark(stream, position); });
}

void Engine::publish() {
  // In this order: a worker that sees a message sees the commands that come before it.
  for (WorkerSlot& slot : slots_) {
    if (!slot.commands.empty()) slot.worker->shard().put_commands(slot.commands);
  }
  log_.publish();
  for (WorkerSlot& slot : slots_) slot.worker->wake();
}

bool Engine::is_congested() const noexcept {
  return std::any_of(slots_.begin(), slots_.end(), [](const WorkerSlot& slot) {
    return slot.commanded - std::as_const(*slot.worker).shard().counters().commands.get() >
           commands_waiting_max;
  });
}

EngineCounters Engine::counters() const {
  EngineCounters sum;
  for (const WorkerSlot& slot : slots_) {
    const ShardCounters& each = std::as_const(*slot.worker).shard().counters();
    const DeliveryLedger ledger = std::as_const(*slot.worker).shard().published_ledger();
    DeliveryLedger::each(sum, ledger, [](std::uint64_t& to, std::uint64_t from) { to += from; });
    sum.join_buffers_full += each.join_buffers_full.get();
    sum.replies_unread += each.replies_unread.get();
    sum.timed_out += each.timed_out.get();
    sum.sends += each.sends.get();
    sum.sent_bytes += each.sent_bytes.get();
    sum.commands += each.commands.get();
    sum.clients += each.clients.get();
    sum.unsent_clients += each.unsent_clients.get();
    slot.worker->add_counters(sum.tls);
  }
  return sum;
}

std::chrono::nanoseconds Engine::cpu_time() const {
  std::chrono::nanoseconds sum{};
  for (const WorkerSlot& slot : slots_) sum += slot.worker->cpu_time();
  return sum;
}

}  // namespace backplane::fanout
