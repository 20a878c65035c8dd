"""The commands of the program, read from its own --help.

Every line must be understood: a help whose layout has changed is an error, not a page with holes.
"""

import re
import subprocess
from dataclasses import dataclass, field

# CLI11 begins every explanation in this column.
COLUMN = 30


class UnknownLayout(Exception):
    """The help has a line that is none of the kinds below."""


@dataclass
class Option:
    """An option, or a positional argument."""

    names: list
    value: str = ""  # as in the help: FILE; empty for a flag
    default: str = ""
    required: bool = False
    several: bool = False
    about: str = ""

    @property
    def choices(self):
        """The words of an explanation such as `What to do: skip or stop`."""
        if self.value in ("FILE", "DIR", "HOST:PORT"):
            return []
        plain = " ".join(re.sub(r"\([^()]*\)", "", self.about).split())
        found = re.search(r"(?:^|: )((?:[a-z0-9+-]+, )*[a-z0-9+-]+ or [a-z0-9+-]+)$", plain)
        return re.split(r", | or ", found[1]) if found else []


@dataclass
class Command:
    path: list  # ["backplane", "store", "export"]
    about: str
    usage: str
    arguments: list = field(default_factory=list)
    groups: list = field(default_factory=list)  # (heading, [Option])
    commands: list = field(default_factory=list)
    examples: list = field(default_factory=list)  # lines
    notes: list = field(default_factory=list)  # paragraphs

    @property
    def name(self):
        return self.path[-1]

    @property
    def options(self):
        return [option for _, options in self.groups for option in options]

    def all(self):
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.all()


def split_entry(line):
    """The two columns of a line below a heading."""
    if len(line) > COLUMN and line[COLUMN - 1] == " ":
        return line[:COLUMN].strip(), line[COLUMN:].strip()
    return line.strip(), ""


def entries(lines):
    """(left, right) of each entry; an explanation may go on in further lines."""
    found = []
    for line in lines:
        if line.startswith(" " * COLUMN):
            if not found:
                raise UnknownLayout(f"an explanation without a name: {line!r}")
            left, right = found[-1]
            found[-1] = (left, f"{right} {line.strip()}".strip())
        elif re.match(r"  \S", line):
            found.append(split_entry(line))
        else:
            raise UnknownLayout(f"expected an entry, got {line!r}")
    return found


def option_of(left, right):
    names, *words = left.split(" ")
    option = Option(names.split(","), about=right)
    for word in words:
        if word == "REQUIRED":
            option.required = True
        elif word == "...":
            option.several = True
        elif not option.value:
            option.value, _, option.default = word.partition("=")
        else:
            raise UnknownLayout(f"expected one value, got {left!r}")
    if not right:
        raise UnknownLayout(f"expected an explanation of {left!r}")
    return option


def paragraphs(text):
    return [block.split("\n") for block in re.split(r"\n{2,}", text.strip("\n")) if block.strip()]


def parse(path, text):
    """The command and the names of its subcommands."""
    head, usage, rest = re.split(r"^(Usage: .*)\n", text, maxsplit=1, flags=re.M)
    command = Command(path, " ".join(head.split()), usage.removeprefix("Usage: "))
    names = []
    for lines in paragraphs(rest):
        heading, body = lines[0], lines[1:]
        if heading == "Positionals:":
            command.arguments = [option_of(*entry) for entry in entries(body)]
        elif heading == "Subcommands:":
            names = [name for name, _ in entries(body)]
        elif heading.endswith(":") and body and body[0].startswith("  -"):
            command.groups.append((heading[:-1], [option_of(*entry) for entry in entries(body)]))
        elif heading == "Examples:":
            if not all(line.startswith("  ") for line in body):
                raise UnknownLayout(f"expected indented examples, got {body}")
            command.examples += [line[2:] for line in body]
        elif not heading.startswith(" "):
            command.notes.append(lines)
        else:
            raise UnknownLayout(f"{' '.join(path)} --help: unknown paragraph {lines}")
    if not any("--help" in option.names for option in command.options):
        raise UnknownLayout(f"{' '.join(path)} --help: expected the option --help")
    return command, names


def read(program, path=("backplane",)):
    """The command at `path` with all below it, as `program` explains them."""
    text = subprocess.run([program, *path[1:], "--help"], capture_output=True, text=True, check=True).stdout
    command, names = parse(list(path), text)
    command.commands = [read(program, (*path, name)) for name in names]
    return command
