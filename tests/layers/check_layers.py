#!/usr/bin/env python3
"""Checks the direction of dependencies in #include lines and in CMakeLists.txt files.

Between rooms (the folders at the top of the tree):

    proto <- core <- { broker | publishers | follower | fanout } <- { clients | gateway | links } <- { cli, tests, bench }

The four in the middle never use each other. Clients and gateway follow a broker and never use its code.

Within a room:

- The folders next to each other do not depend on each other in a cycle, at any depth.
- The files directly in a room stand on its folders, never the other way round (bench and tests: either way round).
- A target compiles only sources of the folder whose CMakeLists.txt declares it, and of folders below it that have
  no CMakeLists.txt of their own. The sources of one folder all go into the same library.

    check_layers.py [TREE]
"""

import collections
import dataclasses
import os
import pathlib
import re
import sys

BASE = {"proto", "core"}
# The rooms that each room may use, apart from itself.
MAY_USE = {
    "proto": set(),
    "core": {"proto"},
    "broker": BASE,
    "publishers": BASE,
    "follower": BASE,
    "fanout": BASE,
    "clients": BASE | {"follower"},
    "gateway": BASE | {"publishers", "follower", "fanout"},
    "links": BASE | {"publishers", "follower"},
}
MAY_USE["cli"] = set(MAY_USE)
MAY_USE["bench"] = set(MAY_USE) - {"cli"}
MAY_USE["tests"] = set(MAY_USE) - {"bench"}

# Rooms whose folders may use the files directly in the room.
SHARED_FILES_IN_ROOM = {"tests", "bench"}

SOURCES = {".cpp", ".hpp", ".h", ".cc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMAND = re.compile(r"\b([A-Za-z_]\w*)\s*\(([^()]*)\)")


@dataclasses.dataclass
class Include:
    line: int
    text: str
    quoted: bool
    target: str  # path from the top of the tree; "" if the file is not ours


class Tree:
    """One source tree: its rooms, their files, and what those include and declare."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.rooms = [room for room in MAY_USE if (self.top / room).is_dir()]
        # A room with public headers lets others write "backplane/NAME.hpp".
        self.include_dirs = [""] + [f"{room}/include/" for room in self.rooms
                                    if (self.top / room / "include").is_dir()]

    def files(self, room, wanted):
        # Packages that npm installed are not ours.
        return sorted(str(path.relative_to(self.top)) for path in (self.top / room).rglob("*")
                      if path.is_file() and wanted(path) and "node_modules" not in path.parts)

    def resolve(self, text, includer):
        """The path of our file that an include means, or ""."""
        # The build generates it from a file in proto/ or next to the includer.
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
                    yield (f'{where}: expected the path of one of our files from the top of the tree, '
                           f'such as "core/topic/topic.hpp", got "{include.text}"')
                continue
            used = include.target.split("/")[0]
            if used != room and used not in MAY_USE[room]:
                yield f'{where}: {room} must not use {used}, includes "{include.text}"'


def parent(path):
    return path.rpartition("/")[0]


def child_of(folder, path):
    """The folder directly in `folder` that `path` lies in or below; `folder` itself if the file lies directly in it."""
    name, slash, _ = path[len(folder) + 1:].partition("/")
    return f"{folder}/{name}" if slash else folder


def find_cycle(edges):
    """The nodes of a cycle, the shortest through the first node that is in one; [] if there is none.
    `edges`: node -> the nodes that it depends on."""
    for start in sorted(edges):
        came_from, waiting = {}, collections.deque([start])
        while waiting:
            node = waiting.popleft()
            for used in sorted(edges.get(node, ())):
                if used == start:
                    cycle = [node]
                    while cycle[0] != start:
                        cycle.insert(0, came_from[cycle[0]])
                    return cycle
                if used not in came_from:
                    came_from[used] = node
                    waiting.append(used)
    return []


def check_folders(tree, room):
    """One line for each folder with a cycle among its subfolders, even if there are more cycles."""
    # folder -> child -> other child -> the first include that makes the one depend on the other
    uses = collections.defaultdict(lambda: collections.defaultdict(dict))
    for path in tree.files(room, lambda file: file.suffix in SOURCES):
        for include in tree.includes(path):
            if include.target.split("/")[0] != room:
                continue
            where = f'{path}:{include.line} includes "{include.text}"'
            if parent(include.target) == room != parent(path) and room not in SHARED_FILES_IN_ROOM:
                yield (f"{path}:{include.line}: {child_of(room, path)} must not use files directly in {room}, "
                       f'includes "{include.text}"')
                continue
            folder = os.path.commonpath([parent(path), parent(include.target)])
            user, used = child_of(folder, path), child_of(folder, include.target)
            if user != used:
                uses[folder][user].setdefault(used, where)
    for folder, edges in sorted(uses.items()):
        cycle = find_cycle(edges)
        if cycle:
            steps = zip(cycle, cycle[1:] + cycle[:1])
            yield (f"{folder}: its folders must not depend on each other in a cycle, got "
                   f"{' -> '.join(cycle + cycle[:1])} ({'; '.join(edges[user][used] for user, used in steps)})")


def declared_target(command, arguments):
    """The target that a command declares, or ""."""
    if not arguments:
        return ""
    if command == "backplane_room":
        return "backplane_" + arguments[0]
    if command in ("add_library", "add_executable", "add_custom_target", "backplane_tests"):
        return arguments[0]
    return ""


@dataclasses.dataclass
class Listed:
    """A source in a target's list."""
    where: str
    cmake_folder: str  # of the CMakeLists.txt
    command: str
    target: str
    source: str


def listed_sources(tree, room):
    for path in tree.files(room, lambda file: file.name == "CMakeLists.txt"):
        folder = parent(path)
        for command, arguments, line in tree.commands(path):
            target = arguments[0] if command == "target_sources" else declared_target(command, arguments)
            for argument in arguments[1:] if target else []:
                source = argument.replace("${CMAKE_SOURCE_DIR}/", "/").replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
                if not source.endswith((".cpp", ".cc")) or "$" in source:  # "$": generated, in the build's folder
                    continue
                source = source[1:] if source.startswith("/") else os.path.normpath(f"{folder}/{source}")
                yield Listed(f"{path}:{line}", folder, command, target, source)


def check_sources(tree, room):
    """Each source is listed where its nearest CMakeLists.txt is."""
    for each in listed_sources(tree, room):
        owner = parent(each.source)
        while owner and not (tree.top / owner / "CMakeLists.txt").is_file():
            owner = parent(owner)
        if owner != each.cmake_folder:
            yield (f"{each.where}: {each.target} must compile only sources of {each.cmake_folder}, "
                   f"lists {each.source}, which belongs to {owner or 'no room'}")


def check_libraries(tree, room):
    """A folder belongs to one library; a line for each library too many."""
    libraries_of = collections.defaultdict(list)
    for each in listed_sources(tree, room):
        folder = parent(each.source)
        is_own = f"{folder}/".startswith(f"{each.cmake_folder}/")  # else check_sources() reports it
        if each.command != "backplane_room" or not is_own or each.target in libraries_of[folder]:
            continue
        libraries_of[folder].append(each.target)
        if len(libraries_of[folder]) > 1:
            yield (f"{each.where}: the sources of {folder} must go into one library, lists {each.source} in "
                   f"{each.target}, but others go into {libraries_of[folder][0]}")


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
    """All violations in the tree, a line each."""
    tree = Tree(top)
    found = [line for room in tree.rooms for line in check_includes(tree, room)]
    found += check_targets(tree)
    for room in tree.rooms:
        found += [*check_folders(tree, room), *check_sources(tree, room), *check_libraries(tree, room)]
    return found


def main(arguments):
    top = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parents[2]
    if not (top / "core").is_dir():
        print(f"check_layers.py: expected the top of the tree, got {top}, which has no core/", file=sys.stderr)
        return 2
    found = check(top)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
