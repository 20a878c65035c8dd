#include "tests/publishers/fake_ingress_broker.hpp"

#include <stdexcept>
#include <utility>

namespace backplane::testing {
namespace {

constexpr std::chrono::seconds wait_timeout{30};

mq::SocketOptions ingress_options(std::uint64_t event_bytes_max, const std::optional<mq::CurveServer>& keys) {
  mq::SocketOptions options;
  options.curve_server = keys;
  options.send_hwm = 0;
  options.max_message_bytes = static_cast<std::int64_t>(4 * event_bytes_max);
  return options;
}

mq::SocketOptions control_options(const std::optional<mq::CurveServer>& keys) {
  mq::SocketOptions options;
  options.curve_server = keys;
  return options;
}

}  // namespace

FakeIngressBroker::Sockets::Sockets(const PublisherEndpoints& where, std::uint64_t event_bytes_max,
                                    const std::optional<mq::CurveServer>& keys, const std::string& zap_status)
    : ingress(context, zmq::socket_type::xsub, ingress_options(event_bytes_max, keys)),
      control(context, zmq::socket_type::router, control_options(keys)) {
  if (keys) zap.emplace(context, zap_status);
  for (auto [socket, endpoint] : {std::pair{&ingress, where.ingress}, {&control, where.control}}) {
    if (auto bound = socket->bind(endpoint); !bound) throw std::runtime_error(bound.error().text);
  }
  const std::string_view everything("\x01", 1);
  if (!ingress.send(everything)) throw std::runtime_error("cannot subscribe");
}

FakeIngressBroker::FakeIngressBroker() {
  thread_ = std::thread([this] { run(); });
  on_thread([] {});
}

FakeIngressBroker::~FakeIngressBroker() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.wake();
  thread_.join();
}

void FakeIngressBroker::on_thread(std::function<void()> command) {
  std::unique_lock lock(mutex_);
  commands_.push_back(std::move(command));
  const std::uint64_t number = ++commands_queued_;
  wake_.wake();
  changed_.wait(lock, [&] { return commands_done_ >= number; });
}

void FakeIngressBroker::run() {
  bind();
  for (;;) {
    run_commands();
    {
      const std::lock_guard lock(mutex_);
      if (ending_) break;
    }
    std::vector<zmq::pollitem_t> items{{nullptr, wake_.fd(), ZMQ_POLLIN, 0}};
    if (sockets_ && reading_) items.push_back({sockets_->ingress.raw().handle(), 0, ZMQ_POLLIN, 0});
    if (sockets_ && replying_) items.push_back({sockets_->control.raw().handle(), 0, ZMQ_POLLIN, 0});
    zmq::poll(items, std::chrono::milliseconds{-1});
    if (sockets_ && reading_) read_ingress();
    if (sockets_ && replying_) read_control();
  }
  unbind_all();
}

void FakeIngressBroker::run_commands() {
  wake_.drain();
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
  const std::lock_guard lock(mutex_);
  commands_done_ += commands.size();
  changed_.notify_all();
}

void FakeIngressBroker::bind() {
  sockets_ = std::make_unique<Sockets>(endpoints_, event_bytes_max_, keys_, zap_status_);
  // Later incarnations keep the ports that were free the first time.
  endpoints_.ingress = sockets_->ingress.raw().get(zmq::sockopt::last_endpoint);
  endpoints_.control = sockets_->control.raw().get(zmq::sockopt::last_endpoint);
}

// Destroying a context waits for its sockets and their connections, so the ports are free afterwards.
void FakeIngressBroker::unbind_all() {
  sockets_.reset();
}

void FakeIngressBroker::require_keys(const CurveKeys& keys, const std::string& zap_status) {
  on_thread([this, keys = curve_server(keys), zap_status] {
    unbind_all();
    keys_ = keys;
    zap_status_ = zap_status;
    bind();
  });
}

void FakeIngressBroker::cut() {
  on_thread([this] {
    unbind_all();
    bind();
  });
}

void FakeIngressBroker::restart() {
  on_thread([this] {
    unbind_all();
    sessions_.clear();
    ++stream_;
    draining_ = false;
    bind();
  });
}

void FakeIngressBroker::stop_listening() {
  on_thread([this] { unbind_all(); });
}

void FakeIngressBroker::listen_again() {
  on_thread([this] { bind(); });
}

void FakeIngressBroker::read_events(bool on) {
  on_thread([this, on] { reading_ = on; });
}

void FakeIngressBroker::send_replies(bool on) {
  on_thread([this, on] { replying_ = on; });
}

void FakeIngressBroker::drain(bool on) {
  on_thread([this, on] { draining_ = on; });
}

void FakeIngressBroker::refuse(std::string topic) {
  on_thread([this, topic = std::move(topic)] { refused_topic_ = topic; });
}

void FakeIngressBroker::refuse_types(bool on) {
  on_thread([this, on] { refusing_types_ = on; });
}

void FakeIngressBroker::forbid_hello(bool on) {
  on_thread([this, on] { forbidding_hello_ = on; });
}

void FakeIngressBroker::forbid_sessions() {
  on_thread([this] {
    for (auto& [name, session] : sessions_) session.forbidden = true;
  });
}

void FakeIngressBroker::limit_event_bytes(std::uint64_t bytes_max) {
  on_thread([this, bytes_max] { event_bytes_max_ = bytes_max; });
}

void FakeIngressBroker::forge(std::uint64_t sequence) {
  on_thread([this, sequence] {
    for (auto& [key, session] : sessions_) session.sequence = sequence;
  });
}

void FakeIngressBroker::cut_after(std::uint64_t events) {
  on_thread([this, events] { cut_after_ = events; });
}

void FakeIngressBroker::read_ingress() {
  for (int i = 0; i < 256; ++i) {
    zmq::message_t topic;
    zmq::message_t event;
    if (!sockets_->ingress.receive(topic)) return;
    if (!topic.more() || !sockets_->ingress.receive(event)) continue;
    admit(topic.to_string(), event.to_string());
    if (cut_after_ && (*cut_after_)-- == 0) {
      cut_after_.reset();
      unbind_all();
      bind();
      const std::lock_guard lock(mutex_);
      ++cuts_;
      changed_.notify_all();
      return;
    }
  }
}

void FakeIngressBroker::admit(const std::string& topic, const std::string& bytes) {
  v1::Event event;
  if (!event.ParseFromString(bytes)) throw std::runtime_error("an event that does not parse");
  Session& session = sessions_[{event.source(), event.session()}];
  const std::uint64_t sequence = event.sequence();
  const std::uint64_t seen = std::max(session.sequence, session.refused_sequence);
  const std::lock_guard lock(mutex_);
  if (sequence <= session.sequence) {
    ++duplicates_;
    return;
  }
  if (sequence > seen + 1) holes_ += sequence - seen - 1;
  if (topic == refused_topic_ || bytes.size() > event_bytes_max_) {
    session.refused_sequence = sequence;
    ++session.refused;
    return;
  }
  session.sequence = sequence;
  admitted_.push_back({topic, std::move(event)});
  changed_.notify_all();
}

void FakeIngressBroker::read_control() {
  zmq::message_t frame;
  while (sockets_->control.receive(frame)) {
    std::vector<std::string> frames{frame.to_string()};
    while (frame.more() && sockets_->control.receive(frame)) frames.push_back(frame.to_string());
    v1::ControlRequest request;
    if (!request.ParseFromString(frames.back())) throw std::runtime_error("a request that does not parse");
    frames.back() = reply_to(request).SerializeAsString();
    try {
      for (std::size_t i = 0; i < frames.size(); ++i) {
        const bool more = i + 1 < frames.size();
        if (!sockets_->control.send(frames[i], more ? zmq::send_flags::sndmore : zmq::send_flags::none))
          break;
      }
    } catch (const zmq::error_t&) {
      // The requester has disconnected.
    }
  }
}

v1::ControlReply FakeIngressBroker::reply_to(const v1::ControlRequest& request) {
  v1::ControlReply reply;
  reply.set_version(1);
  reply.set_id(request.id());
  reply.set_broker("fake");
  reply.set_stream(stream_);
  reply.mutable_complete();
  const auto forbid = [&] {
    reply.mutable_error()->set_code("not_permitted");
    reply.mutable_error()->set_text("it belongs to another user");
  };
  if (request.has_hello() && forbidding_hello_) {
    forbid();
  } else if (request.has_hello()) {
    reply.mutable_hello()->set_draining(draining_);
    reply.mutable_hello()->set_max_event_bytes(event_bytes_max_);
    const std::lock_guard lock(mutex_);
    hellos_.push_back(request.hello());
    changed_.notify_all();
  } else if (request.has_types()) {
    const std::lock_guard lock(mutex_);
    for (const auto& file : request.types().register_files().file()) {
      types_.emplace_back(file.name(), admitted_.size());
    }
    if (refusing_types_) {
      reply.mutable_error()->set_code("conflict");
      reply.mutable_error()->set_text("known with other content");
    } else {
      reply.mutable_types();
    }
  } else {
    const Session& session = sessions_[{request.admitted().source(), request.admitted().session()}];
    if (session.forbidden) {
      forbid();
      return reply;
    }
    v1::AdmittedReply& admitted = *reply.mutable_admitted();
    admitted.set_sequence(session.sequence);
    admitted.set_refused_sequence(session.refused_sequence);
    admitted.set_refused(session.refused);
    if (session.refused > 0) admitted.set_refused_reason("bad_topic");
    admitted.set_draining(draining_);
  }
  return reply;
}

bool FakeIngressBroker::wait(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, wait_timeout, condition);
}

bool FakeIngressBroker::wait_admitted(std::size_t count) {
  return wait([&] { return admitted_.size() >= count; });
}

bool FakeIngressBroker::wait_hellos(std::size_t count) {
  return wait([&] { return hellos_.size() >= count; });
}

bool FakeIngressBroker::wait_goodbye() {
  return wait([&] { return !hellos_.empty() && hellos_.back().closing(); });
}

std::vector<FakeIngressBroker::Admitted> FakeIngressBroker::admitted() const {
  const std::lock_guard lock(mutex_);
  return admitted_;
}

std::vector<v1::HelloRequest> FakeIngressBroker::hellos() const {
  const std::lock_guard lock(mutex_);
  return hellos_;
}

std::vector<std::pair<std::string, std::size_t>> FakeIngressBroker::types() const {
  const std::lock_guard lock(mutex_);
  return types_;
}

std::uint64_t FakeIngressBroker::holes() const {
  const std::lock_guard lock(mutex_);
  return holes_;
}

std::uint64_t FakeIngressBroker::duplicates() const {
  const std::lock_guard lock(mutex_);
  return duplicates_;
}

std::uint64_t FakeIngressBroker::cuts() const {
  const std::lock_guard lock(mutex_);
  return cuts_;
}

}  // namespace backplane::testing
