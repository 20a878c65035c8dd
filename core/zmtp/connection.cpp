#include "core/zmtp/connection.hpp"

#include <array>
#include <utility>

#include "core/error/error.hpp"
#include "core/zmtp/frame.hpp"

namespace backplane::zmtp {
namespace {

// The first byte of a subscription that is a message.
constexpr char cancel_byte = 0;
constexpr char subscribe_byte = 1;

bool is_accepted(const Connection::Options& options, Mechanism mechanism) noexcept {
  switch (mechanism) {
    case Mechanism::null:
      return options.null;
    case Mechanism::plain:
      return options.plain;
    case Mechanism::curve:
      return options.curve_key != nullptr;
  }
  return false;
}

/// One that is accepted, for a peer whose own is not.
Mechanism any_accepted(const Connection::Options& options) noexcept {
  if (options.null) return Mechanism::null;
  return options.plain ? Mechanism::plain : Mechanism::curve;
}

std::string own_metadata(SocketType peer) {
  std::string metadata;
  append_property("Socket-Type", name(counterpart(peer)), metadata);
  return metadata;
}

}  // namespace

Connection::Connection(const Options& options, Listener& listener) noexcept
    : options_(options), listener_(listener), greeting_(std::make_unique<GreetingReader>()) {}

Fault Connection::read(std::string_view bytes) {
  if (fault_ != Fault::none) return fault_;
  if (state_ == State::greeting) fault_ = read_greeting(bytes);
  if (fault_ == Fault::none && reader_ && !bytes.empty()) fault_ = reader_->read(bytes, *this);
  if (fault_ != Fault::none && state_ != State::ended) {
    report(fault_);
    state_ = State::ended;
  }
  return fault_;
}

/// A peer in its handshake is informed by an ERROR, if it understands that.
void Connection::report(Fault fault) {
  if (!std::exchange(reads_errors_, false)) return;
  std::string error;
  append_error(name(fault), error);
  listener_.send(error);
}

// ---- the greeting ----

Fault Connection::read_greeting(std::string_view& bytes) {
  if (const Fault fault = greeting_->read(bytes); fault != Fault::none) return fault;
  if (!std::exchange(signature_sent_, true)) {
    std::string signature;
    append_signature(signature);
    listener_.send(signature);
  }
  return greeting_->is_complete() ? end_greeting() : Fault::none;
}

Fault Connection::end_greeting() {
  const Greeting greeting = greeting_->greeting();
  greeting_.reset();
  version_ = greeting.version;
  std::string rest;
  if (version_.major < 3) {
    if (!options_.old_peers) return Fault::old_version;
    if (!greeting.socket_type || !listener_.accepts(*greeting.socket_type)) return Fault::bad_socket_type;
    type_ = *greeting.socket_type;
    append_old_greeting_rest(counterpart(type_), rest);
    state_ = State::identity;
  } else {
    const bool accepted = greeting.mechanism && is_accepted(options_, *greeting.mechanism);
    mechanism_ = accepted ? *greeting.mechanism : any_accepted(options_);
    append_greeting_rest(mechanism_, /*as_server=*/mechanism_ != Mechanism::null, rest);
    listener_.send(rest);
    rest.clear();
    if (!accepted) return Fault::bad_mechanism;
    if (greeting.as_server && mechanism_ != Mechanism::null) return Fault::bad_greeting;
    if (mechanism_ == Mechanism::curve) curve_ = std::make_unique<CurveServer>(*options_.curve_key);
    reads_errors_ = true;
    state_ = State::hello;
  }
  if (!rest.empty()) listener_.send(rest);
  reader_.emplace(options_.limits, /*with_commands=*/version_.major >= 3);
  return Fault::none;
}

// ---- the handshake ----

Fault Connection::on_command(std::string_view body) {
  if (state_ == State::ready) return curve_ ? on_box(body) : on_traffic_command(body);
  const auto command = parse_command(body);
  if (!command) return Fault::bad_command;
  if (command->name == command::error) {
    reads_errors_ = false;
    return Fault::refused_by_peer;
  }
  if (state_ != State::hello && state_ != State::initiate) return Fault::unexpected_command;
  switch (mechanism_) {
    case Mechanism::null:
      return read_ready(*command);
    case Mechanism::plain:
      return read_plain(*command);
    case Mechanism::curve:
      return read_curve(body);
  }
  return Fault::unexpected_command;
}

Fault Connection::on_message(std::span<const std::string_view> frames) {
  if (state_ == State::ready) {
    if (!curve_) return on_traffic(frames);
    return frames.size() == 1 ? on_box(frames.front()) : Fault::bad_frame;
  }
  if (state_ != State::identity) return Fault::unexpected_command;
  if (frames.size() != 1 || frames.front().size() > options_.limits.identity_bytes_max)
    return Fault::unexpected_message;
  identity_ = frames.front();
  return decide({});
}

Fault Connection::read_ready(const Command& command) {
  if (command.name != command::ready) return Fault::unexpected_command;
  if (const Fault fault = take_metadata(command.data); fault != Fault::none) return fault;
  return decide({});
}

Fault Connection::read_plain(const Command& command) {
  if (state_ == State::hello) {
    if (command.name != command::hello) return Fault::unexpected_command;
    const auto hello = parse_plain_hello(command.data);
    if (!hello) return Fault::bad_command;
    return decide({.mechanism = Mechanism::plain, .username = hello->username, .password = hello->password});
  }
  if (command.name != command::initiate) return Fault::unexpected_command;
  if (const Fault fault = take_metadata(command.data); fault != Fault::none) return fault;
  become_ready();
  return Fault::none;
}

Fault Connection::read_curve(std::string_view body) {
  if (state_ == State::hello) {
    if (const Fault fault = curve_->read_hello(body); fault != Fault::none) return fault;
    std::string welcome;
    curve_->append_welcome(welcome);
    listener_.send(welcome);
    state_ = State::initiate;
    return Fault::none;
  }
  CurveServer::Initiate initiate;
  if (const Fault fault = curve_->read_initiate(body, initiate); fault != Fault::none) return fault;
  if (const Fault fault = take_metadata(initiate.metadata); fault != Fault::none) return fault;
  return decide({.mechanism = Mechanism::curve, .username = {}, .password = {}, .key = initiate.client});
}

Fault Connection::take_metadata(std::string_view data) {
  const auto metadata = parse_metadata(data);
  if (!metadata || metadata->identity.size() > options_.limits.identity_bytes_max) return Fault::bad_command;
  const auto type = metadata->socket_type ? parse_socket_type(*metadata->socket_type) : std::nullopt;
  if (!type || !listener_.accepts(*type)) return Fault::bad_socket_type;
  type_ = *type;
  identity_ = metadata->identity;
  return Fault::none;
}

Fault Connection::decide(const Credentials& credentials) {
  state_ = State::deciding;
  listener_.on_credentials(credentials);
  return state_ == State::ended ? Fault::not_authenticated : Fault::none;
}

void Connection::accept() {
  CHECK(state_ == State::deciding, "on_credentials() has been called, and the peer is not decided about");
  if (mechanism_ != Mechanism::plain) return become_ready();
  state_ = State::initiate;
  send_command(command::welcome, {});
}

void Connection::refuse(std::string_view reason) {
  CHECK(state_ == State::deciding, "on_credentials() has been called, and the peer is not decided about");
  state_ = State::ended;
  fault_ = Fault::not_authenticated;
  if (!std::exchange(reads_errors_, false)) return;
  std::string error;
  append_error(reason, error);
  listener_.send(error);
}

void Connection::become_ready() {
  state_ = State::ready;
  reads_errors_ = false;
  if (curve_) {
    std::string ready;
    curve_->append_ready(own_metadata(type_), ready);
    listener_.send(ready);
  } else if (version_.major >= 3) {
    send_command(command::ready, own_metadata(type_));
  }
  const std::string identity = std::exchange(identity_, {});
  if (publishes(type_)) {
    if (version_ == Version{3, 1} && !curve_) {
      send_command(command::subscribe, {});
    } else {
      send_message(std::array{std::string_view(&subscribe_byte, 1)});
    }
  }
  listener_.on_ready({version_, mechanism_, type_, identity});
}

// ---- after the handshake ----

Fault Connection::on_box(std::string_view message) {
  CurveServer::Opened opened;
  if (const Fault fault = curve_->open(message, opened); fault != Fault::none) return fault;
  if (!opened.command) return assemble(opened.body, opened.more);
  if (opened.more) return Fault::bad_frame;
  if (opened.body.size() > options_.limits.command_bytes_max) return Fault::command_too_long;
  return on_traffic_command(opened.body);
}

/// Adds a decrypted frame to the message that it belongs to.
Fault Connection::assemble(std::string_view body, bool more) {
  if (!more && (!assembly_ || assembly_->ends.empty())) return on_traffic(std::span(&body, 1));
  if (!assembly_) assembly_ = std::make_unique<Assembly>();
  Assembly& message = *assembly_;
  if (message.ends.size() >= options_.limits.frames_max) return Fault::too_many_frames;
  if (body.size() > options_.limits.message_bytes_max - message.bytes.size()) return Fault::message_too_long;
  message.bytes.append(body);
  message.ends.push_back(message.bytes.size());
  if (more) return Fault::none;
  message.views.clear();
  std::size_t begin = 0;
  for (const std::size_t end : message.ends) {
    message.views.push_back(std::string_view(message.bytes).substr(begin, end - begin));
    begin = end;
  }
  const Fault fault = on_traffic(message.views);
  message.bytes.clear();
  message.ends.clear();
  return fault;
}

Fault Connection::on_traffic(std::span<const std::string_view> frames) {
  if (!subscribes(type_)) return listener_.on_message(frames);
  const std::string_view text = frames.front();
  if (frames.size() != 1 || text.empty()) return Fault::bad_subscription;
  if (text.front() != subscribe_byte && text.front() != cancel_byte) return Fault::bad_subscription;
  return on_subscription(text.front() == subscribe_byte, text.substr(1));
}

Fault Connection::on_subscription(bool subscribe, std::string_view prefix) {
  if (prefix.size() > options_.limits.subscription_bytes_max) return Fault::bad_subscription;
  return listener_.on_subscription(subscribe, prefix);
}

Fault Connection::on_traffic_command(std::string_view body) {
  const auto command = parse_command(body);
  if (!command) return Fault::bad_command;
  const std::string_view name = command->name;
  if (name == command::ping) {
    const auto ping = parse_ping(command->data);
    if (!ping) return Fault::bad_command;
    send_command(command::pong, ping->context);
    return Fault::none;
  }
  if (name == command::subscribe || name == command::cancel) {
    if (!subscribes(type_)) return Fault::unexpected_command;
    return on_subscription(name == command::subscribe, command->data);
  }
  if (name == command::error) return Fault::refused_by_peer;
  if (name == command::ready || name == command::hello || name == command::welcome ||
      name == command::initiate || name == command::message) {
    return Fault::unexpected_command;
  }
  return Fault::none;  // a PONG, or a command of a later version
}

// ---- output ----

void Connection::send_command(std::string_view name, std::string_view data) {
  std::string frame;
  if (curve_) {
    std::string body;
    append_command_name(name, body);
    body.append(data);
    curve_->append_box(flag::command, body, frame);
  } else {
    append_command(name, data, frame);
  }
  listener_.send(frame);
}

void Connection::send_message(std::span<const std::string_view> frames) {
  CHECK(state_ == State::ready, "the handshake is complete");
  std::string bytes;
  if (curve_) {
    for (std::size_t i = 0; i < frames.size(); ++i)
      curve_->append_box(i + 1 < frames.size() ? flag::more : 0, frames[i], bytes);
  } else {
    append_message(frames, bytes);
  }
  listener_.send(bytes);
}

}  // namespace backplane::zmtp
