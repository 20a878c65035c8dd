"""Completions for bash, zsh and fish."""


def kind(option):
    """What the shell completes a value with: files, folders, words, or nothing."""
    value = option.value or option.names[0]
    if option.choices:
        return "words"
    if value == "DIR":
        return "folders"
    if value in ("FILE", "NAME.key", "NAME.pub"):
        return "files"
    return "nothing"


def with_value(command):
    return [option for option in command.options if option.value]


# ── bash ─────────────────────────────────────────────────────────────────────────────────────────────────

BASH = r"""# bash completion for backplane. Generated from its --help.

_backplane_values() {
  case $1 in
    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur") ;;
  esac
}

_backplane() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path=backplane word='' i
  COMPREPLY=()
  # --option=value is three words.
  if [[ $cur == '=' ]]; then cur=''; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    case "$path $word" in
@PATHS@
    esac
  done
  case "$path $prev" in
@VALUES@
  esac
  if [[ $cur == -* ]]; then
    case $path in
@OPTIONS@
    esac
    return
  fi
  case $path in
@WORDS@
  esac
}

complete -F _backplane backplane
"""


def bash(root):
    paths, values, options, words = [], [], [], []
    for command in root.all():
        path = " ".join(command.path)
        paths += [f'      "{path} {each.name}") path="{path} {each.name}" ;;' for each in command.commands]
        for option in with_value(command):
            names = "|".join(f'"{path} {name}"' for name in option.names)
            text = " ".join(option.choices) if kind(option) == "words" else kind(option)
            values.append(f"    {names}) {'return' if text == 'nothing' else f'_backplane_values {quoted(text)}; return'} ;;")
        names = " ".join(name for option in command.options for name in option.names)
        options.append(f'      "{path}") mapfile -t COMPREPLY < <(compgen -W "{names}" -- "$cur") ;;')
        if command.commands:
            words.append(f'    "{path}") _backplane_values "{" ".join(each.name for each in command.commands)}" ;;')
        elif command.arguments:
            kinds = [kind(each) for each in command.arguments if kind(each) in ("files", "folders")]
            if kinds:
                words.append(f'    "{path}") _backplane_values {kinds[0]} ;;')
    text = BASH
    for name, lines in (("PATHS", paths), ("VALUES", values), ("OPTIONS", options), ("WORDS", words)):
        text = text.replace(f"@{name}@", "\n".join(lines))
    return text


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


# ── zsh ──────────────────────────────────────────────────────────────────────────────────────────────────


def zsh_text(text):
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text


def zsh_action(option):
    chosen = kind(option)
    if chosen == "words":
        return f"({' '.join(option.choices)})"
    return {"files": "_files", "folders": "_files -/", "nothing": " "}[chosen]


def zsh_option(option):
    about = zsh_text(option.about)
    value = f":{zsh_text(option.value)}:{zsh_action(option)}" if option.value else ""
    specs = []
    for name in option.names:
        others = " ".join(other for other in option.names)
        form = f"{name}=" if option.value and name.startswith("--") else name
        specs.append(quoted(f"({others}){form}[{about}]{value}"))
    return specs


def zsh_function(command):
    name = "_" + "_".join(command.path).replace("-", "_")
    lines = [f"{name}() {{"]
    if command.commands:
        lines += ["  local line state", "  _arguments -C \\"]
    else:
        lines += ["  _arguments \\"]
    specs = [spec for option in command.options for spec in zsh_option(option)]
    if command.commands:
        specs += ["'1: :->command'", "'*::argument:->arguments'"]
    else:
        for number, each in enumerate(command.arguments, 1):
            place = "*" if each.several else str(number)
            specs.append(quoted(f"{place}:{zsh_text(each.names[0])}:{zsh_action(each)}"))
    lines.append(" \\\n".join(f"    {spec}" for spec in specs))
    if command.commands:
        lines += ["  case $state in", "    command)", "      local -a commands=("]
        lines += [f"        {quoted(each.name + ':' + each.about)}" for each in command.commands]
        lines += ["      )", "      _describe -t commands command commands ;;", "    arguments)", "      case $line[1] in"]
        for each in command.commands:
            lines.append(f"        {each.name}) _{'_'.join(each.path).replace('-', '_')} ;;")
        lines += ["      esac ;;", "  esac"]
    lines.append("}")
    return "\n".join(lines)


def zsh(root):
    functions = "\n\n".join(zsh_function(command) for command in root.all())
    return f"#compdef backplane\n# Generated from the program's --help.\n\n{functions}\n\n_backplane \"$@\"\n"


# ── fish ─────────────────────────────────────────────────────────────────────────────────────────────────

FISH = """# fish completion for backplane. Generated from its --help.

# Whether the words before the cursor name this command, as "store export", and none below it.
function __backplane_at
    set -l found
    set -l known @KNOWN@
    for word in (commandline -opc)[2..-1]
        set -l longer (string join -- ' ' $found $word)
        if contains -- $longer $known
            set -a found $word
        end
    end
    set -l at (string join -- ' ' $found)
    test "$at" = "$argv[1]"
end

complete -c backplane -f
"""


def fish(root):
    known = [" ".join(command.path[1:]) for command in root.all() if len(command.path) > 1]
    lines = [FISH.replace("@KNOWN@", " ".join(quoted(each) for each in known))]
    for command in root.all():
        at = f"complete -c backplane -n '__backplane_at \"{' '.join(command.path[1:])}\"'"
        for each in command.commands:
            lines.append(f"{at} -a {each.name} -d {quoted(each.about)}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = ""
            if option.value:
                value = {"files": " -r -F", "folders": " -x -a '(__fish_complete_directories)'", "nothing": " -x",
                         "words": f" -x -a {quoted(' '.join(option.choices))}"}[kind(option)]
            lines.append(f"{at} {names}{value} -d {quoted(option.about)}")
        kinds = [kind(each) for each in command.arguments]
        if "folders" in kinds:
            lines.append(f"{at} -a '(__fish_complete_directories)'")
        elif "files" in kinds:
            lines.append(f"{at} -F")
    return "\n".join(lines) + "\n"
