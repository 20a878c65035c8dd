"""The events of a publisher that no broker has confirmed."""

from typing import NamedTuple

from google.protobuf.descriptor import FileDescriptor

from backplane.v1 import control_pb2, event_pb2

_MEANINGS = {"not_permitted": "this user may not publish the topic"}


class Frames(NamedTuple):
    topic: bytes
    event: bytes

    def size(self) -> int:
        return len(self.topic) + len(self.event)


class PublisherQueue:
    """Numbered events, in order, and what became of them. Not thread-safe: the publisher's lock protects it."""

    def __init__(self) -> None:
        self.offered = 0       # sequence of the last event that was added
        self.confirmed = 0     # sequence up to which every event has been admitted or refused
        self.refused = 0       # events that were refused
        self.resent = 0        # events sent again after a reconnect
        self.in_doubt = 0      # unconfirmed events sent to a broker that lost its state or was replaced
        self.refused_reason = ""
        self.bytes = 0
        self.types: dict[str, FileDescriptor] = {}          # the files that define the payloads, by name
        self.sent = 0          # last sequence sent over the current connection
        self.session_sent = 0  # last sequence sent in this session
        self._highest_sent = 0
        self._events: dict[int, Frames | None] = {}         # by sequence; None: too large for the broker
        self._refused_by_stream: dict[int, int] = {}

    def add(self, frames: Frames) -> None:
        self.offered += 1
        self._events[self.offered] = frames
        self.bytes += frames.size()

    def __len__(self) -> int:
        return len(self._events)

    def next_unsent(self) -> Frames | None:
        """The frames of the event after `sent`; None if it was refused here."""
        return self._events[self.sent + 1]

    def mark_sent(self) -> None:
        self.sent += 1
        self.resent += self.sent <= self._highest_sent
        self._highest_sent = max(self._highest_sent, self.sent)
        self.session_sent = max(self.session_sent, self.sent)

    def refuse_next(self, reason: str) -> None:
        """The broker would not take the event after `sent`."""
        frames, self._events[self.sent + 1] = self._events[self.sent + 1], None
        self.bytes -= frames.size()
        self.refused += 1
        self.refused_reason = reason

    def rewind(self) -> None:
        """Everything that is not confirmed is to be sent again: the broker refuses duplicates."""
        self.sent = self.confirmed

    def doubt(self) -> None:
        """What was sent and not confirmed goes to a broker that knows nothing of it."""
        self.in_doubt += sum(1 for sequence in range(self.confirmed + 1, self._highest_sent + 1) if self._events[sequence])

    def change_session(self, source: str, session: int) -> None:
        """What is unconfirmed is in doubt, and is to be sent again in this session."""
        self.doubt()
        self.rewind()
        self.session_sent = 0
        self._refused_by_stream.clear()
        place = len(event_pb2.Event(source=source).SerializeToString()) + 1  # the session follows the source
        field = session.to_bytes(8, "little")
        for sequence, frames in self._events.items():
            if frames:
                event = frames.event[:place] + field + frames.event[place + 8:]
                self._events[sequence] = Frames(frames.topic, event)

    def all_sent_confirmed(self) -> bool:
        return self.confirmed >= self._highest_sent

    def on_admitted(self, stream: int, admitted: control_pb2.AdmittedReply) -> None:
        """A broker's reply about our session."""
        before = self._refused_by_stream.get(stream, 0)
        self.refused += max(0, admitted.refused - before)
        self._refused_by_stream[stream] = max(before, admitted.refused)
        self.refused_reason = admitted.refused_reason or self.refused_reason
        self._confirm(min(max(admitted.sequence, admitted.refused_sequence), self.session_sent))

    def _confirm(self, sequence: int) -> None:
        while self.confirmed < self.offered:
            following = self.confirmed + 1
            frames = self._events[following]
            if following > sequence and (frames or following > self.sent):
                break
            del self._events[following]
            self.bytes -= frames.size() if frames else 0
            self.confirmed = following
        self.sent = max(self.sent, self.confirmed)

    def confirm_refused(self) -> None:
        """Takes out what was refused here and has nothing unconfirmed before it."""
        self._confirm(self.confirmed)

    def refused_text(self) -> str:
        """Why the last refused event was refused."""
        meaning = _MEANINGS.get(self.refused_reason)
        return f"{self.refused_reason} ({meaning})" if meaning else self.refused_reason

    def clear(self) -> None:
        self._events.clear()
        self.bytes = 0
