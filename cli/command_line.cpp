#include "cli/command_line.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/colours.hpp"
#include "core/spelling/closest_name.hpp"

namespace backplane::cli {

/// What parsing needs to know about an option.
struct OptionSpec {
  bool is_flag{};
  bool may_repeat{};
  bool may_be_empty{};
  bool takes_rest{};
  std::uint64_t min{};
  std::uint64_t max{UINT64_MAX};
  std::size_t given{};  ///< how often
  /// Stores a value, or for a flag, that it was given. @returns what was expected, or an empty string.
  std::function<std::string(const OptionSpec&, const std::string&)> set{};
  /// The variable's present value.
  std::function<std::string()> show{};
};

struct Grammar {
  std::map<const CLI::Option*, OptionSpec> options;
  std::map<const CLI::App*, Run> runs;
  const CLI::App* help{};  ///< the command `help`, if there is one
};

// ── values ───────────────────────────────────────────────────────────────────────────────────────────────

namespace {

constexpr std::string_view done{};

std::string set_number(const OptionSpec& spec, const std::string& text, std::uint64_t& value) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && rest == end && number >= spec.min && number <= spec.max) {
    value = number;
    return {};
  }
  if (spec.max == UINT64_MAX) return fmt::format("a whole number of {} or more", spec.min);
  return fmt::format("a whole number of {} to {}", spec.min, spec.max);
}

std::string set_number(const std::string& text, double& value) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || rest != end || !std::isfinite(number)) return "a number";
  value = number;
  return {};
}

template <class T>
OptionSpec text_spec(T& value) {
  OptionSpec spec;
  spec.set = [&value](const OptionSpec&, const std::string& text) {
    value = text;
    return std::string(done);
  };
  return spec;
}

/// `--name` or `-n` of an option, or the name of a positional argument.
std::string shown_name(const CLI::Option& option) {
  return option.get_positional() ? option.get_name(true) : option.get_name();
}

}  // namespace

Option Option::value_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::group(const std::string& heading) const {
  option_->group(heading);
  return *this;
}

Option Option::show_default() const {
  if (spec_->show) option_->default_str(spec_->show());
  return *this;
}

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::range(std::uint64_t min, std::uint64_t max) const {
  spec_->min = min;
  spec_->max = max;
  return *this;
}

Option Option::may_be_empty() const {
  spec_->may_be_empty = true;
  return *this;
}

Option Option::takes_rest() const {
  spec_->takes_rest = true;
  return *this;
}

// ── commands ─────────────────────────────────────────────────────────────────────────────────────────────

Command Command::add_command(const std::string& name, const std::string& about) const {
  return {*app_->add_subcommand(name, about), *grammar_};
}

Option Command::add(const std::string& name, const std::string& about, OptionSpec spec) const {
  // CLI11 never parses, so that nothing calls this.
  const CLI::callback_t unused = [](const CLI::results_t&) { return true; };
  CLI::Option* const option = spec.is_flag ? app_->add_flag_callback(
                                                 name, [] {}, about)
                                           : app_->add_option(name, unused, about);
  if (!spec.is_flag) option->type_size(1)->expected(1)->type_name("TEXT");
  if (option->get_positional() && spec.may_repeat) option->expected(1, CLI::detail::expected_max_vector_size);
  return {option, grammar_->options[option] = std::move(spec)};
}

Option Command::add_flag(const std::string& name, bool& value, const std::string& about) const {
  OptionSpec spec;
  spec.is_flag = true;
  spec.may_repeat = true;
  spec.set = [&value](const OptionSpec&, const std::string&) {
    value = true;
    return std::string(done);
  };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::string& value, const std::string& about) const {
  OptionSpec spec = text_spec(value);
  spec.show = [&value] { return value; };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::filesystem::path& value,
                           const std::string& about) const {
  OptionSpec spec = text_spec(value);
  spec.show = [&value] { return value.string(); };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::optional<std::string>& value,
                           const std::string& about) const {
  return add(name, about, text_spec(value));
}

Option Command::add_option(const std::string& name, std::vector<std::string>& value,
                           const std::string& about) const {
  OptionSpec spec;
  spec.may_repeat = true;
  spec.set = [&value](const OptionSpec&, const std::string& text) {
    value.push_back(text);
    return std::string(done);
  };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::uint64_t& value, const std::string& about) const {
  OptionSpec spec;
  spec.set = [&value](const OptionSpec& self, const std::string& text) {
    return set_number(self, text, value);
  };
  spec.show = [&value] { return std::to_string(value); };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::optional<std::uint64_t>& value,
                           const std::string& about) const {
  OptionSpec spec;
  spec.set = [&value](const OptionSpec& self, const std::string& text) {
    return set_number(self, text, value.emplace());
  };
  return add(name, about, std::move(spec));
}

Option Command::add_option(const std::string& name, std::optional<double>& value,
                           const std::string& about) const {
  OptionSpec spec;
  spec.set = [&value](const OptionSpec&, const std::string& text) {
    return set_number(text, value.emplace());
  };
  return add(name, about, std::move(spec));
}

Option Command::option(const std::string& name) const {
  CLI::Option* const option = app_->get_option(name);
  return {option, grammar_->options.at(option)};
}

void Command::require_command() const {
  app_->require_subcommand(1);
}

void Command::add_help_command() const {
  const Command help = add_command("help", "Print the help of a command");
  auto words = std::make_shared<std::vector<std::string>>();
  help.add_option("COMMAND", *words, "Command, and its subcommand").value_name("");
  help.set_footer(
      "Examples:\n"
      "  backplane help\n"
      "  backplane help sub\n"
      "  backplane help publish clock");
  help.set_run([words] { return ExitCode::done; });  // the parser prints it
  grammar_->help = help.app_;
}

void Command::set_footer(const std::string& text) const {
  app_->footer(text);
}

void Command::set_run(Run run) const {
  grammar_->runs[app_] = std::move(run);
}

// ── parsing ──────────────────────────────────────────────────────────────────────────────────────────────

/// Parses one command line. Belongs to one call of CommandLine::parse().
class CommandLine::Parser {
 public:
  Parser(CLI::App& program, Grammar& grammar, const std::string& version)
      : grammar_(grammar), version_(version), command_(&program), name_(program.get_name()) {}

  Result<Parsed> parse(std::span<const char* const> words) {
    for (; !words.empty(); words = words.subspan(1)) {
      const std::string word = words.front();
      if (!only_values_ && word == "--") {
        only_values_ = true;
        continue;
      }
      if (!only_values_ && is_option(word)) {
        if (word == "--help" || word == "-h") return print(command_->help(parent_name_));
        if (word == "--version" && command_->get_parent() == nullptr) return print(version_ + '\n');
        auto taken = take_option(word, words.size() > 1 ? words[1] : nullptr);
        if (!taken) return tl::unexpected(taken.error());
        if (*taken) words = words.subspan(1);
        continue;
      }
      if (command_ == grammar_.help) return help_for(words);
      if (auto taken = take_argument(word); !taken) return tl::unexpected(taken.error());
    }
    if (command_ == grammar_.help) return help_for({});
    if (auto complete = check_complete(); !complete) return tl::unexpected(complete.error());
    return Parsed::command;
  }

  [[nodiscard]] const CLI::App* command() const { return command_; }

 private:
  /// Payloads can be negative numbers; no option is one.
  static bool is_option(const std::string& word) {
    if (word.size() < 2 || word[0] != '-') return false;
    const char second = word[1] == '.' && word.size() > 2 ? word[2] : word[1];
    return second < '0' || second > '9';
  }

  static Parsed print(const std::string& text) {
    std::fputs(paint_help(Colours(STDOUT_FILENO), text).c_str(), stdout);
    return Parsed::help;
  }

  /// `help COMMAND…`.
  Result<Parsed> help_for(std::span<const char* const> words) {
    command_ = command_->get_parent();
    name_ = parent_name_;
    parent_name_.clear();
    for (const char* const word : words) {
      if (enter(word)) continue;
      if (word == std::string_view("--help") || word == std::string_view("-h")) continue;
      return wrong(fmt::format("help: {}", no_such_command(word)));
    }
    return print(command_->help(parent_name_));
  }

  /// Continues with the command's subcommand of that name. @returns false if there is none.
  bool enter(const std::string& word) {
    for (CLI::App* each : command_->get_subcommands({})) {
      if (!each->check_name(word)) continue;
      parent_name_ = name_;
      name_ += ' ' + word;
      command_ = each;
      return true;
    }
    return false;
  }

  [[nodiscard]] std::string no_such_command(const std::string& word) const {
    std::vector<std::string_view> names;
    for (const CLI::App* each : command_->get_subcommands({})) names.push_back(each->get_name());
    const std::string expected =
        names.empty() ? fmt::format("no subcommand of {}", name_) : std::string("a subcommand");
    return fmt::format("expected {}, got \"{}\"{}", expected, word, suggestion(meant(word, names)));
  }

  /// The command that `word` may mean: a typo, or its name written out (`subscribe`).
  static std::string_view meant(std::string_view word, const std::vector<std::string_view>& names) {
    const std::string_view near = closest_name(word, names);
    if (!near.empty()) return near;
    constexpr std::size_t prefix_min = 3;
    for (const std::string_view each : names) {
      if (each.size() >= prefix_min && word.starts_with(each)) return each;
      if (word.size() >= prefix_min && each.starts_with(word)) return each;
    }
    return {};
  }

  static std::string suggestion(std::string_view name) {
    return name.empty() ? "" : fmt::format("; did you mean {}?", name);
  }

  [[nodiscard]] tl::unexpected<Error> wrong(const std::string& text) const {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", name_, text));
  }
  [[nodiscard]] tl::unexpected<Error> wrong_form(const std::string& text) const {
    return wrong(fmt::format("{} (see {} --help)", text, name_));
  }

  [[nodiscard]] CLI::Option* find_option(const std::string& name) const {
    for (CLI::Option* each : command_->get_options()) {
      if (each->nonpositional() && each->check_name(name)) return each;
    }
    return nullptr;
  }

  /// An option as it was typed.
  struct Typed {
    std::string name;
    std::optional<std::string> value;  ///< in the same word
  };
  static Typed split(const std::string& word) {
    if (!word.starts_with("--") && word.size() > 2 && word[2] >= '0' && word[2] <= '9') {
      return {word.substr(0, 2), word.substr(2)};
    }
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) return {word, std::nullopt};
    return {word.substr(0, equals), word.substr(equals + 1)};
  }

  /// @param next  the word after it, or nullptr
  /// @returns whether that was the option's value.
  Result<bool> take_option(const std::string& word, const char* next) {
    const Typed typed = split(word);
    const CLI::Option* const option = find_option(typed.name);
    if (option == nullptr || !grammar_.options.contains(option)) return unknown_option(word);
    OptionSpec& spec = grammar_.options.at(option);
    if (spec.is_flag) {
      if (typed.value)
        return wrong(fmt::format("{}: expected no value, got \"{}\"", typed.name, *typed.value));
      return store(*option, spec, "").map([] { return false; });
    }
    if (typed.value) return store(*option, spec, *typed.value).map([] { return false; });
    if (next == nullptr) return wrong_form(fmt::format("{}: expected a value, got none", typed.name));
    const std::string value = next;
    const bool is_other_option =
        value.size() > 1 && value[0] == '-' && find_option(split(value).name) != nullptr;
    if (value == "--" || is_other_option) {
      return wrong_form(fmt::format("{}: expected a value, got the option {}", typed.name, value));
    }
    return store(*option, spec, value).map([] { return true; });
  }

  [[nodiscard]] tl::unexpected<Error> unknown_option(const std::string& word) const {
    const std::string meant = suggestion(meant_option(word));
    const CLI::Option* const free = next_positional();
    std::string text = fmt::format("unknown option \"{}\"{}", word, meant);
    if (free != nullptr) {
      text += fmt::format("{} it is {}, put -- before it", meant.empty() ? "; if" : " If", shown_name(*free));
    }
    return wrong_form(text);
  }

  /// The option that `word` may be a typo of, with its dashes.
  [[nodiscard]] std::string meant_option(const std::string& word) const {
    const std::string typed = split(word).name;
    const std::size_t dashes = std::min(typed.find_first_not_of('-'), typed.size());
    std::vector<std::string_view> names;
    for (const CLI::Option* each : command_->get_options()) {
      for (const std::string& name : each->get_lnames()) names.push_back(name);
    }
    const std::string_view near = closest_name(std::string_view(typed).substr(dashes), names);
    if (!near.empty()) return fmt::format("--{}", near);
    // `-fjson`
    if (dashes == 1 && typed.size() > 2) {
      const CLI::Option* const option = find_option(typed.substr(0, 2));
      if (option != nullptr && grammar_.options.contains(option) && !grammar_.options.at(option).is_flag) {
        return fmt::format("{} {}", typed.substr(0, 2), word.substr(2));
      }
    }
    return {};
  }

  Result<void> store(const CLI::Option& option, OptionSpec& spec, const std::string& value) {
    const std::string name = shown_name(option);
    if (spec.given++ > 0 && !spec.may_repeat)
      return wrong(fmt::format("{}: expected one value, got several", name));
    if (value.empty() && !spec.is_flag && !spec.may_be_empty) {
      return wrong(fmt::format("{}: expected a value, got an empty one", name));
    }
    const std::string expected = spec.set(spec, value);
    if (expected.empty()) return {};
    return wrong(fmt::format("{}: expected {}, got \"{}\"", name, expected, value));
  }

  /// The positional argument that the next word is for, or nullptr.
  [[nodiscard]] const CLI::Option* next_positional() const {
    for (const CLI::Option* each : command_->get_options()) {
      if (!each->get_positional()) continue;
      const OptionSpec& spec = grammar_.options.at(each);
      if (spec.given == 0 || spec.may_repeat) return each;
    }
    return nullptr;
  }

  Result<void> take_argument(const std::string& word) {
    if (!only_values_ && enter(word)) return {};
    const CLI::Option* const option = next_positional();
    if (option == nullptr) {
      const bool has_commands = !command_->get_subcommands({}).empty();
      return wrong_form(has_commands ? no_such_command(word)
                                     : fmt::format("expected no more arguments, got \"{}\"", word));
    }
    OptionSpec& spec = grammar_.options.at(option);
    if (spec.takes_rest) only_values_ = true;
    // The name of the other command must not be empty, but its arguments may be.
    if (spec.takes_rest && spec.given > 0) spec.may_be_empty = true;
    return store(*option, spec, word);
  }

  Result<void> check_complete() {
    if (command_->get_require_subcommand_min() > 0) return wrong_form("expected a subcommand, got none");
    for (const CLI::Option* each : command_->get_options()) {
      if (!each->get_required() || grammar_.options.at(each).given > 0) continue;
      return wrong_form(fmt::format("{} is required", shown_name(*each)));
    }
    return {};
  }

  Grammar& grammar_;
  const std::string& version_;
  CLI::App* command_;
  std::string name_;
  std::string parent_name_;
  bool only_values_{};
};

CommandLine::CommandLine(const std::string& name, const std::string& about, const std::string& version)
    : app_(std::make_unique<CLI::App>(about, name)),
      grammar_(std::make_unique<Grammar>()),
      version_(version) {
  app_->set_version_flag("--version", version, "Print the version and exit");
}

CommandLine::~CommandLine() = default;

Command CommandLine::program() {
  return {*app_, *grammar_};
}

Result<CommandLine::Parsed> CommandLine::parse(int argc, const char* const* argv) {
  Parser parser(*app_, *grammar_, version_);
  const auto words = std::span(argv, static_cast<std::size_t>(argc));
  auto parsed = parser.parse(words.empty() ? words : words.subspan(1));
  command_ = parser.command();
  return parsed;
}

ExitCode CommandLine::run() const {
  const auto run = grammar_->runs.find(command_);
  CHECK(run != grammar_->runs.end(), "each command has something to run, or requires a subcommand");
  return run->second();
}

}  // namespace backplane::cli
