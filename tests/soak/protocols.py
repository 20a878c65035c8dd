"""The gateway's protocols as a client speaks them: each of them turns bytes into events, and has no I/O of its own."""

import base64
import json
import os
import struct

from ledger import stamp_of
from websocket_peer import CLOSE, PING, PONG, TEXT, frame, take_frame


class Ended(Exception):
    """The gateway says that the connection ends, and why."""


class Protocol:
    """`begin()` returns the client's first bytes. `feed(data)` takes what has come, and returns what is to be sent. A derived
    class calls `client.event(stream, topic, offset)`, `client.gap(…)`, `client.replied(ok, text)`."""

    has_commands = False  # SUB, UNSUB and PUB at any time

    def __init__(self, client, address, token, patterns, options, resume=""):
        self.client, self.address, self.token = client, address, token
        self.patterns, self.options, self.resume = patterns, options, resume
        self.rest = b""

    def json(self, line):
        fields = json.loads(line)
        if "topic" in fields:
            self.client.event(int(fields["stream"], 16), fields["topic"], fields["offset"])
        elif "gap" in fields:
            gap = fields["gap"]
            self.client.gap(int(gap["stream"], 16), gap["topic"], gap["first"], gap["last"], gap["reason"])
        elif "reset" in fields:
            self.client.reset()
        elif "bye" in fields:
            raise Ended(fields["bye"])

    def line(self, line):
        if line.startswith("{"):
            self.json(line)
        elif line[:1] in "+-":
            self.client.replied(line[0] == "+", line)


class Lines(Protocol):
    has_commands = True

    def begin(self):
        subscriptions = [f"SUB {' '.join([pattern, *self.options])}" for pattern in self.patterns]
        return b"".join(self.command(each) for each in [f"AUTH {self.token}", "FORMAT json", *subscriptions])

    def command(self, text):
        return (text + "\n").encode()

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.line(line.decode())
        return b""

    def goodbye(self):
        return self.command("QUIT")


class WebSocket(Lines):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.upgraded = False

    def begin(self):
        key = base64.b64encode(os.urandom(16)).decode()
        head = (f"GET /v1/socket HTTP/1.1\r\nHost: {self.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
        subscriptions = [f"SUB {' '.join([pattern, *self.options])}" for pattern in self.patterns]
        return head.encode() + b"".join(self.command(each) for each in [f"AUTH {self.token}", *subscriptions])

    def command(self, text):
        return frame(TEXT, text)

    def feed(self, data):
        self.rest += data
        if not self.upgraded:
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            if not end:
                return b""
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Ended(head.split(b"\r\n")[0].decode())
            self.upgraded, self.rest = True, rest
        reply = b""
        while True:
            got, self.rest = take_frame(self.rest)
            if got is None:
                return reply
            if got.opcode == TEXT:
                self.line(got.payload.decode())
            elif got.opcode == PING:
                reply += frame(PONG, got.payload)
            elif got.opcode == CLOSE:
                raise Ended(got.payload[2:].decode() or "closed")


class ServerSentEvents(Protocol):
    """HTTP/1.0, so that the body is not in chunks. It resumes as a browser does, by the last id."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.in_body = False
        self.last_id = self.resume

    def begin(self):
        query = "&".join([*(f"topic={pattern.replace('>', '%3E')}" for pattern in self.patterns), *self.options])
        resume = f"Last-Event-ID: {self.resume}\r\n" if self.resume else ""
        return (f"GET /v1/events?{query} HTTP/1.0\r\nHost: {self.address}\r\nAuthorization: Bearer {self.token}\r\n"
                f"{resume}\r\n").encode()

    def feed(self, data):
        self.rest += data
        if not self.in_body:
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            if not end:
                return b""
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise Ended(head.split(b"\r\n")[0].decode())
            self.in_body, self.rest = True, rest
        *messages, self.rest = self.rest.split(b"\n\n")
        for message in messages:
            fields = dict(line.partition(": ")[::2] for line in message.decode().split("\n"))
            if "data" in fields:
                self.json(fields["data"])
            if "id" in fields:
                self.last_id = fields["id"]
        return b""


def _command(name, body):
    data = bytes([len(name)]) + name + body
    return (b"\x04" + bytes([len(data)]) if len(data) < 256 else b"\x06" + struct.pack(">Q", len(data))) + data


def _message(data):
    return (b"\x00" + bytes([len(data)]) if len(data) < 256 else b"\x02" + struct.pack(">Q", len(data))) + data


class Zmtp(Protocol):
    """A SUB of ZeroMQ 3.0 with PLAIN."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.greeted = self.ready = False
        self.frames = []

    def begin(self):
        name, _, secret = self.token.encode().partition(b":")
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"PLAIN".ljust(20, b"\0") + bytes(32)
        return greeting + _command(b"HELLO", bytes([len(name)]) + name + bytes([len(secret)]) + secret)

    def feed(self, data):
        self.rest += data
        if not self.greeted:
            if len(self.rest) < 64:
                return b""
            self.greeted, self.rest = True, self.rest[64:]
        reply = b""
        while (taken := self._take_frame()) is not None:
            flags, body = taken
            reply += self._command(body) if flags & 4 else self._frame(flags, body)
        return reply

    def _take_frame(self):
        if len(self.rest) < 2:
            return None
        flags, at = self.rest[0], 9 if self.rest[0] & 2 else 2
        if len(self.rest) < at:
            return None
        length = struct.unpack_from(">Q", self.rest, 1)[0] if flags & 2 else self.rest[1]
        if len(self.rest) < at + length:
            return None
        body, self.rest = self.rest[at:at + length], self.rest[at + length:]
        return flags, body

    def _command(self, body):
        name = body[1:1 + body[0]]
        if name == b"WELCOME":
            return _command(b"INITIATE", b"\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB")
        if name == b"READY":
            self.ready = True
            prefixes = [pattern.split("*")[0].split(">")[0] for pattern in self.patterns]
            return b"".join(_message(b"\x01" + prefix.encode()) for prefix in ["$SYS.gap.", *prefixes])
        if name == b"ERROR":
            raise Ended(body[1 + body[0] + 1:].decode())
        if name == b"PING":
            return _command(b"PONG", body[7:])
        return b""

    def _frame(self, flags, body):
        self.frames.append(body)
        if flags & 1:
            return b""
        (topic, event), self.frames = self.frames, []
        stream, _, offset = stamp_of(event)
        topic = topic.decode()
        if topic.startswith("$SYS.gap."):
            from backplane.v1 import event_pb2, session_pb2
            gap = session_pb2.ServerMessage.Gap()
            event_pb2.Event.FromString(event).message.Unpack(gap)
            self.client.gap(stream, topic.removeprefix("$SYS.gap."), gap.first, gap.last, gap.reason)
        else:
            self.client.event(stream, topic, offset)
        return b""


def _string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind, body):
    length, rest = b"", len(body)
    while True:
        length += bytes([rest % 128 | (128 if rest > 127 else 0)])
        rest //= 128
        if not rest:
            return bytes([kind]) + length + body


class Mqtt(Protocol):
    """MQTT 3.1.1, at QoS 0 or 1. The gateway is configured to send whole events, so that offsets are in them."""

    def __init__(self, *arguments, qos=0, **options):
        super().__init__(*arguments, **options)
        self.qos = qos
        self.published = 0

    def begin(self):
        name, _, secret = self.token.partition(":")
        connect = _string("MQTT") + b"\x04\xc2" + struct.pack(">H", 60) + _string(f"soak-{os.urandom(6).hex()}") + _string(name) + _string(secret)
        filters = [pattern.replace(".", "/").replace("*", "+").replace(">", "#") for pattern in self.patterns]
        subscribe = struct.pack(">H", 1) + b"".join(_string(each) + bytes([self.qos]) for each in ["$SYS/gap", *filters])
        return _packet(0x10, connect) + _packet(0x82, subscribe)

    def publish(self, topic, text):
        self.published = self.published % 60_000 + 1
        return _packet(0x32, _string(topic.replace(".", "/")) + struct.pack(">H", self.published) + text.encode())

    def ping(self):
        return _packet(0xC0, b"")

    def goodbye(self):
        return _packet(0xE0, b"")

    def feed(self, data):
        self.rest += data
        reply = b""
        while (taken := self._take_packet()) is not None:
            kind, body = taken
            if kind >> 4 == 3:
                reply += self._published(kind, body)
            elif kind == 0x20 and body[1]:
                raise Ended(f"CONNACK {body[1]}")
            elif kind == 0x90:
                self.client.replied(0x80 not in body[2:], f"SUBACK {body[2:].hex()}")
            elif kind == 0x40:
                self.client.replied(True, "PUBACK")
        return reply

    def _take_packet(self):
        length, at = 0, 1
        while True:
            if len(self.rest) <= at:
                return None
            byte = self.rest[at]
            length |= (byte & 127) << (7 * (at - 1))
            at += 1
            if byte < 128:
                break
        if len(self.rest) < at + length:
            return None
        kind, body, self.rest = self.rest[0], self.rest[at:at + length], self.rest[at + length:]
        return kind, body

    def _published(self, kind, body):
        size = struct.unpack_from(">H", body)[0]
        topic, at = body[2:2 + size].decode().replace("/", "."), 2 + size
        reply = b""
        if kind >> 1 & 3:
            reply = _packet(0x40, body[at:at + 2])
            at += 2
        if topic == "$SYS.gap":
            self.json(body[at:].decode())
        else:
            stream, _, offset = stamp_of(body[at:])
            self.client.event(stream, topic, offset)
        return reply
