#pragma once
// Publishes clients' events to the broker.

#include <chrono>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "core/process/wake_fd.hpp"
#include "gateway/config/config.hpp"
#include "gateway/upstream/publish_queue.hpp"

namespace backplane::gateway {

/// A Publisher whose thread wakes the upstream thread: on_change makes an eventfd readable, and does nothing
/// else.
class BrokerPublisher final : public EventPublisher {
 public:
  BrokerPublisher(const GatewayConfig& config, const BackplaneConfig& backplane, const std::string& name)
      : publisher_(options(config, backplane, name), backplane.local ? backplane.local->context : nullptr) {}

  Offer offer(std::string_view topic, std::string_view text) override {
    return publisher_.offer_text(topic, text);
  }
  Offer offer_with_parts(std::string_view topic, std::string_view text, const EventParts& parts) override {
    EventOptions options;
    options.attributes = parts.attributes;
    switch (parts.payload) {
      case EventParts::Payload::text:
        return publisher_.offer_text(topic, text, options);
      case EventParts::Payload::bytes:
        return publisher_.offer_bytes(topic, text, options);
      case EventParts::Payload::none:
        break;
    }
    return publisher_.offer_clear(topic, options);
  }
  PublisherStatus status() override { return publisher_.status(); }
  void request_confirmation() override { publisher_.request_confirmation(); }

  /// Readable when the status has changed, until rearm().
  [[nodiscard]] int fd() const noexcept { return wake_.fd(); }
  void rearm() noexcept { wake_.drain(); }
  void close(std::chrono::milliseconds limit) { (void)publisher_.close(limit); }

 private:
  Publisher::Options options(const GatewayConfig& config, const BackplaneConfig& backplane,
                             const std::string& name) {
    Publisher::Options options;
    options.brokers.clear();
    for (const BrokerEndpoints& broker : backplane.endpoints()) {
      options.brokers.push_back({broker.ingress, broker.control});
    }
    options.credentials = config.credentials;
    options.source = name;
    options.max_event_bytes = config.max_event_bytes;
    options.on_change = [this](const PublisherStatus&) { wake_.wake(); };
    return options;
  }

  WakeFd wake_;
  Publisher publisher_;
};

}  // namespace backplane::gateway
