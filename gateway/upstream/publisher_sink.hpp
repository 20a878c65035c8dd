#pragma once
// The publisher's sender, for many.

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

#include "backplane/publisher.hpp"
#include "fanout/descriptor.hpp"
#include "gateway/config.hpp"
#include "gateway/upstream/publish_desk.hpp"

namespace backplane::gateway {

/// A Publisher, and how its thread wakes the hub's: on_change makes an eventfd readable there, and no more.
class PublisherSink final : public EventSink {
 public:
  PublisherSink(const GatewayConfig& config, const BackplaneConfig& backplane, const std::string& name)
      : wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), publisher_(options(config, backplane, name)) {}

  Offer offer(std::string_view topic, std::string_view text) override {
    return publisher_.offer_text(topic, text);
  }
  PublisherStatus status() override { return publisher_.status(); }
  void request_confirmation() override { publisher_.request_confirmation(); }

  /// Readable when the status has changed, until rearm().
  [[nodiscard]] int fd() const noexcept { return wake_.get(); }
  void rearm() noexcept {
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);  // nothing there is as good
  }
  void close(std::chrono::milliseconds limit) { (void)publisher_.close(limit); }

 private:
  Publisher::Options options(const GatewayConfig& config, const BackplaneConfig& backplane,
                             const std::string& name) {
    if (!wake_) throw std::system_error(errno, std::system_category(), "eventfd");
    Publisher::Options options;
    options.brokers.clear();
    for (const BrokerEndpoints& broker : backplane.endpoints()) {
      options.brokers.push_back({broker.ingress, broker.control});
    }
    options.source = name;
    options.max_event_bytes = config.max_event_bytes;
    options.on_change = [fd = wake_.get()](const PublisherStatus&) {
      const std::uint64_t one = 1;
      (void)!::write(fd, &one, sizeof one);  // refused only where it is readable by far
    };
    return options;
  }

  fanout::Descriptor wake_;
  Publisher publisher_;
};

}  // namespace backplane::gateway
