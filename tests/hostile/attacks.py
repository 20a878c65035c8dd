"""What hostile peers do, as a program: `attacks.py NAME OPTIONS`, with OPTIONS in JSON. Prints `begun` when the attack is
complete (all connections were opened), and its figures in JSON at its end."""

import itertools
import json
import os
import socket
import sys
import time

import zmq
from peers import (ZMTP_GREETING, Crowd, Drips, Floods, Paced, Sends, Silent, client_hello, hello_and_garbage, split,
                   zmtp_frame, zmtp_ready)

EVENT = b"\x32\x01x"  # an Event whose text is "x"
UPGRADE = (b"GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
MASKED_FRAME_OF_60000 = b"\x81\xfe" + (60_000).to_bytes(2, "big") + bytes(4)


def begun():
    print("begun", flush=True)


def run_crowd(crowd, seconds, **figures):
    crowd.run(seconds, begun)
    crowd.close()
    return {**crowd.figures(), **figures}


def silent(targets, count, seconds, sources=1, sources_from=None, first="", reopen=True, opens_per_s=2500):
    """Connections that send nothing, or only `first`."""
    data = {"": b"", "greeting": ZMTP_GREETING, "curve": b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(15 + 32)}[first]
    return run_crowd(Crowd(targets, count, lambda number: Sends(data) if data else Silent(), sources,
                           sources_from=sources_from, reopen=reopen, opens_per_s=opens_per_s), seconds)


def slowloris(targets, count, seconds, sources=1):
    """A byte per second: heads of HTTP requests, commands, and frames of WebSockets, a third each."""
    head = b"GET /v1/events?topic=a HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 5000
    kinds = (lambda: Drips(b"", head), lambda: Drips(b"", b"SUB slow." + b"a" * 5000),
             lambda: Drips(UPGRADE + MASKED_FRAME_OF_60000, b"PING "))
    return run_crowd(Crowd(targets, count, lambda number: kinds[number % 3](), sources), seconds)


def tls(targets, count, seconds, sources=1, opens_per_s=1000):
    hello = client_hello()
    return run_crowd(Crowd(targets, count, lambda number: hello_and_garbage(number, hello), sources, opens_per_s), seconds)


def subscriptions(targets, clients, each, seconds, sources=1, churn=False):
    """Clients that subscribe to `each` distinct patterns; with churn, they unsubscribe from and subscribe to them again."""
    lines = {"sent": 0}

    def make(number):
        def batches():
            for start in range(0, each, 500):
                part = range(start, min(start + 500, each))
                lines["sent"] += len(part)
                yield b"".join(b"SUB flood.%d.%d.>\n" % (number, n) for n in part)
            for start in itertools.count(0, 100):
                if not churn:
                    yield b""
                    continue
                part = range(start, start + 100)
                lines["sent"] += 200
                yield b"".join(b"UNSUB flood.%d.%d.>\nSUB flood.%d.%d.>\n" % (number, n % each, number, n % each) for n in part)
        made = batches()
        return _Steady(lambda: next(made))
    crowd = Crowd(targets, clients, make, sources)
    figures = run_crowd(crowd, seconds)
    return {**figures, "commands": lines["sent"], "reply_bytes": crowd.bytes}


class _Steady(Floods):
    """Ends its wish to write with the first empty batch."""

    def __init__(self, next_batch):
        super().__init__(b"PING\n", next_batch)

    def writable(self, crowd, connection):
        batch = self.next_batch()
        if batch:
            connection.send(crowd, batch)
        else:
            self.always_writes = False


def long_subscriptions(endpoint, count, size, seconds):
    """Prefixes of a mebibyte. Whenever the broker closes the connection, another one is made."""
    end, sent, connections = time.monotonic() + seconds, 0, 0
    begun()
    while time.monotonic() < end:
        made = Zmtp(endpoint, "SUB")
        connections += 1
        try:
            while sent < count and made.send(zmtp_frame(b"\x01" + bytes([sent % 256]) + bytes(size)), end):
                sent += 1
            time.sleep(0.1)  # the attack's pace
        except OSError:
            pass
        made.close()
    return {"sent": sent, "connections": connections}


def overlapping(targets, patterns, tokens, seconds, per_s=20):
    """A client that subscribes to many patterns which all match one topic, and publishes it."""
    topic = ".".join("o" * tokens)
    lines = []
    for bits in range(patterns):
        pattern = ".".join("*" if bits >> n & 1 else "o" for n in range(tokens))
        lines.append(f"SUB {pattern}\n")
    crowd = Crowd(targets, 1, lambda _: Paced("".join(lines).encode(), lambda: f"PUB {topic} x\n".encode() * per_s))
    return {**run_crowd(crowd, seconds), "reply_bytes": crowd.bytes}


def half(targets, count, size, seconds, sources=1):
    """Events that never end: PUB, a body over HTTP, and a frame of a WebSocket, a third each."""
    kinds = (b"PUB half.a " + b"x" * size,
             b"POST /v1/topics/half.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (size + 100) + b"x" * size,
             UPGRADE + b"\x81\xff" + (size + 100).to_bytes(8, "big") + bytes(4) + b"PUB half.a " + b"x" * size)
    return run_crowd(Crowd(targets, count, lambda number: Sends(kinds[number % 3]), sources, opens_per_s=200), seconds)


def lines_reader(targets, seconds, pattern="large.>", reads=True):
    """A client of the gateway that subscribes to what another attack publishes; it reads, or does not."""
    class Reads(Sends):
        def connected(self, crowd, connection):
            super().connected(crowd, connection)
            if not reads:
                crowd.selector.unregister(connection.socket)
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                crowd.deaf.append(connection.socket)
                connection.socket = None
    crowd = Crowd(targets, 1, lambda _: Reads(f"SUB {pattern}\n".encode()))
    crowd.deaf = []
    figures = run_crowd(crowd, seconds)
    for each in crowd.deaf:
        each.close()
    return {**figures, "MiB_read": crowd.bytes >> 20}


def broker_subscriptions(endpoint, clients, each, seconds, prefix_bytes=0, keys=None):
    """The same at the broker's egress, by libzmq: prefixes that nobody publishes."""
    context = zmq.Context()
    context.linger = 0
    if keys:
        context.curve_publickey, context.curve_secretkey, context.curve_serverkey = (key.encode() for key in keys)
    sockets, sent = [], 0
    end = time.monotonic() + seconds
    padding = "x" * prefix_bytes
    for client in range(clients):
        made = context.socket(zmq.SUB)
        made.setsockopt(zmq.SNDHWM, 0)
        made.connect(endpoint)
        sockets.append(made)
        for number in range(each):
            made.subscribe(f"flood.{client}.{number}.{padding}")
            sent += 1
            if time.monotonic() > end:
                break
    begun()
    churned = 0
    while time.monotonic() < end:
        made = sockets[churned % clients]
        name = f"churn.{churned}.{padding}"
        made.subscribe(name)
        made.unsubscribe(name)
        churned += 1
        if churned % 100 == 0:
            time.sleep(0.01)  # the attack's pace
    for made in sockets:
        made.close()
    context.term()
    return {"subscriptions": sent, "churned": churned}


class Zmtp:
    """A connection of a PUB without libzmq: what is sent costs nothing but the system call."""

    def __init__(self, endpoint, kind="PUB"):
        self.socket = socket.create_connection(split(endpoint), timeout=60)
        self.socket.sendall(ZMTP_GREETING)
        self._read(64)
        self.socket.sendall(zmtp_ready(kind))
        head = self._read(2)
        self._read(head[1])

    def _read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed during the handshake")
            data += piece
        return data

    def send(self, data, end):
        """Sends all of it, unless the time ends. Returns whether it did."""
        view = memoryview(data)
        self.socket.settimeout(1)
        while view and time.monotonic() < end:
            try:
                view = view[self.socket.send(view):]
            except TimeoutError:
                continue
        return not view

    def finish(self):
        """Closes it when the other side has read everything: closing at once would discard what is on the way."""
        self.socket.settimeout(30)
        self.socket.shutdown(socket.SHUT_WR)
        while self.socket.recv(4096):
            pass
        self.close()

    def close(self):
        self.socket.close()


def topics(endpoint, count, seconds, batch=5000):
    """One publisher, `count` distinct topics."""
    made, end, sent = Zmtp(endpoint), time.monotonic() + seconds, 0
    begun()
    tail = b"\x00" + bytes([len(EVENT)]) + EVENT
    begin = time.monotonic()
    while sent < count and time.monotonic() < end:
        part = range(sent, min(sent + batch, count))
        if not made.send(b"".join([b"\x01\x0eflood.%08d" % number + tail for number in part]), end):
            break
        sent += len(part)
    made.finish()
    return {"topics": sent, "per_s": round(sent / (time.monotonic() - begin))}


def gateway_topics(targets, clients, seconds, token=None):
    """Clients of the gateway that publish distinct topics."""
    sent = itertools.count()
    made = Crowd(targets, clients, lambda _: Floods(
        f"AUTH {token}\n".encode() if token else b"PING\n",
        lambda: b"".join(b"PUB flood.g%08d x\n" % next(sent) for _ in range(100))))
    return {**run_crowd(made, seconds), "topics": next(sent)}


def large(endpoint, seconds, size, publishers=1, count=0):
    """Events of `size` bytes at full speed."""
    body_bytes = size - 16
    varint, left = b"", body_bytes
    while left > 127:
        varint, left = varint + bytes([left & 127 | 128]), left >> 7
    event = b"\x3a" + varint + bytes([left]) + bytes(body_bytes)
    made = [Zmtp(endpoint) for _ in range(publishers)]
    begun()
    begin, sent = time.monotonic(), 0
    end = begin + seconds
    messages = [zmtp_frame(b"large.%d" % number, more=True) + zmtp_frame(event) for number in range(16)]
    while time.monotonic() < end and not (count and sent >= count):
        if not made[sent % publishers].send(messages[sent % 16], end):
            break
        sent += 1
    took = time.monotonic() - begin
    for each in made:
        each.close()
    return {"events": sent, "MiB_per_s": round(sent * size / took / (1 << 20))}


def gateway_large(targets, clients, seconds, size, token=None):
    line = b"PUB large.g " + b"x" * (size - 13) + b"\n"
    hello = f"AUTH {token}\n".encode() if token else b"PING\n"
    crowd = Crowd(targets, clients, lambda _: Floods(hello, lambda: line))
    return {**run_crowd(crowd, seconds), "reply_bytes": crowd.bytes}


def deaf(endpoint, seconds, prefix="large."):
    """A subscriber that does not read what it subscribes to, but replies to heartbeats, as a stopped reader of libzmq does."""
    context = zmq.Context()
    context.linger = 0
    made = context.socket(zmq.SUB)
    made.setsockopt(zmq.RCVHWM, 1)
    made.setsockopt(zmq.RCVBUF, 4096)
    made.connect(endpoint)
    made.subscribe(prefix)
    begun()
    time.sleep(seconds)  # the attack
    made.close()
    context.term()
    return {}


def tokens(targets, per_s, seconds, clients=100, sources=1, user="anna"):
    """Wrong tokens, half in AUTH and half as Bearer. A third is for a user that exists, others for names that do not."""
    sent = itertools.count()
    each = max(1, per_s // clients)

    def wrong():
        number = next(sent)
        return f"{user if number % 3 == 0 else f'user{number}'}:wrong{number}.{os.getpid()}"

    def lines():
        return "".join(f"AUTH {wrong()}\n" for _ in range(each)).encode()

    def requests():
        return "".join(f"GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {wrong()}\r\n\r\n"
                       for _ in range(each)).encode()
    crowd = Crowd(targets, clients, lambda number: Paced(b"", lines if number % 2 else requests), sources)
    return {**run_crowd(crowd, seconds), "tokens": next(sent), "reply_bytes": crowd.bytes}


def keys(endpoint, per_s, seconds, server_key):
    """Connections with keys that no user has. Each is closed when it was refused."""
    context = zmq.Context(io_threads=1)
    context.linger = 0
    context.max_sockets = 5000
    begun()
    begin = time.monotonic()
    end, made, opened = begin + seconds, [], 0
    pair = zmq.curve_keypair()
    while (now := time.monotonic()) < end:
        while opened < (now - begin) * per_s and len(made) < 2000:
            each = context.socket(zmq.SUB)
            each.curve_publickey, each.curve_secretkey = pair
            each.curve_serverkey = server_key.encode()
            each.connect(endpoint)
            made.append((now, each))
            opened += 1
        while made and made[0][0] < now - 1:
            made.pop(0)[1].close()
        time.sleep(0.005)  # the attack's pace
    for _, each in made:
        each.close()
    context.term()
    return {"connections": opened, "per_s": round(opened / seconds)}


def upstream(endpoint, seconds, per_s):
    """A subscriber that sends messages instead of subscriptions. When the broker has closed its connection, it makes another
    one, which waits a second."""
    begin = time.monotonic()
    end, sent, connections = begin + seconds, 0, 0
    begun()
    batch = b"\x00\x05\x02nope" * (per_s // 100)
    while (now := time.monotonic()) < end:
        made, start, of_this = Zmtp(endpoint, "SUB"), now, 0
        connections += 1
        try:
            while made.send(batch, end):
                of_this += per_s // 100
                time.sleep(max(0.0, start + of_this / per_s - time.monotonic()))  # the attack's pace
        except OSError:
            pass  # the broker has closed it
        sent += of_this
        made.close()
        time.sleep(max(0.0, min(end, start + 1) - time.monotonic()))  # the attack's pace
    return {"messages": sent, "connections": connections}


ATTACKS = {each.__name__: each for each in (silent, slowloris, half, tls, subscriptions, overlapping, broker_subscriptions, long_subscriptions, topics,
                                            lines_reader,
                                            gateway_topics, large, gateway_large, deaf, tokens, keys, upstream)}

if __name__ == "__main__":
    if os.environ.get("HOSTILE_SCALE") == "1":
        # Real ones are on other machines: these shall get only the time of the processor that nobody else needs, so that the
        # latencies show what an attack makes the broker and the gateway do.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(json.dumps(ATTACKS[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
