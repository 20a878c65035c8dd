#include "broker/admission/zap_server.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace backplane::broker {
namespace {

constexpr const char* zap_endpoint = "inproc://zeromq.zap.01";
constexpr std::string_view zap_version = "1.0";
constexpr std::string_view curve = "CURVE";

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
      Request request;
      while (!stopping_ && receive(request)) serve(request);
    }
  } catch (const std::exception& problem) {
    log::error("{}: cannot admit connections any more: {}", backplane_, problem.what());
  }
}

/// One request: version, id, domain, address, identity, mechanism, and for CURVE the public key. Only libzmq
/// sends them. A REP replies once to each, so an unusable one is received, too: as one without credentials.
bool ZapServer::receive(Request& request) {
  request = {};
  std::vector<std::string> frames;
  zmq::message_t frame;
  if (!socket_.receive(frame)) return false;
  frames.push_back(frame.to_string());
  while (frame.more() && socket_.receive(frame)) frames.push_back(frame.to_string());
  if (frames.size() > 1) request.id = frames[1];
  if (frames.size() != 7 || frames[0] != zap_version) return true;
  request.domain = std::move(frames[2]);
  request.address = std::move(frames[3]);
  request.mechanism = std::move(frames[5]);
  request.credentials = std::move(frames[6]);
  return true;
}

void ZapServer::serve(const Request& request) {
  const std::string user = user_of(request);
  const bool admitted = !user.empty();
  const std::array<std::string_view, 6> frames{
      zap_version, request.id, admitted ? "200" : "400", admitted ? "OK" : "refused", user, ""};
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto more = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
    // A REP drops the reply if the connection has gone.
    static_cast<void>(socket_.send(frames[i], more | zmq::send_flags::dontwait));
  }
}

/// The name of the user who may connect; empty: refused.
std::string ZapServer::user_of(const Request& request) {
  std::shared_ptr<const policy::Policy> policy;
  {
    const MutexLock lock(policy_mutex_);
    policy = policy_;
  }
  const auto rule = std::ranges::find(rules_, request.domain, &EndpointRule::domain);
  PublicKey key;
  const bool has_key = request.mechanism == curve && request.credentials.size() == key.bytes.size();
  if (has_key) std::memcpy(key.bytes.data(), request.credentials.data(), key.bytes.size());
  const policy::User* const user = has_key ? policy->user_of_key(key) : nullptr;
  if (user == nullptr || rule == rules_.end()) {
    unknown_key_.fetch_add(1, std::memory_order_relaxed);
    log_refusal(request, has_key ? fmt::format("no user has the key {}", to_text(key)) : "it has no key");
    return {};
  }
  if (const Pattern* const hidden = rule->first_hidden(*policy, *user)) {
    not_permitted_.fetch_add(1, std::memory_order_relaxed);
    log_refusal(request, fmt::format("user {} may not read all of \"{}\", which is published there",
                                     user->name, hidden->str()));
    return {};
  }
  admitted_.fetch_add(1, std::memory_order_relaxed);
  log::debug("{}: {}: admitted user {} from {}", backplane_, request.domain, user->name, request.address);
  return user->name;
}

void ZapServer::log_refusal(const Request& request, std::string_view reason) {
  if (!refusal_lines_.allow(log::RateLimit::Clock::now())) return;
  log::warning("{}: {}: refused a connection from {}: {}{}", backplane_, request.domain,
               request.address.empty() ? "an unknown address" : request.address, reason,
               refusal_lines_.suppressed() == 0
                   ? std::string()
                   : fmt::format(" ({} more refusals since the last line)", refusal_lines_.suppressed()));
}

}  // namespace backplane::broker
