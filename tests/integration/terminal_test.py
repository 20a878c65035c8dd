"""Programs whose terminal, or the connection that started them, goes away: none keeps running or spinning without anybody
who could stop it, unless nohup started it."""

import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import (CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, METRICS, PROGRAM, RAW, TIMEOUT_S, BackplaneTest,
                     Deadline)

CONFIG = f"""
[[backplane]]
name = "default"
ingress = "tcp://{HOST}:6570"
egress = "tcp://{HOST}:6571"
control = "tcp://{HOST}:6572"
raw = "off"
[metrics]
listen = "off"
[gateway]
listen = ["{HOST}:6601"]
"""
BROKER = ["broker", "--ingress", f"tcp://{HOST}:7570", "--egress", f"tcp://{HOST}:7571", "--control", f"tcp://{HOST}:7572",
          "--raw", "off", "--metrics", "off"]


class Terminal:
    """A pseudo-terminal with a program in it."""

    def __init__(self, *command):
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                # When a shell ends, the kernel sends SIGCONT to its jobs. This takes back the SIGSTOP by which
                # LeakSanitizer stops the threads of a process that ends, and it waits for ever.
                sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
                os.environ.update(TERM="xterm", PS1="$ ", NO_COLOR="1", ASAN_OPTIONS=sanitizer)
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        self.shown = b""

    def wait_shown(self, text):
        deadline = Deadline()
        while text not in self.shown:
            if not select.select([self._master], [], [], deadline.left())[0]:
                raise AssertionError(f"expected {text!r}, got {self.shown!r}")
            try:
                self.shown += os.read(self._master, 65536)
            except OSError:
                raise AssertionError(f"expected {text!r}, but it ended with {self.shown!r}") from None

    def type(self, text):
        os.write(self._master, text.encode())

    def close(self):
        os.close(self._master)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    found = []
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


class Hangup(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.start_clock()
        self.live_reader("clock").receive()

    def programs(self):
        """(command, what it shows when it runs)."""
        log = self.enterContext(tempfile.NamedTemporaryFile("w", suffix=".log"))
        log.write("x\n")
        log.flush()
        state = self.enterContext(tempfile.TemporaryDirectory()) + "/state"
        return [
            (BROKER, b"ready role=broker"),
            (["gateway", "--listen", f"{HOST}:7601", *ENDPOINTS], b"ready role=gateway"),
            (["up", "--config", self.config_file(CONFIG)], b"events in"),
            (["publish", "clock", "--every", "1s", *ENDPOINTS], b"ready role=publisher"),
            (["publish", "exec", *ENDPOINTS, "--topic", "t", "--", "sleep", "1000"], b"ready role=publisher"),
            (["publish", "file", *ENDPOINTS, "--topic", "t", "--path", log.name, "--state", state], b"ready role=publisher"),
            (["publish", "lines", *ENDPOINTS, "--topic", "t"], b"ready role=publisher"),
            (["sub", "clock", *ENDPOINTS], b"clock {"),
            (["sub", "clock", "--gateway", f"{HOST}:7601"], b"cannot reach a gateway"),
            (["top", *ENDPOINTS], b"BROKER"),
            (["topics", *ENDPOINTS], b"TOPIC"),
            (["pub", "t", "x", "--count", "1000000", "--every", "50ms", *ENDPOINTS], b""),
        ]

    def wait_exit(self, pid):
        """The exit code."""
        deadline = Deadline(20)
        while deadline.left():
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError("it still runs")

    def wait_gone(self, pids):
        deadline = Deadline(20)
        while left := [pid for pid in pids if alive(pid)]:
            if not deadline.left():
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"{left} still run")

    def wait_running(self, terminal, shown):
        if shown:
            terminal.wait_shown(shown)
        else:  # pub shows nothing
            self.live_reader("t").receive()

    def test_each_program_ends_with_its_terminal(self):
        for arguments, shown in self.programs():
            with self.subTest(" ".join(arguments[:2])):
                terminal = Terminal(PROGRAM, *arguments)
                self.wait_running(terminal, shown)
                children = descendants(terminal.pid)
                terminal.close()
                self.assertEqual(self.wait_exit(terminal.pid), 0)
                self.wait_gone(children)

    def test_each_program_ends_with_the_terminal_of_its_shell(self):
        for arguments, shown in self.programs():
            for background in ("", " &"):
                if background and arguments[0] in ("top", "topics"):
                    continue  # the kernel stops what reads the terminal from the background
                with self.subTest(" ".join(arguments[:2]), background=background):
                    terminal = Terminal("bash", "--norc", "-i")
                    words = " ".join(f"'{word}'" for word in [PROGRAM, *arguments])
                    terminal.type(f"{words}{background}\n")
                    self.wait_running(terminal, shown)
                    self.wait_for_program(terminal)
                    children = descendants(terminal.pid)
                    terminal.close()
                    self.wait_exit(terminal.pid)
                    self.wait_gone(children)

    def wait_for_program(self, terminal):
        deadline = Deadline()
        while not any(os.readlink(f"/proc/{pid}/exe") == PROGRAM and self.handles_hangup(pid)
                      for pid in descendants(terminal.pid) if alive(pid)):
            self.assertTrue(deadline.left(), terminal.shown)

    @staticmethod
    def handles_hangup(pid):
        blocked = int(pathlib.Path(f"/proc/{pid}/status").read_text().split("SigBlk:")[1].split()[0], 16)
        return blocked & (1 << (signal.SIGHUP - 1)) != 0

    def test_with_nohup_it_stays(self):
        for arguments, _ in self.programs():
            if arguments[0] in ("top", "topics", "sub") or arguments[1] == "lines":
                continue  # their input or output is the terminal
            with self.subTest(" ".join(arguments[:2])):
                output = self.enterContext(tempfile.NamedTemporaryFile("r"))
                terminal = Terminal("bash", "--norc", "-i")
                words = " ".join(f"'{word}'" for word in [PROGRAM, *arguments])
                terminal.type(f"nohup {words} > {output.name} 2>&1 < /dev/null &\n")
                self.wait_for_program(terminal)
                pid = next(pid for pid in descendants(terminal.pid) if os.readlink(f"/proc/{pid}/exe") == PROGRAM)
                terminal.close()
                self.wait_exit(terminal.pid)
                self.assertTrue(alive(pid))
                os.kill(pid, signal.SIGHUP)  # a request to reload, or nothing
                clock = self.live_reader("clock")
                for _ in range(10):
                    clock.receive()
                self.assertTrue(alive(pid), output.read())
                children = descendants(pid)
                os.kill(pid, signal.SIGTERM)
                self.wait_gone([pid, *children])

    def test_a_reload_is_still_possible_in_a_terminal(self):
        terminal = Terminal(PROGRAM, *BROKER)
        terminal.wait_shown(b"ready role=broker")
        os.kill(terminal.pid, signal.SIGHUP)
        terminal.wait_shown(b"reload: default: applied")
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.wait_shown(b"draining")
        self.assertEqual(self.wait_exit(terminal.pid), 0)
        terminal.close()

    def test_top_ends_with_its_terminal_also_if_hangups_are_ignored(self):
        words = " ".join([PROGRAM, "top", *ENDPOINTS])
        terminal = Terminal("sh", "-c", f"trap '' HUP; exec {words}")
        terminal.wait_shown(b"BROKER")
        terminal.close()
        self.assertEqual(self.wait_exit(terminal.pid), 0)


class Disconnected(BackplaneTest):
    """`ssh host command` without a terminal: three pipes that break, and no signal."""

    def setUp(self):
        super().setUp()
        self.start_broker()

    def start(self, arguments, command=(), sockets=False):
        """The program and our ends of its streams."""
        if sockets:
            pairs = [socket.socketpair() for _ in range(3)]
            ours, theirs = [pair[0].detach() for pair in pairs], [pair[1].detach() for pair in pairs]
        else:
            pairs = [os.pipe() for _ in range(3)]
            ours = [pairs[0][1], pairs[1][0], pairs[2][0]]
            theirs = [pairs[0][0], pairs[1][1], pairs[2][1]]
        program = subprocess.Popen([*command, PROGRAM, *arguments], stdin=theirs[0], stdout=theirs[1], stderr=theirs[2],
                                   start_new_session=True)
        for end in theirs:
            os.close(end)
        self.addCleanup(self.kill, program)
        return program, ours

    @staticmethod
    def kill(program):
        if program.poll() is None:
            program.kill()
        program.wait()

    def programs(self):
        return [(BROKER, "ready"), (["gateway", "--listen", f"{HOST}:7601", *ENDPOINTS], "ready"),
                (["up", "--config", self.config_file(CONFIG)], "nc "),
                (["publish", "clock", *ENDPOINTS], "ready"),
                (["publish", "exec", *ENDPOINTS, "--topic", "t", "--", "sleep", "1000"], "ready"),
                (["sub", "t", *ENDPOINTS], "t "), (["pub", "t", "x", "--count", "100000", "--every", "10ms", *ENDPOINTS], "")]

    def wait_running(self, ours, shown):
        text, writer, deadline = b"", self.ready_writer(), Deadline()
        while shown and shown.encode() not in text:
            self.assertTrue(deadline.left(), text)
            writer.send("t", "x")
            os.set_blocking(ours[1], False)
            try:
                text += os.read(ours[1], 65536)
            except BlockingIOError:
                pass
        writer.close()

    def test_each_program_ends_when_all_its_streams_have_been_closed(self):
        for sockets in (False, True):
            for arguments, shown in self.programs():
                with self.subTest(" ".join(arguments[:2]), sockets=sockets):
                    program, ours = self.start(arguments, sockets=sockets)
                    self.wait_running(ours, shown)
                    children = descendants(program.pid)
                    for end in ours:
                        os.close(end)
                    self.assertEqual(program.wait(20), 0)
                    self.assertEqual([pid for pid in children if alive(pid)], [])

    def test_a_program_stays_while_one_stream_is_left_or_nohup_started_it(self):
        for keep, command in ((0, ()), (1, ()), (2, ()), (None, ("nohup",))):
            with self.subTest(keep=keep, command=command):
                program, ours = self.start(BROKER, command)
                self.wait_running(ours, "ready")
                for number, end in enumerate(ours):
                    if number != keep:
                        os.close(end)
                echo, writer = self.live_reader("t"), self.ready_writer()
                for _ in range(20):  # time to notice
                    writer.send("t", "x")
                    echo.receive()
                self.assertIsNone(program.poll())
                program.terminate()
                self.assertEqual(program.wait(20), 0)
                if keep is not None:
                    os.close(ours[keep])
                echo.close()

    def test_a_daemon_stays_if_only_the_reader_of_its_ready_line_ends(self):
        read, write = os.pipe()
        broker = subprocess.Popen([PROGRAM, *BROKER], stdin=subprocess.DEVNULL, stdout=write, stderr=write)
        self.addCleanup(self.kill, broker)
        os.close(write)
        self.assertIn(b"ready", os.read(read, 100))
        os.close(read)
        broker.send_signal(signal.SIGHUP)  # a line that cannot be written
        echo, writer = self.live_reader("t"), self.ready_writer()
        for _ in range(20):
            writer.send("t", "x")
            echo.receive()
        self.assertIsNone(broker.poll())
        broker.terminate()
        self.assertEqual(broker.wait(20), 0)


class ClosedOutput(BackplaneTest):
    def test_commands_end_quietly_when_their_reader_has_ended(self):
        self.start_broker()
        self.start_gateway()
        self.start_clock()
        self.live_reader("clock").receive()
        for arguments in (["sub", "clock", *ENDPOINTS], ["sub", "clock", "--gateway", GATEWAY], ["get", "clock", *ENDPOINTS],
                          ["replay", "clock", "--to", "-", *ENDPOINTS], ["top", "--once", *ENDPOINTS],
                          ["topics", *ENDPOINTS], ["audit", *ENDPOINTS], ["--help"], ["config", "--help"]):
            with self.subTest(" ".join(arguments[:2])):
                read, write = os.pipe()
                os.close(read)
                program = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=write,
                                         stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False)
                os.close(write)
                self.assertIn(program.returncode, (0, -signal.SIGPIPE))
                self.assertEqual(program.stderr, b"")


if __name__ == "__main__":
    unittest.main()
