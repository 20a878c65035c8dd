#include "cli/connection/broker_requests.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cli/connection/endpoint_diagnosis.hpp"
#include "follower/control/control_requests.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

/// After this time, the next broker is tried.
constexpr Waiter::Clock::duration connect_patience = 1s;
/// The limit of BrokerControl, which counts from the sending of a request. Those of our callers are shorter.
constexpr std::chrono::milliseconds reply_limit = 1min;

}  // namespace

BrokerRequests::BrokerRequests(mq::Context& context, std::vector<BrokerEndpoints> brokers, Waiter& waiter)
    : context_(context), brokers_(std::move(brokers)), waiter_(waiter) {
  connect();
}

void BrokerRequests::connect() {
  BrokerControl::Options options;
  options.control = brokers_[at_].control;
  options.keys = brokers_[at_].keys;
  options.reply_timeout = reply_limit;
  control_ = std::make_unique<BrokerControl>(context_, options);
}

void BrokerRequests::turn(Clock::time_point until) {
  if (control_->do_work(Clock::now()) > 0 || control_->pending()) {
    // Look for signals, however much work there is.
    (void)waiter_.wait({}, Clock::time_point::min());
    return;
  }
  (void)waiter_.wait(control_->fds(), std::min(until, control_->next_deadline()));
}

Error BrokerRequests::no_reply(bool connected, std::chrono::milliseconds waited) {
  if (connected && !waiter_.stopped()) {
    return {ErrorCode::timeout,
            fmt::format("the broker at {} did not reply within {}", broker().control, waited_text(waited))};
  }
  return no_broker(endpoints(), waited, waiter_);
}

std::vector<std::string> BrokerRequests::endpoints() const {
  std::vector<std::string> all;
  for (const BrokerEndpoints& each : brokers_) all.push_back(each.control);
  return all;
}

/// @param send  `send(requests, handler)` sends the request; called again for each broker that is tried
template <class T, class Send>
Result<T> BrokerRequests::request(Send send, Clock::time_point until) {
  const auto begun = Clock::now();
  const auto reply = std::make_shared<std::optional<Result<T>>>();
  const auto send_it = [&] {
    send(control_->requests(), [reply](Result<T> result) { reply->emplace(std::move(result)); });
  };
  send_it();
  auto patience_end = begun + connect_patience;
  auto refusal_check = begun + refusal_patience;
  bool diagnosed = false;
  std::string key_problem;
  std::size_t tried = 1;
  while (!reply->has_value() && !waiter_.stopped() && Clock::now() < until) {
    if (std::string problem = control_->key_problem(); !problem.empty()) {
      key_problem = std::move(problem);
      patience_end = Clock::time_point::min();
    }
    if (!key_problem.empty() && tried >= brokers_.size() && !control_->connected() &&
        Clock::now() >= patience_end) {
      connect();  // without the request, which must not be sent when the problem has been solved
      return fail(ErrorCode::unavailable, std::move(key_problem));
    }
    if (!control_->connected() && Clock::now() >= refusal_check) {
      refusal_check = Clock::time_point::max();
      if (auto nobody = nothing_listens(endpoints(), waiter_)) return tl::unexpected(std::move(*nobody));
    }
    const bool may_fail_over = brokers_.size() > 1 && !control_->connected();
    if (may_fail_over && Clock::now() >= patience_end) {
      at_ = (at_ + 1) % brokers_.size();
      ++tried;
      connect();
      send_it();
      patience_end = Clock::now() + connect_patience;
    }
    // A single broker may still start, unless something else listens there.
    if (!may_fail_over && !diagnosed && !control_->connected() && Clock::now() >= patience_end) {
      diagnosed = true;
      if (diagnose(broker().control, waiter_).found == Diagnosis::Found::other_protocol) break;
    }
    const bool impatient = may_fail_over || (!diagnosed && !control_->connected());
    const auto next_check = control_->connected() ? Clock::time_point::max() : refusal_check;
    turn(std::min(impatient ? std::min(until, patience_end) : until, next_check));
  }
  if (!reply->has_value()) {
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - begun);
    return tl::unexpected(no_reply(control_->connected(), waited));
  }
  Result<T> result = std::move(**reply);
  if (!result) {
    Error error = std::move(result.error());
    error.text = fmt::format("{}: {}", broker().control, error.text);
    return tl::unexpected(std::move(error));
  }
  return result;
}

Result<BrokerIdentity> BrokerRequests::identify(std::string_view name, std::chrono::milliseconds limit) {
  return request<BrokerIdentity>(
      [&](follower::ControlRequests& requests, auto handler) { requests.identify(name, handler); },
      Clock::now() + limit);
}

Result<BrokerStats> BrokerRequests::stats(std::chrono::milliseconds limit) {
  return request<BrokerStats>(
      [](follower::ControlRequests& requests, auto handler) { requests.stats(handler); },
      Clock::now() + limit);
}

Result<BrokerRequests::Topics> BrokerRequests::topics(std::string_view pattern, std::size_t topics_max,
                                                      std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  Topics found;
  std::string cursor;
  do {
    auto page = request<TopicsPage>(
        [&](follower::ControlRequests& requests, auto handler) { requests.topics(pattern, cursor, handler); },
        until);
    if (!page) return tl::unexpected(page.error());
    if (cursor.empty()) found.first_position = page->position;
    found.last_position = page->position;
    if (!page->cursor.empty() && page->cursor == cursor) {
      return fail(ErrorCode::protocol,
                  fmt::format("{}: the broker sent the same page of topics twice", broker().control));
    }
    cursor = std::move(page->cursor);
    for (TopicInfo& topic : page->topics) {
      if (found.topics.size() == topics_max) return found;
      found.topics.push_back(std::move(topic));
    }
  } while (!cursor.empty());
  found.all = true;
  return found;
}

Result<TypesReply> BrokerRequests::types(const std::vector<std::string>& names,
                                         std::chrono::milliseconds limit) {
  return request<TypesReply>(
      [&](follower::ControlRequests& requests, auto handler) { requests.types(names, handler); },
      Clock::now() + limit);
}

Result<bool> BrokerRequests::drain(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  auto sent = request<void>(
      [](follower::ControlRequests& requests, auto handler) { requests.drain(handler); }, until);
  if (!sent) return tl::unexpected(sent.error());
  while (control_->connected() && !waiter_.stopped() && Clock::now() < until) turn(until);
  return !control_->connected();
}

}  // namespace backplane::cli
