#include "broker/admission/zap_server.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace backplane::broker {
namespace {

constexpr const char* zap_endpoint = "inproc://zeromq.zap.01";

mq::SocketOptions zap_options() {
  mq::SocketOptions options;
  options.send_hwm = 0;
  options.receive_hwm = 0;
  return options;
}

}  // namespace

ZapServer::ZapServer(mq::Context& context, std::string backplane, std::vector<EndpointRule> rules,
                     std::shared_ptr<const policy::Policy> policy)
    : backplane_(std::move(backplane)),
      rules_(std::move(rules)),
      policy_(std::move(policy)),
      socket_(context, zmq::socket_type::rep, zap_options()) {
  if (auto bound = socket_.bind(zap_endpoint); !bound) throw std::runtime_error(bound.error().text);
  socket_.release();
  thread_ = std::thread([this] { run(); });
}

ZapServer::~ZapServer() {
  stopping_ = true;
  wake_.wake();
  thread_.join();
  socket_.release();
}

void ZapServer::set_policy(std::shared_ptr<const policy::Policy> policy) {
  const MutexLock lock(policy_mutex_);
  policy_ = std::move(policy);
}

ZapServer::Counts ZapServer::counts() const noexcept {
  return {.admitted = admitted_.load(std::memory_order_relaxed),
          .unknown_key = unknown_key_.load(std::memory_order_relaxed),
          .not_permitted = not_permitted_.load(std::memory_order_relaxed)};
}

void ZapServer::run() noexcept {
  try {
    while (!stopping_) {
      std::array<zmq_pollitem_t, 2> items{
          zmq_pollitem_t{.socket = socket_.raw().handle(), .fd = 0, .events = ZMQ_POLLIN, .revents = 0},
          zmq_pollitem_t{.socket = nullptr, .fd = wake_.fd(), .events = ZMQ_POLLIN, .revents = 0}};
      zmq_poll(items.data(), static_cast<int>(items.size()), -1);
      ZapRequest request;
      while (!stopping_ && receive(request)) serve(request);
    }
  } catch (const std::exception& problem) {
    log::error("{}: cannot admit connections any more: {}", backplane_, problem.what());
  }
}

/// Only libzmq sends requests. A REP replies once to each, so an unusable one is received, too.
bool ZapServer::receive(ZapRequest& request) {
  std::vector<std::string> frames;
  zmq::message_t frame;
  if (!socket_.receive(frame)) return false;
  frames.push_back(frame.to_string());
  while (frame.more() && socket_.receive(frame)) frames.push_back(frame.to_string());
  request = parse_zap_request(std::move(frames));
  return true;
}

void ZapServer::serve(const ZapRequest& request) {
  std::shared_ptr<const policy::Policy> policy;
  {
    const MutexLock lock(policy_mutex_);
    policy = policy_;
  }
  const ZapDecision decision = decide(request, rules_, *policy);
  note(request, decision);
  const auto frames = zap_reply(request, decision);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto more = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
    // A REP drops the reply if the connection has gone.
    static_cast<void>(socket_.send(frames[i], more | zmq::send_flags::dontwait));
  }
}

/// Counts the decision and logs it.
void ZapServer::note(const ZapRequest& request, const ZapDecision& decision) {
  switch (decision.kind) {
    case ZapDecision::Kind::admitted:
      admitted_.fetch_add(1, std::memory_order_relaxed);
      log::debug("{}: {}: admitted user {} from {}", backplane_, request.domain, decision.user,
                 request.address);
      return;
    case ZapDecision::Kind::unknown_key:
      unknown_key_.fetch_add(1, std::memory_order_relaxed);
      return log_refusal(request, decision.reason);
    case ZapDecision::Kind::not_permitted:
      not_permitted_.fetch_add(1, std::memory_order_relaxed);
      return log_refusal(request, decision.reason);
  }
}

void ZapServer::log_refusal(const ZapRequest& request, std::string_view reason) {
  if (!refusal_lines_.allow(log::RateLimit::Clock::now())) return;
  log::warning("{}: {}: refused a connection from {}: {}{}", backplane_, request.domain,
               request.address.empty() ? "an unknown address" : request.address, reason,
               refusal_lines_.suppressed() == 0
                   ? std::string()
                   : fmt::format(" ({} more refusals since the last line)", refusal_lines_.suppressed()));
}

}  // namespace backplane::broker
