"""What a subscriber gets: events with the broker's stamp, and word of those that it will never get."""

import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from backplane.v1 import event_pb2

STAMP_BYTES = 47
# Field 15 of 45 bytes, with five fields of a tag and 8 bytes, all little-endian.
_STAMP = struct.Struct("<2sBQBQBQBQBq")
_STAMP_HEAD = b"\x7a\x2d"
_STAMP_TAGS = (0x09, 0x11, 0x19, 0x21, 0x29)

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Stamp(NamedTuple):
    """What the broker says of an event that it took in."""
    stream: int       # upper 32 bits: which broker and backplane; lower 32: which life of it
    position: int     # 1, 2, 3, … in the stream, over all topics
    offset: int       # 1, 2, 3, … in the topic; 0: not numbered
    previous: int     # position of the topic's previous event; 0 for its first
    received_ns: int  # Unix time at the broker, nanoseconds


def read_stamp(event: bytes) -> Stamp | None:
    """The stamp of an event's bytes, without parsing them: it is their end. None where they have none."""
    if len(event) < STAMP_BYTES:
        return None
    head, *fields = _STAMP.unpack_from(event, len(event) - STAMP_BYTES)
    if head != _STAMP_HEAD or tuple(fields[::2]) != _STAMP_TAGS:
        return None
    return Stamp(*fields[1::2])


@dataclass(frozen=True)
class Event:
    """One event. `body` is the whole of it as its publisher sent it, `stamp` what the broker added."""
    topic: str
    body: event_pb2.Event
    stamp: Stamp

    @property
    def text(self) -> str:
        """The payload where it is text, else ""."""
        return self.body.text

    def unpack(self, kind: type[AnyMessage]) -> AnyMessage | None:
        """The payload where it is a message of this type, else None."""
        message = kind()
        return message if self.body.message.Unpack(message) else None


@dataclass(frozen=True)
class Gap:
    """Events of one topic that this reader will never get: the offsets from `first` to `last`. `first` is 0
    where nobody knows it: history does not reach back to the beginning of the reading."""
    stream: int
    topic: str
    first: int
    last: int
    reason: str  # "history_gone", "recovery_timeout" or "undecodable"


@dataclass(frozen=True)
class Reset:
    """A broker came back without its history. Its numbering began anew, and what the end of the old stream
    still had for this reader is lost; nobody knows how much that is."""
    old_stream: int
    new_stream: int
