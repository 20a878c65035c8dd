"""Requests to a broker's control endpoint that do not block: replies are handed to callbacks."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq
from google.protobuf.message import DecodeError

from backplane.addresses import Addresses
from backplane.credentials import Keys
from backplane.handshake import Handshake
from backplane.reply_size import MOST, ReplySize
from backplane.v1 import control_pb2

_LATE_MAX = 16

OnReply = Callable[[control_pb2.ControlReply | None], None]


class _Pending(NamedTuple):
    on_reply: OnReply
    message: bytes
    timeout: float
    deadline: float
    even_late: bool
    sent: float
    reply_bytes_max: int
    alone: bool                    # pending, when it was sent


class ControlChannel:
    """A connection to one control endpoint, renewed by libzmq. Belongs to one thread; owns its socket.

    The broker handles the requests of a channel in order. Over a slow path, the channel requests short replies.
    """

    def __init__(self, context: zmq.Context, endpoint: str, silence_s: float, keys: Keys | None):
        """Connects in the background. If a request times out and nothing has arrived for `silence_s`, the connection is
        begun again. Raises zmq.ZMQError if `endpoint` is invalid."""
        self.handshake = Handshake(context, endpoint, keys)
        self.endpoint = endpoint
        self._addresses = Addresses(endpoint)
        self._connected = False                    # something has arrived on this connection
        self._silence_s = silence_s
        self._context = context
        self._last_id = 0
        self._heard_at = time.monotonic()
        self._pending: dict[int, _Pending] = {}
        self._late: dict[int, _Pending] = {}
        self._reply_size = ReplySize()
        self.socket: zmq.Socket | None = None
        self._connect()

    def request(self, on_reply: OnReply, timeout: float, even_late: bool = False, **request: Any) -> None:
        """Sends a request, named by the keyword. poll() calls `on_reply` with the reply, or with None if there is none
        within `timeout` seconds after this call, or after the last reply to an earlier request; with `even_late`, it may
        call it once more with a reply that comes after that. The reply's `end` may be `error`."""
        self._last_id += 1
        now = time.monotonic()
        size = self._reply_size.next(now)
        message = control_pb2.ControlRequest(version=1, id=self._last_id, **request)
        if size < MOST:
            message.reply_bytes_max = size
        pending = _Pending(on_reply, message.SerializeToString(), timeout, now + timeout, even_late, now, size,
                           not self._pending)
        self._pending[self._last_id] = pending
        self._send(pending)

    def poll(self) -> None:
        """Calls the callbacks of the replies that have arrived, then of the requests that have timed out. Does not
        wait, except for a broker that closes connections."""
        now = time.monotonic()
        self.handshake.poll(now)
        if now >= self.handshake.retry_at:
            self._connect()
            for pending in self._pending.values():
                self._send(pending)
        while self.socket:
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            before, self._heard_at, self._connected = self._heard_at, time.monotonic(), True
            try:
                reply = control_pb2.ControlReply.FromString(frames[-1])
            except DecodeError:
                continue  # not from a broker: let the timeout decide
            for number, later in self._pending.items():  # their replies are behind this one
                if number > reply.id:
                    self._pending[number] = later._replace(deadline=self._heard_at + later.timeout)
            if pending := self._pending.pop(reply.id, None) or self._late.pop(reply.id, None):
                self._reply_size.on_reply(pending.reply_bytes_max, len(frames[-1]),
                                          self._heard_at - max(pending.sent, before), pending.alone, self._heard_at)
                pending.on_reply(reply)
        now = time.monotonic()
        overdue = [number for number, each in self._pending.items() if each.deadline <= now]
        expired = [self._pending.pop(number) for number in overdue]
        for number, each in zip(overdue, expired):
            if each.even_late:
                self._late[number] = each
                if len(self._late) > _LATE_MAX:
                    del self._late[next(iter(self._late))]
        if expired:
            self._reply_size = ReplySize()
        # Another address of the host may reply.
        unheard = expired and self.socket and not self._connected and self._addresses.next()
        if unheard or (expired and self.socket and now >= self._heard_at + self._silence_s):
            # A new socket discards what is still queued, and connects to whatever is there now.
            self._heard_at = now
            self._connect()
        for each in expired:
            each.on_reply(None)

    def due(self) -> float:
        """When poll() has something to do even without a message, in terms of time.monotonic()."""
        return min([self.handshake.retry_at, *(each.deadline for each in self._pending.values())])

    def sockets(self) -> list[zmq.Socket]:
        """Those that poll() reads."""
        return [each for each in (self.socket, self.handshake.monitor) if each]

    def close(self, linger_ms: int = 0) -> None:
        """Closes the connection; what has been sent may take `linger_ms` to leave, in the background. The callbacks of
        pending requests are not called."""
        self._pending.clear()
        self.handshake.detach()
        if self.socket:
            self.socket.close(linger_ms)
            self.socket = None

    def _send(self, pending: _Pending) -> None:
        try:
            self.socket.send(pending.message, zmq.DONTWAIT)
        except zmq.Again:
            pass  # too many wait for an absent broker already, or it has refused the connection: it times out

    def _connect(self) -> None:
        self.handshake.detach()
        if self.socket:
            self.socket.close()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        endpoint, self._connected = self._addresses.current, False
        self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        self.handshake.attach(self.socket, endpoint)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError:
            self.close()
            raise
