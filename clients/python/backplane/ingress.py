"""One broker of a publisher's list: its ingress and its control endpoint."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import zmq
from google.protobuf.descriptor import FileDescriptor

from backplane.addresses import Addresses
from backplane.channel import ControlChannel
from backplane.control import ControlError
from backplane.credentials import Keys
from backplane.handshake import AuthenticationError, Handshake
from backplane.publisher_queue import Frames
from backplane.v1 import control_pb2

_SUBSCRIBE_S = (0.5, 8.0)   # how long the broker may take to subscribe: at first, and at most
_BACKOFF_S = 0.05           # between two connections
_REPLY_TIMEOUT_S = 1.0
NO_REPLY = "no reply"
_SILENCE_S = 5.0            # a control connection without a reply for this long is begun again
_SEND_HWM = 4000
_REFUSED_S = 1.0            # from a refused request about the session to the next
_BUSY_S = 0.1               # the same if the broker was only too busy
_SILENT_S = 1.0             # a broker that has not replied for this long is not available


class Ingress:
    """Connects to a broker's ingress, again and again, and requests what it has admitted. Belongs to one thread; owns
    its sockets.

    Each connection has a socket of its own, which libzmq does not reconnect: what was queued for a lost connection must
    not follow behind events that were lost with it. The broker subscribes to everything, which shows that a connection
    stands; libzmq takes the subscription back when it ends.
    """

    def __init__(self, context: zmq.Context, ingress: str, control: str, source: str, session: int, keys: Keys | None):
        """Starts connecting. Raises zmq.ZMQError for an invalid endpoint."""
        self._context, self._addresses = context, Addresses(ingress)
        self._source, self._session = source, session
        self.channel = ControlChannel(context, control, _SILENCE_S, keys)
        self._handshake = Handshake(context, ingress, keys)
        self.socket: zmq.Socket | None = None
        self.subscribed = False
        self.connection = 0                        # counts connections
        self.event_bytes_max: int | None = None    # from Hello
        self.draining = False
        self.stream: int | None = None
        self.replied_at = float("-inf")
        self.down_since: float | None = time.monotonic()  # not subscribed since then
        self.asking = False                        # a reply of ask_admitted() is pending
        self.refused_until = float("-inf")         # before the next ask_admitted()
        self.hello_problem = ""                    # why the broker does not announce the source
        self._refusal: ControlError | None = None  # of ask_admitted()
        self._connect_at, self._deadline, self._patience_s = 0.0, 0.0, _SUBSCRIBE_S[0]
        try:
            self._connect(time.monotonic())
        except zmq.ZMQError:
            self.close()
            raise

    def change_session(self, session: int) -> None:
        self._session = session

    def sockets(self) -> list[zmq.Socket]:
        """Those that poll() reads."""
        return [each for each in (self.socket, self._handshake.monitor) if each] + self.channel.sockets()

    @property
    def problem(self) -> AuthenticationError | None:
        """Why the broker does not accept this program; None as far as is known."""
        return self._handshake.problem or self.channel.handshake.problem

    def take_problem(self, now: float) -> AuthenticationError | None:
        """The problem, once for each failed attempt."""
        problem, other = self._handshake.take(now), self.channel.handshake.take(now)
        return problem or other

    def take_refusal(self) -> ControlError | None:
        """Why we may not publish here, once for each request."""
        refusal, self._refusal = self._refusal, None
        return refusal

    def poll(self, now: float) -> None:
        """Handles what has arrived, and renews the connection. Does not wait, except for a broker that closes
        connections."""
        self.channel.poll()
        self._handshake.poll(now)
        if self._handshake.retry_at < float("inf"):
            retry_at = self._handshake.retry_at
            self.disconnect(now)
            self._connect_at = retry_at
        if not self.socket:
            # Without a reply on control it is not there: connecting is left to an occasional attempt.
            if now >= self._connect_at and (self.replies(now) or now >= self._connect_at + _SUBSCRIBE_S[1]):
                self._connect(now)
            return
        while self.socket:
            try:
                frame = self.socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            if frame[:1] == b"\x01":  # and an empty prefix
                self.subscribed, self.down_since = True, None
                self._patience_s = _SUBSCRIBE_S[0]
            else:
                self.disconnect(now)
        if self.socket and not self.subscribed and now >= self._deadline:
            self._patience_s = min(2 * self._patience_s, _SUBSCRIBE_S[1])
            self.disconnect(now)
            if self._addresses.next():
                self._connect_at = now

    def available(self, now: float) -> bool:
        """Whether events can be published here, as far as anybody can know."""
        return self.subscribed and not self.draining and self.replies(now)

    def replies(self, now: float) -> bool:
        return now < self.replied_at + _SILENT_S

    def lost(self, now: float, patience_s: float) -> bool:
        """Whether it has been gone for a while."""
        return not self.replies(now) or (self.down_since is not None and now >= self.down_since + patience_s)

    def ask_admitted(self, on_done: Callable[[control_pb2.ControlReply | None], Any] = lambda _: None) -> bool:
        """Requests what the broker has admitted of our session. `on_done` gets the reply, or None if there is none for
        this connection. Returns False if a request is pending: `on_done` is not called then."""
        if self.asking:
            return False
        self.asking, connection, session = True, self.connection, self._session

        def on_reply(reply: control_pb2.ControlReply | None) -> None:
            self.asking = False
            if reply and reply.WhichOneof("end") == "error":
                self._on_refused(reply.error)
            admitted = reply and reply.WhichOneof("reply") == "admitted"
            useful = (admitted and self._on_reply(reply, reply.admitted.draining) and connection == self.connection
                      and session == self._session)
            on_done(reply if useful else None)
        self.channel.request(on_reply, _REPLY_TIMEOUT_S, admitted=control_pb2.AdmittedRequest(
            source=self._source, session=session))
        return True

    def say_hello(self, counters: dict[str, int], closing: bool = False,
                  on_done: Callable[[], None] = lambda: None) -> None:
        """Reports the source as up, or as down with `closing`. Notes the broker's limit for events."""
        def on_reply(reply: control_pb2.ControlReply | None) -> None:
            if reply and reply.WhichOneof("end") == "error":
                self.hello_problem = f"{reply.error.code}: {reply.error.text}"
            if reply and reply.WhichOneof("reply") == "hello" and self._on_reply(reply, reply.hello.draining):
                self.event_bytes_max = reply.hello.max_event_bytes or None
            on_done()
        hello = control_pb2.HelloRequest(name=self._source, session=self._session, closing=closing,
                                         role=control_pb2.HelloRequest.ROLE_PUBLISHER, counters=counters)
        self.channel.request(on_reply, _REPLY_TIMEOUT_S, hello=hello)

    def register(self, files: Iterable[FileDescriptor], on_done: Callable[[str | None], None]) -> None:
        """Registers definitions of types. `on_done` gets the problem, or None."""
        def on_reply(reply: control_pb2.ControlReply | None) -> None:
            error = reply.error if reply and reply.WhichOneof("end") == "error" else None
            on_done(NO_REPLY if not reply else f"{error.code}: {error.text}" if error else None)
        request = control_pb2.TypesRequest()
        for file in files:
            file.CopyToProto(request.register_files.file.add())
        self.channel.request(on_reply, _REPLY_TIMEOUT_S, types=request)

    def send(self, frames: Frames) -> bool:
        """Returns False if the connection's send queue is full."""
        try:
            self.socket.send(frames.topic, zmq.SNDMORE | zmq.DONTWAIT)
        except zmq.Again:
            return False
        self.socket.send(frames.event)  # libzmq takes both frames or none
        return True

    def due(self) -> float:
        return min(self.channel.due(), self._deadline if self.socket and not self.subscribed else self._connect_at
                   if not self.socket and self.replies(time.monotonic()) else float("inf"))

    def disconnect(self, now: float) -> None:
        """Closes the connection; what was queued on it is discarded."""
        if self.socket:
            self._handshake.detach()
            self.socket.close()
            self.socket = None
        if self.subscribed:
            self.down_since = now
        self.subscribed = False
        self.connection += 1
        self._connect_at = now + _BACKOFF_S

    def close(self) -> None:
        self.channel.close()
        self.disconnect(time.monotonic())

    def _on_reply(self, reply: control_pb2.ControlReply, draining: bool) -> bool:
        """Notes that the broker is there. Returns False if the reply is of no use: it is from another incarnation than
        the connection."""
        self.replied_at = time.monotonic()
        self.draining = draining
        changed = self.stream not in (None, reply.stream)
        self.stream = reply.stream
        if changed:
            self.disconnect(self.replied_at)
            self._connect_at = self.replied_at
        return not changed

    def _on_refused(self, error: control_pb2.ControlError) -> None:
        is_permitted = error.code != "not_permitted"
        self.refused_until = time.monotonic() + (_BUSY_S if is_permitted else _REFUSED_S)
        self._refusal = self._refusal if is_permitted else ControlError(error.code, error.text)

    def _connect(self, now: float) -> None:
        self.socket = self._context.socket(zmq.XPUB)
        for option, value in {
                zmq.XPUB_NODROP: 1, zmq.SNDHWM: _SEND_HWM, zmq.RCVHWM: 0, zmq.LINGER: 0, zmq.RECONNECT_IVL: -1,
                zmq.IPV6: int("[" in self._addresses.current), zmq.SNDTIMEO: 1000,
                # No heartbeats, see BrokerReader: they would do the same to the broker.
                zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 2, zmq.TCP_KEEPALIVE_INTVL: 2, zmq.TCP_KEEPALIVE_CNT: 2,
        }.items():
            self.socket.setsockopt(option, value)
        self._handshake.attach(self.socket, self._addresses.current)
        self.connection += 1
        self._deadline = now + self._patience_s
        self.socket.connect(self._addresses.current)
