"""Writes manual pages and completions: generate.py PROGRAM VERSION FOLDER.

Both come from the program's own --help. The folder then has what an installation has below share/.
"""

import gzip
import pathlib
import sys

import completions
import help_text
import man_page


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(program, version, folder):
    share = pathlib.Path(folder)
    root = help_text.read(program)
    for command in root.all():
        page = share / "man" / "man1" / f"{man_page.page_name(command.path)}.1.gz"
        page.parent.mkdir(parents=True, exist_ok=True)
        # Without name and time: the same bytes each time.
        with open(page, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(man_page.write(command, version).encode())
    write(share / "bash-completion" / "completions" / "backplane", completions.bash(root))
    write(share / "zsh" / "vendor-completions" / "_backplane", completions.zsh(root))
    write(share / "fish" / "vendor_completions.d" / "backplane.fish", completions.fish(root))


if __name__ == "__main__":
    main(*sys.argv[1:])
