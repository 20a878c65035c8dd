"""What subscribers write down: one JSON object per line, in the gateway's format.

    {"topic":…, "stream":"<16 hex digits>", "position":…, "offset":…, "text":…}      an event; "late":true if it
                                                says so
    {"gap":{"topic":…, "stream":…, "first":…, "last":…, "reason":…}}
    {"reset":{"topic":…, "stream":…}}      of one topic; or {"reset":{"old":…, "stream":…}} of a whole stream
    {"resumed":{"stream":…, "position":…}}      a new connection, which resumes after this position; {} if it says
                                                for each pattern by itself how far it has come
    {"recovered":…}      how many events it fetched from history, at its end
    {"wait":…} {"live":…} {"bye":…} and others      notices
"""

import json
from typing import NamedTuple


class Seen(NamedTuple):
    topic: str
    stream: int
    offset: int
    position: int
    text: str
    late: bool = False


class Lost(NamedTuple):
    topic: str
    stream: int
    first: int  # 0: unknown
    last: int
    reason: str


class Reset(NamedTuple):
    new: int
    topic: str | None = None  # None: of all topics
    old: int | None = None    # None: not said


class Resumed(NamedTuple):
    stream: int | None = None
    position: int = 0


class Recovered(NamedTuple):
    count: int


class Notice(NamedTuple):
    text: str


def parse(line):
    """The record that a line is."""
    fields = json.loads(line)
    if "topic" in fields:
        return Seen(fields["topic"], int(fields["stream"], 16), fields["offset"], fields["position"],
                    fields.get("text", ""), fields.get("late", False))
    if "gap" in fields:
        gap = fields["gap"]
        return Lost(gap["topic"], int(gap["stream"], 16), gap["first"], gap["last"], gap["reason"])
    if "reset" in fields:
        reset = fields["reset"]
        return Reset(int(reset["stream"], 16), reset.get("topic"), int(reset["old"], 16) if "old" in reset else None)
    if "resumed" in fields:
        resumed = fields["resumed"]
        return Resumed(int(resumed["stream"], 16), resumed["position"]) if resumed else Resumed()
    if "recovered" in fields:
        return Recovered(fields["recovered"])
    return Notice(line)
