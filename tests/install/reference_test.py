"""Manual pages and completions say what the program's --help says, and shells can use them."""

import gzip
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.environ["BACKPLANE_PROGRAM"]
SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "cli" / "reference"
sys.path.insert(0, str(SCRIPTS))

import help_text  # noqa: E402

BASH = r"""
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }  # needs a completion in progress
_backplane
printf '%s\n' "${COMPREPLY[@]}"
"""


def generate(folder):
    subprocess.run([sys.executable, "-B", SCRIPTS / "generate.py", PROGRAM, "1.2.3", folder], check=True)
    return pathlib.Path(folder)


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="backplane-reference-")
        cls.addClassCleanup(folder.cleanup)
        cls.share = generate(folder.name)
        cls.program = help_text.read(PROGRAM)

    def page(self, command):
        path = self.share / "man" / "man1" / ("-".join(command.path) + ".1.gz")
        return path, gzip.decompress(path.read_bytes()).decode()


class ManualPages(Reference):
    def test_each_command_has_one_with_each_option_and_each_example(self):
        commands = list(self.program.all())
        self.assertGreater(len(commands), 20)
        for command in commands:
            plain = re.sub(r"\\f[BIR]", "", self.page(command)[1]).replace("\\-", "-").replace("\\(aq", "'")
            for option in command.options:
                for name in option.names:
                    self.assertRegex(plain, rf"(?m)^(\S+, )*{name}\b", command.path)
            for example in command.examples:
                self.assertIn(example, plain.replace("\\(ha", "^").replace("\\(ti", "~").replace("\\e", "\\"))
        self.assertEqual(len(list((self.share / "man" / "man1").iterdir())), len(commands))

    @unittest.skipUnless(shutil.which("man"), "without man")
    def test_man_formats_them_without_a_warning(self):
        for command in self.program.all():
            done = subprocess.run(["man", "--warnings", "--local-file", self.page(command)[0]], capture_output=True,
                                  text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MANPAGER": "cat"})
            self.assertEqual((done.returncode, done.stderr), (0, ""), command.path)
            self.assertIn("--help", done.stdout)

    def test_they_are_the_same_bytes_each_time(self):
        with tempfile.TemporaryDirectory() as folder:
            again = generate(folder)
            for path in sorted(self.share.rglob("*")):
                if path.is_file():
                    self.assertEqual((again / path.relative_to(self.share)).read_bytes(), path.read_bytes(), path)

    def test_a_help_with_another_layout_is_an_error(self):
        text = subprocess.run([PROGRAM, "pub", "--help"], capture_output=True, text=True, check=True).stdout
        help_text.parse(["backplane", "pub"], text)
        for changed in (text.replace("  -f,--file", "-f,--file"), text.replace("  -h,--help", "  -h"),
                        text.replace("Options:\n", "Options:\n" + " " * help_text.COLUMN + "text\n")):
            self.assertNotEqual(changed, text)
            with self.assertRaises(help_text.UnknownLayout):
                help_text.parse(["backplane", "pub"], changed)


class Completions(Reference):
    def check(self, complete):
        """complete(words) returns what may take the place of the last word."""
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "my.toml").touch()
            pathlib.Path(folder, "mydata").mkdir()
            self.folder = folder
            self.assertEqual(complete("backplane", "sto"), {"store"})
            self.assertEqual(complete("backplane", "store", ""), {"info", "verify", "export"})
            self.assertEqual(complete("backplane", "publish", "ran"), {"random-walk"})
            self.assertEqual(complete("backplane", "pub", "--tok"), {"--token-file"})
            self.assertEqual(complete("backplane", "sub", "--count", "3", "--form"), {"--format"})
            # The name of a command is a value here.
            self.assertEqual(complete("backplane", "sub", "store", "--stri"), {"--strict"})
            self.assertEqual(complete("backplane", "sub", "--format", "jso"), {"json"})
            self.assertEqual(complete("backplane", "publish", "lines", "--on-error", ""), {"skip", "stop"})
            self.assertEqual(complete("backplane", "broker", "--config", "my"), {"my.toml", "mydata"})
            self.assertEqual(complete("backplane", "broker", "--data", "my"), {"mydata"})

    def test_bash(self):
        script = self.share / "bash-completion" / "completions" / "backplane"

        def complete(*words):
            done = subprocess.run(["bash", "--norc", "-c", BASH, "bash", script, *words], capture_output=True, text=True, check=False,
                                  cwd=self.folder, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return set(done.stdout.split())

        self.check(complete)
        with tempfile.TemporaryDirectory() as self.folder:
            self.assertEqual(complete("backplane", "sub", "--format", "=", "jso"), {"json"})
            self.assertEqual(complete("backplane", "sub", "--format", "="), {"text", "text+offset", "json", "proto", "value"})
            self.assertEqual(complete("backplane", ""), {command.name for command in self.program.commands})

    @unittest.skipUnless(shutil.which("fish"), "without fish")
    def test_fish(self):
        script = self.share / "fish" / "vendor_completions.d" / "backplane.fish"

        def complete(*words):
            line = " ".join(words)
            done = subprocess.run(["fish", "--no-config", "-c", f'source "{script}"; complete -C "{line}"'], capture_output=True,
                                  text=True, check=False, cwd=self.folder, timeout=60, env={**os.environ, "HOME": self.folder})
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return {found.split("\t")[0].rstrip("/") for found in done.stdout.splitlines()}

        self.check(complete)

    @unittest.skipUnless(shutil.which("zsh"), "without zsh")
    def test_zsh(self):
        def complete(*words):
            return self.complete_in_zsh(" ".join(words))

        self.check(complete)

    def complete_in_zsh(self, line):
        """What zsh lists at the end of the line, in a terminal of its own."""
        setup = (f"PS1='' ; unsetopt zle_bracketed_paste; fpath=({self.share}/zsh/vendor-completions $fpath); autoload -Uz compinit; "
                 "compinit -u -D; LISTMAX=10000; zstyle ':completion:*' list-colors ''; "
                 # Reports the candidates instead of inserting them.
                 "compadd() { local -a found; if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd \"$@\"; return; fi; "
                 "builtin compadd -A found \"$@\"; (( $#found )) && print -r -- \"FOUND ${(j: :)found}\" >> $OUT; builtin compadd \"$@\" }; "
                 "done_() { zle complete-word; print -r -- END >> $OUT }; zle -N done_; bindkey '^I' done_; print READY >> $OUT\n")
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder, "out")
            out.touch()
            pid, terminal = pty.fork()
            if pid == 0:
                os.chdir(self.folder)
                os.environ.update(OUT=str(out), TERM="dumb", HOME=folder, COLUMNS="200")
                os.execlp("zsh", "zsh", "-f", "-i")
            try:
                os.write(terminal, setup.encode())
                self.wait_for(terminal, out, "READY")
                os.write(terminal, f"{line}\t".encode())
                text = self.wait_for(terminal, out, "END")
            finally:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                os.close(terminal)
        return {word.rstrip("=") for found in re.findall("^FOUND (.*)$", text, re.M) for word in found.split()}

    def wait_for(self, terminal, out, word, seconds=60):
        until = time.monotonic() + seconds
        seen = b""
        while not re.search(f"^{word}$", text := out.read_text(), re.M):
            self.assertLess(time.monotonic(), until, seen.decode(errors="replace"))
            if select.select([terminal], [], [], 0.05)[0]:
                seen += os.read(terminal, 65536)
        return text


if __name__ == "__main__":
    unittest.main()
