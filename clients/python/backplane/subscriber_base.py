"""What every subscriber does, however it waits: it reads events by pattern, with a Gap for every event that is lost."""

import datetime
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

import zmq

from backplane.broker_reader import BrokerReader
from backplane.brokers import broker_list, names_of
from backplane.channel import ControlChannel
from backplane.control import DEFAULT_CONTROL, ControlError
from backplane.credentials import Path, read_keys
from backplane.progress import parse_interval, parse_since, resume_token
from backplane.stream_reader import Begin, Counters, StreamReader
from backplane.throttle import Throttle
from backplane.topic import Pattern
from backplane.type_fetcher import TypeFetcher
from backplane.v1 import control_pb2
from backplane.wire import Event, Gap, Reset, Stamp

DEFAULT_EGRESS = "tcp://127.0.0.1:5571"

_NAME_BYTES_MAX = 243
_LAST_WAIT_S = 1.0  # how long the last values of one broker wait for those of the others
_OTHERS_S = 0.3  # how long the other brokers of the list may take for their live reply, after the first one's


class _Mark(NamedTuple):
    """Everything of the stream up to this position is before this in the queue. None: nothing of the stream is to be
    remembered any more."""
    stream: int
    position: int | None


def _origin(stream: int) -> int:
    """Which broker and backplane, without the incarnation."""
    return stream >> 32


def _default_name() -> str:
    program = PurePath(sys.argv[0] if sys.argv else "").stem
    return f"{program if program not in ('', '-', '-c', '__main__') else 'python'}@{socket.gethostname()}"


def _checked_name(name: str | None) -> str:
    encoded = (_default_name() if name is None else name).encode(errors="replace")
    if name is None:
        return encoded[:_NAME_BYTES_MAX].decode(errors="ignore")
    if len(encoded) > _NAME_BYTES_MAX:
        raise ValueError(f"name: expected at most {_NAME_BYTES_MAX} bytes, got {len(encoded)}")
    return encoded.decode()


class SubscriberBase:
    """A subscriber without the ways to wait. Belongs to one thread at a time; owns its sockets, starts no threads (a host
    name in an endpoint is looked up by a thread that ends by itself)."""

    def __init__(self, *patterns: str, egress: str | Sequence[str] = DEFAULT_EGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL,
                 last: bool = False, since: str | int | datetime.timedelta | datetime.datetime | None = None,
                 every: float | str | datetime.timedelta | None = None, name: str | None = None,
                 key_file: Path | None = None, server_key_file: Path | None = None,
                 context: zmq.Context | None = None):
        """Connects in the background. For several brokers, `egress` and `control` contain one endpoint each per broker.

        `last` puts the last value of each topic before the new events. `since` puts history there: a resume token continues
        where an earlier subscriber stopped; a duration ("10m" or a timedelta) is counted back from now by the broker's
        clock; a datetime with a time zone is a time by that clock; an offset continues after this event of one topic.
        `every` (seconds, a timedelta or "5s") limits each topic to one event per interval: the first one at once, then the
        latest.

        `name` is what `backplane top` shows, with the number of events returned, while the subscriber is used; by default,
        the names of the program and the host. "": it is not shown.

        For brokers that require keys, `key_file` names the file with this program's secret key, and `server_key_file` the
        one with the brokers' public key; if None, BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name them.

        Does not block, except for up to 0.2 s if an endpoint has a host name that must be looked up, or the keys' files are
        slow. Raises ValueError for an invalid pattern, `since`, `every` or `name`, for both of `last` and `since`, or keys
        that cannot be used; zmq.ZMQError for an invalid endpoint."""
        if not patterns:
            raise ValueError("expected at least one pattern, got none")
        self._patterns = [Pattern(pattern) for pattern in patterns]
        self._since = None if since is None else parse_since(since)
        if last and self._since:
            raise ValueError("expected at most one of last and since, got both")
        self._last = last
        interval = parse_interval(every)
        self._name = _checked_name(name)
        self._brokers = broker_list(egress=egress, control=control)
        keys = read_keys(key_file, server_key_file)
        self._has_keys = keys is not None
        if self._since and self._since.offset is not None:
            if len(patterns) > 1 or not self._patterns[0].is_exact or len(self._brokers) > 1:
                raise ValueError("since: expected one topic and one broker with an offset, "
                                 f"got {len(patterns)} patterns ({patterns[0]}) and {len(self._brokers)} brokers")
        self._token = dict(self._since.positions) if self._since and self._since.positions else {}
        self._closed, self._pid = False, os.getpid()
        self._counters = Counters()
        self._last_problem = ""
        self._forbidden: set[str] = set()                   # patterns
        self._errors: deque[ControlError] = deque()         # to be raised
        self._ready: deque[Event | Gap | Reset | _Mark] = deque()
        self._throttle = Throttle(interval, self._ready.append) if interval else None
        self._positions: dict[int, int] = dict(self._token)  # by stream: everything up to here has been returned
        self._streams: dict[int, StreamReader] = {}
        self._created_at = time.monotonic()
        self._first_live_at: float | None = None
        self._began_at: float | None = None  # when every broker that is there was live
        self._readers: list[BrokerReader] = []
        self._last_until: float | None = None              # until then, last values wait for those of other brokers
        self._last_received: dict[str, int] = {}           # by topic, when the last value was received
        self._types = TypeFetcher(self._live_channel)
        self._held = False                                 # the first item waits for the definition of its type
        context = context or zmq.Context.instance()
        try:
            for broker in self._brokers:
                self._readers.append(BrokerReader(
                    context, broker["egress"], broker["control"], self._patterns, attach=self._attach,
                    replaced=self._on_replaced, counters=self._counters, keys=keys, name=self._name))
        except zmq.ZMQError:
            self._close()
            raise

    @property
    def live(self) -> bool:
        """Whether the subscriptions are active at one broker at least: its live reply has come within the last
        seconds."""
        return any(reader.live for reader in self._readers)

    @property
    def duplicates(self) -> int:
        """Events that arrived again and were skipped."""
        return self._counters.duplicates

    @property
    def recovered(self) -> int:
        """Missing events that were recovered from history."""
        return self._counters.recovered

    @property
    def undecodable(self) -> int:
        """Messages that are not events."""
        return self._counters.undecodable

    @property
    def lost(self) -> int:
        """Events reported in a Gap, as far as their number is known."""
        return self._counters.lost

    @property
    def name(self) -> str:
        """The name that `backplane top` shows; "" if it shows none."""
        return self._name

    @property
    def last_problem(self) -> str:
        """What went wrong last without stopping the subscriber, for example because one of several brokers does not
        accept our keys; "" if nothing."""
        return self._last_problem

    def _is_live(self) -> bool:
        return self.live and self._began_at is not None

    def _not_live(self, timeout: float) -> TimeoutError:
        problem = next((f": {reader.problem}" for reader in self._readers if reader.problem), "")
        return TimeoutError(f"no live reply from {names_of(self._brokers, 'egress')} within {timeout:g} s{problem}")

    def resume_token(self) -> str:
        """Where another Subscriber continues with `since=`. Everything before it has been returned by receive(); what was
        returned in the last second or two may be behind it and comes again. "" if nothing is known yet."""
        return resume_token(self._positions)

    def _close(self) -> None:
        self._closed = True
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("the subscriber was created before fork(): create one in each process")
        if self._closed:
            raise ValueError("the subscriber is closed")

    def _raise_problem(self) -> None:
        now = time.monotonic()
        problems = [problem for reader in self._readers if (problem := reader.take_problem(now))]
        if problems:
            self._last_problem = str(problems[0])
            if all(reader.problem for reader in self._readers):
                raise problems[0]
        if self._errors:
            raise self._errors.popleft()

    def _on_permission(self, pattern: str, error: control_pb2.ControlError | None) -> None:
        """`error` is what a broker replied; None: it permits us to read the pattern."""
        if not error:
            self._forbidden.discard(pattern)
        elif pattern not in self._forbidden:
            self._forbidden.add(pattern)
            self._errors.append(ControlError(error.code, error.text))
            self._last_problem = str(self._errors[-1])

    # The brokers.

    def _turn(self, deadline: float) -> float:
        """Handles what has arrived. Returns how many seconds to wait for something before the next turn, if nothing
        arrives: at most until `deadline`; 0 if an item may be ready."""
        busy = False
        for reader in self._readers:
            busy |= reader.work()
        now = time.monotonic()
        self._update_began(now)
        self._release_last_values(now)
        if self._throttle:
            self._throttle.tick(now)
        if busy or (self._ready and not self._held):
            return 0.0
        due = min(deadline, self._types.due(), *(reader.due() for reader in self._readers))
        if self._throttle:
            due = min(due, self._throttle.due())
        if self._first_live_at is not None and self._began_at is None:
            due = min(due, self._first_live_at + _OTHERS_S)
        if self._last_until:
            due = min(due, self._last_until)
        return max(0.0, due - now)

    def _sockets(self) -> list[zmq.Socket]:
        """Those that _turn() reads."""
        return [each for reader in self._readers for each in reader.sockets()]

    def _live_channel(self) -> ControlChannel | None:
        return next((reader.channel for reader in self._readers if reader.live), None)

    def _release_last_values(self, now: float) -> None:
        """Delivers the last values as soon as all brokers that are there have sent theirs. Of a topic that several brokers
        have, the value that was received last counts."""
        loading = [each for each in self._streams.values() if each.loads_last_values]
        if not loading or self._began_at is None:
            return
        if self._last_until is None:
            self._last_until = now + _LAST_WAIT_S
        ready = [(each, each.last_values) for each in loading if each.last_values is not None]
        if len(ready) < len(loading) and now < self._last_until:
            return
        self._last_until = 0.0  # later ones wait for nobody
        for _, values in ready:
            for topic, stamp in values.items():
                self._last_received[topic] = max(stamp.received_ns, self._last_received.get(topic, stamp.received_ns))
        for stream, _ in ready:
            stream.release_last_values(lambda topic, stamp: stamp.received_ns >= self._last_received[topic])

    def _update_began(self, now: float) -> None:
        if self._began_at is None:
            lives = [reader.live for reader in self._readers]
            if any(lives) and self._first_live_at is None:
                self._first_live_at = now
            if all(lives) or (self._first_live_at is not None and now >= self._first_live_at + _OTHERS_S):
                self._began_at = now

    def _attach(self, reader: BrokerReader, live: Stamp) -> StreamReader:
        """The reader of the stream that a live reply has shown. Two brokers with the same stream share it."""
        if not (stream := self._streams.get(live.stream)):
            stream = self._streams[live.stream] = StreamReader(
                live.stream, self._patterns, self._begin(reader, live), live.position, control=reader.channel,
                deliver=self._deliver, mark=self._on_resume_position, counters=self._counters,
                note_permission=self._on_permission, has_policy=self._has_keys)
        return stream

    def _begin(self, reader: BrokerReader, live: Stamp) -> Begin:
        now = time.monotonic()
        if reader.previous is not None:
            if _origin(reader.previous) == _origin(live.stream) or len(self._readers) == 1:
                return Begin(position=0)  # a new incarnation: all of it is new
            return Begin(since_ns=self._broker_time(live, now - (self._began_at or now)))
        if self._token:
            return self._resume(live)
        if self._since and self._since.offset is not None:
            return Begin(offset=self._since.offset)
        if self._since and self._since.at_ns is not None:
            return Begin(since_ns=self._since.at_ns)
        if self._since and self._since.ago_ns is not None:
            return Begin(since_ns=self._broker_time(live, now - self._created_at) - self._since.ago_ns)
        if self._last and self._began_at is None:
            return Begin(last=True)
        if self._began_at is not None:
            # A broker that appears while we are reading: everything since then is to be delivered.
            return Begin(since_ns=self._broker_time(live, now - self._began_at))
        return Begin()

    @staticmethod
    def _broker_time(live: Stamp, seconds_ago: float) -> int:
        """A time before now by the clock of the broker that has just sent this live reply; rather too early than too
        late."""
        return live.received_ns - int(seconds_ago * 1e9)

    def _resume(self, live: Stamp) -> Begin:
        if live.stream in self._token:
            position = self._token[live.stream]
            if position <= live.position:
                return Begin(position=position)
            self._reset(live.stream, live.stream)
            return Begin(position=0)
        for old in self._token:
            # An earlier incarnation of this broker, or of the only broker that there is.
            if _origin(old) == _origin(live.stream) or len(self._token) == len(self._readers) == 1:
                self._reset(old, live.stream)
                break
        return Begin(position=0)

    def _on_replaced(self, reader: BrokerReader, old: int, new: int) -> None:
        others = [other.stream for other in self._readers if other is not reader]
        stream = self._streams.get(old)
        if stream in others and stream:
            stream.control = next(each for each in self._readers if each is not reader and each.stream is stream).channel
            return
        if stream:
            del self._streams[old]
            stream.end()
        self._reset(old, new)

    def _reset(self, old: int, new: int) -> None:
        if self._throttle:
            self._throttle.release_all(time.monotonic())
        self._counters.resets += 1
        self._ready.append(Reset(old, new))
        if old != new:
            self._ready.append(_Mark(old, None))
        self._ready.append(_Mark(new, 0))

    # The queue.

    def _next(self) -> Event | Gap | Reset | None:
        """The next item, if there is one that does not wait for the definition of its type."""
        self._held = False
        while self._ready:
            item = self._ready[0]
            if isinstance(item, _Mark):
                self._ready.popleft()
                self._on_mark(item)
                continue
            if isinstance(item, Event):
                if self._types.holds(item, self._ready):
                    self._held = True
                    return None
                self._counters.given += 1
            self._ready.popleft()
            return item
        return None

    def _deliver(self, item: Event | Gap | Reset) -> None:
        now = time.monotonic()
        if isinstance(item, Gap):
            self._counters.gaps += 1
            self._counters.lost += max(0, item.last - max(1, item.first) + 1) if item.first else 0
        elif isinstance(item, Reset):
            self._counters.resets += 1
        if not self._throttle:
            self._ready.append(item)
        elif isinstance(item, Event):
            self._throttle.event(item, now)
        else:
            if isinstance(item, Gap):
                self._throttle.release(item.topic, now)
            else:
                self._throttle.release_all(now)
            self._ready.append(item)

    def _on_resume_position(self, stream: int, position: int | None) -> None:
        if position is None:
            return
        waiting = self._throttle.lowest_waiting(stream) if self._throttle else None
        self._ready.append(_Mark(stream, position if waiting is None else min(position, waiting - 1)))

    def _on_mark(self, mark: _Mark) -> None:
        if mark.position is None:
            self._positions.pop(mark.stream, None)
        else:
            self._positions[mark.stream] = mark.position
