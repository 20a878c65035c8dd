#!/usr/bin/env python3
"""Runs clang-tidy, with clang's thread-safety analysis, over our sources: one process per CPU.

A source that passed is checked again only when something that the verdict depends on has changed (fingerprint()).
What passed is remembered in $XDG_CACHE_HOME/backplane/tidy (~/.cache if unset), which outlives clones; if that
folder cannot be written, in BUILD_DIR/tidy-passed.

    tidy.py BUILD_DIR
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "layers"))
from check_layers import Tree  # noqa: E402

CONFIGS = [".clang-tidy", "tests/.clang-tidy"]
# GCC builds with our warnings as errors: of clang's, only those that GCC does not have.
CLANG_TIDY = ["clang-tidy", "--quiet", "--extra-arg=-Wno-everything", "--extra-arg=-Wthread-safety"]
# An entry is an empty file, whose modification time is its last use.
ENTRIES_MAX = 20_000
UNUSED_MAX_S = 30 * 24 * 3600


def environment():
    """The tools and system headers that a verdict depends on, as text."""
    packages = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Architecture} ${Version}\n"],
        capture_output=True, text=True, check=True).stdout.splitlines()
    headers = [line for line in packages if re.match(r"installed (\S+-dev|clang\S*|protobuf-compiler) ", line)]
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, text=True, check=True).stdout
    return "\n".join([version, *CLANG_TIDY, *sorted(headers)])


def common_input(root, environment_text):
    """What the verdicts on all sources depend on: the environment, the checks and, as generated headers include
    one another, every .proto file."""
    protos = sorted(path for path in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.proto"],
        cwd=root, capture_output=True, text=True, check=True).stdout.splitlines())
    digest = hashlib.sha256(environment_text.encode())
    for path in [*CONFIGS, *protos]:
        digest.update(path.encode() + b"\0" + (pathlib.Path(root) / path).read_bytes())
    return digest.digest()


def fingerprint(tree, source, command, common):
    """A hash of everything that the verdict on `source` depends on, and of nothing that differs between clones."""
    # Neither the place of the object nor that of the tree matters.
    command = re.sub(re.escape(str(tree.top)) + r"(?=[/\s\"']|$)", ".", re.sub(r" -o \S+", "", command))
    digest = hashlib.sha256(common + command.encode())
    seen, waiting = set(), [source]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(include.target for include in tree.includes(path) if include.target)
    for path in sorted(seen):
        digest.update(path.encode() + b"\0" + (tree.top / path).read_bytes())
    return digest.hexdigest()


class Passed:
    """The fingerprints of sources that passed, one file each in a folder."""

    def __init__(self, build_dir):
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.folder = pathlib.Path(home) / "backplane" / "tidy"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".writable").touch()
        except OSError:
            self.folder = ROOT / build_dir / "tidy-passed"
            self.folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, key):
        try:
            os.utime(self.folder / key)
        except OSError:
            return False
        return True

    def add(self, key):
        (self.folder / key).touch()

    def expire(self):
        """Removes what was not used for long, and the longest unused above the limit."""
        entries = []
        for entry in os.scandir(self.folder):
            try:
                entries.append((entry.stat().st_mtime, entry.path))
            except FileNotFoundError:  # expired by another run
                pass
        entries.sort(reverse=True)
        for number, (used, path) in enumerate(entries):
            if number >= ENTRIES_MAX or used < time.time() - UNUSED_MAX_S:
                pathlib.Path(path).unlink(missing_ok=True)


def main(build_dir):
    tree, passed, common = Tree(ROOT), Passed(build_dir), common_input(ROOT, environment())
    sources = {}  # by fingerprint: a source that two targets compile alike is checked once
    for entry in json.loads((ROOT / build_dir / "compile_commands.json").read_text()):
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        if not path.startswith(("..", "build/")):
            sources[fingerprint(tree, path, entry["command"], common)] = path
    waiting = [(path, key) for key, path in sources.items() if key not in passed]
    print(f"{len(waiting)} of {len(sources)} sources to check; the others are unchanged since they passed")

    def check(job):
        path, key = job
        run = subprocess.run([*CLANG_TIDY, "-p", build_dir, path], cwd=ROOT, capture_output=True, text=True,
                             check=False)
        if run.returncode == 0:
            passed.add(key)
        return path, run

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for number, (path, run) in enumerate(pool.map(check, waiting), start=1):
            print(f"[{number}/{len(waiting)}] {path}", flush=True)
            if run.returncode != 0:
                failed += 1
                print(run.stdout + run.stderr, flush=True)
    passed.expire()
    if failed:
        print(f"clang-tidy: findings in {failed} of {len(waiting)} sources (see above)")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tidy.py BUILD_DIR")
    sys.exit(main(sys.argv[1]))
