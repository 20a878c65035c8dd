"""How far a reader has come."""

import datetime
import re
from typing import NamedTuple

_PLACE = re.compile(r"([0-9a-f]{16}):([0-9]{1,20})")
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNIT_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_PLACES_MAX = 64
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_AGO_MAX_NS = 3650 * _UNIT_NS["d"]


class Place(NamedTuple):
    """An event's place in its topic and in its stream."""
    offset: int
    position: int


class StreamProgress:
    """How far a reader has come in one stream, and what is missing below that point.

    Everything up to resume_position() has been delivered or reported as a gap. Above it there may be events that have
    been delivered, and events that are missing. A value: belongs to one thread, waits for nothing.
    """

    def __init__(self, stream: int, start: int | None):
        """Reading began after the position `start`; None: not known yet."""
        self.stream = stream
        self.start = start
        self.verified = start                    # every event up to here is in `last` or missing
        self._resume = 0
        self._last: dict[str, Place] = {}        # by topic: the last event that was delivered or reported
        self._missing: dict[str, Place] = {}     # by topic: the last event that is known to be missing

    def last(self, topic: str) -> Place | None:
        return self._last.get(topic)

    def after(self, topic: str) -> int | None:
        """The position after which the topic's next event is; None: not known."""
        last = self._last.get(topic)
        return last.position if last else self.start

    def done(self, topic: str, offset: int, position: int) -> None:
        """The topic's events up to this one have been delivered or reported."""
        self._last[topic] = Place(offset, position)
        missing = self._missing.get(topic)
        if missing and missing.offset <= offset:
            del self._missing[topic]

    def forget(self) -> None:
        """No event of the stream has been delivered."""
        self._resume = 0
        self._last.clear()
        self._missing.clear()

    def lacks(self, topic: str, offset: int, position: int) -> bool:
        """Whether this event of the topic has neither been delivered nor reported, nor is from before the start."""
        last = self._last.get(topic)
        if last:
            return last.offset < offset
        return self.start is not None and position > self.start

    def miss(self, topic: str, offset: int, position: int) -> None:
        """This event of the topic exists and has not been delivered or reported."""
        known = self._missing.get(topic)
        if not known or known.offset < offset:
            self._missing[topic] = Place(offset, position)

    def missing(self) -> dict[str, Place]:
        """By topic, the last event that is known to be missing."""
        return self._missing

    def resume_position(self) -> int | None:
        """The position before which nothing is missing. It never falls. None if it is not known yet."""
        if self.verified is None:
            return None
        # A topic's missing events are behind its last one, and behind every earlier resume position.
        position = min([self.verified, *(self.after(topic) or 0 for topic in self._missing)])
        self._resume = max(self._resume, position)
        return self._resume


def resume_token(positions: dict[int, int]) -> str:
    """The text of a position in each of some streams: `<stream as 16 hex digits>:<position>`, joined by commas."""
    return ",".join(f"{stream:016x}:{position}" for stream, position in positions.items())


class Since(NamedTuple):
    """Where a subscription begins. One of the fields is set."""
    positions: dict[int, int] | None = None  # by stream: after this position
    offset: int | None = None                # after this offset of the one topic
    ago_ns: int | None = None                # this long before the subscription, by the broker's clock
    at_ns: int | None = None                 # with what the broker received at this Unix time


def parse_since(since: str | int | datetime.timedelta | datetime.datetime) -> Since:
    """Raises ValueError unless `since` is a resume token, an offset, a duration ("90s", a timedelta), or a datetime with a
    time zone."""
    if isinstance(since, datetime.datetime):
        if since.utcoffset() is None:
            raise ValueError(f"since: expected a datetime with a time zone, got {since!r}")
        return Since(at_ns=(since - _EPOCH) // datetime.timedelta(microseconds=1) * 1000)
    if isinstance(since, datetime.timedelta):
        ago_ns = (since // datetime.timedelta(microseconds=1)) * 1000
        if not 0 <= ago_ns <= _AGO_MAX_NS:
            raise ValueError(f"since: expected a time between 0 and 3650 days, got {since}")
        return Since(ago_ns=ago_ns)
    text = str(since) if isinstance(since, int) and not isinstance(since, bool) else since
    if isinstance(text, str):
        if re.fullmatch("[0-9]{1,20}", text) and int(text) < 2**64:
            return Since(offset=int(text))
        duration = _DURATION.fullmatch(text)
        if duration and (ago_ns := int(duration[1]) * _UNIT_NS[duration[2]]) <= _AGO_MAX_NS:
            return Since(ago_ns=ago_ns)
        places = [_PLACE.fullmatch(place) for place in text.split(",")]
        if all(places) and len(places) <= _PLACES_MAX:
            positions = {int(place[1], 16): int(place[2]) for place in places}
            if len(positions) == len(places) and all(position < 2**64 for position in positions.values()):
                return Since(positions=positions)
    raise ValueError("since: expected a resume token (<16 hex digits>:<position>, at most 64 joined by commas, each "
                     f"stream once), an offset, a duration such as 10m or a datetime, got {since!r}")


def parse_interval(every: float | str | datetime.timedelta | None) -> float | None:
    """Seconds; None for None. Raises ValueError unless `every` is a positive number of seconds or a duration."""
    if every is None:
        return None
    seconds = None
    if isinstance(every, datetime.timedelta):
        seconds = every.total_seconds()
    elif isinstance(every, str) and (duration := _DURATION.fullmatch(every)):
        seconds = int(duration[1]) * _UNIT_NS[duration[2]] / 1e9
    elif isinstance(every, (int, float)) and not isinstance(every, bool):
        seconds = float(every)
    if seconds is None or not 0 < seconds <= _AGO_MAX_NS / 1e9:
        raise ValueError(f"every: expected a positive number of seconds or a duration such as 5s, got {every!r}")
    return seconds
