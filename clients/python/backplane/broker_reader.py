"""One broker of a reader's list: its live events and its control endpoint."""

import os
import time
from collections import deque
from collections.abc import Callable

import zmq

from backplane.addresses import Addresses
from backplane.channel import ControlChannel
from backplane.credentials import Keys
from backplane.handshake import AuthenticationError, Handshake
from backplane.stream_reader import Counters, StreamReader
from backplane.topic import Pattern
from backplane.v1 import control_pb2
from backplane.wire import Stamp, read_stamp

_LIVE_PREFIX = b"$SYS.live."
_LIVE_INTERVAL_S = 1.0     # from a live reply to the next nonce
_LIVE_TIMEOUT_S = 2.0      # a nonce that has not been answered by then is replaced by another one
_SILENCE_S = 10.0          # after this long without any message, the connection is begun again
_CONTROL_SILENCE_S = 30.0  # the same for the control connection: a long reply over a slow path takes its time
_RECONNECT_MS = (50, 500)  # libzmq's pause between two attempts: at first, and at most
_HELLO_INTERVAL_S = 1.0
_HELLO_TIMEOUT_S = 4.0     # after a restart of the broker, the next one follows by then
_GOODBYE_MS = 200          # how long the closing Hello may take to leave
_TURN_MESSAGES = 256
_EARLY_BYTES_MAX = 16 << 20


class BrokerReader:
    """Subscribes at one broker. libzmq renews the connection, and what was received before it was lost stays in the
    queue. A new nonce every second shows whether the subscriptions are active. Belongs to one thread; owns its sockets.

    The stream that the broker has now is read by a StreamReader, which `attach(reader, stamp of the live reply)` returns.
    `replaced(reader, old stream, new stream)` is called when the broker has come back with another stream, before
    anything of that stream is delivered.
    """

    received_max = 100_000  # messages in libzmq's queue

    def __init__(self, context: zmq.Context, egress: str, control: str, patterns: list[Pattern], *,
                 attach: Callable[["BrokerReader", Stamp], StreamReader],
                 replaced: Callable[["BrokerReader", int, int], None], counters: Counters, keys: Keys | None,
                 name: str):
        """Connects in the background. `name` is said to the broker once a second while it replies; "": it is not. Raises
        zmq.ZMQError for an invalid endpoint."""
        self._addresses, self._patterns = Addresses(egress), patterns
        self._egress = self._addresses.current
        self._attach, self._replaced, self._counters = attach, replaced, counters
        self._name, self._session = name, int.from_bytes(os.urandom(8), "little") or 1
        self._hello_at, self._hello_pending, self._hello_sent = 0.0, False, False
        self.live = False                          # whether the last nonce was answered in time
        self.stream: StreamReader | None = None    # after the first live reply of the stream
        self.previous: int | None = None           # the stream before this one
        self._stream_id: int | None = None
        self._ended: set[int] = set()
        self._early: deque[tuple[str, bytes, Stamp]] = deque()  # of a stream without a live reply yet
        self._early_bytes = 0
        self._live_topic, self._asked_at, self._ask_at = b"", 0.0, 0.0
        self._heard_at = time.monotonic()
        self._drained = False
        self._handshake = Handshake(context, egress, keys)
        self.channel = ControlChannel(context, control, _CONTROL_SILENCE_S, keys)
        self.socket = context.socket(zmq.SUB)
        try:
            for option, value in {
                    # Subscriptions are messages too: at the default mark, many at once would be lost.
                    zmq.SNDHWM: 0, zmq.RCVHWM: self.received_max, zmq.LINGER: 0, zmq.IPV6: int("[" in self._egress),
                    zmq.RECONNECT_IVL: _RECONNECT_MS[0], zmq.RECONNECT_IVL_MAX: _RECONNECT_MS[1],
                    # No heartbeats: if a broker goes away while messages are unread at the mark, the next heartbeat
                    # makes libzmq 4.3.4 abort the process. The nonces show whether the connection is alive.
                    zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 2, zmq.TCP_KEEPALIVE_INTVL: 2, zmq.TCP_KEEPALIVE_CNT: 2,
            }.items():
                self.socket.setsockopt(option, value)
            self._handshake.attach(self.socket, self._egress)
            self.socket.connect(self._egress)
        except zmq.ZMQError:
            self.close()
            raise
        # The socket is already connecting, so subscriptions are sent in this order.
        for pattern in patterns:
            self.socket.subscribe(pattern.prefix)
        self._ask(self._heard_at)

    def close(self) -> None:
        self._handshake.detach()
        self.socket.close()
        if self.live and self._hello_sent:
            self._say_hello(closing=True)
            self.channel.close(_GOODBYE_MS)
        else:
            self.channel.close()

    def sockets(self) -> list[zmq.Socket]:
        """Those that work() reads."""
        return [each for each in (self.socket, self._handshake.monitor) if each] + self.channel.sockets()

    @property
    def problem(self) -> AuthenticationError | None:
        """Why the broker does not accept this program; None as far as is known."""
        return self._handshake.problem or self.channel.handshake.problem

    def take_problem(self, now: float) -> AuthenticationError | None:
        """The problem, once for each failed attempt."""
        problem, other = self._handshake.take(now), self.channel.handshake.take(now)
        return problem or other

    def work(self) -> bool:
        """Handles what has arrived, up to a limit, and what is due. Returns whether there may be more."""
        self._drained = not self._receive()
        self.channel.poll()
        now = time.monotonic()
        self._handshake.poll(now)
        self._keep_live(now)
        if self.stream:
            self.stream.work(now, self._drained)
        if self._name and self.live and not self._hello_pending and now >= self._hello_at:
            self._hello_at = now + _HELLO_INTERVAL_S
            self._say_hello()
        return not self._drained

    def due(self) -> float:
        """When work() has something to do even if nothing arrives."""
        live = self._asked_at + _LIVE_TIMEOUT_S if self._live_topic else self._ask_at
        says_hello = self._name and self.live and not self._hello_pending
        return min(live, self._handshake.retry_at, self.channel.due(), self._hello_at if says_hello else live,
                   self.stream.due(self._drained) if self.stream else live)

    def _say_hello(self, closing: bool = False) -> None:
        def on_reply(_: control_pb2.ControlReply | None) -> None:
            self._hello_pending = False
        self._hello_pending = self._hello_sent = True
        hello = control_pb2.HelloRequest(name=self._name, session=self._session, closing=closing,
                                         role=control_pb2.HelloRequest.ROLE_CLIENT, counters=vars(self._counters))
        self.channel.request(on_reply, _HELLO_TIMEOUT_S, hello=hello)

    # Messages.

    def _receive(self) -> bool:
        for _ in range(_TURN_MESSAGES):
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            self._on_message(frames)
        return True

    def _on_message(self, frames: list[bytes]) -> None:
        self._heard_at = time.monotonic()
        stamp = read_stamp(frames[-1])
        if len(frames) != 2 or stamp is None:
            self._counters.undecodable += 1
        elif frames[0] == self._live_topic:
            self._on_live(stamp)
        else:
            topic = frames[0].decode(errors="replace")
            # ZeroMQ matches byte prefixes: "time" also gets "timezone".
            if any(pattern.matches(topic) for pattern in self._patterns):
                self._on_event(topic, frames[1], stamp)

    def _on_event(self, topic: str, body: bytes, stamp: Stamp) -> None:
        if not self._is_current(stamp.stream):
            return
        if self.stream:
            self.stream.on_event(topic, body, stamp)
        elif self._early_bytes + len(body) <= _EARLY_BYTES_MAX:
            self._early.append((topic, body, stamp))
            self._early_bytes += len(body)

    def _on_live(self, stamp: Stamp) -> None:
        self.socket.unsubscribe(self._live_topic)
        self._live_topic, self._ask_at = b"", self._heard_at + _LIVE_INTERVAL_S
        if not self._is_current(stamp.stream):
            return
        anew, self.live = not self.live, True
        if self.stream:
            self.stream.on_live(stamp.position, anew)
            return
        self._stream_id = stamp.stream
        self.stream = self._attach(self, stamp)
        while self._early:
            self.stream.on_event(*self._early.popleft())
        self._early_bytes = 0

    def _is_current(self, stream: int) -> bool:
        """Whether the stream is read. One that has not been seen here before replaces the one before it."""
        if stream in self._ended:
            return False
        if self._stream_id is None:
            self._stream_id = stream
        elif self._stream_id != stream:
            old, read = self._stream_id, self.stream is not None
            self._ended.add(old)
            self._early.clear()
            self._early_bytes = 0
            self._stream_id, self.stream, self._ask_at = stream, None, 0.0
            if read:
                self.previous = old
                self._replaced(self, old, stream)
        return True

    # The connection.

    def _ask(self, now: float) -> None:
        """Subscribes to a new nonce. The reply shows that the subscriptions are active, and up to which position
        everything that was to arrive has arrived."""
        self._live_topic = _LIVE_PREFIX + os.urandom(8).hex().encode()
        self.socket.subscribe(self._live_topic)
        self._asked_at = now

    def _keep_live(self, now: float) -> None:
        if now >= self._handshake.retry_at:
            self._reconnect()
        if not self._live_topic:
            if now >= self._ask_at:
                self._ask(now)
        elif self._drained and now >= self._asked_at + _LIVE_TIMEOUT_S:
            self.live = False
            self.socket.unsubscribe(self._live_topic)
            # Another address of the host may reply. libzmq does not reconnect after a protocol error.
            if now >= self._heard_at + _LIVE_TIMEOUT_S and self._addresses.next():
                self._reconnect()
            elif now >= self._heard_at + _SILENCE_S:
                self._heard_at = now
                self._reconnect()
            self._ask(now)

    def _reconnect(self) -> None:
        try:
            self.socket.disconnect(self._egress)
        except zmq.ZMQError:
            pass  # it has dropped the endpoint already
        self._egress = self._addresses.current
        self._handshake.reconnecting(self._egress)
        self.socket.setsockopt(zmq.IPV6, int("[" in self._egress))
        self.socket.connect(self._egress)
