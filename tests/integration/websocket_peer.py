"""A WebSocket client that writes its own frames, valid or not, and checks every bit of what it receives."""

import base64
import collections
import hashlib
import json
import os
import socket
import struct

from harness import GATEWAY, TIMEOUT_S, CommandClient, Deadline

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Frame = collections.namedtuple("Frame", "opcode payload")


def frame(opcode, payload=b"", final=True, reserved=0, masked=True):
    """A frame as a client sends it."""
    payload = payload.encode() if isinstance(payload, str) else payload
    head = bytes([final << 7 | reserved << 4 | opcode])
    length = len(payload)
    if length <= 125:
        head += bytes([masked << 7 | length])
    elif length <= 0xFFFF:
        head += bytes([masked << 7 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    repeated = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ repeated).to_bytes(length, "big")


def take_frame(data):
    """Returns (first frame, rest) of a server's bytes, or (None, data) if the frame is incomplete. Raises for a frame
    that a server must not send."""
    if len(data) < 2:
        return None, data
    if data[0] & 0x70 or not data[0] & 0x80 or data[1] & 0x80:
        raise AssertionError(f"a frame that a server must not send: {data[:20]}")
    length, at = data[1], 2
    if length == 126:
        length, at = int.from_bytes(data[2:4], "big"), 4
    elif length == 127:
        length, at = int.from_bytes(data[2:10], "big"), 10
    if len(data) < at + length or len(data) < at:
        return None, data
    if (at == 4 and length < 126) or (at == 10 and length < 1 << 16):
        raise AssertionError(f"not the shortest form of {length}")
    return Frame(data[0] & 0xF, data[at:at + length]), data[at + length:]


class WebSocketPeer(CommandClient):
    """One connection. Sorts its input as LineClient does: events (including gaps and resets), replies and notices, and
    also pongs and the close. `fields` replace those of the request's head; None removes one."""

    def __init__(self, address=GATEWAY, receive_bytes=None, wrap=None, target="/v1/socket", **fields):
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(TIMEOUT_S)
        host, port = address.rsplit(":", 1)
        connection.connect((host, int(port)))
        super().__init__(wrap(connection) if wrap else connection)
        self.close_code = self.close_reason = None
        self._pongs = collections.deque()
        key = base64.b64encode(os.urandom(16))
        self._shake_hands(address, target, key, fields)

    def _shake_hands(self, host, target, key, fields):
        expected = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key.decode(),
                  "Sec-WebSocket-Version": "13", **fields}
        lines = [f"{name}: {value}" for name, value in expected.items() if value is not None]
        self._socket.sendall("\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer and not self.closed:
            self._read(Deadline())
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if self.status != 101:
            return
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SUFFIX).digest()).decode()
        if self.fields.get("sec-websocket-accept") != accept:
            raise AssertionError(f"expected {accept}, got {self.fields}")
        self._sort()

    def send(self, text):
        self.send_bytes(frame(TEXT, text))

    def _sort(self):
        while True:
            got, self._buffer = take_frame(self._buffer)
            if got is None:
                return
            if self.close_code is not None:
                raise AssertionError(f"a frame behind the close: {got}")
            self.seen.append(got)
            if got.opcode == TEXT:
                text = got.payload.decode()
                if "\n" in text:
                    raise AssertionError(f"more than a line: {text}")
                if text[0] in "+-":
                    self._replies.append(text)
                else:
                    thing = json.loads(text)
                    of_topic = thing.keys() & {"topic", "gap", "reset"}
                    (self._events if of_topic else self._notices).append(thing)
            elif got.opcode == PONG:
                self._pongs.append(got.payload)
            elif got.opcode == CLOSE:
                self.close_code = int.from_bytes(got.payload[:2], "big") if got.payload else 1005
                self.close_reason = got.payload[2:].decode()
            elif got.opcode != PING:
                raise AssertionError(f"unexpected frame: {got}")

    def event_or_gap(self):
        return super().event()

    def event(self):
        event = self.event_or_gap()
        if "topic" not in event:
            raise AssertionError(f"expected an event, got {event}")
        return event

    def pong(self):
        return self._next(self._pongs)

    def wait_close(self):
        """Reads until the gateway has sent a close and ended. Returns the code."""
        self.wait_closed()
        return self.close_code
