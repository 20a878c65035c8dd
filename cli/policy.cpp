// backplane policy check|explain|hash: policy files.

#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/messages.hpp"
#include "cli/console/secret_prompt.hpp"
#include "cli/input/payload_flags.hpp"
#include "cli/subcommands.hpp"
#include "core/credentials/token_hash.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"
#include "core/policy/explanation.hpp"

namespace backplane::cli {
namespace {

constexpr const char* default_policy = "/etc/backplane/policy.toml";

void print_line(const std::string& line) {
  log::standard_output().write(line + '\n');
}

/// The token from standard input, of which one line end is not part.
Result<std::string> token_of_standard_input() {
  auto text = read_all(STDIN_FILENO, "--stdin", token_bytes_max + 2);
  if (text && text->ends_with('\n')) text->pop_back();
  if (text && text->ends_with('\r')) text->pop_back();
  return text;
}

/// The token that a person types twice.
Result<std::string> token_of_prompt() {
  auto token = prompt_for_secret("Token: ");
  if (!token) return token;
  auto again = prompt_for_secret("Again: ");
  if (!again) return again;
  if (*again != *token) {
    return fail(ErrorCode::invalid_argument, "expected the same token twice, got two");
  }
  return token;
}

ExitCode run_hash(bool standard_input) {
  const auto token = standard_input ? token_of_standard_input() : token_of_prompt();
  if (!token) return print_error("policy hash", token.error());
  if (const auto checked = check_token(*token, standard_input ? "--stdin" : "Token"); !checked) {
    return print_error("policy hash", checked.error());
  }
  const auto hash = hash_token(*token);
  if (!hash) return print_error("policy hash", hash.error());
  print_line(*hash);
  return ExitCode::done;
}

ExitCode run_check(const std::filesystem::path& file) {
  const auto policy = policy::Policy::load(file);
  if (!policy) return print_errors(policy.error());
  print_line(fmt::format("{}: ok", log::escape(file.string())));
  return ExitCode::done;
}

struct ExplainOptions {
  std::string user;
  std::string topic;
  std::filesystem::path policy = default_policy;
};

ExitCode run_explain(const ExplainOptions& options) {
  const auto policy = policy::Policy::load(options.policy);
  if (!policy) return print_errors(policy.error());
  const policy::User* const user = policy->user(options.user);
  if (user == nullptr) {
    print_message("policy explain", fmt::format("USER: expected a user of {}, got \"{}\"",
                                                options.policy.string(), options.user));
    return ExitCode::usage;
  }
  const auto topics = Pattern::parse(options.topic);
  if (!topics) {
    print_error_line(fmt::format("backplane policy explain: TOPIC: {}", topics.error().text));
    return ExitCode::usage;
  }
  for (const std::string& line : explain(*policy, *user, *topics)) print_line(line);
  return ExitCode::done;
}

void add_hash(const Command& policy) {
  auto standard_input = std::make_shared<bool>(false);
  const Command command =
      policy.add_command("hash", "Print the hash of a token, as a policy file contains it");
  command.add_flag("--stdin", *standard_input, "Read the token from standard input instead of the terminal");
  command.set_footer(
      "Examples:\n"
      "  backplane policy hash                               prompts for the token\n"
      "  openssl rand -hex 24 | tee dashboard.token | backplane policy hash --stdin");
  command.set_run([standard_input] { return run_hash(*standard_input); });
}

void add_check(const Command& policy) {
  auto file = std::make_shared<std::filesystem::path>();
  const Command command =
      policy.add_command("check", "List every error in a policy file, by line (exit code 2 if it has any)");
  command.add_option("FILE", *file, "Policy file").required().value_name("");
  command.set_footer("Examples:\n  backplane policy check /etc/backplane/policy.toml");
  command.set_run([file] { return run_check(*file); });
}

void add_explain(const Command& policy) {
  auto options = std::make_shared<ExplainOptions>();
  const Command command =
      policy.add_command("explain", "Print what a user may do with a topic, and which role decides it");
  command.add_option("USER", options->user, "User of the policy, or anonymous").required().value_name("");
  command.add_option("TOPIC", options->topic, "Topic, or a pattern to subscribe to")
      .required()
      .value_name("");
  command.add_option("--policy", options->policy, "Policy file").value_name("FILE").show_default();
  command.set_footer(
      "Examples:\n"
      "  backplane policy explain dashboard news.uk\n"
      "  backplane policy explain dashboard 'stock.>' --policy policy.toml");
  command.set_run([options] { return run_explain(*options); });
}

}  // namespace

void add_policy(const Command& program) {
  const Command command = program.add_command(
      "policy", "Check and explain policy files, which say which user may publish and read which topics");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane policy check policy.toml\n"
      "  backplane policy explain dashboard news.uk --policy policy.toml\n"
      "  backplane policy hash");
  add_check(command);
  add_explain(command);
  add_hash(command);
}

}  // namespace backplane::cli
