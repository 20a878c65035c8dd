#include "publishers/lib/control_messages.hpp"

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"

namespace backplane::publishing {
namespace {

constexpr std::uint32_t control_version = 1;

}  // namespace

std::string encode_hello(std::uint64_t id, const std::string& source, std::uint64_t session, bool closing,
                         const Counters& counters) {
  v1::ControlRequest request;
  request.set_version(control_version);
  request.set_id(id);
  v1::HelloRequest& hello = *request.mutable_hello();
  hello.set_name(source);
  hello.set_session(session);
  hello.set_role(v1::HelloRequest::ROLE_PUBLISHER);
  hello.set_closing(closing);
  for (const auto& [name, value] : counters) (*hello.mutable_counters())[name] = value;
  return request.SerializeAsString();
}

std::string encode_admitted(std::uint64_t id, const std::string& source, std::uint64_t session) {
  v1::ControlRequest request;
  request.set_version(control_version);
  request.set_id(id);
  request.mutable_admitted()->set_source(source);
  request.mutable_admitted()->set_session(session);
  return request.SerializeAsString();
}

std::string encode_types(std::uint64_t id, const std::vector<std::string>& files) {
  v1::ControlRequest request;
  request.set_version(control_version);
  request.set_id(id);
  google::protobuf::FileDescriptorSet& set = *request.mutable_types()->mutable_register_files();
  for (const std::string& file : files) set.add_file()->ParsePartialFromString(file);
  return request.SerializeAsString();
}

std::optional<BrokerReply> decode_reply(std::string_view bytes) {
  v1::ControlReply message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  BrokerReply reply;
  reply.id = message.id();
  reply.stream = message.stream();
  if (message.has_error()) {
    reply.error = fmt::format("{}: {}", message.error().code(), message.error().text());
  }
  if (message.has_hello()) {
    reply.draining = message.hello().draining();
    reply.hello = BrokerReply::Hello{message.hello().max_event_bytes()};
  }
  if (message.has_admitted()) {
    const v1::AdmittedReply& admitted = message.admitted();
    reply.draining = admitted.draining();
    reply.admitted =
        BrokerReply::Admitted{admitted.sequence(), admitted.refused_sequence(), admitted.refused(),
                              admitted.refused_reason(), admitted.connections()};
  }
  return reply;
}

}  // namespace backplane::publishing
