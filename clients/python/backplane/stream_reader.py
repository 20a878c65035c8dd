"""One stream's events: in order within each topic, once, and with a Gap for every event that is lost."""

import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from backplane.channel import ControlChannel
from backplane.progress import Place, StreamProgress
from backplane.topic import Pattern
from backplane.v1 import control_pb2, event_pb2
from backplane.wire import Event, Gap, Reset, Stamp, read_stamp

_REPLY_TIMEOUT_S = 4.0
_REPLAY_TIMEOUTS_S = (4.0, 8.0, 16.0)  # of a replay and its repetitions: the reply may be on its way
_ATTEMPTS_MAX = 5            # requests in a row without a reply: what they were to recover is lost
_BUSY_PAUSE_S = 0.1          # before a request that the broker was too busy for is sent again
_TAILS_INTERVAL_S = 1.0      # how often to check for losses that no later event reveals
_GRACE_S = 0.1               # how long an event that a tail shows may still be in flight
_MARK_INTERVAL_S = 0.05      # how often the resume position is computed, at most
_WAITING_BYTES_MAX = 64 << 20
_JOIN_BYTES_MAX = 16 << 20


class _From(enum.Enum):
    LIVE = 1
    HISTORY = 2


@dataclass
class Counters:
    given: int = 0         # events that the subscriber has returned
    duplicates: int = 0    # events that arrived again and were skipped
    recovered: int = 0     # missing events recovered from history
    undecodable: int = 0   # messages that are not events
    lost: int = 0          # events reported in a Gap, as far as their number is known
    gaps: int = 0
    resets: int = 0


@dataclass
class Begin:
    """Where the reading of a stream begins. Without any of these: at the live reply."""
    position: int | None = None    # after this position
    offset: int | None = None      # after this offset of the one topic
    since_ns: int | None = None    # with what the broker received at this time
    last: bool = False             # with the last value of each topic


@dataclass
class _History:
    """The replay of one pattern."""
    pattern: str
    after: int | None = None       # instead of the beginning, once history turned out to begin later
    cursor: bytes = b""
    through: int = 0               # everything up to here is in `events` or has been delivered
    restarted: bool = False        # without the cursor, which the broker has refused
    complete: bool = False
    # Events that the broker can no longer read have no bytes.
    # (topic, bytes, Stamp or DestroyedEvents)
    events: deque[tuple[str, bytes | None, Any]] = field(default_factory=deque)


@dataclass
class _CatchUp:
    """Replays from the beginning up to the live reply, merged in order of positions."""
    begin: Begin
    until: int
    histories: list[_History]
    lost_some: bool = False


@dataclass
class _LastValues:
    """The last values of the topics, which come before everything else."""
    patterns: deque[str]           # those that have not been read completely
    cursor: bytes = b""
    restarted: bool = False        # without the cursor, which the broker has refused
    requested: bool = False
    attempts: int = 0
    values: dict[str, tuple[bytes, Stamp]] = field(default_factory=dict)
    destroyed: list[control_pb2.DestroyedEvents] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # patterns


@dataclass
class _Repair:
    """A replay of the missing events of one topic."""
    topic: str
    after: int
    until: Place
    cursor: bytes = b""
    restarted: bool = False        # without the cursor, which the broker has refused
    lost_some: bool = False        # history no longer has the first of them
    reason: str = "history_gone"   # of what history does not have


@dataclass
class _Tails:
    after: int
    cursor: bytes = b""
    position: int = 0              # complete up to here: known from the first reply
    tails: list[control_pb2.TailsReply.Tail] = field(default_factory=list)


def _is_foreign_cursor(reply: control_pb2.ControlReply | None) -> bool:
    """Whether the request's cursor is of the broker's process before this one, which has the same stream. What has
    arrived is known without it."""
    return reply is not None and reply.WhichOneof("end") == "error" and reply.error.code == "bad_cursor"


def _reason_of(destroyed: control_pb2.DestroyedEvents) -> str:
    return "lost_upstream" if destroyed.upstream else "damaged"


def _is_forbidden(reply: control_pb2.ControlReply | None) -> bool:
    return reply is not None and reply.WhichOneof("end") == "error" and reply.error.code == "not_permitted"


class StreamReader:
    """Reads one stream. An event that shows a hole waits, with its topic's later events, until the missing ones have
    been recovered or are known to be lost; other topics do not wait. Belongs to one thread. Owns no socket: events are
    handed to it, and it sends requests over `control`, which may be replaced."""

    def __init__(self, stream: int, patterns: list[Pattern], begin: Begin, live_position: int, *,
                 control: ControlChannel, deliver: Callable[[Event | Gap | Reset], None],
                 mark: Callable[[int, int], None], counters: Counters,
                 note_permission: Callable[[str, control_pb2.ControlError | None], None], has_policy: bool = False):
        """`deliver` takes each item; `mark(stream, position)` notes that everything up to a position has been
        delivered before; `note_permission(pattern, error)` notes whether we may read a pattern (None) or not.
        `has_policy`: the broker may permit some of the patterns and hide the others, which is found out."""
        self.stream = stream
        self.control = control
        self._patterns, self._deliver, self._mark, self._counters = patterns, deliver, mark, counters
        self._note_permission, self._to_check = note_permission, -1 if has_policy and len(patterns) > 1 else None
        start = 0 if begin.offset is not None else begin.position
        if begin in (Begin(), Begin(last=True)):
            start = live_position
        self.progress = StreamProgress(stream, start)
        if begin.offset:
            self.progress.done(patterns[0].text, begin.offset, 0)
        self._arrived = live_position            # the highest position that came live
        self._holes: dict[str, dict[int, tuple[bytes, Stamp]]] = {}  # by topic and offset: events that wait
        self._waiting_bytes = 0
        self._suspects: dict[str, float] = {}    # topics of missing events that may still be in flight: since when
        self._join: deque[tuple[str, bytes, Stamp]] = deque()
        self._join_bytes = 0
        self._highest = 0                        # position of an event that has been delivered
        self._last_values = _LastValues(deque(each.text for each in patterns)) if begin.last else None
        self._catch_up: _CatchUp | None = None
        if begin not in (Begin(), Begin(last=True)) and start != live_position:
            self._catch_up = _CatchUp(begin, live_position, [_History(pattern.text) for pattern in patterns])
        self._tails_after = live_position if start is None else start
        self._tails: _Tails | None = None
        self._tails_at = 0.0
        self._repair: _Repair | None = None
        self._request: control_pb2.ReplayRequest | None = None           # the replay under way
        self._requested, self._attempts, self._retry_at = False, 0, 0.0  # of it
        self._marked: int | None = None
        self._moved, self._mark_at = True, 0.0
        self._ended = False

    # What arrives.

    def on_event(self, topic: str, body: bytes, stamp: Stamp) -> None:
        """An event of the live stream."""
        self._arrived = max(self._arrived, stamp.position)
        if not self._catch_up and not self._last_values:
            self._take(topic, body, stamp, _From.LIVE)
        elif self._join_bytes + len(body) <= _JOIN_BYTES_MAX:
            self._join.append((topic, body, stamp))
            self._join_bytes += len(body)
        # Otherwise history has it: its topic's next event, or its tail, shows that it is missing.

    def on_live(self, position: int, anew: bool) -> None:
        """A live reply: every event up to `position` that was to arrive has arrived. `anew`: the first one after the
        connection was lost."""
        self._arrived = max(self._arrived, position)
        if anew:
            self._tails_at = 0.0

    def end(self) -> None:
        """There is nothing more of this stream: what is missing is lost, and what waits for it is delivered."""
        self._ended = True
        if self._last_values:
            self.release_last_values(lambda _topic, _stamp: True)
        if self._catch_up:
            for history in self._catch_up.histories:
                history.complete = True
            self._merge()
        for topic in set(self._holes) | set(self.progress.missing()):
            self._holes.setdefault(topic, {})
            while topic in self._holes:
                self._give_up(topic, self.progress.missing()[topic], "history_gone")

    # What time brings.

    def work(self, now: float, drained: bool) -> None:
        """Sends the requests that are due. `drained`: nothing that has been received is left."""
        self._judge_suspects(now, drained)
        if not self._requested and now >= self._retry_at:
            if self._last_values:
                self._request_last_values()
            elif self._catch_up:
                self._request_catch_up()
            elif self._repair or self._holes:
                self._request_repair()
        if self._last_values:
            return
        if not self._catch_up and not self._tails and now >= self._tails_at:
            self._tails = _Tails(self._tails_after)
            self._request_tails()
        if self._moved and now >= self._mark_at:
            self._moved, self._mark_at = False, now + _MARK_INTERVAL_S
            position = self.progress.resume_position()
            if position != self._marked:
                self._marked = position
                self._mark(self.stream, position)

    def due(self, drained: bool) -> float:
        """When work() has something to do even if nothing arrives."""
        if self._last_values:
            waits = self._last_values.requested or not self._last_values.patterns
            return float("inf") if waits else self._retry_at
        times = []
        if not self._requested and (self._catch_up or self._repair or self._holes):
            times.append(self._retry_at)
        if not self._catch_up and not self._tails:
            times.append(self._tails_at)
        if drained:
            times.extend(self._suspects.values())
        if self._moved:
            times.append(self._mark_at)
        return min(times, default=float("inf"))

    # Order.

    def _take(self, topic: str, body: bytes, stamp: Stamp, source: _From) -> None:
        offset = stamp.offset
        from_history = source is _From.HISTORY
        if offset == 0:  # some system events are not numbered
            self._pass(topic, body, stamp, from_history)
            return
        last, hole = self.progress.last(topic), self._holes.get(topic)
        if (last and offset <= last.offset) or (hole is not None and offset in hole):
            self._counters.duplicates += source is _From.LIVE
            return
        gapless = offset == last.offset + 1 if last else not self.progress.lacks(topic, offset - 1, stamp.previous)
        if hole is None and gapless:
            self._pass(topic, body, stamp, from_history)
            return
        if hole is None:
            hole = self._holes[topic] = {}
            self.progress.miss(topic, offset - 1, stamp.previous)
        if self._waiting_bytes + len(body) > _WAITING_BYTES_MAX:
            self.progress.miss(topic, offset, stamp.position)  # recovered as well
            return
        hole[offset] = (body, stamp)
        self._waiting_bytes += len(body)
        self._drain(topic)

    def _pass(self, topic: str, body: bytes, stamp: Stamp, from_history: bool = False) -> None:
        if stamp.offset > 0:
            self._moved |= topic in self.progress.missing()
            self.progress.done(topic, stamp.offset, stamp.position)
        try:
            event = event_pb2.Event.FromString(body)
            self._deliver(Event(topic, event, stamp, from_history, 0 < stamp.position < self._highest))
            self._highest = max(self._highest, stamp.position)
        except DecodeError:
            self._deliver(Gap(self.stream, topic, stamp.offset, stamp.offset, "undecodable"))

    def _expected(self, topic: str) -> int:
        """The offset of the topic's next event; 0: unknown."""
        last = self.progress.last(topic)
        if last:
            return last.offset + 1
        return 1 if self.progress.start == 0 else 0

    def _pop(self, topic: str, offset: int) -> tuple[bytes, Stamp] | None:
        waiting = self._holes.get(topic, {}).pop(offset, None)
        if waiting:
            self._waiting_bytes -= len(waiting[0])
        return waiting

    def _drain(self, topic: str) -> None:
        """Delivers the topic's waiting events for which nothing is missing any more, and closes the hole behind the
        last of them."""
        while waiting := self._pop(topic, self._expected(topic)):
            self._pass(topic, *waiting)
        if topic in self.progress.missing():
            return
        hole, expected = self._holes[topic], self._expected(topic)
        for offset in [offset for offset in hole if offset < expected]:
            self._pop(topic, offset)
        if not hole:
            del self._holes[topic]
            return
        _, stamp = hole[min(hole)]
        self.progress.miss(topic, stamp.offset - 1, stamp.previous)

    def _skip_to(self, topic: str, until: Place, reason: str) -> None:
        """Whatever of the topic is still missing up to `until` is lost."""
        for offset in sorted(offset for offset in self._holes[topic] if offset <= until.offset):
            self._lose(topic, offset - 1, reason)
            waiting = self._pop(topic, offset)
            if offset >= self._expected(topic):
                self._pass(topic, *waiting)
        self._lose(topic, until.offset, reason)
        if not (last := self.progress.last(topic)) or last.offset < until.offset:
            self.progress.done(topic, until.offset, until.position)
        self._moved = True

    def _lose(self, topic: str, last: int, reason: str) -> None:
        if max(1, self._expected(topic)) <= last:
            self._deliver(Gap(self.stream, topic, self._expected(topic), last, reason))

    # The last values.

    @property
    def loads_last_values(self) -> bool:
        """Whether last values are to be delivered before everything else: by release_last_values()."""
        return self._last_values is not None

    @property
    def last_values(self) -> dict[str, Stamp] | None:
        """The stamps of the last values by topic, when all have been read."""
        if not self._last_values or self._last_values.patterns:
            return None
        return {topic: stamp for topic, (_, stamp) in self._last_values.values.items()}

    def release_last_values(self, wanted: Callable[[str, Stamp], bool]) -> None:
        """Delivers the last values that are `wanted`, in order of topics, then the events that have arrived since."""
        last, self._last_values = self._last_values, None
        for pattern in [*last.unread, *last.patterns]:
            self._deliver(Gap(self.stream, pattern, 0, 0, "recovery_timeout"))
        for topic, (body, stamp) in sorted(last.values.items()):
            if stamp.offset > 0:
                self.progress.done(topic, stamp.offset, stamp.position)
            if wanted(topic, stamp):
                try:
                    self._deliver(Event(topic, event_pb2.Event.FromString(body), stamp, from_history=True))
                except DecodeError:
                    self._deliver(Gap(self.stream, topic, stamp.offset, stamp.offset, "undecodable"))
        for destroyed in last.destroyed:
            self._take_destroyed(destroyed.topic, destroyed)
        self._moved = True
        self._drain_join()

    def _request_last_values(self) -> None:
        last = self._last_values
        if last.requested or not last.patterns:
            return
        request = control_pb2.RetainedRequest(pattern=last.patterns[0], cursor=last.cursor)
        last.requested = True
        self.control.request(self._on_last_values, _REPLY_TIMEOUT_S, retained=request)

    def _on_last_values(self, reply: control_pb2.ControlReply | None) -> None:
        last = self._last_values
        if not last or self._ended:
            return
        last.requested = False
        self._judge_permission(last.patterns[0], reply)
        end = reply.WhichOneof("end") if reply else None
        if end in ("complete", "more"):
            for stored in reply.retained.events:
                if stamp := read_stamp(stored.event):
                    last.values[stored.topic] = (stored.event, stamp)
            last.destroyed.extend(reply.retained.destroyed)
            last.attempts = 0
            if end == "more" and reply.more.cursor != last.cursor:
                last.cursor = reply.more.cursor
                return
        elif reply is None and last.attempts + 1 < _ATTEMPTS_MAX:
            last.attempts += 1
            return
        elif end == "error" and reply.error.code == "busy":
            self._retry_at = time.monotonic() + _BUSY_PAUSE_S
            return
        elif _is_foreign_cursor(reply) and last.cursor and not last.restarted:
            last.cursor, last.restarted = b"", True
            return
        elif not _is_forbidden(reply):
            last.unread.append(last.patterns[0])
        last.patterns.popleft()
        last.cursor, last.restarted, last.attempts = b"", False, 0

    # Catching up with history.

    def _request_catch_up(self) -> None:
        catch_up = self._catch_up
        begin, history = catch_up.begin, min(catch_up.histories, key=lambda each: (each.complete, each.through))
        request = control_pb2.ReplayRequest(pattern=history.pattern, until_position=catch_up.until,
                                            cursor=history.cursor)
        if history.after is not None or begin.position is not None:
            request.after_position.stream = self.stream
            request.after_position.position = begin.position if history.after is None else history.after
        elif begin.offset is not None:
            request.after_offset = begin.offset
        else:
            request.since_ns = begin.since_ns
        self._send_replay(request, lambda reply: self._on_catch_up(history, reply))

    def _on_catch_up(self, history: _History, reply: control_pb2.ControlReply | None) -> None:
        catch_up = self._catch_up
        end = reply.WhichOneof("end") if reply else None
        if end == "error" and reply.error.code == "not_reached":
            # The topic has not come to this offset: it is one of an earlier incarnation.
            self._deliver(Reset(self.stream, self.stream))
            self.progress.forget()
            catch_up.begin = Begin(position=0)
            return
        if _is_foreign_cursor(reply) and history.cursor and (
                history.through > (history.after or 0) or not history.restarted):
            history.after = max(history.through, history.after or 0) or None
            history.cursor, history.restarted = b"", True
            return
        if end == "more" and reply.more.cursor != history.cursor:
            history.cursor = reply.more.cursor
        elif end != "gone" or not self._skip_gone(history, reply.gone.first_available - 1):
            history.complete = True
        if end in ("complete", "more"):
            events: list[tuple[str, bytes | None, Any]] = [(each.topic, None, each) for each in reply.replay.destroyed]
            self._each_stored(reply, lambda topic, body, stamp: events.append((topic, body, stamp)))
            history.events.extend(sorted(events, key=lambda event: event[2].position))
            history.through = max(history.through, reply.replay.through_position)
        elif catch_up.begin.since_ns is not None and not catch_up.lost_some:
            # Nobody knows of which topics, and how much.
            self._deliver(Gap(self.stream, history.pattern, 0, 0, "history_gone" if reply else "recovery_timeout"))
        catch_up.lost_some |= end not in ("complete", "more")
        self._merge()

    def _skip_gone(self, history: _History, after: int) -> bool:
        """Goes on where history begins. Returns False if it has nothing up to the live reply."""
        if not max(history.through, history.after or 0) < after < self._catch_up.until:
            return False
        history.after, history.cursor, history.through = after, b"", after
        return True

    def _merge(self) -> None:
        """Delivers, in order of positions, what no replay can precede any more."""
        catch_up = self._catch_up
        limit = min((each.through for each in catch_up.histories if not each.complete), default=catch_up.until)
        while ready := [each for each in catch_up.histories if each.events and each.events[0][2].position <= limit]:
            first = min(ready, key=lambda each: each.events[0][2].position)
            topic, body, stamp = first.events.popleft()
            if body is None:
                self._take_destroyed(topic, stamp)
            else:
                self._take(topic, body, stamp, _From.HISTORY)
            if not catch_up.lost_some and not self.progress.missing():
                self.progress.verified = stamp.position
                self._marked = self.progress.resume_position()
                self._mark(self.stream, self._marked)
        if all(each.complete for each in catch_up.histories):
            self._finish_catch_up()

    def _take_destroyed(self, topic: str, destroyed: control_pb2.DestroyedEvents) -> None:
        expected, until = self._expected(topic), Place(destroyed.last_offset, destroyed.position)
        if expected > until.offset:
            return
        reason = _reason_of(destroyed)
        if topic in self._holes:
            self._give_up(topic, until, reason)
            return
        self._deliver(Gap(self.stream, topic, max(expected, destroyed.first_offset), until.offset, reason))
        self.progress.done(topic, *until)
        self._moved = True

    def _finish_catch_up(self) -> None:
        until, self._catch_up = self._catch_up.until, None
        if self.progress.start is None:
            self.progress.start = self.progress.verified = until
            self._moved = True
        self._drain_join()

    def _drain_join(self) -> None:
        self._join_bytes = 0
        while self._join:
            self._take(*self._join.popleft(), _From.LIVE)

    # Recovering what is missing.

    def _request_repair(self) -> None:
        if not self._repair:
            topic = next(iter(self._holes))
            self._repair = _Repair(topic, self.progress.after(topic) or 0, self.progress.missing()[topic])
        repair = self._repair
        request = control_pb2.ReplayRequest(pattern=repair.topic, until_position=repair.until.position,
                                            cursor=repair.cursor)
        request.after_position.stream, request.after_position.position = self.stream, repair.after
        self._send_replay(request, self._on_repair)

    def _on_repair(self, reply: control_pb2.ControlReply | None) -> None:
        repair = self._repair
        if reply is None:
            self._repair = None
            for topic in list(self._holes):
                self._give_up(topic, self.progress.missing()[topic], "recovery_timeout")
            return
        if repair.topic not in self._holes:
            self._repair = None  # what was missing has arrived
            return
        end = reply.WhichOneof("end")
        if _is_foreign_cursor(reply) and repair.cursor:
            arrived = self.progress.after(repair.topic) or 0
            if arrived > repair.after or not repair.restarted:
                repair.after, repair.cursor, repair.restarted = max(arrived, repair.after), b"", True
                return
        if end == "gone":
            repair.lost_some = True
            after = reply.gone.first_available - 1
            if repair.after < after < repair.until.position:
                repair.after, repair.cursor = after, b""
                return
        elif end in ("complete", "more"):
            if reply.replay.destroyed:
                repair.reason = _reason_of(reply.replay.destroyed[-1])
            self._each_stored(reply, lambda topic, body, stamp: self._recover(repair, body, stamp))
            if end == "more" and reply.more.cursor != repair.cursor and repair.topic in self._holes:
                repair.cursor = reply.more.cursor
                return
        self._repair = None
        if repair.topic in self._holes:
            self._give_up(repair.topic, repair.until, repair.reason)
            if repair.topic in self._holes:  # the others have their turn first
                self._holes[repair.topic] = self._holes.pop(repair.topic)

    def _give_up(self, topic: str, until: Place, reason: str) -> None:
        self._skip_to(topic, until, reason)
        self._drain(topic)

    def _recover(self, repair: _Repair, body: bytes, stamp: Stamp) -> None:
        topic, offset = repair.topic, stamp.offset
        last, expected = self.progress.last(topic), self._expected(topic)
        if topic not in self._holes or (last and offset <= last.offset):
            return
        if offset > expected and (expected or repair.lost_some):
            self._skip_to(topic, Place(offset - 1, stamp.previous), repair.reason)
        self._pop(topic, offset)
        self._counters.recovered += 1
        self._pass(topic, body, stamp)
        self._drain(topic)

    def _send_replay(self, request: control_pb2.ReplayRequest,
                     on_reply: Callable[[control_pb2.ControlReply | None], None]) -> None:
        """One replay at a time. A reply that comes after its request was repeated counts, and those that follow it do
        not."""
        if request != self._request:
            self._request, self._attempts = request, 0

        def on_each(reply: control_pb2.ControlReply | None) -> None:
            if self._ended or request is not self._request and request != self._request:
                return
            self._requested = False
            self._judge_permission(request.pattern, reply)
            if not self._try_again(reply):
                self._request = None
                on_reply(reply)
        self._requested = True
        timeout = _REPLAY_TIMEOUTS_S[min(self._attempts, len(_REPLAY_TIMEOUTS_S) - 1)]
        self.control.request(on_each, timeout, even_late=True, replay=request)

    def _each_stored(self, reply: control_pb2.ControlReply, take: Callable[[str, bytes, Stamp], None]) -> None:
        for stored in reply.replay.events:
            if stamp := read_stamp(stored.event):
                take(stored.topic, stored.event, stamp)

    def _try_again(self, reply: control_pb2.ControlReply | None) -> bool:
        """Whether the replay is to be requested again: without progress, only a limited number of times."""
        if reply is None:
            self._attempts += 1
            if self._attempts < _ATTEMPTS_MAX:
                return True
        elif reply.WhichOneof("end") == "error" and reply.error.code == "busy":
            self._retry_at = time.monotonic() + _BUSY_PAUSE_S
            return True
        return False

    def _judge_permission(self, pattern: str, reply: control_pb2.ControlReply | None) -> None:
        if reply:
            self._note_permission(pattern, reply.error if _is_forbidden(reply) else None)

    def _check_pattern(self) -> None:
        """Requests the tails of the next pattern alone: a reply to several leaves out those that we may not read."""
        if self._to_check is not None:
            self._to_check = (self._to_check + 1) % len(self._patterns)
            text = self._patterns[self._to_check].text
            request = control_pb2.TailsRequest(patterns=[text], after_position=self._tails_after)
            self.control.request(lambda reply: self._judge_permission(text, reply), _REPLY_TIMEOUT_S, tails=request)

    # Losses that no later event reveals: at the end of a topic.

    def _request_tails(self) -> None:
        request = control_pb2.TailsRequest(patterns=[pattern.text for pattern in self._patterns],
                                           after_position=self._tails.after, cursor=self._tails.cursor)
        self.control.request(self._on_tails, _REPLY_TIMEOUT_S, tails=request)

    def _on_tails(self, reply: control_pb2.ControlReply | None) -> None:
        tails = self._tails
        if self._ended or not tails:
            return
        if len(self._patterns) == 1 or _is_forbidden(reply):  # of several, the error names the first
            self._judge_permission(self._patterns[0].text, reply)
        end = reply.WhichOneof("end") if reply else None
        if end in ("complete", "more") and reply.stream == self.stream:
            tails.position = tails.position or reply.position
            tails.tails.extend(reply.tails.tails)
            if end == "more" and reply.more.cursor != tails.cursor:
                tails.cursor = reply.more.cursor
                self._request_tails()
                return
            self._suspect(tails)
        self._check_pattern()
        self._tails = None
        self._tails_at = time.monotonic() + _TAILS_INTERVAL_S

    def _suspect(self, tails: _Tails) -> None:
        self._tails_after = tails.position
        for tail in tails.tails:
            if self.progress.lacks(tail.topic, tail.offset, tail.position):
                self.progress.miss(tail.topic, tail.offset, tail.position)
                self._suspects.setdefault(tail.topic, time.monotonic() + _GRACE_S)
        self.progress.verified = max(self.progress.verified or 0, tails.position)
        self._moved = True

    def _judge_suspects(self, now: float, drained: bool) -> None:
        missing = self.progress.missing()
        for topic, grace_until in list(self._suspects.items()):
            if topic not in missing or topic in self._holes:
                del self._suspects[topic]
            elif self._arrived >= missing[topic].position or (drained and now >= grace_until):
                del self._suspects[topic]
                self._holes[topic] = {}
