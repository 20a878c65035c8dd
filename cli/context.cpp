// backplane context list|show|add|use|remove: addresses and credentials by name.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/colours.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/table.hpp"
#include "cli/contexts.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"

namespace backplane::cli {
namespace {

struct ContextFlags {
  std::string name;
  std::map<std::string, std::string> values;  ///< by the option of the field
  bool tls{};
  bool replace{};
  bool use{};
  bool none{};
  bool json{};
};

/// The file of the contexts, and what is in it.
struct Stored {
  std::filesystem::path file;
  Contexts contexts;
};

Result<Stored> load() {
  Stored stored{contexts_file(process_environment()), {}};
  if (stored.file.empty()) {
    return fail(ErrorCode::unavailable,
                "HOME: expected the folder in which .config/backplane/config.toml is, got none");
  }
  auto contexts = Contexts::load(stored.file);
  if (!contexts) return tl::unexpected(contexts.error());
  stored.contexts = std::move(*contexts);
  return stored;
}

ExitCode print_lines(std::string_view command, const std::vector<std::string>& lines) {
  Output output;
  for (const std::string& line : lines) output.line(line);
  output.flush();
  if (output.problem().empty()) return ExitCode::done;
  print_message(command, output.problem());
  return ExitCode::failed;
}

std::string context_json(const std::string& name, const Context& context, bool is_current) {
  std::string out = "{\"name\":";
  append_json_string(name, out);
  out += fmt::format(",\"current\":{}", is_current);
  for (const ContextField& field : context_fields()) {
    if ((context.*field.value).empty()) continue;
    out += fmt::format(",\"{}\":", field.key());
    append_json_string(context.*field.value, out);
  }
  return out + fmt::format(",\"tls\":{}}}", context.tls);
}

ExitCode run_list(const ContextFlags& flags) {
  const auto stored = load();
  if (!stored) return print_error("context list", stored.error());
  const auto& [file, contexts] = *stored;
  std::vector<std::string> lines;
  if (flags.json) {
    for (const auto& [name, context] : contexts.all) {
      lines.push_back(context_json(name, context, name == contexts.current));
    }
    return print_lines("context list", lines);
  }
  Table table({{.title = "CONTEXT"}, {.title = "BROKER"}, {.title = "GATEWAY"}});
  for (const auto& [name, context] : contexts.all) {
    const auto shown = [](const std::string& address) {
      return address.empty() ? "-" : log::escape(address);
    };
    table.add({fmt::format("{}{}", name, name == contexts.current ? " (current)" : ""), shown(context.broker),
               shown(context.gateway)});
  }
  if (table.rows() > 0) {
    constexpr std::size_t no_width = 1u << 20;
    std::vector<std::string> lines_of_table = table.lines(no_width);
    lines_of_table.front() = Colours(STDOUT_FILENO).paint(Style::heading, lines_of_table.front());
    return print_lines("context list", lines_of_table);
  }
  print_message("context list", fmt::format("{} has no contexts", file.string()));
  return ExitCode::done;
}

ExitCode run_show(const ContextFlags& flags) {
  const auto stored = load();
  if (!stored) return print_error("context show", stored.error());
  const auto& [file, contexts] = *stored;
  const std::string& name = flags.name.empty() ? contexts.current : flags.name;
  if (name.empty()) {
    print_message("context show", "NAME: expected a name, because no context is current, got none");
    return ExitCode::usage;
  }
  const auto context = contexts.find(name, "NAME", file);
  if (!context) return print_error("context show", context.error());
  const bool is_current = name == contexts.current;
  if (flags.json) return print_lines("context show", {context_json(name, *context, is_current)});
  std::vector<std::string> lines{fmt::format("{:<17}{}{}", "context", name, is_current ? " (current)" : "")};
  for (const ContextField& field : context_fields()) {
    if ((*context.*field.value).empty()) continue;
    lines.push_back(fmt::format("{:<17}{}", field.key(), log::escape(*context.*field.value)));
  }
  if (context->tls) lines.push_back(fmt::format("{:<17}yes", "tls"));
  return print_lines("context show", lines);
}

ExitCode run_add(const ContextFlags& flags) {
  const auto wrong = [](std::string text) {
    return print_error("context add", {ErrorCode::invalid_argument, std::move(text)});
  };
  if (auto good = check_context_name(flags.name, "NAME"); !good)
    return print_error("context add", good.error());
  Context context{.tls = flags.tls};
  for (const ContextField& field : context_fields()) {
    const std::string& value = flags.values.at(std::string(field.option));
    if (value.empty()) continue;
    const std::string option = fmt::format("--{}", field.option);
    if (auto good = check_context_value(field, value, option); !good) {
      return print_error("context add", good.error());
    }
    // The commands that use it run in other folders.
    context.*field.value =
        field.is_file ? std::filesystem::absolute(value).lexically_normal().string() : value;
  }
  if (context.broker.empty() && context.gateway.empty())
    return wrong("expected --broker or --gateway, got neither");
  auto stored = load();
  if (!stored) return print_error("context add", stored.error());
  auto& [file, contexts] = *stored;
  if (contexts.all.contains(flags.name) && !flags.replace) {
    return wrong(fmt::format("NAME: expected a new name, or --replace, got \"{}\", which {} has", flags.name,
                             file.string()));
  }
  contexts.all[flags.name] = std::move(context);
  if (flags.use) contexts.current = flags.name;
  if (auto saved = contexts.save(file); !saved) return print_error("context add", saved.error());
  return ExitCode::done;
}

ExitCode run_use(const ContextFlags& flags) {
  if (flags.name.empty() != flags.none) {
    print_message("context use",
                  fmt::format("expected NAME or --none, got {}", flags.none ? "both" : "neither"));
    return ExitCode::usage;
  }
  auto stored = load();
  if (!stored) return print_error("context use", stored.error());
  auto& [file, contexts] = *stored;
  if (!flags.none) {
    if (auto found = contexts.find(flags.name, "NAME", file); !found) {
      return print_error("context use", found.error());
    }
  }
  contexts.current = flags.name;
  if (auto saved = contexts.save(file); !saved) return print_error("context use", saved.error());
  return ExitCode::done;
}

ExitCode run_remove(const ContextFlags& flags) {
  auto stored = load();
  if (!stored) return print_error("context remove", stored.error());
  auto& [file, contexts] = *stored;
  if (auto found = contexts.find(flags.name, "NAME", file); !found) {
    return print_error("context remove", found.error());
  }
  contexts.all.erase(flags.name);
  if (contexts.current == flags.name) contexts.current.clear();
  if (auto saved = contexts.save(file); !saved) return print_error("context remove", saved.error());
  return ExitCode::done;
}

void add_add(const Command& context) {
  auto flags = std::make_shared<ContextFlags>();
  const Command command = context.add_command(
      "add", "Add a context; files are stored by their absolute names, never their contents");
  command.add_option("NAME", flags->name, "Name: letters, digits, - and _").required().value_name("");
  for (const ContextField& field : context_fields()) {
    const std::string option(field.option);
    const std::string_view letter = option == "broker" ? "-b," : option == "gateway" ? "-g," : "";
    command.add_option(fmt::format("{}--{}", letter, option), flags->values[option], std::string(field.about))
        .value_name(std::string(field.value_name));
  }
  command.add_flag("--tls", flags->tls, "Use TLS with the gateway, and trust the authorities of this system");
  command.add_flag("--replace", flags->replace, "Replace a context of that name");
  command.add_flag("--use", flags->use, "Make it the current context");
  command.set_footer(
      "Examples:\n"
      "  backplane context add home --broker host7 --use\n"
      "  backplane context add prod --broker host7,host8 --key me.key --server-key broker.pub\n"
      "  backplane context add field --gateway host7:1601 --ca ca.pem --token-file me.token");
  command.set_run([flags] { return run_add(*flags); });
}

}  // namespace

void add_context(const Command& program) {
  const Command command =
      program.add_command("context", "Name addresses and credentials, and choose those that commands use");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane context add prod --broker host7,host8 --key me.key --server-key broker.pub\n"
      "  backplane context use prod\n"
      "  backplane sub 'stock.>'                    reads from host7 and host8\n"
      "  backplane sub 'stock.>' --context home     reads from another context's broker");
  auto flags = std::make_shared<ContextFlags>();

  const Command list = command.add_command("list", "List the contexts");
  list.add_flag("-j,--json", flags->json, "Print one JSON object per context");
  list.set_footer("Examples:\n  backplane context list");
  list.set_run([flags] { return run_list(*flags); });

  const Command show = command.add_command("show", "Print a context");
  show.add_option("NAME", flags->name, "Context (default: the current one)").value_name("");
  show.add_flag("-j,--json", flags->json, "Print a JSON object");
  show.set_footer("Examples:\n  backplane context show\n  backplane context show prod");
  show.set_run([flags] { return run_show(*flags); });

  add_add(command);

  const Command use = command.add_command("use", "Make a context the current one");
  use.add_option("NAME", flags->name, "Context").value_name("");
  use.add_flag("--none", flags->none, "Use none: commands connect to the local broker again");
  use.set_footer("Examples:\n  backplane context use prod\n  backplane context use --none");
  use.set_run([flags] { return run_use(*flags); });

  const Command remove = command.add_command("remove", "Remove a context");
  remove.add_option("NAME", flags->name, "Context").required().value_name("");
  remove.set_footer("Examples:\n  backplane context remove prod");
  remove.set_run([flags] { return run_remove(*flags); });
}

}  // namespace backplane::cli
