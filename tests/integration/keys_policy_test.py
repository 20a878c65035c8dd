"""backplane keys and backplane policy, as docs/cli.md and docs/security.md show them."""

import os
import pathlib
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import tempfile
import termios
import unittest

import zmq
from harness import PROGRAM, TIMEOUT_S, Deadline

TOP = pathlib.Path(__file__).resolve().parents[2]
CLI_PAGE = (TOP / "docs" / "cli.md").read_text(encoding="utf-8")
SECURITY_PAGE = (TOP / "docs" / "security.md").read_text(encoding="utf-8")
EXAMPLE = SECURITY_PAGE.split("```toml\n", 1)[1].split("```", 1)[0]
HASH = re.compile(r"^\$argon2id\$v=19\$m=65536,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$")


def shown(heading):
    """The commands in the first block below a heading of cli.md, each with the lines that follow it."""
    block = CLI_PAGE.split(f"## {heading}\n", 1)[1].split("```\n", 1)[1].split("```", 1)[0]
    commands = []
    for line in block.splitlines():
        if line.startswith("$ backplane "):
            commands.append((shlex.split(line.removeprefix("$ backplane ")), []))
        else:
            commands[-1][1].append(line)
    return commands


class InAFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def backplane(self, *arguments, code=0, text=""):
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, input=text, capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, code, done)
        return done.stdout.splitlines(), done.stderr.splitlines()

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def mode(self, name):
        return stat.S_IMODE((self.folder / name).stat().st_mode)


class Keys(InAFolder):
    def test_the_example_of_the_page(self):
        key = None
        for command, expected in shown("keys"):
            failed = expected[0].startswith("backplane ")
            out, err = self.backplane(*command, code=1 if failed else 0)
            if failed:
                self.assertEqual((out, err), ([], expected))
            else:
                key = key or out[0]
                self.assertEqual((out, err, len(expected)), ([key], [], 1))

    def test_libzmq_accepts_the_pair(self):
        out, _ = self.backplane("keys", "new", "broker")
        secret = (self.folder / "broker.key").read_text(encoding="ascii").strip()
        self.assertEqual([zmq.curve_public(secret.encode()).decode()], out)
        self.assertEqual((self.folder / "broker.pub").read_text(encoding="ascii").splitlines(), out)
        self.assertEqual((self.mode("broker.key"), self.mode("broker.pub")), (0o600, 0o644))

    def test_the_secret_key_is_never_printed(self):
        self.backplane("keys", "new", "broker")
        secret = (self.folder / "broker.key").read_text(encoding="ascii").strip()
        for arguments, code in ((["show", "broker.key"], 0), (["new", "broker"], 1)):
            out, err = self.backplane("keys", *arguments, code=code)
            self.assertNotIn(secret, "\n".join(out + err))

    def test_a_secret_key_that_others_can_read_is_refused(self):
        self.backplane("keys", "new", "broker")
        (self.folder / "broker.key").chmod(0o640)
        self.assertEqual(self.backplane("keys", "show", "broker.key", code=2)[1],
                         ["backplane keys show: broker.key: expected a file that other users can neither read nor write, "
                          "got mode 0640 (use chmod 600)"])

    def test_a_pair_with_half_of_its_files_is_left_alone(self):
        self.write("broker.key", "precious")
        self.assertEqual(self.backplane("keys", "new", "broker", code=1)[1],
                         ["backplane keys new: cannot create broker.key: File exists"])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["broker.key"])

    def test_wrong_names(self):
        for name in ("broker.key", "broker.pub", "folder/"):
            self.assertEqual(self.backplane("keys", "new", name, code=2)[1],
                             [f'backplane keys new: NAME: expected the name of a key pair without .key or .pub, got "{name}"'])
        self.assertEqual(self.backplane("keys", "new", "none/broker", code=1)[1],
                         ["backplane keys new: cannot create none/broker.key: no such file"])
        self.assertEqual(self.backplane("keys", "show", "broker", code=2)[1],
                         ['backplane keys show: FILE: expected a file that ends in .key or .pub, got "broker"'])
        self.assertEqual(self.backplane("keys", "show", "none.pub", code=1)[1],
                         ["backplane keys show: cannot read none.pub: no such file"])


class Policy(InAFolder):
    def test_the_examples_of_the_pages(self):
        self.write("policy.toml", EXAMPLE)
        commands = shown("policy")
        self.assertGreater(len(commands), 3)
        for command, expected in commands:
            with self.subTest(command):
                self.assertEqual(self.backplane(*command), (expected, []))

    def test_the_help_names_every_subcommand(self):
        for command, subcommands in (("keys", ("new", "show")), ("policy", ("check", "explain", "hash"))):
            for arguments in ([command], *([command, each] for each in subcommands)):
                out, _ = self.backplane(*arguments, "--help")
                self.assertIn("Examples:", out)
                for each in subcommands if arguments == [command] else ():
                    self.assertTrue(any(line.split()[:1] == [each] for line in out), out)

    def test_every_error_of_a_file_is_listed(self):
        self.write("policy.toml", '[users.a]\ncurve = "x"\n[users.b]\nroles = ["c"]\n')
        self.assertEqual(self.backplane("policy", "check", "policy.toml", code=2),
                         ([], ["policy.toml:2 [users.a].curve: expected a key of 40 Z85 characters, got 1 characters",
                               "policy.toml:3 [users.b].curve: expected curve, token or certificate, got none",
                               'policy.toml:4 [users.b].roles: expected the name of a role, got "c"']))

    def test_a_file_that_others_can_write_is_refused(self):
        self.write("policy.toml", EXAMPLE, 0o664)
        expected = ["policy.toml: expected a file that other users cannot write, got mode 0664 (use chmod go-w)"]
        self.assertEqual(self.backplane("policy", "check", "policy.toml", code=2), ([], expected))
        self.assertEqual(self.backplane("policy", "explain", "dashboard", "a", "--policy", "policy.toml", code=2), ([], expected))

    def test_explain_reports_what_it_does_not_know(self):
        self.write("policy.toml", EXAMPLE)
        explain = ["policy", "explain", "--policy", "policy.toml"]
        self.assertEqual(self.backplane(*explain, "nobody", "a", code=2)[1],
                         ['backplane policy explain: USER: expected a user of policy.toml, got "nobody"'])
        self.assertEqual(self.backplane(*explain, "dashboard", "a..b", code=2)[1],
                         ['backplane policy explain: TOPIC: a token is empty: "a..b"'])
        self.assertEqual(self.backplane("policy", "explain", "a", "b", "--policy", "none.toml", code=2)[1],
                         ["cannot read none.toml: no such file"])

    def test_hash_of_standard_input(self):
        for text in ("s3cret", "s3cret\n", "s3cret\r\n"):
            out, err = self.backplane("policy", "hash", "--stdin", text=text)
            self.assertEqual((len(out), err), (1, []))
            self.assertRegex(out[0], HASH)
        # The page's file accepts it.
        old = re.search(r"\$argon2id\S+(?=\")", EXAMPLE)[0]
        self.write("policy.toml", EXAMPLE.replace(old, out[0]))
        self.backplane("policy", "check", "policy.toml")

    def test_hash_refuses_what_is_no_token_and_does_not_repeat_it(self):
        for text in ("", "\n", "my s3cret", "s3cret\n\n", "\x07s3cret", "é", "s" * 513):
            out, err = self.backplane("policy", "hash", "--stdin", text=text, code=2)
            self.assertEqual(out, [])
            self.assertRegex(err[0], r"^backplane policy hash: --stdin: expected (a token of 1\.\.512 printable ASCII "
                                     r"characters without spaces|at most 514 bytes), got ")
            self.assertNotIn("s3cret", err[0])

    def test_hash_without_a_terminal_says_how(self):
        self.assertEqual(self.backplane("policy", "hash", code=2)[1], ["backplane policy hash: expected a terminal, or --stdin"])


class Prompt(unittest.TestCase):
    """`backplane policy hash` on a terminal."""

    def setUp(self):
        self.controller, terminal = pty.openpty()
        self.addCleanup(os.close, self.controller)
        self.terminal = terminal
        self.addCleanup(os.close, terminal)
        self.process = subprocess.Popen([PROGRAM, "policy", "hash"], stdin=terminal, stdout=subprocess.PIPE, stderr=terminal,
                                        start_new_session=True, env={**os.environ, "NO_COLOR": "1"})
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.screen = ""

    def wait_for(self, text):
        deadline = Deadline()
        while text not in self.screen:
            ready, _, _ = select.select([self.controller], [], [], deadline.left())
            self.assertTrue(ready, f"no {text!r} in {self.screen!r}")
            self.screen += os.read(self.controller, 4096).decode()

    def type(self, text):
        os.write(self.controller, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def finish(self):
        output = self.process.communicate(timeout=TIMEOUT_S)[0].decode()
        code = self.process.returncode
        self.assertTrue(self.echoes(), "the terminal does not show what is typed")
        return code, output

    def test_the_token_is_not_shown(self):
        self.wait_for("Token: ")
        self.assertFalse(self.echoes())
        self.type("s3cret\n")
        self.wait_for("Again: ")
        self.type("s3cret\n")
        code, output = self.finish()
        self.assertEqual(code, 0)
        self.assertRegex(output.rstrip("\n"), HASH)
        self.assertNotIn("s3cret", self.screen)

    def test_two_tokens_are_an_error(self):
        self.wait_for("Token: ")
        self.type("s3cret\n")
        self.wait_for("Again: ")
        self.type("secret\n")
        self.wait_for("backplane policy hash: expected the same token twice, got two")
        self.assertEqual(self.finish(), (2, ""))

    def test_the_end_of_the_input_is_an_error(self):
        self.wait_for("Token: ")
        self.type("\x04")
        self.wait_for("backplane policy hash: the terminal has ended")
        self.assertEqual(self.finish(), (1, ""))

    def test_a_signal_ends_it_and_the_terminal_works_again(self):
        self.wait_for("Token: ")
        self.process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(), (-signal.SIGINT, ""))


if __name__ == "__main__":
    unittest.main()
