#include "cli/broker_flags.hpp"

#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "cli/comma_list.hpp"

namespace backplane::cli {
namespace {

/// The index of the [[backplane]] that the flags are about: the one called --name if the file has several,
/// else 0. An error if the flags do not say which.
Result<std::size_t> flags_table(const config::Source& source, const BrokerFlags& flags) {
  const std::size_t count = source.table_count("backplane");
  if (count <= 1 || (!flags.name && !flags.is_about_one())) return 0;
  if (!flags.name) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--name: expected one of the {} backplanes in {}, got none", count, source.file()));
  }
  const ConfigurationResult in_file = read_configuration(source);
  if (!in_file) return 0;  // the caller reads the file again and reports its errors
  const auto& backplanes = in_file->broker.backplanes;
  for (std::size_t index = 0; index < backplanes.size(); ++index) {
    if (backplanes[index].name == *flags.name) return index;
  }
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("--name: expected one of the backplanes in {}, got \"{}\"", source.file(), *flags.name));
}

/// --data: every backplane of the file, or the only one, keeps its history below that folder.
void keep_history_in_files(config::Source& source, const BrokerFlags& flags) {
  if (flags.data.empty()) return;
  const ConfigurationResult known = read_configuration(source);
  if (!known) return;  // the caller reads it again and reports its errors
  const std::filesystem::path folder = std::filesystem::absolute(flags.data).lexically_normal();
  for (std::size_t index = 0; index < known->broker.backplanes.size(); ++index) {
    const std::string table = fmt::format("backplane[{}]", index);
    set_flag(source, table + ".store", "--data", "file");
    set_flag(source, table + ".store_path", "--data",
             (folder / known->broker.backplanes[index].name).string());
  }
}

}  // namespace

void add_broker_flags(const Command& command, BrokerFlags& flags) {
  add_configuration(command, flags.configuration);
  add_security(command, flags.configuration);
  command.add_option("--name", flags.name, "Name of the backplane; selects one if the file has several");
  command
      .add_option(
          "--identity", flags.identity,
          "What readers recognise this broker by when it comes back without its history (default: the "
          "host's name and the ingress endpoint)")
      .value_name("TEXT");
  const auto add = [&](const std::string& name, std::optional<std::string>& value, const std::string& about) {
    command.add_option(name, value, about).value_name("ENDPOINT");
  };
  add("--ingress", flags.ingress, "Endpoint for publishers (default: tcp://localhost:5570)");
  add("--egress", flags.egress, "Endpoint for subscribers (default: tcp://localhost:5571)");
  add("--control", flags.control, "Endpoint for requests (default: tcp://localhost:5572)");
  add("--raw", flags.raw,
      "Endpoint for PUB sockets that send raw bytes, or off (default: tcp://localhost:5574)");
  command
      .add_option("--metrics", flags.metrics,
                  "Address of /metrics, /healthz and /readyz, or off (default: localhost:9570)")
      .value_name("HOST:PORT");
  command.add_option("--data", flags.data, "Keep history in files below DIR, in a folder per backplane")
      .value_name("DIR");
  command
      .add_option("--log", flags.log,
                  "What decides the order of events: local (this broker alone, the default) or jetstream (a "
                  "log that several brokers share)")
      .value_name("KIND");
  command.add_option("--jetstream", flags.jetstream, "URLs of the nats-servers, for --log jetstream")
      .value_name("URL[,URL...]");
}

Result<config::Source> broker_source(const BrokerFlags& flags) {
  Result<config::Source> source = open_source(flags.configuration);
  if (!source) return source;
  const Result<std::size_t> index = flags_table(*source, flags);
  if (!index) return tl::unexpected(index.error());
  const auto set = [&](std::string_view key, const std::optional<std::string>& value) {
    set_flag(*source, fmt::format("backplane[{}].{}", *index, key), fmt::format("--{}", key), value);
  };
  set("name", flags.name);
  set("identity", flags.identity);
  set("ingress", flags.ingress);
  set("egress", flags.egress);
  set("control", flags.control);
  set("raw", flags.raw);
  set("log", flags.log);
  if (flags.jetstream) {
    source->set_flag(fmt::format("backplane[{}].jetstream", *index), "--jetstream",
                     split_at_commas(*flags.jetstream));
  }
  set_flag(*source, "metrics.listen", "--metrics", flags.metrics);
  keep_history_in_files(*source, flags);
  return source;
}

Result<void> make_data_folder(const BrokerFlags& flags) {
  if (flags.data.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(flags.data, error);
  if (!error) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("--data: cannot create \"{}\": {}", flags.data, error.message()));
}

}  // namespace backplane::cli
