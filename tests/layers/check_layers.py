#!/usr/bin/env python3
"""Holds the direction of the dependencies, in #include lines and in CMakeLists.txt:

    proto <- core <- { broker | publishers | follower | fanout } <- { clients | gateway } <- { cli, tests, bench }

The four in the middle never use each other. Clients and gateway follow a broker and know nothing of its insides.

    check_layers.py [TREE]
"""

import dataclasses
import pathlib
import re
import sys

BASE = {"proto", "core"}
# What each room may use beside itself.
MAY_USE = {
    "proto": set(),
    "core": {"proto"},
    "broker": BASE,
    "publishers": BASE,
    "follower": BASE,
    "fanout": BASE,
    "clients": BASE | {"follower"},
    "gateway": BASE | {"publishers", "follower", "fanout"},
}
MAY_USE["cli"] = set(MAY_USE)
MAY_USE["bench"] = set(MAY_USE) - {"cli"}
MAY_USE["tests"] = set(MAY_USE) - {"bench"}

SOURCES = {".cpp", ".hpp", ".h", ".cc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMAND = re.compile(r"\b([A-Za-z_]\w*)\s*\(([^()]*)\)")


@dataclasses.dataclass
class Include:
    line: int
    text: str
    quoted: bool
    target: str  # path from the top of the tree; "" where the file is none of ours


class Tree:
    """The rooms of one source tree, and what they name of each other."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.rooms = [room for room in MAY_USE if (self.top / room).is_dir()]
        # Rooms with a public face let others write "backplane/NAME.hpp".
        self.include_dirs = [""] + [f"{room}/include/" for room in self.rooms
                                    if (self.top / room / "include").is_dir()]

    def files(self, room, wanted):
        # What npm put there is not ours.
        return sorted(str(path.relative_to(self.top)) for path in (self.top / room).rglob("*")
                      if path.is_file() and wanted(path) and "node_modules" not in path.parts)

    def resolve(self, text, includer):
        """The path of our file that an include means, or ""."""
        # Generated while building, from proto/ or from what stands beside the file.
        name = re.sub(r"\.pb\.h$", ".proto", text)
        own = [f"{pathlib.PurePath(includer).parent}/"] if name != text else []
        for folder in self.include_dirs + ["proto/"] + own:
            if (self.top / folder / name).is_file():
                return folder + name
        return ""

    def includes(self, path):
        text = (self.top / path).read_text(encoding="utf-8", errors="replace")
        return [Include(line_of(text, match.start(2)), match[2], match[1] == '"', self.resolve(match[2], path))
                for match in INCLUDE.finditer(text)]

    def commands(self, path):
        """Name, arguments and line of each command of a CMake file."""
        text = re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0]),
                      (self.top / path).read_text(encoding="utf-8"))
        return [(match[1].lower(), match[2].replace('"', " ").split(), line_of(text, match.start()))
                for match in COMMAND.finditer(text)]


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def check_includes(tree, room):
    for path in tree.files(room, lambda file: file.suffix in SOURCES):
        for include in tree.includes(path):
            where = f"{path}:{include.line}"
            if not include.target:
                if include.quoted:
                    yield (f'{where}: "{include.text}" is no file of ours; '
                           'includes are written from the top, as "core/topic/topic.hpp"')
                continue
            used = include.target.split("/")[0]
            if used != room and used not in MAY_USE[room]:
                yield f'{where}: {room} must not use {used}, includes "{include.text}"'


def declared_target(command, arguments):
    """The target that a command makes, or ""."""
    if not arguments:
        return ""
    if command == "backplane_room":
        return "backplane_" + arguments[0]
    if command in ("add_library", "add_executable", "add_custom_target", "backplane_tests"):
        return arguments[0]
    return ""


def check_targets(tree):
    cmake_files = {room: tree.files(room, lambda file: file.name == "CMakeLists.txt") for room in tree.rooms}
    room_of = {}
    for room, paths in cmake_files.items():
        for path in paths:
            for command, arguments, _ in tree.commands(path):
                target = declared_target(command, arguments)
                if target:
                    room_of[target.replace("::", "_")] = room
    for room, paths in cmake_files.items():
        for path in paths:
            for command, arguments, line in tree.commands(path):
                if command in ("add_library", "add_executable") and "ALIAS" not in arguments:
                    continue
                for argument in arguments:
                    used = room_of.get(argument.replace("::", "_"))
                    if used is None:
                        if argument.startswith("backplane::"):
                            yield f"{path}:{line}: there is no target {argument}"
                    elif used != room and used not in MAY_USE[room]:
                        yield f"{path}:{line}: {room} must not use {used}, names {argument}"


def check(top):
    """Everything in the tree that goes against the direction, a line each."""
    tree = Tree(top)
    found = [line for room in tree.rooms for line in check_includes(tree, room)]
    return found + list(check_targets(tree))


def main(arguments):
    top = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parents[2]
    if not (top / "core").is_dir():
        print(f"check_layers.py: {top} has no core/: not the top of the tree", file=sys.stderr)
        return 2
    found = check(top)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
