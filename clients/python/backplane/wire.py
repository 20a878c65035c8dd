"""What a subscriber returns: events with the broker's stamp, gaps and resets."""

import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

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


@dataclass(frozen=True)
class Event:
    """One event. `body` is the event as its publisher sent it, `stamp` is what the broker added."""
    topic: str
    body: event_pb2.Event
    stamp: Stamp

    @property
    def text(self) -> str:
        """The payload if it is text, else ""."""
        return self.body.text

    def unpack(self, kind: type[AnyMessage]) -> AnyMessage | None:
        """The payload if it is a message of this type, else None."""
        message = kind()
        return message if self.body.message.Unpack(message) else None


@dataclass(frozen=True)
class Gap:
    """Events of one topic that are lost to this reader: the offsets from `first` to `last`. `first` is 0 if it is
    unknown because history does not reach back to where reading began."""
    stream: int
    topic: str
    first: int
    last: int
    reason: str  # "history_gone", "recovery_timeout", "damaged", "lost_upstream" or "undecodable"


@dataclass(frozen=True)
class Reset:
    """The broker came back without its history, or another broker took over. Numbering restarted. An unknown number
    of events at the end of the old stream may be lost."""
    old_stream: int
    new_stream: int
