"""Programs whose standard output or standard error is not read: they continue to work, and end at a signal."""

import fcntl
import os
import pathlib
import re
import signal
import subprocess
import termios
import unittest
import urllib.request

from harness import (CONTROL, EGRESS, ENDPOINTS, GATEWAY, INGRESS, METRICS, PROGRAM, RAW, TIMEOUT_S, BackplaneTest,
                     Deadline, LineClient)

# Far more than the longest documented time (a draining broker: 5 s), and far less than for ever.
END_S = 30
# Under a sanitizer, a child may need longer than `up` gives it, and is killed.
ENDS = (0, 1) if os.environ["SANITIZED"] else (0,)
PAGE = 4096


class FullPipe:
    """A pipe of 4 KiB that is full from the start. Nobody reads it before read()."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PAGE)
        os.write(self.writer, b"-" * (PAGE - 1) + b"\n")

    def give_away(self):
        """Only the program has the writing end now."""
        os.close(self.writer)

    def read(self, pattern):
        """Reads until a line matches. Returns the match."""
        os.set_blocking(self.reader, False)
        deadline, text = Deadline(), ""
        while deadline.left():
            try:
                text += os.read(self.reader, 65536).decode()
            except BlockingIOError:
                continue
            if match := re.search(pattern, text, re.MULTILINE):
                return match
        raise AssertionError(f"no line like {pattern!r} in {text[-2000:]}")

    def close(self):
        os.close(self.reader)


class Silent:
    """A program whose streams are given; nothing of it is read."""

    def __init__(self, test, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        self.popen = subprocess.Popen([PROGRAM, *arguments], stdin=stdin, stdout=stdout, stderr=stderr)
        self.pid = self.popen.pid
        test.addCleanup(self.kill)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def end(self, number=signal.SIGTERM):
        """Its exit code after a signal."""
        self.popen.send_signal(number)
        try:
            return self.popen.wait(END_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.popen.args} still runs {END_S} s after signal {number}") from None


class BlockedOutput(BackplaneTest):
    def full_pipe(self):
        pipe = FullPipe()
        self.addCleanup(pipe.close)
        return pipe

    def silent(self, *arguments, **streams):
        return Silent(self, *arguments, **streams)

    def wait_for(self, condition, what):
        deadline = Deadline()
        while not condition():
            self.assertTrue(deadline.left(), what)

    def is_listening(self, address):
        try:
            client = LineClient(address)
        except ConnectionRefusedError:
            return False
        client.close()
        return True

    def get(self, page):
        try:
            with urllib.request.urlopen(f"http://{METRICS}{page}", timeout=TIMEOUT_S) as response:
                return response.read().decode()
        except OSError:
            return ""

    def dropped(self):
        match = re.search(r"^backplane_broker_log_lines_dropped_total\{.*\} (\d+)$", self.get("/metrics"), re.MULTILINE)
        return int(match[1]) if match else 0


class Brokers(BlockedOutput):
    def broker(self, pipe, *options):
        broker = self.silent("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, *options, stderr=pipe.writer)
        pipe.give_away()
        self.wait_for(lambda: self.get("/readyz") == "ready\n", "the broker is not ready")
        return broker

    def test_a_broker_works_although_nobody_reads_its_log_and_counts_what_it_drops(self):
        # Each reload logs 100 KB.
        wrong = self.config_file(f'{"x" * 100_000} = 1\n')
        config = self.config_file("")
        pipe = self.full_pipe()
        broker = self.broker(pipe, "--config", config)
        pathlib.Path(config).write_bytes(pathlib.Path(wrong).read_bytes())
        deadline = Deadline()
        while not self.dropped():
            self.assertTrue(deadline.left(), "no line was dropped")
            broker.popen.send_signal(signal.SIGHUP)
        reader, writer = self.live_reader("t"), self.ready_writer()
        writer.send_frames(b"t", b"\xff not an event")  # refused, with a line in the log
        writer.send("t", "still here")
        self.assertEqual(reader.receive()[1].text, "still here")
        self.assertEqual(self.get("/readyz"), "ready\n")
        self.assertGreater(int(pipe.read(r"warning broker: (\d+) log lines were dropped here")[1]), 0)
        self.assertEqual(broker.end(), 0)

    def test_a_broker_ends_at_sigterm_although_nobody_reads_its_log(self):
        self.assertEqual(self.broker(self.full_pipe()).end(), 0)

    def test_a_broker_serves_although_nobody_reads_its_ready_line(self):
        pipe = self.full_pipe()
        broker = self.silent("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, stdout=pipe.writer)
        pipe.give_away()
        self.live_reader("t")
        pipe.read("^ready role=broker ")
        self.assertEqual(broker.end(), 0)

    def test_output_that_is_impossible_is_no_reason_to_end(self):
        with open("/dev/full", "wb") as full:
            broker = self.silent("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, stdout=full, stderr=full)
        self.live_reader("t")
        broker.popen.send_signal(signal.SIGHUP)
        self.wait_for(self.dropped, "the lines are not counted")
        self.assertEqual(broker.end(), 0)


class Others(BlockedOutput):
    def test_a_gateway_serves_although_nobody_reads_what_it_says(self):
        self.start_broker()
        pipe = self.full_pipe()
        gateway = self.silent("gateway", "--listen", GATEWAY, *ENDPOINTS, stdout=pipe.writer, stderr=pipe.writer)
        pipe.give_away()
        self.wait_for(lambda: self.is_listening(GATEWAY), "the gateway does not listen")
        client = self.client()
        client.subscribe("t")
        self.assertEqual(client.command("PUB t x"), "+OK PUB t")
        self.assertEqual(client.event(), "t x")
        self.assertEqual(gateway.end(), 0)

    def test_a_publisher_publishes_although_nobody_reads_what_it_says(self):
        for arguments in (["clock", *ENDPOINTS, "--every", "20ms"],
                          ["exec", *ENDPOINTS, "--topic", "clock", "--every", "20ms", "--", "sh", "-c", "echo x; exit 3"]):
            with self.subTest(arguments[0]):
                pipe = self.full_pipe()
                publisher = self.silent("publish", *arguments, stdout=pipe.writer, stderr=pipe.writer)
                pipe.give_away()
                # It has warned that there is no broker, or soon will.
                broker = self.start_broker()
                reader = self.live_reader("clock")
                for _ in range(5):
                    reader.receive()
                self.assertEqual(publisher.end(), 0)
                reader.close()
                broker.end()

    def test_sub_prints_events_although_nobody_reads_its_notices(self):
        pipe = self.full_pipe()
        read, write = os.pipe()
        sub = self.silent("sub", "t", *ENDPOINTS, stdout=write, stderr=pipe.writer)
        pipe.give_away()
        os.close(write)
        with open(read, "rb", buffering=0) as output:
            # After a second it reports that there is no broker.
            broker = self.start_broker()
            for text in ("one", "two"):
                self.publish_until_read(output, text)
                if text == "one":
                    broker.kill()
                    broker = self.start_broker()
            self.assertEqual(sub.end(), 0)

    def publish_until_read(self, output, text):
        os.set_blocking(output.fileno(), False)
        writer = self.ready_writer(source=text)
        deadline = Deadline()
        while deadline.left():
            writer.send("t", text)
            if f"t {text}\n".encode() in (output.read() or b""):
                return
        self.fail(f"{text} was not printed")

    def test_signals_end_a_command_whose_output_nobody_reads(self):
        self.start_broker()
        self.start_gateway()
        self.start_clock(every="5ms")
        reader = self.live_reader("clock")
        reader.receive()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for arguments in (["sub", "clock", *ENDPOINTS], ["sub", "clock", "--gateway", GATEWAY],
                              ["replay", "clock", "--to", "-", *ENDPOINTS], ["get", "clock", *ENDPOINTS],
                              ["top", "--once", *ENDPOINTS]):
                with self.subTest(arguments, signal=number):
                    pipe = self.full_pipe()
                    program = self.silent(*arguments, stdout=pipe.writer)
                    pipe.give_away()
                    self.wait_for(lambda: self.is_connected(program), "it does not connect")
                    for _ in range(20):
                        reader.receive()  # meanwhile, the program has events to write
                    self.assertIn(program.end(number), (0, -number))

    @staticmethod
    def is_connected(program):
        """Whether libzmq's threads run, or it has a socket of its own."""
        if len(os.listdir(f"/proc/{program.pid}/task")) > 1:
            return True
        for descriptor in pathlib.Path(f"/proc/{program.pid}/fd").iterdir():
            try:
                if os.readlink(descriptor).startswith("socket:"):
                    return True
            except FileNotFoundError:  # just closed
                pass
        return False


class Up(BlockedOutput):
    CONFIG = f"""
[[backplane]]
name = "default"
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "{RAW}"
[metrics]
listen = "{METRICS}"
[gateway]
listen = ["{GATEWAY}"]
"""

    def start_up(self, **streams):
        up = self.silent("up", "--no-demo", "--config", self.config_file(self.CONFIG), **streams)
        self.wait_for(lambda: self.is_listening(GATEWAY), "the gateway does not listen")
        return up

    def children(self, up):
        """{subcommand: process} of those that run."""
        found = {}
        for pid in pathlib.Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
            try:
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if len(command) > 1:
                found[command[1]] = int(pid)
        return found

    def test_up_supervises_although_nobody_reads_what_it_says(self):
        for stream in ("stdout", "stderr"):
            with self.subTest(stream):
                pipe = self.full_pipe()
                up = self.start_up(**{stream: pipe.writer})
                pipe.give_away()
                # In this order: up does not restart a gateway whose ready line it has not read yet.
                for name in (b"broker", b"gateway"):
                    before = self.children(up)[name]
                    os.kill(before, signal.SIGKILL)
                    self.wait_for(lambda: self.children(up).get(name, before) != before, "it is not restarted")
                    self.wait_for(lambda: len(self.children(up)) == 2, "it is not restarted")
                self.wait_for(lambda: self.is_listening(GATEWAY), "the gateway does not listen")
                children = list(self.children(up).values())
                self.assertIn(up.end(), ENDS)
                self.assertEqual([pid for pid in children if os.path.exists(f"/proc/{pid}")], [])

    def test_up_goes_on_reading_its_childrens_logs(self):
        pipe = self.full_pipe()
        up = self.start_up(stderr=pipe.writer)
        pipe.give_away()
        # Each line of the broker's is 60 KB: together more than its own queue, its pipe and the queue of up.
        config = pathlib.Path(up.popen.args[-1])
        config.write_text(f'{"x" * 60_000} = 1\n')
        broker = self.children(up)[b"broker"]
        before = self.written(broker)
        deadline = Deadline()
        while self.written(broker) < before + 2_000_000:
            self.assertTrue(deadline.left(), f"the broker could write only {self.written(broker) - before} bytes")
            os.kill(broker, signal.SIGHUP)
        pipe.read(r"^backplane: \d+ lines were dropped here")
        self.assertIn(up.end(), ENDS)

    @staticmethod
    def written(pid):
        return int(pathlib.Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])


class StoppedTerminal(BlockedOutput):
    """Ctrl-S stops the output of a terminal until Ctrl-Q."""

    def test_ctrl_s_stops_only_what_is_shown(self):
        master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.addCleanup(os.close, master)
        os.write(master, b"\x13")
        broker = self.silent("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, stdout=slave, stderr=slave)
        self.wait_for(lambda: self.get("/readyz") == "ready\n", "the broker is not ready")
        broker.popen.send_signal(signal.SIGHUP)  # logs a line
        reader, writer = self.live_reader("t"), self.ready_writer()
        writer.send_frames(b"t", b"\xff not an event")
        writer.send("t", "still here")
        self.assertEqual(reader.receive()[1].text, "still here")
        os.write(master, b"\x11")
        text, deadline = b"", Deadline()
        while b"ready role=broker" not in text or b"reload" not in text:
            self.assertTrue(deadline.left(), text)
            text += os.read(master, 65536)
        os.write(master, b"\x13")
        broker.popen.send_signal(signal.SIGHUP)
        self.assertEqual(broker.end(), 0)
        os.close(slave)


if __name__ == "__main__":
    unittest.main()
