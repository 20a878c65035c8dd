"""The real processes, clients and ZeroMQ peers, for tests that look at the system from outside.

Every wait is for a condition and bounded; nothing sleeps. Each test process has a loopback address of its own: its
ports are free, stay free over a restart, and disturb no other test.
"""

import collections
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import zmq
from backplane.v1 import control_pb2, event_pb2

PROGRAM = os.environ["BACKPLANE_PROGRAM"]
# Tests ignore the addresses and contexts of the user who runs them.
for variable in ("BACKPLANE_BROKER", "BACKPLANE_GATEWAY", "BACKPLANE_CONFIG", "BACKPLANE_CONTEXT"):
    os.environ.pop(variable, None)
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
# The limit for any wait, on a busy machine and under a sanitizer.
TIMEOUT_S = 90.0
STAMP_BYTES = 47
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:")


def own_host():
    pid = os.getpid()
    return f"127.{1 + (pid >> 16) % 64}.{(pid >> 8) % 256}.{pid % 256}"


HOST = own_host()
INGRESS, EGRESS, CONTROL, RAW = (f"tcp://{HOST}:{port}" for port in (5570, 5571, 5572, 5574))
METRICS = f"{HOST}:9570"
GATEWAY = f"{HOST}:1601"
ENDPOINTS = ["--ingress", INGRESS, "--egress", EGRESS, "--control", CONTROL]


class Deadline:
    """The end of a bounded wait."""

    def __init__(self, seconds=TIMEOUT_S):
        self._end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self._end - time.monotonic())

    def left_ms(self):
        return int(self.left() * 1000)


class Process:
    """A child process. Threads read its standard output and error."""

    def __init__(self, command, stdin=subprocess.DEVNULL, process_group=None, cwd=None):
        self.command = command
        self.out, self.err = [], []
        self._changed = threading.Condition()
        self._streams_open = 2
        # The kernel kills it when this process ends.
        self._popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace", bufsize=1, process_group=process_group, cwd=cwd)
        self.pid = self._popen.pid
        self.stdin = self._popen.stdin
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                         for pair in ((self._popen.stdout, self.out), (self._popen.stderr, self.err))]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._streams_open -= 1
            self._changed.notify_all()

    def wait_line(self, lines, pattern, since=0, timeout=TIMEOUT_S):
        """Waits for the first line, from number `since` on, that matches `pattern`. Returns the match. `lines` is
        self.out or self.err."""
        deadline = Deadline(timeout)
        seen = since  # look at each line once: there may be tens of thousands
        with self._changed:
            while True:
                while seen < len(lines):
                    match = re.search(pattern, lines[seen])
                    if match:
                        return match
                    seen += 1
                if not self._streams_open:
                    raise AssertionError(f"ended without a line like {pattern!r}\n{self.transcript()}")
                if not deadline.left():
                    raise AssertionError(f"no line like {pattern!r} within {timeout} s\n{self.transcript()}")
                self._changed.wait(deadline.left())

    def ready(self, timeout=TIMEOUT_S):
        """Waits for the ready line. Returns its fields."""
        line = self.wait_line(self.out, r"^ready (.+)$", timeout=timeout)[1]
        return dict(field.split("=", 1) for field in line.split())

    def signal(self, number):
        self._popen.send_signal(number)

    def running(self):
        return self._popen.poll() is None

    def wait_exit(self, timeout=TIMEOUT_S):
        """Waits until the process has ended and all its output is read. Returns its exit code."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s\n{self.transcript()}") from None
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        return code

    def kill(self):
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def end(self):
        """Stops the process with SIGTERM, and checks that it exits cleanly."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                code = self.wait_exit()
            finally:
                if self.running():
                    self.kill()
            # A publisher whose broker has ended before it says so, and fails.
            honest = code == 1 and any("they are lost" in line for line in self.err)
            if code not in (0, -signal.SIGTERM) and not honest:
                raise AssertionError(f"exit code {code} at SIGTERM\n{self.transcript()}")
        if any(SANITIZER_REPORT.search(line) for line in self.err):
            raise AssertionError(f"a sanitizer reported an error\n{self.transcript()}")
        if self.stdin:
            self.stdin.close()

    def transcript(self):
        text = "\n".join(["$ " + " ".join(self.command), *("  out: " + line for line in self.out),
                          *("  err: " + line for line in self.err)])
        return text if len(text) < 20_000 else text[:10_000] + "\n…\n" + text[-10_000:]


class CommandClient:
    """A client that sends commands to the gateway. In _sort(), a derived class sorts the input into events, replies and
    notices, and adds all of it to `seen`."""

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self.seen = []
        self.closed = False
        self._events, self._replies, self._notices = (collections.deque() for _ in range(3))

    def send_bytes(self, data):
        self._socket.sendall(data)

    def half_close(self):
        self._socket.shutdown(socket.SHUT_WR)

    def _read(self, deadline):
        if not select.select([self._socket], [], [], deadline.left())[0]:
            raise AssertionError(f"no more input within {TIMEOUT_S} s; the last was {self.seen[-20:]}")
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.closed = not data
        self._buffer += data

    def _pump(self, deadline):
        """Waits for bytes, and sorts the complete messages."""
        if self.closed:
            raise AssertionError(f"the gateway closed the connection; it had sent {self.seen}")
        self._read(deadline)
        self._sort()

    def _next(self, queue):
        deadline = Deadline()
        while not queue:
            self._pump(deadline)
        return queue.popleft()

    def reply(self):
        return self._next(self._replies)

    def event(self):
        return self._next(self._events)

    def notice(self):
        return self._next(self._notices)

    def command(self, text):
        """Sends a command and returns the reply."""
        self.send(text)
        return self.reply()

    def subscribe(self, *patterns):
        """Each pattern may be followed by options."""
        for pattern in patterns:
            reply = self.command(f"SUB {pattern}")
            if reply != f"+OK SUB {pattern.split(' ')[0]}":
                raise AssertionError(f"expected +OK for SUB {pattern}, got {reply!r}")

    def wait_closed(self):
        """Reads until the gateway closes the connection."""
        deadline = Deadline()
        while not self.closed:
            self._pump(deadline)

    def close(self):
        self._socket.close()


class LineClient(CommandClient):
    """A client of the gateway's line protocol, like nc."""

    def __init__(self, address=GATEWAY):
        host, port = address.rsplit(":", 1)
        super().__init__(socket.create_connection((host, int(port)), timeout=TIMEOUT_S))

    @property
    def lines(self):
        return self.seen

    def send(self, text):
        self.send_bytes((text + "\n").encode())

    def _sort(self):
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in (line.decode() for line in lines):
            self.seen.append(line)
            kind = {"+": self._replies, "-": self._replies, "!": self._notices}.get(line[:1], self._events)
            kind.append(line)

    def wait_notice(self, text):
        """Reads notices until this one. Only notices of lost events may come before it."""
        while (notice := self.notice()) != text:
            if not re.match("!(GAP|RESET) ", notice):
                raise AssertionError(f"expected {text!r}, got {notice!r}")

    def events_until(self, last):
        """Returns the events before the line `last`."""
        events = []
        while (line := self.event()) != last:
            events.append(line)
        return events

    def event_like(self, pattern):
        while not (match := re.search(pattern, self.event())):
            pass
        return match


class Reader:
    """A plain ZeroMQ SUB, as in any language."""

    def __init__(self, context, *prefixes, egress=EGRESS):
        self._socket = context.socket(zmq.SUB)
        # At the default high-water mark, subscriptions can be lost.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.connect(egress)
        for prefix in prefixes:
            self._socket.subscribe(prefix)

    def subscribe(self, prefix):
        self._socket.subscribe(prefix)

    def wait_live(self):
        """Waits until all subscriptions are active: the broker sends the live reply when it has seen this one."""
        topic = f"$SYS.live.{os.urandom(8).hex()}"
        self._socket.subscribe(topic)
        answer = self.receive_frames()
        while answer[0].decode() != topic:
            answer = self.receive_frames()
        self._socket.unsubscribe(topic)
        return event_pb2.Event.FromString(answer[1])

    def receive_frames(self):
        if not self._socket.poll(TIMEOUT_S * 1000):
            raise AssertionError(f"no message within {TIMEOUT_S} s")
        return self._socket.recv_multipart()

    def poll_now(self):
        """Whether a message is available now."""
        return self._socket.poll(0) != 0

    def receive(self):
        """(topic, Event) of the next message."""
        topic, event = self.receive_frames()
        return topic.decode(), event_pb2.Event.FromString(event)

    def close(self):
        self._socket.close()


class Writer:
    """A publisher without our library: an XPUB that waits for the broker's subscription, then sends."""

    def __init__(self, context, source="writer@test", endpoint=INGRESS, send_timeout_s=TIMEOUT_S):
        self.source, self.session, self.sequence = source, int.from_bytes(os.urandom(8), "little") or 1, 0
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, int(send_timeout_s * 1000))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def wait_ready(self):
        if not self._socket.poll(TIMEOUT_S * 1000):
            raise AssertionError(f"the broker did not subscribe within {TIMEOUT_S} s")
        self._socket.recv()

    def event(self, **fields):
        """The next event of this publisher."""
        self.sequence += 1
        fields = {"source": self.source, "session": self.session, "sequence": self.sequence, **fields}
        return event_pb2.Event(**fields)

    def send(self, topic, text):
        self.send_frames(topic.encode(), self.event(text=text).SerializeToString())

    def send_frames(self, *frames):
        self._socket.send_multipart(frames)

    def close(self):
        self._socket.close()


def gateway_figures(address):
    """The metrics of a gateway's backplane "default" by name, and by name.label if there is one more label."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as peer:
        peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while piece := peer.recv(65536):
            data += piece
    found = re.findall(r'^backplane_gateway_(\w+)\{backplane="default"(?:,\w+="(\w+)")?\} (\S+)$', data.decode(), re.MULTILINE)
    return {name + (f".{label}" if label else ""): float(value) for name, label, value in found}


class ControlClient:
    """One connection to control, as a REQ or a DEALER."""

    def __init__(self, context, kind=zmq.REQ, control=CONTROL):
        self._before = [b""] if kind == zmq.DEALER else []
        self._socket = context.socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(control)

    def send(self, request):
        self.send_bytes(request.SerializeToString())

    def send_bytes(self, request):
        self._socket.send_multipart([*self._before, request])

    def reply_bytes(self):
        if not self._socket.poll(TIMEOUT_S * 1000):
            raise AssertionError(f"no reply within {TIMEOUT_S} s")
        return self._socket.recv_multipart()[-1]

    def reply(self):
        return control_pb2.ControlReply.FromString(self.reply_bytes())

    def request(self, **request):
        """The keyword is the request's name, its value has the fields."""
        self.send(control_pb2.ControlRequest(version=1, id=7, **request))
        return self.reply()

    def pages(self, **request):
        """Yields (reply, its size) for a request and its continuations, until complete."""
        (name, fields), = request.items()
        fields = dict(fields)
        while True:
            self.send(control_pb2.ControlRequest(version=1, id=7, **{name: fields}))
            answer = self.reply_bytes()
            reply = control_pb2.ControlReply.FromString(answer)
            end = reply.WhichOneof("end")
            if end not in ("complete", "more"):
                raise AssertionError(f"expected complete or more, got {end}: {reply}")
            yield reply, len(answer)
            if end == "complete":
                return
            fields["cursor"] = reply.more.cursor

    def close(self):
        self._socket.close()


def node(text, *arguments):
    """The command that runs `text` as a program in clients/node; run it in that folder. --eval has no file name, so a name
    takes its place among the arguments."""
    return [os.environ["NODE"], "--input-type=module", "--eval", text, "program", *arguments]


def position_and_offset(event):
    """Reads them from a stamped event's bytes without parsing: the stamp is its end."""
    return struct.unpack_from("<QxQ", event, len(event) - STAMP_BYTES + 12)


class BackplaneTest(unittest.TestCase):
    """Starts processes for a test; afterwards stops all of them, and checks that they exit cleanly."""

    def setUp(self):
        self.context = zmq.Context()
        # Runs last, after all sockets are closed.
        self.addCleanup(self.context.term)

    def config_file(self, text):
        """Writes a configuration file with this text. Returns its path."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "backplane.toml")
        path.write_text(text, encoding="utf-8")
        return str(path)

    def run_process(self, command, **options):
        process = Process(command, **options)
        self.addCleanup(process.end)
        return process

    def run_program(self, *arguments, **options):
        return self.run_process([PROGRAM, *arguments], **options)

    def start_broker(self, *options):
        broker = self.run_program("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, *options)
        broker.ready()
        return broker

    def start_gateway(self, *options):
        gateway = self.run_program("gateway", "--listen", GATEWAY, *ENDPOINTS, *options)
        gateway.ready()
        return gateway

    def start_clock(self, *options, every="20ms"):
        return self.run_program("publish", "clock", "--every", every, *ENDPOINTS, *options)

    def client(self):
        client = LineClient()
        self.addCleanup(client.close)
        return client

    def reader(self, *prefixes):
        reader = Reader(self.context, *prefixes)
        self.addCleanup(reader.close)
        return reader

    def live_reader(self, *prefixes):
        reader = self.reader(*prefixes)
        reader.wait_live()
        return reader

    def control_client(self, kind=zmq.REQ):
        control_client = ControlClient(self.context, kind)
        self.addCleanup(control_client.close)
        return control_client

    def writer(self, **options):
        writer = Writer(self.context, **options)
        self.addCleanup(writer.close)
        return writer

    def ready_writer(self, **options):
        writer = self.writer(**options)
        writer.wait_ready()
        return writer

    def publish_until_received(self, topic, process):
        """Publishes "knock" until `process` has printed something: for readers that do not report when they
        are live."""
        echo, writer = self.live_reader(topic), self.ready_writer(source="knock@test")
        deadline = Deadline()
        while not process.out:
            if not deadline.left():
                raise AssertionError(f"it received nothing\n{process.transcript()}")
            writer.send(topic, "knock")
            echo.receive()

    def control_request(self, **request):
        """Sends a request to the broker's control endpoint. The keyword is the request's name."""
        with self.context.socket(zmq.REQ) as control_client:
            control_client.setsockopt(zmq.LINGER, 0)
            control_client.connect(CONTROL)
            control_client.send(control_pb2.ControlRequest(version=1, id=7, **request).SerializeToString())
            self.assertTrue(control_client.poll(TIMEOUT_S * 1000), "no reply from control")
            reply = control_pb2.ControlReply.FromString(control_client.recv())
        self.assertEqual(reply.id, 7)
        return reply

    def wait_admitted(self, writer):
        """Waits until the broker has admitted or refused all events of `writer`."""
        deadline = Deadline()
        while True:
            request = control_pb2.AdmittedRequest(source=writer.source, session=writer.session)
            admitted = self.control_request(admitted=request).admitted
            if max(admitted.sequence, admitted.refused_sequence) >= writer.sequence:
                return
            if not deadline.left():
                raise AssertionError(f"expected {writer.sequence} admitted events, got {admitted.sequence}")

    def history(self, control_client, topic):
        """Returns all events of a topic in the broker's history."""
        return [event_pb2.Event.FromString(stored.event)
                for reply, _ in control_client.pages(replay={"pattern": topic, "after_offset": 0})
                for stored in reply.replay.events]

    def counters(self):
        return self.control_request(stats=control_pb2.StatsRequest()).stats.counters

    def tick(self, line):
        """Parses an event line of the clock."""
        topic, payload = line.split(" ", 1)
        self.assertEqual(topic, "clock")
        return json.loads(payload)
