#include "backplane/publisher.hpp"

#include <limits>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include "core/credentials/broker_keys.hpp"
#include "core/process/host.hpp"
#include "core/thread/mutex.hpp"
#include "core/time/duration.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/event_encoder.hpp"
#include "publishers/lib/outbox.hpp"
#include "publishers/lib/sender.hpp"
#include "publishers/lib/type_definitions.hpp"

namespace backplane {
namespace {

using publishing::Outbox;
using publishing::Sender;
using publishing::TypeDefinitions;

Publisher::Options checked(Publisher::Options options) {
  if (options.brokers.empty()) throw std::invalid_argument("brokers: expected at least one, got none");
  for (const PublisherEndpoints& broker : options.brokers) {
    for (const auto& [name, endpoint] : {std::pair{"ingress", broker.ingress}, {"control", broker.control}}) {
      if (auto usable = mq::check_endpoint(endpoint, name); !usable) {
        throw std::invalid_argument(usable.error().text);
      }
    }
  }
  // The broker announces the source on $SYS.source.<name>, which must be a topic.
  const TopicFault fault = check_topic(options.source);
  constexpr std::size_t source_bytes_max = topic_bytes_max - std::string_view("$SYS.source.").size();
  if (fault != TopicFault::none) {
    throw std::invalid_argument("source: " + describe(fault, options.source));
  }
  if (options.source.size() > source_bytes_max) {
    throw std::invalid_argument(
        fmt::format("source: expected at most {} bytes, got {}", source_bytes_max, options.source.size()));
  }
  constexpr std::size_t event_bytes_limit = std::numeric_limits<std::int32_t>::max();  // protobuf's own
  if (options.max_event_bytes > event_bytes_limit) {
    throw std::invalid_argument(fmt::format("max_event_bytes: expected at most {}, got {}", event_bytes_limit,
                                            options.max_event_bytes));
  }
  return options;
}

bool usable_attributes(const EventOptions& event) {
  for (const auto& [key, value] : event.attributes) {
    if (key.empty() || !wire::is_utf8(key) || !wire::is_utf8(value)) return false;
  }
  return true;
}

}  // namespace

/// Callable from any thread. Owns the thread that runs the Sender.
class Publisher::Impl {
 public:
  /// `context`: that of a broker in this process; nullptr: there is none.
  Impl(Options options, std::shared_ptr<mq::Context> context)
      : options_(checked(std::move(options))),
        session_(options_.resume ? options_.resume->session : random_id()),
        head_(publishing::encode_head(options_.source, session_)),
        keys_(context ? nullptr : keys_of(options_.credentials)),
        context_(context ? std::move(context) : std::make_shared<mq::Context>()),
        outbox_(head_, session_, options_),
        sender_(*context_, options_, keys_, session_, outbox_, types_),
        thread_([this] { sender_.run(); }) {}

  ~Impl() { close(std::chrono::milliseconds{0}); }

  /// `append_payload(tail)` writes the payload's field, of about `payload_bytes`.
  template <class AppendPayload>
  Offer offer(std::string_view topic, std::size_t payload_bytes, const EventOptions& event,
              AppendPayload append_payload) {
    if (check_topic(topic) != TopicFault::none || is_system_topic(topic)) return Offer::bad_topic;
    if (payload_bytes > options_.max_event_bytes) return Offer::too_large;
    if (!usable_attributes(event)) {
      throw std::invalid_argument("attributes: expected non-empty keys, and keys and values in UTF-8");
    }
    // One buffer per thread, so that encoding neither allocates nor needs the lock.
    thread_local std::string tail;
    tail.clear();
    publishing::append_time(tail, event.time_ns ? *event.time_ns : unix_now_ns());
    append_payload(tail);
    publishing::append_attributes(tail, event.attributes);
    return outbox_.append(topic, tail);
  }

  bool close(std::chrono::milliseconds timeout) {
    const MutexLock lock(close_mutex_);
    if (!thread_.joinable()) return flushed_;
    outbox_.refuse_offers();
    flushed_ = outbox_.flush(timeout);
    outbox_.request_stop();
    thread_.join();
    return flushed_;
  }

  Outbox& outbox() noexcept { return outbox_; }
  TypeDefinitions& types() noexcept { return types_; }

 private:
  const Options options_;
  const std::uint64_t session_;
  const std::string head_;
  const mq::SharedKeys keys_;
  const std::shared_ptr<mq::Context> context_;
  Outbox outbox_;
  TypeDefinitions types_;
  Sender sender_;
  Mutex close_mutex_;
  bool flushed_ GUARDED_BY(close_mutex_){};
  std::thread thread_ GUARDED_BY(close_mutex_);
};

Publisher::Publisher(Options options) : impl_(std::make_unique<Impl>(std::move(options), nullptr)) {}

Publisher::Publisher(Options options, std::shared_ptr<mq::Context> context)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(context))) {}

Publisher::~Publisher() = default;

Offer Publisher::offer(std::string_view topic, const google::protobuf::Message& message,
                       const EventOptions& event) {
  impl_->types().add(*message.GetDescriptor());
  const std::size_t bytes = message.ByteSizeLong();
  return impl_->offer(topic, bytes, event,
                      [&](std::string& tail) { publishing::append_message(tail, message, bytes); });
}

Offer Publisher::offer_serialized(std::string_view topic, std::string_view type, std::string_view bytes,
                                  const EventOptions& event) {
  return impl_->offer(topic, bytes.size(), event,
                      [&](std::string& tail) { publishing::append_serialized(tail, type, bytes); });
}

Offer Publisher::offer_text(std::string_view topic, std::string_view text, const EventOptions& event) {
  if (!wire::is_utf8(text)) return offer_bytes(topic, text, event);
  return impl_->offer(topic, text.size(), event,
                      [&](std::string& tail) { publishing::append_text(tail, text); });
}

Offer Publisher::offer_bytes(std::string_view topic, std::string_view bytes, const EventOptions& event) {
  return impl_->offer(topic, bytes.size(), event,
                      [&](std::string& tail) { publishing::append_binary(tail, bytes); });
}

Offer Publisher::offer_clear(std::string_view topic, const EventOptions& event) {
  return impl_->offer(topic, 0, event, [](std::string&) {});
}

bool Publisher::wait_ready(std::chrono::milliseconds timeout) {
  return impl_->outbox().wait_ready(timeout);
}

bool Publisher::flush(std::chrono::milliseconds timeout) {
  return impl_->outbox().flush(timeout);
}

void Publisher::request_confirmation() {
  impl_->outbox().request_confirmation();
}

PublisherStatus Publisher::status() const {
  return impl_->outbox().status();
}

void Publisher::set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters) {
  impl_->outbox().set_counters(std::move(counters));
}

bool Publisher::close(std::chrono::milliseconds timeout) {
  return impl_->close(timeout);
}

}  // namespace backplane
