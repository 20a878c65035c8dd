"""What a subscriber returns: events with the broker's stamp, gaps and resets."""

import base64
import datetime
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple, Type, TypeVar, overload

from google.protobuf.message import Message

from backplane.types import find_type, json_of_any, type_name, unpack_any
from backplane.v1 import event_pb2

STAMP_BYTES = 47
# Field 15 with 45 bytes: five fields of a tag and 8 bytes each, little-endian.
_STAMP = struct.Struct("<2sBQBQBQBQBq")
_STAMP_HEAD = b"\x7a\x2d"
_STAMP_TAGS = (0x09, 0x11, 0x19, 0x21, 0x29)

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Stamp(NamedTuple):
    """What the broker adds to an event that it has admitted."""
    stream: int       # upper 32 bits: which broker and backplane; lower 32: which incarnation
    position: int     # 1, 2, 3, … in the stream, over all topics
    offset: int       # 1, 2, 3, … in the topic; 0: not numbered
    previous: int     # position of the topic's previous event; 0 for its first
    received_ns: int  # Unix time at the broker, nanoseconds


def read_stamp(event: bytes) -> Stamp | None:
    """Reads the stamp from the end of an event's bytes, without parsing them. None if there is no stamp."""
    if len(event) < STAMP_BYTES:
        return None
    head, *fields = _STAMP.unpack_from(event, len(event) - STAMP_BYTES)
    if head != _STAMP_HEAD or tuple(fields[::2]) != _STAMP_TAGS:
        return None
    return Stamp(*fields[1::2])


_EPOCH = datetime.datetime(1970, 1, 1)


def _time_text(unix_ns: int) -> str:
    """As the gateway writes it: UTC, with no more digits than needed."""
    seconds, nanos = divmod(unix_ns, 10**9)
    text = (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
    if nanos % 1000:
        return f"{text}.{nanos:09}Z"
    if nanos % 10**6:
        return f"{text}.{nanos // 1000:06}Z"
    return f"{text}.{nanos // 10**6:03}Z" if nanos else f"{text}Z"


@dataclass(frozen=True)
class Event:
    """One event. `body` is the event as its publisher sent it, `stamp` is what the broker added. A value; its methods wait
    for nothing."""
    topic: str
    body: event_pb2.Event
    stamp: Stamp
    from_history: bool = False  # a retained value, or from the history that `since` put first
    late: bool = False          # events of the stream with higher positions, of other topics, have come before it

    @property
    def text(self) -> str:
        """The payload if it is text, else ""."""
        return self.body.text

    @property
    def type(self) -> str:
        """The full name of the payload's type if it is a message, such as "backplane.events.v1.Quote", else ""."""
        return type_name(self.body.message.type_url) if self.body.HasField("message") else ""

    @property
    def payload(self) -> "str | bytes | Message | None":
        """Text, bytes, a message of its own type, or None if the event clears the topic's retained value. A message whose
        type is not known, or whose bytes are not of that type, is a google.protobuf.Any."""
        kind = self.body.WhichOneof("payload")
        if kind == "message":
            unpacked = unpack_any(self.body.message)
            return self.body.message if unpacked is None else unpacked
        return getattr(self.body, kind) if kind else None

    @overload
    def unpack(self, kind: Type[AnyMessage]) -> AnyMessage | None: ...
    @overload
    def unpack(self, kind: str) -> Message | None: ...

    def unpack(self, kind: "Type[AnyMessage] | str") -> "AnyMessage | Message | None":
        """The payload if it is a message of this type, else None. `kind` is a class, or the full name of a known type."""
        found = find_type(kind) if isinstance(kind, str) else kind
        if not found or self.type != found.DESCRIPTOR.full_name:
            return None
        message = found()
        return message if self.body.message.Unpack(message) else None

    @property
    def time_ns(self) -> int | None:
        """When the event happened according to its publisher, in Unix nanoseconds; None if that is not given, or before
        1678 or after 2261."""
        seconds, nanos = self.body.time.seconds, self.body.time.nanos
        if not self.body.HasField("time") or not 0 <= nanos < 10**9 or abs(seconds) > 2**63 // 10**9 - 1:
            return None
        return seconds * 10**9 + nanos

    def to_dict(self) -> dict[str, Any]:
        """The event as the gateway writes it in JSON, for json.dumps(): "topic", "stream" (16 hex digits), "position",
        "offset", "time" (None if the publisher gave none), "received", "source", "sequence", "type"; "attributes" if there
        are any; and one of "data" (a message), "text" and "base64", or none of them if the payload is None. A message whose
        type is not known is {"@type": …, "value": base64}."""
        body, stamp, time_ns = self.body, self.stamp, self.time_ns
        shown: dict[str, Any] = {
            "topic": self.topic, "stream": f"{stamp.stream:016x}", "position": stamp.position, "offset": stamp.offset,
            "time": None if time_ns is None else _time_text(time_ns), "received": _time_text(stamp.received_ns),
            "source": body.source, "sequence": body.sequence, "type": self.type}
        if self.late:
            shown["late"] = True
        if body.attributes:
            shown["attributes"] = dict(body.attributes)
        kind = body.WhichOneof("payload")
        if kind == "message":
            shown["data"] = json_of_any(body.message)
        elif kind == "text":
            shown["text"] = body.text
        elif kind == "binary":
            shown["base64"] = base64.b64encode(body.binary).decode()
        return shown


@dataclass(frozen=True)
class Gap:
    """Events of one topic that are lost to this reader: the offsets from `first` to `last`. `first` is 0 if it is
    unknown because history does not reach back to where reading began. If history that a pattern with wildcards was to
    begin with is gone, `topic` is the pattern and both offsets are 0."""
    stream: int
    topic: str
    first: int
    last: int
    reason: str  # "history_gone", "recovery_timeout", "damaged", "lost_upstream" or "undecodable"

    def to_dict(self) -> dict[str, Any]:
        """As the gateway writes it in JSON."""
        return {"gap": {"topic": self.topic, "stream": f"{self.stream:016x}", "first": self.first, "last": self.last,
                        "reason": self.reason}}


@dataclass(frozen=True)
class Reset:
    """The broker came back without its history, or another broker took over. Numbering restarted. An unknown number
    of events at the end of the old stream may be lost. Both streams are equal if the position or offset to continue from
    is one that the stream has not reached."""
    old_stream: int
    new_stream: int

    def to_dict(self) -> dict[str, Any]:
        """As the gateway writes it in JSON, with the old stream instead of a topic."""
        return {"reset": {"old_stream": f"{self.old_stream:016x}", "stream": f"{self.new_stream:016x}"}}
