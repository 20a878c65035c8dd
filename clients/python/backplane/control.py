"""Requests to a broker: last values, history, and what it has admitted from a publisher."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import zmq
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from backplane.channel import ControlChannel
from backplane.credentials import Path, read_keys
from backplane.handshake import AuthenticationError
from backplane.topic import Pattern, check_topic
from backplane.type_fetcher import names_to_fetch
from backplane.types import add_types
from backplane.v1 import control_pb2, event_pb2
from backplane.wire import Event, read_stamp

DEFAULT_CONTROL = "tcp://127.0.0.1:5572"


def definitions(files: Iterable[FileDescriptor]) -> dict[str, FileDescriptor]:
    """These files and everything that they import, by name; imports come first."""
    known: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in known:
            for needed in file.dependencies:
                add(needed)
            known[file.name] = file

    for each in files:
        add(each)
    return known


class ControlError(Exception):
    """The broker refused a request. `code` is a word for programs to test, see control.proto."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code}: {text}")
        self.code = code


class HistoryGone(Exception):
    """Some of the requested history is no longer available. History begins at the position `first_available`, which
    for a single topic is its offset `first_available_offset`."""

    def __init__(self, pattern: str, first_available: int, first_available_offset: int):
        super().__init__(f"history of {pattern} begins at position {first_available}")
        self.first_available = first_available
        self.first_available_offset = first_available_offset


class ControlBase:
    """Requests and replies, without the ways to wait."""

    NOT_FETCHED = (TimeoutError, ControlError, AuthenticationError)  # why types may remain unknown

    def __init__(self, endpoint: str = DEFAULT_CONTROL, context: zmq.Context | None = None, *,
                 key_file: Path | None = None, server_key_file: Path | None = None):
        """Connects in the background, with keys if there are any: see Subscriber. Raises zmq.ZMQError if `endpoint` is
        invalid, ValueError if the keys cannot be used."""
        self.endpoint = endpoint
        self._channel = ControlChannel(context or zmq.Context.instance(), endpoint, silence_s=0.0,
                                       keys=read_keys(key_file, server_key_file))

    @staticmethod
    def _last_request(pattern: str) -> control_pb2.RetainedRequest:
        Pattern(pattern)
        return control_pb2.RetainedRequest(pattern=pattern)

    @staticmethod
    def _replay_request(pattern: str, after: tuple[int, int] | None, after_offset: int | None, since_ns: int | None,
                        since_ago: float | None, until: int) -> control_pb2.ReplayRequest:
        Pattern(pattern)
        request = control_pb2.ReplayRequest(pattern=pattern, until_position=until)
        if after is not None:
            request.after_position.stream, request.after_position.position = after
        elif after_offset is not None:
            request.after_offset = after_offset
        elif since_ago is not None:
            request.since_ago_ns = int(since_ago * 1e9)
        else:
            request.since_ns = since_ns or 0
        return request

    @staticmethod
    def _replayed(pattern: str, reply: control_pb2.ControlReply) -> Any:
        if reply.WhichOneof("end") == "gone":
            raise HistoryGone(pattern, reply.gone.first_available, reply.gone.first_available_offset)
        return reply.replay.events

    @staticmethod
    def _register_request(kinds: Iterable[type[Message]]) -> control_pb2.TypesRequest:
        request = control_pb2.TypesRequest()
        for file in definitions(kind.DESCRIPTOR.file for kind in kinds).values():
            file.CopyToProto(request.register_files.file.add())
        return request

    @staticmethod
    def _has_more(reply: control_pb2.ControlReply, request: Any) -> bool:
        """Whether the request is to be repeated, with the cursor that it has then."""
        if reply.WhichOneof("end") != "more" or reply.more.cursor == request.cursor:
            return False
        request.cursor = reply.more.cursor
        return True

    @staticmethod
    def _events_of(stored: Any) -> list[Event]:
        return [Event(check_topic(one.topic), event_pb2.Event.FromString(one.event), stamp, from_history=True)
                for one in stored if (stamp := read_stamp(one.event))]

    @staticmethod
    def _types_request(events: list[Event]) -> control_pb2.TypesRequest | None:
        """For the types of these events that are not known."""
        names = names_to_fetch(events)
        return control_pb2.TypesRequest(names=names) if names else None

    @staticmethod
    def _learn(replies: Iterable[control_pb2.ControlReply]) -> None:
        files = descriptor_pb2.FileDescriptorSet()
        for reply in replies:
            files.MergeFrom(reply.types.files)
        try:
            add_types(files)
        except ValueError:
            pass  # their payloads are shown as bytes

    def _check(self, replies: list[control_pb2.ControlReply | None]) -> None:
        if not replies and (problem := self._channel.handshake.take(time.monotonic())):
            raise problem

    def _reply_of(self, replies: list[control_pb2.ControlReply | None], timeout: float) -> control_pb2.ControlReply:
        [reply] = replies
        if reply is None:
            raise TimeoutError(f"no reply from {self.endpoint} within {timeout:g} s")
        if reply.WhichOneof("end") == "error":
            raise ControlError(reply.error.code, reply.error.text)
        return reply


class Control(ControlBase):
    """Sends requests to a broker's control endpoint, one at a time. Belongs to one thread; owns its socket. Blocks while a
    method runs.

    Every method raises TimeoutError if the complete reply does not arrive within `timeout` seconds, ControlError if the
    broker refuses the request, and AuthenticationError if it does not accept the keys, or requires some.
    """

    def last(self, pattern: str, timeout: float = 10.0) -> list[Event]:
        """The last event of each matching topic, ordered by topic name."""
        pages = self._pages("retained", self._last_request(pattern), timeout)
        return [event for reply in pages for event in self._events(reply.retained.events, timeout)]

    def replay(self, pattern: str, *, after: tuple[int, int] | None = None, after_offset: int | None = None,
               since_ns: int | None = None, since_ago: float | None = None, until: int = 0,
               timeout: float = 10.0) -> Iterator[Event]:
        """History in order of positions, fetched in slices as it is read; `timeout` applies to each slice. It begins
        after a (stream, position), or after an offset if `pattern` is a single topic, or at a Unix time in
        nanoseconds, or `since_ago` seconds ago by the broker's clock. It ends at the position `until`, or at the newest
        event. Raises HistoryGone if some of it is no longer available."""
        request = self._replay_request(pattern, after, after_offset, since_ns, since_ago, until)
        for reply in self._pages("replay", request, timeout):
            yield from self._events(self._replayed(pattern, reply), timeout)

    def tails(self, patterns: list[str], after: int = 0,
              timeout: float = 10.0) -> tuple[int, int, list[control_pb2.TailsReply.Tail]]:
        """(stream, position, the last position and offset of each matching topic that changed after `after`). The
        tails are complete up to the returned position."""
        request = control_pb2.TailsRequest(patterns=patterns, after_position=after)
        replies = list(self._pages("tails", request, timeout))
        return replies[0].stream, replies[0].position, [tail for reply in replies for tail in reply.tails.tails]

    def register(self, *kinds: type[Message], timeout: float = 10.0) -> None:
        """Registers the definitions of your own types with the broker, so that readers of the gateway get them as
        JSON. A broker that comes back without its history has lost the registrations as well; a Publisher registers
        the types that it publishes again by itself."""
        self.ask(timeout, types=self._register_request(kinds))

    def ask(self, timeout: float = 10.0, **request: Any) -> control_pb2.ControlReply:
        """Sends one request, named by the keyword, and returns its reply: ask(admitted={"source": …, "session": …})."""
        replies: list[control_pb2.ControlReply | None] = []
        self._channel.request(replies.append, timeout, **request)
        while not replies:
            poller = zmq.Poller()
            for each in self._channel.sockets():
                poller.register(each, zmq.POLLIN)
            poller.poll(int(max(0.0, self._channel.due() - time.monotonic()) * 1000) + 1)
            self._channel.poll()
            self._check(replies)
        return self._reply_of(replies, timeout)

    def close(self) -> None:
        """Closes the connection at once."""
        self._channel.close()

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pages(self, name: str, request: Any, timeout: float) -> Iterator[control_pb2.ControlReply]:
        """The replies to a request, which is repeated with the cursor of the last reply until there is no more."""
        while True:
            reply = self.ask(timeout, **{name: request})
            yield reply
            if not self._has_more(reply, request):
                return

    def _events(self, stored: Any, timeout: float) -> list[Event]:
        events = self._events_of(stored)
        if request := self._types_request(events):
            try:
                self._learn(list(self._pages("types", request, timeout)))
            except self.NOT_FETCHED:
                pass  # their payloads are shown as bytes
        return events
