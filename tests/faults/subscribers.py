"""Subscribers of every kind. Each writes down what it saw and what it was notified of (records.py)."""

import base64
import contextlib
import http.client
import os
import pathlib
import socket
import struct
import threading
import time

import zmq
from backplane.v1 import event_pb2
from checker import Account, Rules
from harness import TIMEOUT_S, PROGRAM, STAMP_BYTES
from network import endpoints
from records import Lost, Notice, Reset, Resumed, Seen, parse
from websocket_peer import CLOSE, PING, PONG, TEXT, frame, take_frame
from zmq.utils.monitor import recv_monitor_message

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = {"cpp": [os.environ["LIBRARY_DRIVER"]],
           "python": ["/usr/bin/python3", "-B", "-W", "error", str(HERE / "library_driver.py")],
           "node": [os.environ["NODE"], str(HERE / "library_driver.mjs")]}
RECONNECT_S = 0.1
POSITION_S = 0.2  # from a reply to POSITION to the next one


def library_command(language, command, *arguments, hosts, ports, patterns=()):
    """The command line of a driver: a pair of endpoints for each broker."""
    pairs = [endpoints(host)[port] for host in hosts for port in ports]
    return [*DRIVERS[language], command, *map(str, arguments), *pairs, *(["--", *patterns] if patterns else [])]


class Subscriber:
    """One subscriber: its records so far, and its end."""

    def __init__(self, name, rules):
        self.name, self.rules = name, rules
        self.records = []
        self.process = None

    def update(self):
        """Takes in what has come since. @returns how many records there are."""
        for line in self._new_lines():
            self.records.append(parse(line) if isinstance(line, str) else line)
        return len(self.records)

    def account(self):
        return Account(self.name, self.records, self.rules, self.death())

    def heard(self, topic, origin):
        """Whether it has seen an event of this topic from this broker."""
        return any(type(record) is Seen and record.topic == topic and record.stream >> 32 == origin
                   for record in self.records)

    def topics(self):
        return {record.topic for record in self.records if type(record) is Seen}


class ProcessSubscriber(Subscriber):
    """A program that writes its records to a file."""

    def __init__(self, test, name, command, rules):
        super().__init__(name, rules)
        self._path = pathlib.Path(test.folder, name)
        self._path.touch()
        self._file = self._path.open(encoding="utf-8")
        test.addCleanup(self._file.close)
        self._rest = ""
        self._stopped = False
        into_file = ["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(self._path)]
        self.process = test.run_process([*into_file, *command])

    def _new_lines(self):
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return lines

    def death(self):
        if self._stopped or self.process.running():
            return ""
        return f"exit code {self.process.wait_exit()}: {' | '.join(self.process.err[-3:])}"

    def stop(self):
        if self.process.running():
            self._stopped = True
            self.process.end()


class ThreadSubscriber(Subscriber):
    """A peer in a thread of its own, which makes its connection again whenever that has ended."""

    def __init__(self, test, name, rules, patterns):
        super().__init__(name, rules)
        self.patterns = patterns
        self._come, self._taken = [], 0
        self._open = threading.Event()
        self._open.set()
        self._socket = None
        self._problem = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        test.addCleanup(self.stop)
        self._thread.start()

    def _new_lines(self):
        new = self._come[self._taken:]
        self._taken += len(new)
        return new

    def _run(self):
        while self._open.is_set():
            try:
                self._session()
            except (OSError, EOFError, http.client.HTTPException) as error:
                self._come.append(Notice(f"{type(error).__name__}: {error}"))
            except Exception as error:  # of the test itself, or an answer that nobody may give
                self._problem = repr(error)
                return
            finally:
                if self._socket:
                    self._socket.close()
            time.sleep(RECONNECT_S)

    def death(self):
        return self._problem

    def stop(self):
        if not self._open.is_set():
            return
        self._open.clear()
        while self._thread.is_alive():
            if connection := self._socket:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self._thread.join(0.1)


def stamp_of(event):
    """(stream, position, offset, previous)"""
    return struct.unpack_from("<QxQxQxQ", event, len(event) - STAMP_BYTES + 3)


def seen(topic, event):
    """The record of an event that a broker has stamped."""
    stream, position, offset, _ = stamp_of(event)
    return Seen(topic, stream, offset, position, event_pb2.Event.FromString(event).text)


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=TIMEOUT_S)


class LineSubscriber(ThreadSubscriber):
    """The line protocol in json. It resumes as docs/protocol.md says, with the token of its last POSITION."""

    def __init__(self, test, name, rules, patterns, address):
        self._address = address
        self._token = None
        self._streams = set()  # that it has events of
        self._sessions = 0
        super().__init__(test, name, rules, patterns)

    def _session(self):
        self._socket = connect(self._address)
        lines = self._begin()
        since = f" since={self._token or '1h'}" if self._sessions else ""  # all of it, if there is no token yet
        for pattern in self.patterns:
            self._send(f"SUB {pattern}{since}")
        if self._sessions:
            self._come += self._resumed()
        self._sessions += 1
        active, asked, answered = 0, False, 0.0
        for line in lines:
            if line.startswith("-"):
                raise EOFError(line)
            if line.startswith("+OK SUB"):
                active += 1
            elif line.startswith("+OK POSITION"):
                asked, answered = False, time.monotonic()
                self._token = line.removeprefix("+OK POSITION").strip() or self._token
            elif line.startswith("{"):
                record = parse(line)
                self._come.append(record)
                if type(record) is Seen:
                    self._streams.add(record.stream)
            if active == len(self.patterns) and not asked and time.monotonic() >= answered + POSITION_S:
                asked = True
                self._send("POSITION")

    def _resumed(self):
        """Everything after these positions comes again."""
        positions = dict.fromkeys(self._streams, 0)
        if self._token:
            for each in self._token.split(","):
                stream, position = each.split(":")
                positions[int(stream, 16)] = int(position)
        return [Resumed(*each) for each in positions.items()]

    def _begin(self):
        self._send("FORMAT json")
        return self._lines()

    def _send(self, text):
        self._socket.sendall((text + "\n").encode())

    def _lines(self):
        rest = b""
        while data := self._socket.recv(65536):
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode() for line in lines)


class WebSocketSubscriber(LineSubscriber):
    """The same over WebSocket."""

    def _begin(self):
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall((f"GET /v1/socket HTTP/1.1\r\nHost: {self._address}\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := self._socket.recv(65536)):
                raise EOFError("closed during the handshake")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise EOFError(head.split(b"\r\n")[0].decode())
        return self._frames(rest)

    def _send(self, text):
        self._socket.sendall(frame(TEXT, text))

    def _frames(self, data):
        while True:
            got, data = take_frame(data)
            if got is None:
                if not (piece := self._socket.recv(65536)):
                    return
                data += piece
            elif got.opcode == TEXT:
                yield got.payload.decode()
            elif got.opcode == PING:
                self._socket.sendall(frame(PONG, got.payload))
            elif got.opcode == CLOSE:
                return


class EventSource(ThreadSubscriber):
    """Server-Sent Events: a browser's EventSource, which reconnects with Last-Event-ID."""

    def __init__(self, test, name, rules, patterns, address):
        self._address, self._last_id = address, None
        super().__init__(test, name, rules, patterns)

    def _session(self):
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)) as connection:
            connection.connect()
            self._socket = connection.sock
            connection.request("GET", "/v1/events?" + "&".join(f"topic={pattern}" for pattern in self.patterns),
                               headers={"Last-Event-ID": self._last_id} if self._last_id else {})
            with connection.getresponse() as response:
                self._read(response)

    def _read(self, response):
        if response.status != 200:
            raise EOFError(f"{response.status} {response.read()}")
        if self._last_id:
            stream, position = self._last_id.split(",")[0].split(":")
            self._come.append(Resumed(int(stream, 16), int(position)))
        fields = {}
        while line := response.readline().decode():
            name, _, value = line.rstrip("\n").partition(":")
            if line != "\n":
                fields[name] = value.removeprefix(" ")
                continue
            if "data" in fields:
                self._come.append(fields["data"])
            self._last_id = fields.get("id", self._last_id)
            fields = {}


class RawSubscriber(ThreadSubscriber):
    """A plain SUB, connected to every broker, as docs/any-language.md has it: it subscribes to a new nonce after each
    connection, and sees by offsets what it missed. It recovers nothing, and does not ask for tails."""

    def __init__(self, test, name, rules, patterns, hosts):
        self._hosts = hosts
        self._starts = {}  # stream: the position after which all is ours
        self._last = {}    # (stream, topic): offset
        self._streams = {}
        super().__init__(test, name, rules, patterns)

    def _session(self):
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            for option, value in {zmq.SNDHWM: 0, zmq.RCVHWM: 0, zmq.LINGER: 0, zmq.HEARTBEAT_IVL: 5000,
                                  zmq.HEARTBEAT_TIMEOUT: 15_000, zmq.RECONNECT_IVL: 100}.items():
                subscriber.setsockopt(option, value)
            monitor = subscriber.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            poller = zmq.Poller()
            for each in (subscriber, monitor):
                poller.register(each, zmq.POLLIN)
            for pattern in self.patterns:
                subscriber.subscribe(pattern.split("*")[0].split(">")[0])
            for host in self._hosts:
                subscriber.connect(endpoints(host)["egress"])
            while self._open.is_set():
                ready = dict(poller.poll(100))
                if monitor in ready:
                    recv_monitor_message(monitor)
                    subscriber.subscribe(f"$SYS.live.{os.urandom(8).hex()}")
                if subscriber in ready:
                    self._take(subscriber)
            subscriber.disable_monitor()
            monitor.close()

    def _take(self, subscriber):
        for _ in range(1000):
            try:
                topic, event = subscriber.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._on_event(topic.decode(), event)

    def _on_event(self, topic, event):
        stream, position, offset, previous = stamp_of(event)
        old = self._streams.get(stream >> 32)
        if old != stream:
            self._streams[stream >> 32] = stream
            if old is not None:
                self._come.append(Reset(stream, None, old))
        live = topic.startswith("$SYS.live.")
        self._starts.setdefault(stream, 0 if old not in (None, stream) else position if live else position - 1)
        if live:
            return
        last = self._last.get((stream, topic))
        if last is None and previous > self._starts[stream]:
            last = 0  # how many it missed is not known: all of the topic, in these tests
        if last is not None and offset > last + 1:
            self._come.append(Lost(topic, stream, last + 1, offset - 1, "hole"))
        self._last[stream, topic] = offset
        self._come.append(seen(topic, event))


IN_ORDER = Rules(position_order=True)
# The gateway's json, and that of `backplane sub`.
AS_JSON = Rules(position_order=True, says_late=False, resets_by_topic=True)


def start(test, kind, patterns, pace_us=0):
    """A subscriber of this kind, through relays of its own. "python#2" is another one of the kind "python"."""
    name = f"sub.{kind}"
    kind = kind.split("#")[0]
    if kind in DRIVERS:
        command = library_command(kind, "subscribe", pace_us, hosts=test.network.add(name), ports=("egress", "control"),
                                  patterns=patterns)
        return ProcessSubscriber(test, name, command, IN_ORDER if kind == "cpp" else Rules())
    if kind == "cli":
        command = [PROGRAM, "sub", *patterns, "--format", "json", "--broker", ",".join(test.network.add(name))]
        return ProcessSubscriber(test, name, command, AS_JSON)
    if kind == "raw":
        return RawSubscriber(test, name, Rules(position_order=True, knows_ends=False), patterns, test.network.add(name))
    address = test.network.add_client(name)
    if kind == "cli-gateway":
        return ProcessSubscriber(test, name, [PROGRAM, "sub", *patterns, "--format", "json", "--gateway", address],
                                 AS_JSON)
    kinds = {"line": LineSubscriber, "websocket": WebSocketSubscriber, "sse": EventSource}
    return kinds[kind](test, name, AS_JSON, patterns, address)


DIRECT = ("cpp", "cli", "python", "node", "raw")
THROUGH_GATEWAY = ("cli-gateway", "line", "websocket", "sse")
