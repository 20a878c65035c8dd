"""Publishing: events are numbered, kept until the broker confirms them, and resent after a reconnect."""

import os
import time
from collections.abc import Sequence

import zmq
from google.protobuf.message import Message

from backplane.connection import Brokers, Connection
from backplane.control import DEFAULT_CONTROL, Control
from backplane.topic import SYSTEM_PREFIX, check_topic
from backplane.v1 import control_pb2, event_pb2

DEFAULT_INGRESS = "tcp://127.0.0.1:5570"

_SUBSCRIBE_TIMEOUT_S = 10.0  # a connection over which the broker has not subscribed by then is closed
_BACKOFF_S = (0.05, 1.0)     # between two connections: at first, and at most
_REPLY_TIMEOUT_S = 5.0       # a connection whose broker has not replied for this long is closed
_CONFIRM_S = 0.1             # how often publish() requests confirmation
_FLUSH_S = (0.001, 0.1)      # how often flush() requests it: at first, and at most
_SEND_HWM = 4000


class Refused(Exception):
    """The broker refused events of this publisher."""


class Publisher:
    """A source of events. Belongs to one thread at a time; owns its sockets.

    Events are kept until the broker has admitted them, and resent after a reconnect; the broker refuses duplicates.
    Only flush() and close() confirm that everything was admitted. If the broker comes back without its state, or
    another broker takes over, the unconfirmed events are resent and may reach readers twice: see `in_doubt`.

        with Publisher("clock@host7") as publisher:  # flushes at the end
            publisher.publish("clock", "it is late")
    """

    def __init__(self, source: str, *, ingress: str | Sequence[str] = DEFAULT_INGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL, unconfirmed_bytes_max: int = 64 << 20,
                 event_bytes_max: int = 1 << 20, context: zmq.Context | None = None):
        """Connects in the background. `source` is the publisher's stable name. At most `unconfirmed_bytes_max` bytes
        of events wait for the broker. For several brokers, `ingress` and `control` contain one endpoint each per
        broker; the publisher moves to the next broker when one has been down for a second. Raises zmq.ZMQError for
        an invalid endpoint."""
        self.source = source
        self.session = int.from_bytes(os.urandom(8), "little") or 1
        self.offered = 0      # sequence of the last event accepted by publish()
        self.confirmed = 0    # sequence up to which the broker has admitted or refused every event
        self.refused = 0      # events that the broker refused
        self.resent = 0       # events sent again after a reconnect
        self.in_doubt = 0     # unconfirmed events sent to a broker that lost its state or was replaced
        self._closed = False
        self._brokers = Brokers(ingress=ingress, control=control)
        self._context = context or zmq.Context.instance()
        self._control = Control(self._brokers["control"], self._context)
        self._unconfirmed_bytes_max, self._event_bytes_max = unconfirmed_bytes_max, event_bytes_max
        self._unconfirmed: dict[int, tuple[bytes, bytes]] = {}  # by sequence, in order
        self._bytes = 0
        self._sent, self._highest_sent = 0, 0  # last sequence sent over this connection, over any connection
        self._stream: int | None = None        # of the broker that replied last
        self._refused_by_broker, self._refused_reported, self._refused_reason = 0, 0, ""

        self._connection: Connection | None = None
        self._subscribed, self._resumed = False, False
        self._connect_at, self._subscribe_deadline, self._confirm_at = 0.0, 0.0, 0.0
        self._backoff = _BACKOFF_S[0]
        try:
            self._connect()
        except zmq.ZMQError:
            self._close()
            raise

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until a broker is connected. Not required before publish(). Raises TimeoutError."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while not self._ready_to_send(deadline):
            self._wait(deadline, f"no broker has subscribed at {self._brokers['ingress']} within {timeout:g} s")

    def publish(self, topic: str, payload: str | bytes | Message | None, *, time_ns: int | None = None,
                attributes: dict[str, str] | None = None, timeout: float = 10.0) -> None:
        """Queues an event: text, bytes, a message, or None, which clears the topic's retained value. `time_ns` is when
        it happened (Unix; None: now). Returns at once, also without a broker, unless the limit on unconfirmed events
        is reached or a broker is slow to reply; then it waits for at most `timeout` seconds. Raises TimeoutError,
        and queues nothing, if the limit is still reached; ValueError if the event cannot be published."""
        self._check_open()
        if check_topic(topic).startswith(SYSTEM_PREFIX):
            raise ValueError(f"expected a topic outside $SYS., got {topic!r}")
        frames = topic.encode(), self._encode(payload, time_ns or time.time_ns(), attributes or {})
        size = len(frames[0]) + len(frames[1])
        if len(frames[1]) > self._event_bytes_max:
            raise ValueError(f"expected an event of at most {self._event_bytes_max} bytes, got {len(frames[1])}")
        deadline = time.monotonic() + timeout
        while self._bytes + size > self._unconfirmed_bytes_max and self._unconfirmed:
            self._confirm_more(deadline, f"limit of {self._unconfirmed_bytes_max} unconfirmed bytes still reached "
                                         f"after {timeout:g} s")
        self.offered += 1
        self._unconfirmed[self.offered] = frames
        self._bytes += size
        if self._ready_to_send(deadline) and self._send() and time.monotonic() >= self._confirm_at:
            self._request_confirmation(deadline)

    def flush(self, timeout: float = 10.0) -> None:
        """Waits until the broker has admitted everything published before. Raises TimeoutError if that takes longer
        than `timeout` seconds (the events are kept), and Refused if it has refused events since the last flush."""
        self._check_open()
        deadline, pause = time.monotonic() + timeout, _FLUSH_S[0]
        while self.confirmed < self.offered:
            before = self.confirmed
            self._confirm_more(deadline, f"{len(self._unconfirmed)} of {self.offered} events not admitted by "
                                         f"{self._brokers['ingress']} within {timeout:g} s", pause)
            pause = _FLUSH_S[0] if self.confirmed > before else min(2 * pause, _FLUSH_S[1])
        if self.refused > self._refused_reported:
            refused, self._refused_reported = self.refused - self._refused_reported, self.refused
            raise Refused(f"the broker refused {refused} events, the last one because of: {self._refused_reason}")

    def close(self, timeout: float = 10.0) -> None:
        """Calls flush(timeout), then closes the publisher in any case. A second call has no effect."""
        try:
            if not self._closed:
                self.flush(timeout)
        finally:
            self._close()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, kind, *_) -> None:
        self.close() if kind is None else self._close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the publisher is closed")

    def _close(self) -> None:
        self._closed = True
        if self._connection:
            self._connection.close()
            self._connection = None
        self._unconfirmed.clear()
        self._control.close()

    def _encode(self, payload, time_ns: int, attributes: dict[str, str]) -> bytes:
        event = event_pb2.Event(source=self.source, session=self.session, sequence=self.offered + 1,
                                attributes=attributes)
        event.time.FromNanoseconds(time_ns)
        if isinstance(payload, str):
            event.text = payload
        elif isinstance(payload, bytes):
            event.binary = payload
        elif isinstance(payload, Message):
            event.message.Pack(payload)
        elif payload is not None:
            raise ValueError(f"payload: expected str, bytes, a message or None, got {type(payload).__name__}")
        return event.SerializeToString()

    # The connection. These methods do not wait, except for a reply from control, until the deadline.

    def _connect(self) -> None:
        if self._brokers.move_on():
            self._control.use(self._brokers["control"])
        self._connection = Connection(self._context, zmq.XPUB, self._brokers["ingress"],
                                      {zmq.XPUB_NODROP: 1, zmq.SNDHWM: _SEND_HWM, zmq.SNDTIMEO: 1000})
        self._subscribed, self._resumed = False, False
        self._subscribe_deadline = time.monotonic() + _SUBSCRIBE_TIMEOUT_S

    def _disconnect(self) -> None:
        self._connection.close()
        self._connection = None
        self._connect_at = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _BACKOFF_S[1])

    def _ready_to_send(self, deadline: float) -> bool:
        """Whether events can be sent: connected, and it is known which events earlier connections delivered."""
        if not self._connection:
            if time.monotonic() < self._connect_at:
                return False
            self._connect()
        while frames := self._connection.receive(0.0):
            # The broker subscribes to everything: 1 and an empty prefix.
            self._subscribed = self._subscribed or frames[0][:1] == b"\x01"
            self._brokers.mark_up()
        if self._connection.ended() or (not self._subscribed and time.monotonic() >= self._subscribe_deadline):
            self._disconnect()
            return False
        if self._subscribed and not self._resumed:
            self._resumed = self._highest_sent == self.confirmed or self._request_confirmation(deadline)
            if self._resumed:
                # Resend everything unconfirmed; the broker refuses duplicates.
                self._sent = self.confirmed
        return self._subscribed and self._resumed

    def _send(self) -> bool:
        """Sends the unsent events. Returns False if the connection's send queue is full."""
        while self._sent < self.offered:
            topic, event = self._unconfirmed[self._sent + 1]
            try:
                self._connection.socket.send(topic, zmq.SNDMORE | zmq.DONTWAIT)
            except zmq.Again:
                return False
            self._connection.socket.send(event)  # libzmq takes both frames or none
            self._sent += 1
            self.resent += self._sent <= self._highest_sent
            self._highest_sent = max(self._highest_sent, self._sent)
        return True

    def _request_confirmation(self, deadline: float) -> bool:
        """Asks the broker which events it has admitted. Closes the connection if it does not reply for long."""
        self._confirm_at = time.monotonic() + _CONFIRM_S
        left = max(0.001, deadline - time.monotonic())
        request = control_pb2.AdmittedRequest(source=self.source, session=self.session)
        try:
            reply = self._control.ask(min(left, _REPLY_TIMEOUT_S), admitted=request)
        except TimeoutError:
            if left >= _REPLY_TIMEOUT_S:
                self._disconnect()
            return False
        self._backoff = _BACKOFF_S[0]
        admitted = reply.admitted
        if reply.stream != self._stream:
            # The broker restarted, another one took over, or this is the first reply.
            if self._stream is not None or (not self._resumed and admitted.sequence == 0):
                self.in_doubt += self._highest_sent - self.confirmed
            self._stream, self._refused_by_broker = reply.stream, 0
        self.refused += max(0, admitted.refused - self._refused_by_broker)
        self._refused_by_broker = admitted.refused
        self._refused_reason = admitted.refused_reason or self._refused_reason
        for sequence in range(self.confirmed + 1,
                              min(max(admitted.sequence, admitted.refused_sequence), self._highest_sent) + 1):
            self._bytes -= sum(map(len, self._unconfirmed.pop(sequence)))
            self.confirmed = sequence
        self._sent = max(self._sent, self.confirmed)
        return True

    # Waiting.

    def _confirm_more(self, deadline: float, problem: str, pause: float = _FLUSH_S[0]) -> None:
        if self._ready_to_send(deadline):
            self._send()
            self._request_confirmation(deadline)
        if self._unconfirmed:
            self._wait(deadline, problem, pause)

    def _wait(self, deadline: float, problem: str, pause: float = _FLUSH_S[1]) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(problem)
        if self._connection:
            self._connection.poll(min(left, pause))
        else:
            time.sleep(min(left, pause))
