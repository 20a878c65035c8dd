// backplane keys new|show: the key pairs of CURVE.

#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/credentials/key_file.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"

namespace backplane::cli {
namespace {

void print_key(const PublicKey& key) {
  log::standard_output().write(to_text(key) + '\n');
}

bool is_secret(const std::filesystem::path& file) {
  return file.extension() == ".key";
}

bool is_public(const std::filesystem::path& file) {
  return file.extension() == ".pub";
}

ExitCode run_new(const std::filesystem::path& name) {
  if (!name.has_filename() || is_secret(name) || is_public(name)) {
    print_message(
        "keys new",
        fmt::format("NAME: expected the name of a key pair without .key or .pub, got \"{}\"", name.string()));
    return ExitCode::usage;
  }
  const SecretKey key = make_secret_key();
  if (const auto written = write_key_files(key_files(name), key); !written) {
    return print_error("keys new", written.error());
  }
  print_key(key.public_key());
  return ExitCode::done;
}

ExitCode run_show(const std::filesystem::path& file) {
  if (!is_secret(file) && !is_public(file)) {
    print_message("keys show",
                  fmt::format("FILE: expected a file that ends in .key or .pub, got \"{}\"", file.string()));
    return ExitCode::usage;
  }
  const auto key =
      is_public(file)
          ? read_public_key(file)
          : read_secret_key(file).map([](const SecretKey& secret) { return secret.public_key(); });
  if (!key) return print_error("keys show", key.error());
  print_key(*key);
  return ExitCode::done;
}

}  // namespace

void add_keys(const Command& program) {
  const Command command =
      program.add_command("keys", "Create and show key pairs for CURVE, ZeroMQ's encryption");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane keys new broker        create broker.key and broker.pub, print the public key\n"
      "  backplane keys show broker.key   print the public key that belongs to it");
  auto path = std::make_shared<std::filesystem::path>();
  const Command create = command.add_command(
      "new", "Create NAME.key (secret, mode 0600) and NAME.pub (public), and print the public key");
  create.add_option("NAME", *path, "Name of the key pair; existing files are never changed")
      .required()
      .value_name("");
  create.set_footer(
      "Examples:\n"
      "  backplane keys new broker\n"
      "  backplane keys new /etc/backplane/broker");
  create.set_run([path] { return run_new(*path); });
  const Command show = command.add_command("show", "Print the public key of a file");
  show.add_option("FILE", *path, "Secret key (.key) or public key (.pub)").required().value_name("");
  show.set_footer("Examples:\n  backplane keys show broker.key");
  show.set_run([path] { return run_show(*path); });
}

}  // namespace backplane::cli
