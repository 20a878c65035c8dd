"""Definitions of types that arrive and are not known."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import descriptor_pb2

from backplane.channel import ControlChannel
from backplane.types import add_types, find_type
from backplane.v1 import control_pb2
from backplane.wire import Event

_WAIT_S = 1.0        # how long an event waits for the definition of its type
_RETRY_S = 10.0      # from one request for a type to the next: somebody may have registered it
_NAMES_MAX = 4096    # remembered types that nobody has registered
_LOOKAHEAD = 256     # events whose types are requested together


def names_to_fetch(events: Iterable[Any]) -> list[str]:
    """The types of these events' payloads that are not known."""
    names = {item.type for item in events if isinstance(item, Event)}
    return [name for name in names if name and not find_type(name)]


class TypeFetcher:
    """Requests the definitions of types that are not known from a broker. Belongs to one thread."""

    def __init__(self, channel: Callable[[], ControlChannel | None]):
        """`channel` returns the connection to use, if there is one."""
        self._channel = channel
        self._asked: dict[str, float] = {}  # types that nobody has registered: when that was found out
        self._pending: set[str] = set()
        self._deadline = float("inf")       # of those
        self._request = 0

    def holds(self, event: Event, following: Iterable[Any]) -> bool:
        """Whether the event waits for the definition of its type: for a second at most. Requests the definition if
        necessary, with those of the `following` items."""
        name = event.type
        if not name or find_type(name):
            return False
        now = time.monotonic()
        if name in self._pending:
            if now < self._deadline:
                return True
            self._end(now)
        if now < self._asked.get(name, float("-inf")) + _RETRY_S or self._pending:
            return False
        channel = self._channel()
        names = [each for each in names_to_fetch([event, *itertools.islice(following, _LOOKAHEAD)])
                 if now >= self._asked.get(each, float("-inf")) + _RETRY_S]
        if not channel or not names:
            self._remember([name], now)
            return False
        self._pending, self._deadline = set(names), now + _WAIT_S
        self._request += 1
        self._send(channel, self._request, control_pb2.TypesRequest(names=names), descriptor_pb2.FileDescriptorSet())
        return True

    def due(self) -> float:
        """When an event stops waiting."""
        return self._deadline

    def _send(self, channel: ControlChannel, number: int, request: control_pb2.TypesRequest,
              files: descriptor_pb2.FileDescriptorSet) -> None:
        def on_reply(reply: control_pb2.ControlReply | None) -> None:
            end = reply.WhichOneof("end") if reply else None
            if reply and end in ("complete", "more"):
                files.MergeFrom(reply.types.files)
                if end == "more" and reply.more.cursor != request.cursor:
                    request.cursor = reply.more.cursor
                    self._send(channel, number, request, files)
                    return
                try:
                    add_types(files)  # also after the second
                except ValueError:
                    pass  # their payloads are shown as bytes
            if number == self._request:
                self._end(time.monotonic())
        channel.request(on_reply, _WAIT_S, types=request)

    def _end(self, now: float) -> None:
        self._remember([name for name in self._pending if not find_type(name)], now)
        self._pending, self._deadline = set(), float("inf")

    def _remember(self, names: list[str], now: float) -> None:
        for name in names:
            self._asked.pop(name, None)
            self._asked[name] = now
            if len(self._asked) > _NAMES_MAX:
                del self._asked[next(iter(self._asked))]
