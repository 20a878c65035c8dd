"""Hostile peers: thousands of raw connections in one process, which costs little so that the machine is left to those under
attack. attacks.py says what they do."""

import errno
import random
import selectors
import socket
import ssl
import struct
import time

IP_BIND_ADDRESS_NO_PORT = 24
ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)
TICK_S = 0.05


def zmtp_ready(kind):
    name = kind.encode()
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(name)) + name
    return b"\x04" + bytes([len(body)]) + body


def zmtp_frame(data, more=False):
    if len(data) < 256:
        return bytes([more, len(data)]) + data
    return bytes([2 | more]) + struct.pack(">Q", len(data)) + data


def client_hello():
    """The first flight of OpenSSL's client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    secure = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="gw.test")
    try:
        secure.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def split(address):
    """(host, port) of tcp://HOST:PORT or HOST:PORT."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


class Peer:
    """What one connection does. Derived classes override `connected`, `received` and `drip`."""

    def connected(self, crowd, connection):
        """The connection is there."""

    def received(self, crowd, connection, data):
        """Bytes have come."""

    def drip(self, crowd, connection):
        """Called once per second."""

    always_writes = False

    def writable(self, crowd, connection):
        """There is room for more. Called only if `always_writes`."""


class Connection:
    def __init__(self, number, peer):
        self.number, self.peer = number, peer
        self.socket = None
        self.out = b""      # not sent yet
        self.is_open = False

    def send(self, crowd, data):
        """Sends, now or when there is room."""
        if not self.out:
            try:
                data = data[self.socket.send(data):]
            except BlockingIOError:
                pass
            except OSError:
                return crowd.lost(self)
        if data:
            self.out += data
            crowd.watch(self)
        return None


class Crowd:
    """Connections that are opened at a limited rate and, when the other side has closed them, opened again.

    targets: addresses, in turn. sources: number of addresses from which they come, 127.x.y.z."""

    def __init__(self, targets, count, make_peer, sources=1, opens_per_s=2500, reopen=True, sources_from=None):
        self.targets = [split(target) for target in targets]
        self.count, self.opens_per_s, self.reopen = count, opens_per_s, reopen
        self.selector = selectors.DefaultSelector()
        self.waiting = [Connection(number, make_peer(number)) for number in range(count)][::-1]
        self.sources = sources_from or [f"127.{100 + (n >> 16) % 100}.{(n >> 8) % 256}.{n % 254 + 1}" for n in range(sources)]
        self.opened = self.closed = self.errors = self.bytes = self.open_now = self.open_max = 0
        self.begun = None  # when all of them had been opened once
        self.slots = [[] for _ in range(int(1 / TICK_S))]
        self.allowed, self.asked = 0.0, time.monotonic()

    def watch(self, connection):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out or not connection.is_open or connection.peer.always_writes else 0)
        self.selector.modify(connection.socket, events, connection)

    def open(self, connection):
        host, port = self.targets[connection.number % len(self.targets)]
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket, connection.out, connection.is_open = made, b"", False
        try:
            made.bind((self.sources[connection.number % len(self.sources)], 0))
            code = made.connect_ex((host, port))
        except OSError as problem:
            code = problem.errno
        self.opened += 1
        if code not in (0, errno.EINPROGRESS):
            made.close()
            connection.socket = None
            self.errors += 1
            self.waiting.insert(0, connection)
            return
        self.open_now += 1
        self.open_max = max(self.open_max, self.open_now)
        self.selector.register(made, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def lost(self, connection):
        if connection.socket is None:
            return
        self.selector.unregister(connection.socket)
        connection.socket.close()
        connection.socket = None
        self.closed += 1
        self.open_now -= 1
        if self.reopen:
            self.waiting.insert(0, connection)

    def step(self, timeout):
        """Opens what is due, and handles what has happened."""
        now = time.monotonic()
        self.allowed = min(self.allowed + (now - self.asked) * self.opens_per_s, self.opens_per_s * TICK_S * 2)
        self.asked = now
        while self.waiting and self.allowed >= 1:
            self.allowed -= 1
            self.open(self.waiting.pop())
        if self.begun is None and self.opened >= self.count:
            self.begun = now
        for key, events in self.selector.select(timeout):
            connection = key.data
            if events & selectors.EVENT_WRITE:
                self.writable(connection)
            if events & selectors.EVENT_READ and connection.socket is not None:
                self.readable(connection)

    def writable(self, connection):
        if not connection.is_open:
            connection.is_open = True
            self.slots[connection.number % len(self.slots)].append((connection, connection.socket))
            connection.peer.connected(self, connection)
        elif connection.out:
            data, connection.out = connection.out, b""
            connection.send(self, data)
        elif connection.peer.always_writes:
            connection.peer.writable(self, connection)
        if connection.socket is not None:
            self.watch(connection)

    def readable(self, connection):
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.bytes += len(data)
        if not data:
            self.lost(connection)
        else:
            connection.peer.received(self, connection, data)

    def run(self, seconds, on_begun):
        """on_begun: called when all have been opened once."""
        end, slot, due = time.monotonic() + seconds, 0, time.monotonic()
        said = False
        while (now := time.monotonic()) < end:
            if now >= due:
                due += TICK_S
                # Those that have been closed since are dropped from the slot.
                alive = [each for each in self.slots[slot] if each[0].socket is each[1]]
                self.slots[slot] = alive
                for connection, _ in alive:
                    if connection.socket is not None:
                        connection.peer.drip(self, connection)
                slot = (slot + 1) % len(self.slots)
            if self.begun and not said:
                said = True
                on_begun()
            self.step(max(0.0, min(due, end) - time.monotonic()))

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.data.socket.close()
        self.selector.close()

    def figures(self):
        return {"opened": self.opened, "closed": self.closed, "errors": self.errors, "open_max": self.open_max}


class Silent(Peer):
    pass


class Sends(Peer):
    """Sends this at once, and nothing more."""

    def __init__(self, data):
        self.data = data

    def connected(self, crowd, connection):
        connection.send(crowd, self.data)


class Drips(Peer):
    """Sends `first` at once, and then a byte per second, for ever."""

    def __init__(self, first, rest):
        self.first, self.rest, self.at = first, rest, 0

    def connected(self, crowd, connection):
        self.at = 0
        if self.first:
            connection.send(crowd, self.first)

    def drip(self, crowd, connection):
        connection.send(crowd, self.rest[self.at % len(self.rest):][:1])
        self.at += 1


class Floods(Peer):
    """Sends `first`, then what next_batch() returns, as fast as it is read; discards what comes."""

    always_writes = True

    def __init__(self, first, next_batch):
        self.first, self.next_batch = first, next_batch

    def connected(self, crowd, connection):
        connection.send(crowd, self.first)

    def writable(self, crowd, connection):
        connection.send(crowd, self.next_batch())


class Paced(Peer):
    """Sends `first`, and once per second what next_batch() returns; counts the lines that come."""

    def __init__(self, first, next_batch):
        self.first, self.next_batch = first, next_batch

    def connected(self, crowd, connection):
        if self.first:
            connection.send(crowd, self.first)

    def drip(self, crowd, connection):
        connection.send(crowd, self.next_batch())


def hello_and_garbage(number, hello, seed=7):
    """TLS peers that never complete a handshake: after a ClientHello, in the middle of a record, with bytes that are none."""
    kind = number % 4
    if kind in (0, 1):
        return Sends(hello)
    if kind == 2:
        return Sends(hello[:len(hello) // 2])
    chance = random.Random(seed + number)
    return Sends(b"\x16\x03\x01\x40\x00" + chance.randbytes(200))
