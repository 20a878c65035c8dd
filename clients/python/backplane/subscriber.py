"""Following a broker: events by pattern, and a Gap for every event that is lost."""

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import zmq
from google.protobuf.message import DecodeError

from backplane.connection import Brokers, Connection
from backplane.control import DEFAULT_CONTROL, Control, ControlError, HistoryGone
from backplane.topic import Pattern
from backplane.v1 import event_pb2
from backplane.wire import Event, Gap, Reset, Stamp, read_stamp

DEFAULT_EGRESS = "tcp://127.0.0.1:5571"

_LIVE_TIMEOUT_S = 10.0      # a connection without a live reply by then is closed
_BACKOFF_S = (0.05, 1.0)    # between two connections: at first, and at most
_RECOVERY_TIMEOUT_S = 1.0   # how long recovering missing events may delay later ones
_TAILS_INTERVAL_S = 1.0     # how often to check for losses that no later event reveals
_GRACE_S = 0.1              # how long an event that a tail shows may still be in flight
_RECEIVE_HWM = 100_000


class _Seen(NamedTuple):
    offset: int
    position: int


class Subscriber:
    """Reads the topics that match some patterns. Belongs to one thread at a time; owns its sockets.

    The events of each topic arrive in order and once. A missing event is recovered from the broker's history. If it
    is no longer there, a Gap takes its place. When the broker comes back without its history, a Reset is returned.
    After a lost connection the subscriber reconnects and recovers what was published meanwhile. With several
    brokers it moves to the next one when one has been down for a second, which is a Reset too.

        with Subscriber("stock.>", "clock") as subscriber:
            subscriber.wait_live()
            while item := subscriber.receive(timeout=60):
                …
    """

    def __init__(self, *patterns: str, egress: str | Sequence[str] = DEFAULT_EGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL, context: zmq.Context | None = None):
        """Connects in the background. For several brokers, `egress` and `control` contain one endpoint each per
        broker. Raises ValueError for an invalid pattern, zmq.ZMQError for an invalid endpoint."""
        if not patterns:
            raise ValueError("expected at least one pattern, got none")
        self._patterns = [Pattern(pattern) for pattern in patterns]
        self._closed = False
        self._brokers = Brokers(egress=egress, control=control)
        self._context = context or zmq.Context.instance()
        self._control = Control(self._brokers["control"], self._context)
        self.duplicates = 0    # events that arrived again and were skipped
        self.recovered = 0     # events recovered from history
        self.undecodable = 0   # messages that are not events
        self._ready: deque[Event | Gap | Reset] = deque()

        self._connection: Connection | None = None
        self._connect_at, self._backoff = 0.0, _BACKOFF_S[0]
        self._live_topic, self._live_deadline, self._live = b"", 0.0, False

        self._stream: int | None = None            # the broker's stream
        self._start_position: dict[int, int] = {}  # by stream: reading began after this position
        self._last_seen: dict[tuple[int, str], _Seen] = {}
        self._tails_at, self._tails_after = 0.0, 0
        self._suspected_gaps, self._repair_at = [], 0.0
        try:
            self._connect()
        except zmq.ZMQError:
            self.close()
            raise

    @property
    def live(self) -> bool:
        """Whether the subscriptions are active on the current connection, confirmed by the broker's live reply."""
        return self._live

    def wait_live(self, timeout: float = 10.0) -> None:
        """Waits until the subscriptions are active: everything published from now on is delivered or reported as a
        Gap. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self._live:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no live reply from {self._brokers['egress']} within {timeout:g} s")
            self._work(deadline)

    def receive(self, timeout: float = 10.0) -> Event | Gap | Reset | None:
        """The next event, Gap or Reset; None if there is none within `timeout` seconds. May take up to two seconds
        longer while missing events are recovered."""
        deadline = time.monotonic() + timeout
        while not self._ready:
            self._work(deadline)
            if not self._ready and time.monotonic() >= deadline:
                return None
        return self._ready.popleft()

    def close(self) -> None:
        """Closes the subscriber at once. A second call has no effect."""
        self._closed = True
        if self._connection:
            self._connection.close()
            self._connection = None
        self._control.close()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # The connection.

    def _connect(self) -> None:
        if self._brokers.move_on():
            self._control.use(self._brokers["control"])
        self._connection = Connection(self._context, zmq.SUB, self._brokers["egress"], {zmq.RCVHWM: _RECEIVE_HWM})
        # The socket is already connecting, so subscriptions are sent in this order. The reply to the last one shows
        # that all are active. Its nonce has not been used before.
        for pattern in self._patterns:
            self._connection.socket.subscribe(pattern.prefix)
        self._live_topic = b"$SYS.live." + os.urandom(8).hex().encode()
        self._connection.socket.subscribe(self._live_topic)
        self._live_deadline = time.monotonic() + _LIVE_TIMEOUT_S

    def _disconnect(self) -> None:
        self._connection.close()
        self._connection, self._live = None, False
        self._connect_at = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _BACKOFF_S[1])

    def _work(self, deadline: float) -> None:
        """Handles one message, or waits for one until `deadline` or until another action is due."""
        if self._closed:
            raise ValueError("the subscriber is closed")
        now = time.monotonic()
        if not self._connection:
            time.sleep(max(0.0, min(self._connect_at, deadline) - now))
            if time.monotonic() >= self._connect_at:
                self._connect()
            return
        if self._live:
            due = self._repair_at if self._suspected_gaps else self._tails_at
        else:
            due = self._live_deadline
        frames = self._connection.receive(min(deadline, due))
        if frames is not None:
            self._on_message(frames)
        elif self._connection.ended() or (not self._live and time.monotonic() >= self._live_deadline):
            self._disconnect()
        elif self._live and time.monotonic() >= due:
            self._repair_suspected_gaps() if self._suspected_gaps else self._check_tails()

    # Received messages.

    def _on_message(self, frames: list[bytes]) -> None:
        stamp = read_stamp(frames[-1])
        if len(frames) != 2 or stamp is None:
            self.undecodable += 1
        elif frames[0] == self._live_topic:
            self._on_live(stamp)
        else:
            topic = frames[0].decode(errors="replace")
            # ZeroMQ matches byte prefixes: "time" also gets "timezone".
            if any(pattern.matches(topic) for pattern in self._patterns):
                self._on_event(topic, frames[1], stamp)

    def _on_live(self, stamp: Stamp) -> None:
        self._connection.socket.unsubscribe(self._live_topic)
        if self._stream is None:
            self._stream, self._tails_after = stamp.stream, stamp.position
            self._start_position[stamp.stream] = stamp.position
        elif self._stream != stamp.stream:
            # A new incarnation of the same broker is read from its beginning, including what was published before the
            # subscriptions were active again. Another broker is read from now on.
            self._reset(stamp.stream, 0 if self._stream >> 32 == stamp.stream >> 32 else stamp.position)
        self._live, self._backoff = True, _BACKOFF_S[0]
        self._brokers.mark_up()
        self._tails_at = time.monotonic()  # events may have been published while disconnected

    def _reset(self, stream: int, position: int) -> None:
        self._ready.append(Reset(self._stream, stream))
        self._last_seen = {key: seen for key, seen in self._last_seen.items() if key[0] != self._stream}
        self._stream, self._tails_after, self._suspected_gaps = stream, position, []
        self._start_position[stream] = position

    def _on_event(self, topic: str, body: bytes, stamp: Stamp) -> None:
        if self._stream not in (None, stamp.stream) and self._stream >> 32 == stamp.stream >> 32:
            self._reset(stamp.stream, 0)  # a new incarnation of the same broker
        if stamp.offset > 0:  # some system events are not numbered
            seen = self._last_seen.get((stamp.stream, topic))
            if seen and stamp.offset <= seen.offset:
                self.duplicates += 1
                return
            self._repair_gap(topic, stamp.stream, stamp.offset - 1, stamp.previous)
            self._last_seen[stamp.stream, topic] = _Seen(stamp.offset, stamp.position)
        try:
            self._ready.append(Event(topic, event_pb2.Event.FromString(body), stamp))
        except DecodeError:
            self._ready.append(Gap(stamp.stream, topic, stamp.offset, stamp.offset, "undecodable"))

    # Missing events.

    def _repair_gap(self, topic: str, stream: int, last: int, until: int) -> None:
        """Delivers the missing events of the topic up to the offset `last`, which is at the position `until`."""
        if seen := self._last_seen.get((stream, topic)):
            first, after = seen.offset + 1, seen.position
            missing = last >= first
        else:
            # The topic's first event: nothing is missing unless the topic had another one since reading began.
            after = self._start_position.get(stream)
            first = 1 if after == 0 else 0
            missing = after is not None and until > after
        if not missing:
            return
        events, lost_some, reason = self._fetch(topic, stream, after, until)
        expected = first  # 0: unknown
        for event in events:
            offset = event.stamp.offset
            if offset > expected and (expected or lost_some):
                self._ready.append(Gap(stream, topic, expected, offset - 1, reason))
            self._ready.append(event)
            self.recovered += 1
            expected = offset + 1
        if expected <= last:
            self._ready.append(Gap(stream, topic, expected, last, reason))

    def _fetch(self, topic: str, stream: int, after: int, until: int) -> tuple[list[Event], bool, str]:
        """(the events of the topic in (after, until] from history, whether some are lost, the reason)"""
        events: list[Event] = []
        lost_some = False
        while True:
            try:
                for event in self._control.replay(topic, after=(stream, after), until=until,
                                                  timeout=_RECOVERY_TIMEOUT_S):
                    events.append(event)
                    after = event.stamp.position
                return events, lost_some, "history_gone"
            except HistoryGone as gone:
                lost_some = True
                if not after < gone.first_available - 1 < until:
                    return events, lost_some, "history_gone"
                after = gone.first_available - 1
            except TimeoutError:
                return events, True, "recovery_timeout"
            except (ControlError, DecodeError, ValueError):  # for example the history of another stream
                return events, True, "history_gone"

    def _check_tails(self) -> None:
        """Checks for losses that no later event reveals: at the end of a topic."""
        self._tails_at = time.monotonic() + _TAILS_INTERVAL_S
        try:
            stream, position, tails = self._control.tails([pattern.text for pattern in self._patterns],
                                                          self._tails_after, timeout=_RECOVERY_TIMEOUT_S)
        except (TimeoutError, ControlError):
            return
        if stream == self._stream:
            self._tails_after = position
            self._suspected_gaps = [tail for tail in tails if self._is_missing(tail)]
            self._repair_at = time.monotonic() + _GRACE_S

    def _is_missing(self, tail) -> bool:
        seen = self._last_seen.get((self._stream, tail.topic))
        return seen.offset < tail.offset if seen else tail.position > self._start_position[self._stream]

    def _repair_suspected_gaps(self) -> None:
        suspects, self._suspected_gaps = self._suspected_gaps, []
        for tail in filter(self._is_missing, suspects):
            self._repair_gap(tail.topic, self._stream, tail.offset, tail.position)
            self._last_seen[self._stream, tail.topic] = _Seen(tail.offset, tail.position)
