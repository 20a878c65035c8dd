#!/usr/bin/env python3
"""Runs clang-tidy over our sources, two at a time. A file that passed is not looked at again until it,
something that it includes, its compiler's command or .clang-tidy changes.

    tidy.py BUILD_DIR
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "layers"))
from check_layers import Tree  # noqa: E402

CONFIGS = [".clang-tidy", "tests/.clang-tidy"]


def fingerprint(tree, source, command):
    """Of everything of ours that clang-tidy's verdict on `source` depends on."""
    digest = hashlib.sha256(command.encode())
    for config in CONFIGS:
        digest.update((ROOT / config).read_bytes())
    seen, waiting = set(), [source]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        waiting.extend(include.target for include in tree.includes(path) if include.target)
    for path in sorted(seen):
        digest.update(path.encode() + (ROOT / path).read_bytes())
    return digest.hexdigest()


def main(build_dir):
    tree = Tree(ROOT)
    passed_dir = ROOT / build_dir / "tidy-passed"
    passed_dir.mkdir(parents=True, exist_ok=True)
    waiting = []
    for entry in json.loads((ROOT / build_dir / "compile_commands.json").read_text()):
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        if path.startswith(("..", "build/")):
            continue
        key = fingerprint(tree, path, entry.get("command", ""))
        if not (passed_dir / key).exists():
            waiting.append((path, key))

    def check(job):
        path, key = job
        run = subprocess.run(
            # GCC builds with our warnings as errors: of clang's, only those that GCC does not have.
            ["clang-tidy", "--quiet", "-p", build_dir, "--extra-arg=-Wno-everything",
             "--extra-arg=-Wthread-safety", path],
            cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode == 0:
            (passed_dir / key).touch()
        return path, run

    refused = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for number, (path, run) in enumerate(pool.map(check, waiting), start=1):
            print(f"[{number}/{len(waiting)}] {path}", flush=True)
            if run.returncode != 0:
                refused += 1
                print(run.stdout + run.stderr, flush=True)
    if refused:
        print(f"clang-tidy: {refused} of {len(waiting)} files have something to mend (see above)")
    return 1 if refused else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tidy.py BUILD_DIR")
    sys.exit(main(sys.argv[1]))
