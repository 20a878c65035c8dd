"""Every program, started by everything that starts programs: systemd, Docker, cron, nohup, supervisord, ssh, a script.

For each pair: the program works, its output appears, it has no descriptor that it should not have and leaves none to its
children, it leaves no zombies, SIGTERM ends it in the documented time and with the documented exit code, and nothing that
it started is left.
"""

import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from harness import ENDPOINTS, GATEWAY, HOST, PROGRAM, BackplaneTest, Deadline, LineClient, Reader

OWN = [f"tcp://{HOST}:{port}" for port in (7570, 7571, 7572)]
OWN_ENDPOINTS = ["--ingress", OWN[0], "--egress", OWN[1], "--control", OWN[2]]
UP_CONFIG = f"""
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
# A broker drains for up to 5 s; all else ends within 2 s. Tests may run beside others.
END_S = 20
# In another namespace of processes, LeakSanitizer cannot suspend threads, and takes what they use for leaks.
PROCESS_1 = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--", "env",
             "ASAN_OPTIONS=detect_leaks=0"]
CLOSE_ON_EXEC = 0o2000000
LEFT_BY_PARENT = 3  # the only descriptor above 2 that a starter passes on, if any


def may_unshare():
    return subprocess.run([*PROCESS_1, "true"], check=False, capture_output=True).returncode == 0


def state(pid):
    """(state, parent) of a process; ("", 0) if there is none."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    except (FileNotFoundError, ProcessLookupError):
        return "", 0


def descendants(pid):
    found, parents = [], {int(each): state(each)[1] for each in os.listdir("/proc") if each.isdigit()}
    todo = [pid]
    while todo:
        parent = todo.pop()
        children = [child for child, its in parents.items() if its == parent]
        found += children
        todo += children
    return found


class Starter:
    """Starts a program as some other program does. `output` is what it prints, if anybody reads it."""

    reads_output = True
    passes_descriptor = False
    exit_codes = (0,)  # after SIGTERM

    def __init__(self, test, arguments):
        self.test, self.command, self.output = test, [PROGRAM, *arguments], b""
        self._reader = None
        self.process = self.start()
        test.addCleanup(self.kill)

    def popen(self, command=None, **options):
        return subprocess.Popen(command or self.command, start_new_session=True, **options)

    def pipe(self):
        """The writing end of a pipe whose reading end is read as output."""
        self._reader, write = os.pipe()
        self.test.addCleanup(os.close, self._reader)
        return write

    def read_output(self):
        if self._reader is not None and select.select([self._reader], [], [], 0)[0]:
            try:
                self.output += os.read(self._reader, 65536)
            except OSError:  # a terminal without a program
                pass
        return self.output

    def kill(self):
        for pid in [*descendants(self.process.pid), self.process.pid]:
            if state(pid)[0] not in ("", "Z"):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def main_pid(self):
        """The program itself; None if it has not been started yet."""
        return self.process.pid if self.is_program(self.process.pid) else None

    @staticmethod
    def is_program(pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") == PROGRAM
        except OSError:
            return False

    def terminate(self):
        os.kill(self.main_pid(), signal.SIGTERM)


class Systemd(Starter):
    """Standard output and error are a socket to the journal. A socket unit passes descriptor 3."""

    passes_descriptor = True

    def start(self):
        ours, journal = socket.socketpair()
        ours.shutdown(socket.SHUT_WR)
        self._reader = ours.detach()
        self.test.addCleanup(os.close, self._reader)
        listening = socket.socket()
        listening.bind((HOST, 0))
        listening.listen()
        folder = self.test.enterContext(tempfile.TemporaryDirectory())
        environment = {"PATH": "/usr/bin:/bin", "LISTEN_FDS": "1", "LISTEN_PID": "1", "STATE_DIRECTORY": f"{folder}:/nowhere",
                       "NOTIFY_SOCKET": f"{folder}/notify", "INVOCATION_ID": "0" * 32, "JOURNAL_STREAM": "9:12345"}
        pass_3 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.closerange(4, 100); os.execv(sys.argv[2], sys.argv[2:])"
        process = self.popen([sys.executable, "-c", pass_3, str(listening.fileno()), *self.command], env=environment,
                             stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, pass_fds=[listening.fileno()], cwd="/")
        journal.close()
        listening.close()
        return process


class Docker(Starter):
    """Process 1 of its container."""

    def start(self):
        write = self.pipe()
        process = self.popen([*PROCESS_1, *self.command], stdin=subprocess.DEVNULL, stdout=write, stderr=write)
        os.close(write)
        return process

    def main_pid(self):
        return next((pid for pid in descendants(self.process.pid) if self.is_program(pid)), None)


class DockerWithTerminal(Docker):
    """docker run -it"""

    def start(self):
        self._reader, slave = pty.openpty()
        self.test.addCleanup(os.close, self._reader)
        login = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
        process = self.popen([sys.executable, "-c", login, *PROCESS_1, *self.command], stdin=slave, stdout=slave, stderr=slave,
                             env={**os.environ, "NO_COLOR": "1"})
        os.close(slave)
        return process


class Cron(Starter):
    """Almost no environment, no terminal, an input that has ended, and one pipe for all output."""

    def start(self):
        write = self.pipe()
        read, end = os.pipe()
        os.close(end)
        process = self.popen(["/bin/sh", "-c", "exec " + " ".join(f"'{word}'" for word in self.command)], stdin=read,
                             stdout=write, stderr=write, cwd="/",
                             env={"HOME": "/", "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"})
        os.close(read)
        os.close(write)
        return process


class CronWithoutReader(Starter):
    """Nobody reads the output any more."""

    reads_output = False

    def start(self):
        read, write = os.pipe()
        os.close(read)
        process = self.popen(stdin=subprocess.DEVNULL, stdout=write, stderr=write, cwd="/", env={"PATH": "/usr/bin:/bin"})
        os.close(write)
        return process


class Nohup(Starter):
    """Hangups are ignored, the output is a file."""

    def start(self):
        self._file = self.test.enterContext(tempfile.NamedTemporaryFile())
        return self.popen(["nohup", *self.command], stdin=subprocess.DEVNULL, stdout=self._file, stderr=subprocess.STDOUT)

    def read_output(self):
        return pathlib.Path(self._file.name).read_bytes()


class Supervisord(Starter):
    """A process group, three pipes; with stopasgroup, all of the group get the signal."""

    def start(self):
        write = self.pipe()
        process = self.popen(stdin=subprocess.PIPE, stdout=write, stderr=write)
        self.test.addCleanup(process.stdin.close)
        os.close(write)
        return process

    def terminate(self):
        os.killpg(self.process.pid, signal.SIGTERM)


class Script(Starter):
    """In the background of a script: its input is /dev/null, and SIGINT and SIGQUIT are ignored."""

    def start(self):
        write = self.pipe()
        words = " ".join(f"'{word}'" for word in self.command)
        process = self.popen(["sh", "-c", f"{words} & wait $!"], stdout=write, stderr=write, stdin=subprocess.DEVNULL)
        os.close(write)
        return process

    def main_pid(self):
        return next((pid for pid in descendants(self.process.pid) if self.is_program(pid)), None)


class Spoiled(Starter):
    """All signals are ignored and blocked, all standard streams closed, and no file may have any permission."""

    reads_output = False

    def start(self):
        spoil = """
import os, signal, sys
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGHUP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.umask(0o777)
os.closerange(0, 3)
os.execv(sys.argv[1], sys.argv[1:])
"""
        return self.popen([sys.executable, "-c", spoil, *self.command])


STARTERS = [Systemd, Cron, CronWithoutReader, Nohup, Supervisord, Script, Spoiled]
if may_unshare():
    STARTERS += [Docker, DockerWithTerminal]


class StartedBy(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()

    def wait_for(self, condition, starter):
        deadline = Deadline()
        while not condition():
            if not deadline.left() or starter.process.poll() is not None:
                self.fail(f"{starter.process.args}: {starter.read_output()!r}, exit code {starter.process.poll()}")
            starter.read_output()
            time.sleep(0.005)

    def listens(self, address):
        try:
            LineClient(address).close()
        except ConnectionRefusedError:
            return False
        return True

    def received(self, topic, egress=None):
        """A function: whether an event of this topic has come."""
        reader = Reader(self.context, topic, **({"egress": egress} if egress else {}))
        self.addCleanup(reader.close)
        return reader.poll_now

    def subscribed(self):
        before = self.counters()["subscriptions_total"]
        return lambda: self.counters()["subscriptions_total"] > before

    def check(self, starter_type, arguments, works, shows):
        """`works` is a condition that holds once the program works; `shows` is in its output."""
        starter = starter_type(self, arguments)
        try:
            self.check_started(starter, works, shows)
        finally:
            starter.kill()  # its ports are the next one's

    def check_started(self, starter, works, shows):
        self.wait_for(works, starter)
        pid = starter.main_pid()
        if starter.reads_output and shows:
            self.wait_for(lambda: shows in starter.read_output(), starter)
        self.check_descriptors(starter, pid)
        children = descendants(pid)
        self.assertLessEqual(sum(state(child)[0] == "Z" for child in children), 1, "zombies; the last run may just be ending")
        starter.terminate()
        try:
            code = starter.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.fail(f"still running {END_S} s after SIGTERM: {starter.read_output()!r}")
        self.assertIn(code, starter.exit_codes, starter.read_output())
        deadline = Deadline(END_S)
        while left := [child for child in children if state(child)[0] not in ("", "Z")]:
            self.assertTrue(deadline.left(), f"left behind: {left}")

    def check_descriptors(self, starter, pid):
        """Its standard streams are those that it was given, or /dev/null; what it has opened, no child inherits."""
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                flags = int(pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split("flags:")[1].split()[0], 8)
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:
                continue  # just closed
            if int(fd) > 2 and not (starter.passes_descriptor and int(fd) == LEFT_BY_PARENT):
                self.assertTrue(flags & CLOSE_ON_EXEC, f"children inherit {fd}: {target}")
            if int(fd) <= 2 and isinstance(starter, Spoiled):
                self.assertEqual(target, "/dev/null")

    def test_a_broker(self):
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                self.check(starter, ["broker", *OWN_ENDPOINTS, "--raw", "off", "--metrics", "off"],
                           self.received(f"$SYS.live.{os.urandom(8).hex()}", OWN[1]), b"ready role=broker")

    def test_a_gateway(self):
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                self.check(starter, ["gateway", "--listen", GATEWAY, *ENDPOINTS], lambda: self.listens(GATEWAY),
                           b"ready role=gateway")

    def test_up(self):
        config = self.config_file(UP_CONFIG)
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                self.check(starter, ["up", "--config", config],
                           self.received("clock", f"tcp://{HOST}:6571"), b"events in")

    def test_a_publisher(self):
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                topic = f"clock.{starter.__name__}"
                self.check(starter, ["publish", "clock", "--topic", topic, "--every", "20ms", *ENDPOINTS],
                           self.received(topic), b"ready role=publisher")

    def test_publish_exec(self):
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                topic = f"exec.{starter.__name__}"
                reader = self.live_reader(topic)
                self.check(starter, ["publish", "exec", "--topic", topic, "--every", "20ms", *ENDPOINTS, "--", "sh", "-c",
                                     "ls -l /proc/self/fd; sleep 1000 & true"],
                           self.received(topic + ".exit"), b"ready role=publisher")
                lines = []
                while not lines or not lines[-1][0].endswith(".exit"):
                    lines.append(reader.receive())
                # Of ls itself: 3 is the folder that it lists.
                fds = [event.text.split()[8] for place, event in lines if place == topic and " -> " in event.text]
                self.assertEqual(set(fds) - {"0", "1", "2", "3"} - ({"4"} if starter.passes_descriptor else set()), set())
                reader.close()

    def test_publish_file(self):
        for starter in STARTERS:
            with self.subTest(starter.__name__):
                folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
                (folder / "log").write_text("one\n")
                topic = f"file.{starter.__name__}"
                self.check(starter, ["publish", "file", "--topic", topic, "--path", str(folder / "log"), "--state",
                                     str(folder / "new" / "state"), *ENDPOINTS],
                           self.received(topic), b"ready role=publisher")
                self.assertEqual((folder / "new" / "state").stat().st_mode & 0o602, 0o600)

    def test_sub(self):
        self.start_clock()
        for starter in STARTERS:
            if starter is CronWithoutReader or starter is Spoiled:
                continue  # it ends at once: nobody gets what it prints
            with self.subTest(starter.__name__):
                self.check(starter, ["sub", "clock", *ENDPOINTS], self.subscribed(), b"clock {")

    def test_commands_that_end_by_themselves(self):
        self.start_clock()
        self.live_reader("clock").receive()
        for starter_type in STARTERS:
            if starter_type is DockerWithTerminal:
                continue  # top shows a screen there
            for arguments, shows in ((["top", *ENDPOINTS], b"BROKER"), (["get", "clock", *ENDPOINTS], b"tick"),
                                     (["replay", "clock", "--to", "-", "--format", "text", *ENDPOINTS], b"clock {"),
                                     (["pub", "t", "x", *ENDPOINTS], b"")):
                with self.subTest(starter_type.__name__, command=arguments[0]):
                    starter = starter_type(self, arguments)
                    deadline = Deadline()
                    while starter.process.poll() is None:
                        starter.read_output()
                        self.assertTrue(deadline.left(), "it does not end")
                    if starter.reads_output:
                        self.assertEqual(starter.process.returncode, 0, starter.read_output())
                        self.assertIn(shows, starter.read_output())


if __name__ == "__main__":
    unittest.main()
