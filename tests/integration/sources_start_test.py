"""Programs whose parent left something behind: ignored or blocked signals, closed streams, a umask, or the duties of
process 1."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import unittest

from backplane.events.v1 import command_result_pb2
from harness import ENDPOINTS, PROGRAM, BackplaneTest, Deadline

# Runs the rest of its command line after it has spoiled what the program inherits.
SPOILED = """
import os, signal, sys
for number in range(1, signal.NSIG):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
os.umask(0o777)
os.close(0)
os.execv(sys.argv[1], sys.argv[1:])
"""
# In another namespace of processes, LeakSanitizer cannot suspend threads, and takes what they use for leaks.
PROCESS_1 = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--", "env",
             "ASAN_OPTIONS=detect_leaks=0"]


def may_unshare():
    return subprocess.run([*PROCESS_1, "true"], check=False, capture_output=True).returncode == 0


def children(pid):
    """{process: its state} of the children."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rsplit(")", 1)[1].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found[int(entry.parent.name)] = state
    return found


class Started(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def spoiled(self, *arguments):
        return self.run_process([sys.executable, "-c", SPOILED, PROGRAM, *arguments])

    def exit_result(self, reader):
        while True:
            topic, event = reader.receive()
            if topic == "cmd.exit":
                result = command_result_pb2.CommandResult()
                self.assertTrue(event.message.Unpack(result))
                return result

    def test_exec_learns_exit_codes_although_its_parent_ignores_children(self):
        reader = self.live_reader("cmd")
        source = self.spoiled("publish", "exec", "--topic", "cmd", "--every", "50ms", *ENDPOINTS, "--", "sh", "-c", "exit 3")
        for _ in range(3):
            result = self.exit_result(reader)
            self.assertEqual((result.exit_code, result.signal, result.problem), (3, 0, ""))
        source.signal(signal.SIGTERM)
        self.assertEqual(source.wait_exit(), 0, source.transcript())

    def test_a_command_gets_default_signals(self):
        reader = self.live_reader("cmd")
        self.spoiled("publish", "exec", "--topic", "cmd", *ENDPOINTS, "--", "grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
        masks = [int(reader.receive()[1].text.split()[1], 16) for _ in range(2)]
        # nohup's SIGHUP is a wish, not a leftover.
        self.assertEqual([mask & ~(1 << (signal.SIGHUP - 1)) for mask in masks], [0, 0])

    def test_a_broker_ends_at_sigterm(self):
        broker = self.spoiled("broker", "--ingress", "tcp://127.0.0.1:0", "--egress", "tcp://127.0.0.1:0", "--control",
                          "tcp://127.0.0.1:0", "--raw", "off", "--metrics", "off")
        broker.ready()
        broker.signal(signal.SIGTERM)
        self.assertEqual(broker.wait_exit(), 0, broker.transcript())

    def test_every_subcommand_ends_at_sigterm(self):
        for arguments in (["sub", "x", *ENDPOINTS], ["top", *ENDPOINTS], ["publish", "clock", *ENDPOINTS]):
            with self.subTest(arguments[0]):
                program = self.spoiled(*arguments)
                deadline = Deadline()
                while f"{PROGRAM}" != os.readlink(f"/proc/{program.pid}/exe") or self.is_blocked(program, signal.SIGUSR1):
                    self.assertTrue(deadline.left() and program.running(), program.transcript())
                program.signal(signal.SIGTERM)
                self.assertIn(program.wait_exit(), (0, -signal.SIGTERM), program.transcript())

    def is_blocked(self, program, number):
        status = pathlib.Path(f"/proc/{program.pid}/status").read_text()
        return int(status.split("SigBlk:")[1].split()[0], 16) & (1 << (number - 1)) != 0

    def test_files_can_be_read_again_by_their_owner_and_written_by_nobody_else(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        log, state = pathlib.Path(folder.name, "log"), pathlib.Path(folder.name, "new", "state")
        log.write_text("one\n")
        reader = self.live_reader("log")
        source = self.spoiled("publish", "file", "--path", str(log), "--state", str(state), "--topic", "log", *ENDPOINTS)
        self.assertEqual(reader.receive()[1].text, "one")
        source.signal(signal.SIGTERM)
        self.assertEqual(source.wait_exit(), 0, source.transcript())
        for path in (state, state.parent):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode & 0o600, 0o600)
            self.assertEqual(mode & 0o002, 0)


@unittest.skipUnless(may_unshare(), "needs a user namespace")
class ProcessOne(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def process_1(self, program):
        """Its number as we see it."""
        deadline = Deadline()
        while deadline.left():
            for pid in children(program.pid):
                try:
                    if os.readlink(f"/proc/{pid}/exe") == PROGRAM:
                        return pid
                except FileNotFoundError:
                    pass
        self.fail(program.transcript())

    def test_exec_leaves_no_zombies(self):
        reader = self.live_reader("cmd.exit")
        program = self.run_process([*PROCESS_1, PROGRAM, "publish", "exec", "--topic", "cmd", "--every", "20ms", *ENDPOINTS,
                                    "--", "sh", "-c", "sleep 100 & true"])
        pid = self.process_1(program)
        for _ in range(20):
            reader.receive()
        zombies = [each for each, state in children(pid).items() if state == "Z"]
        self.assertLess(len(zombies), 3, "the latest run may just be ending")
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(program.wait_exit(), 0, program.transcript())

    def test_sigterm_ends_it_and_its_exit_code_is_kept(self):
        program = self.run_process([*PROCESS_1, PROGRAM, "publish", "clock", *ENDPOINTS])
        program.ready()
        os.kill(self.process_1(program), signal.SIGTERM)
        self.assertEqual(program.wait_exit(), 0, program.transcript())
        wrong = self.run_process([*PROCESS_1, PROGRAM, "publish", "nothing"])
        self.assertEqual(wrong.wait_exit(), 2)
        # As process 1, a program without a handler would not even notice.
        reader = self.run_process([*PROCESS_1, PROGRAM, "sub", "x", *ENDPOINTS])
        pid = self.process_1(reader)
        deadline = Deadline()
        while not children(pid):
            self.assertTrue(deadline.left())
        os.kill(pid, signal.SIGTERM)
        self.assertIn(reader.wait_exit(), (0, 128 + signal.SIGTERM), reader.transcript())


if __name__ == "__main__":
    unittest.main()
