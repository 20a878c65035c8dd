#include "cli/address_flags.hpp"

#include <fmt/format.h>

#include "cli/comma_list.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/net/broker_address.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::cli {
namespace {

constexpr const char* broker_variable = "BACKPLANE_BROKER";
constexpr const char* context_variable = "BACKPLANE_CONTEXT";

/// The brokers of a list; none if it is empty. Errors begin with `where`.
Result<std::vector<BrokerEndpoints>> parse_brokers(std::string_view list, std::string_view where) {
  std::vector<BrokerEndpoints> brokers;
  if (list.empty()) return brokers;
  for (const std::string& part : split_at_commas(list)) {
    const auto address = parse_broker_address(part, where);
    if (!address) return tl::unexpected(address.error());
    brokers.push_back({address->ingress(), address->egress(), address->control()});
  }
  return brokers;
}

/// Puts the endpoints of the flags in place of those of the only broker.
Result<void> replace_endpoints(std::vector<BrokerEndpoints>& brokers, const AddressFlags& flags) {
  struct Given {
    std::string_view flag;
    const std::optional<std::string>& endpoint;
    std::string BrokerEndpoints::*field;
  };
  for (const Given& each : {Given{"--ingress", flags.ingress, &BrokerEndpoints::ingress},
                            Given{"--egress", flags.egress, &BrokerEndpoints::egress},
                            Given{"--control", flags.control, &BrokerEndpoints::control}}) {
    if (!each.endpoint) continue;
    if (brokers.size() > 1) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: expected a single host in --broker, got {}", each.flag, brokers.size()));
    }
    if (auto good = mq::check_endpoint(*each.endpoint, each.flag); !good) return tl::unexpected(good.error());
    brokers.front().*each.field = *each.endpoint;
  }
  return {};
}

/// A variable of the environment; nullptr: it is not set. Set to an empty text, it is an error.
Result<const char*> variable(const char* name, const Environment& environment) {
  const char* const value = environment(name);
  if (value != nullptr && *value == '\0') {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a value, got none", name));
  }
  return value;
}

/// Reads a context into `address`, if the context has the field.
Result<void> take_context(const std::string& name, std::string_view where, std::string Context::*field,
                          NamedAddress::By by, const Environment& environment, NamedAddress& address) {
  const std::filesystem::path file = contexts_file(environment);
  auto contexts = file.empty() ? Contexts() : Contexts::load(file);
  if (!contexts) return tl::unexpected(contexts.error());
  const std::string wanted = name.empty() ? contexts->current : name;
  if (wanted.empty()) return {};
  const std::string place = where.empty() ? fmt::format("{}: current", file.string()) : std::string(where);
  auto context = contexts->find(wanted, place, file);
  if (!context) return tl::unexpected(context.error());
  address.context = wanted;
  if (((*context).*field).empty()) return {};
  for (const ContextField& each : context_fields()) {
    if (each.value == field) address.where = fmt::format("context {}: {}", wanted, each.key());
  }
  address.by = by;
  address.value = (*context).*field;
  address.settings = std::move(*context);
  return {};
}

}  // namespace

void add_endpoint_flags(const Command& command, AddressFlags& flags) {
  const std::string group = "Addresses of the broker (default: the local broker)";
  command
      .add_option("-b,--broker", flags.broker,
                  "One or more brokers (default: $BACKPLANE_BROKER); events are read from all of them, and "
                  "published to the first that works. PORT is of ingress (default 5570); egress and control "
                  "have the next two")
      .value_name("HOST[:PORT],...")
      .group(group);
  const auto add = [&](const std::string& name, std::optional<std::string>& value, const std::string& about) {
    command.add_option(name, value, about).value_name("ENDPOINT").group(group);
  };
  add("--ingress", flags.ingress, "Endpoint for publishers, e.g. tcp://127.0.0.1:5570");
  add("--egress", flags.egress, "Endpoint for subscribers, e.g. tcp://127.0.0.1:5571");
  add("--control", flags.control, "Endpoint for requests, e.g. tcp://127.0.0.1:5572");
  const std::string keys = "Keys, for brokers that require them (backplane keys new)";
  command.add_option("--key", flags.key, "File with this client's secret key (default: $BACKPLANE_KEY_FILE)")
      .value_name("NAME.key")
      .group(keys);
  command
      .add_option("--server-key", flags.server_key,
                  "File with the broker's public key (default: $BACKPLANE_SERVER_KEY_FILE)")
      .value_name("NAME.pub")
      .group(keys);
}

void add_address_flags(const Command& command, AddressFlags& flags) {
  add_endpoint_flags(command, flags);
  command
      .add_option("--context", flags.context,
                  "Addresses and credentials by name (backplane context; default: $BACKPLANE_CONTEXT, or the "
                  "current context)")
      .value_name("NAME")
      .group("Addresses of the broker (default: the local broker)");
}

Result<NamedAddress> find_address(std::string Context::*field, std::string_view option,
                                  const char* variable_name, const std::string& given, bool is_given,
                                  const AddressFlags& flags, const Environment& environment) {
  using By = NamedAddress::By;
  NamedAddress address;
  if (is_given) {
    if (!flags.context.empty()) {
      return fail(ErrorCode::invalid_argument, fmt::format("--context: cannot be combined with {}",
                                                           given.empty() ? "an endpoint" : option));
    }
    address.by = By::option;
    address.where = option;
    address.value = given;
    return address;
  }
  if (!flags.context.empty()) {
    auto taken = take_context(flags.context, "--context", field, By::chosen_context, environment, address);
    if (!taken) return tl::unexpected(taken.error());
    return address;  // what it leaves out is not taken from elsewhere
  }
  const auto text = variable(variable_name, environment);
  if (!text) return tl::unexpected(text.error());
  if (*text != nullptr) {
    address.by = By::environment;
    address.where = variable_name;
    address.value = *text;
    return address;
  }
  const auto name = variable(context_variable, environment);
  if (!name) return tl::unexpected(name.error());
  const bool is_named = *name != nullptr;
  auto taken = take_context(is_named ? *name : "", is_named ? context_variable : "", field,
                            By::current_context, environment, address);
  if (!taken) return tl::unexpected(taken.error());
  return address;
}

Result<NamedAddress> find_broker(const AddressFlags& flags, const Environment& environment) {
  return find_address(&Context::broker, "--broker", broker_variable, flags.broker, flags.has_addresses(),
                      flags, environment);
}

Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags, const Environment& environment) {
  const auto address = find_broker(flags, environment);
  if (!address) return tl::unexpected(address.error());
  if (address->by == NamedAddress::By::nobody && !address->context.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("context {}: expected a broker for this command, got none", address->context));
  }
  auto brokers = parse_brokers(address->value, address->where);
  if (!brokers) return brokers;
  if (brokers->empty()) brokers->emplace_back();
  if (auto replaced = replace_endpoints(*brokers, flags); !replaced) return tl::unexpected(replaced.error());

  // The keys of a context are for its broker only.
  const Context& context = address->settings;
  CredentialFiles files{.key = flags.key, .server_key = flags.server_key};
  const std::string key = fmt::format("context {}: key", address->context);
  const std::string server_key = fmt::format("context {}: server_key", address->context);
  CredentialOptions names;
  if (files.key.empty() && !context.key.empty()) {
    files.key = context.key;
    names.key = key.c_str();
  }
  if (files.server_key.empty() && !context.server_key.empty()) {
    files.server_key = context.server_key;
    names.server_key = server_key.c_str();
  }
  const auto keys = read_broker_keys(files, environment, names);
  if (!keys) return tl::unexpected(keys.error());
  for (BrokerEndpoints& each : *brokers) each.keys = *keys;
  return brokers;
}

Result<std::vector<BrokerEndpoints>> resolve_addresses(const AddressFlags& flags) {
  auto brokers = parse_brokers(flags.broker, "--broker");
  if (!brokers) return brokers;
  if (brokers->empty()) brokers->emplace_back();
  if (auto replaced = replace_endpoints(*brokers, flags); !replaced) return tl::unexpected(replaced.error());
  return brokers;
}

}  // namespace backplane::cli
