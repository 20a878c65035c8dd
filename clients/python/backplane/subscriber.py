"""Reading events by pattern, with a Gap for every event that is lost."""

import datetime
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import zmq

from backplane.broker_reader import BrokerReader
from backplane.brokers import broker_list, names_of
from backplane.control import DEFAULT_CONTROL, ControlError
from backplane.credentials import Path, read_keys
from backplane.progress import parse_interval, parse_since, resume_token
from backplane.stream_reader import Begin, Counters, StreamReader
from backplane.throttle import Throttle
from backplane.topic import Pattern
from backplane.wire import Event, Gap, Reset, Stamp

DEFAULT_EGRESS = "tcp://127.0.0.1:5571"

_OTHERS_S = 0.3  # how long the other brokers of the list may take for their live reply, after the first one's


class _Mark(NamedTuple):
    """Everything of the stream up to this position is before this in the queue. None: nothing of the stream is to be
    remembered any more."""
    stream: int
    position: int | None


def _origin(stream: int) -> int:
    """Which broker and backplane, without the incarnation."""
    return stream >> 32


class Subscriber:
    """Reads the topics that match some patterns. Belongs to one thread at a time; owns its sockets, starts no threads.

    The events of each topic arrive in order and once. A missing event is recovered from the broker's history. If it
    is no longer there, a Gap takes its place. Meanwhile the other topics go on. When a broker comes back without its
    history, a Reset is returned before its new events. After a lost connection the subscriber reconnects and recovers
    what was published meanwhile. It reads every broker of the list at once, each with numbers of its own: wherever a
    publisher moves, its events arrive.

        with Subscriber("stock.>", "clock") as subscriber:
            subscriber.wait_live()
            while item := subscriber.receive(timeout=60):
                …
    """

    def __init__(self, *patterns: str, egress: str | Sequence[str] = DEFAULT_EGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL,
                 since: str | int | datetime.timedelta | None = None,
                 every: float | str | datetime.timedelta | None = None, key_file: Path | None = None,
                 server_key_file: Path | None = None, context: zmq.Context | None = None):
        """Connects in the background. For several brokers, `egress` and `control` contain one endpoint each per broker.

        `since` puts history before the new events: a resume token continues where an earlier subscriber stopped; a
        duration ("10m" or a timedelta) is counted back from now by the broker's clock; an offset continues after this
        event of one topic. `every` (seconds, a timedelta or "5s") limits each topic to one event per interval: the
        first one at once, then the latest.

        For brokers that require keys, `key_file` names the file with this program's secret key, and `server_key_file` the
        one with the brokers' public key; if None, BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name them.

        Raises ValueError for an invalid pattern, `since` or `every`, or keys that cannot be used; zmq.ZMQError for an
        invalid endpoint."""
        if not patterns:
            raise ValueError("expected at least one pattern, got none")
        self._patterns = [Pattern(pattern) for pattern in patterns]
        self._since = None if since is None else parse_since(since)
        interval = parse_interval(every)
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
        context = context or zmq.Context.instance()
        try:
            for broker in self._brokers:
                self._readers.append(BrokerReader(
                    context, broker["egress"], broker["control"], self._patterns, attach=self._attach,
                    replaced=self._on_replaced, counters=self._counters, keys=keys))
        except zmq.ZMQError:
            self.close()
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
    def last_problem(self) -> str:
        """What went wrong last without stopping the subscriber, for example because one of several brokers does not
        accept our keys; "" if nothing."""
        return self._last_problem

    def wait_live(self, timeout: float = 10.0) -> None:
        """Waits until the subscriptions are active: everything published from now on is delivered or reported as a
        Gap, at whichever broker of the list. Raises TimeoutError if none of them replies, AuthenticationError if none
        of them accepts our keys."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while not (self.live and self._began_at is not None):
            if time.monotonic() >= deadline:
                problem = next((f": {reader.problem}" for reader in self._readers if reader.problem), "")
                raise TimeoutError(f"no live reply from {names_of(self._brokers, 'egress')} within {timeout:g} s{problem}")
            self._work(deadline)
            self._raise_problem()

    def receive(self, timeout: float = 10.0) -> Event | Gap | Reset | None:
        """The next event, Gap or Reset; None if there is none within `timeout` seconds. If no broker of the list accepts
        our keys (any more), raises AuthenticationError, once a second at most; if a broker does not permit us to read
        a pattern, raises ControlError with the code "not_permitted", once. The subscriber goes on."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while True:
            while self._ready:
                item = self._ready.popleft()
                if not isinstance(item, _Mark):
                    return item
                self._on_mark(item)
            self._raise_problem()
            if time.monotonic() < deadline:
                self._work(deadline)
                continue
            self._work(0.0)  # with a timeout of 0, too, what has arrived is handled
            if not any(not isinstance(item, _Mark) for item in self._ready):
                return None

    def __iter__(self) -> Iterator[Event | Gap | Reset]:
        """All items, until close()."""
        while not self._closed:
            if item := self.receive(timeout=60):
                yield item

    def resume_token(self) -> str:
        """Where another Subscriber continues with `since=`. Everything before it has been returned by receive(); what was
        returned in the last second or two may be behind it and comes again. "" if nothing is known yet."""
        return resume_token(self._positions)

    def close(self) -> None:
        """Closes the subscriber at once. A second call has no effect."""
        self._closed = True
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_) -> None:
        self.close()

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

    def _on_permission(self, pattern: str, error) -> None:
        """`error` is what a broker replied; None: it permits us to read the pattern."""
        if not error:
            self._forbidden.discard(pattern)
        elif pattern not in self._forbidden:
            self._forbidden.add(pattern)
            self._errors.append(ControlError(error.code, error.text))
            self._last_problem = str(self._errors[-1])

    # The brokers.

    def _work(self, deadline: float) -> None:
        """Handles what has arrived, or waits for something until `deadline` or until another action is due."""
        busy = False
        for reader in self._readers:
            busy |= reader.work()
        now = time.monotonic()
        self._update_began(now)
        if self._throttle:
            self._throttle.tick(now)
        if self._ready or busy:
            return
        due = min(deadline, *(reader.due() for reader in self._readers))
        if self._throttle:
            due = min(due, self._throttle.due())
        if self._first_live_at is not None and self._began_at is None:
            due = min(due, self._first_live_at + _OTHERS_S)
        if due > now:
            poller = zmq.Poller()
            for reader in self._readers:
                for each in reader.sockets():
                    poller.register(each, zmq.POLLIN)
            poller.poll(int((due - now) * 1000) + 1)

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
        if self._since and self._since.ago_ns is not None:
            return Begin(since_ns=self._broker_time(live, now - self._created_at) - self._since.ago_ns)
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
        self._ready.append(Reset(old, new))
        if old != new:
            self._ready.append(_Mark(old, None))
        self._ready.append(_Mark(new, 0))

    # The queue.

    def _deliver(self, item: Event | Gap | Reset) -> None:
        now = time.monotonic()
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
