"""Requests to a broker from an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from backplane.aio.waiting import Waiter
from backplane.control import ControlBase
from backplane.v1 import control_pb2
from backplane.wire import Event


class Control(ControlBase):
    """Sends requests to a broker's control endpoint, one at a time, as backplane.Control does, in an event loop. Belongs to
    the loop in which it is first awaited; its tasks may use it at the same time. Owns its socket, starts no threads.

    Every method raises TimeoutError if the complete reply does not arrive within `timeout` seconds, ControlError if the
    broker refuses the request, and AuthenticationError if it does not accept the keys, or requires some.
    """

    _turn: asyncio.Lock | None = None
    _waiter: Waiter | None = None  # of the request under way
    _closed = False

    async def last(self, pattern: str, timeout: float = 10.0) -> list[Event]:
        """The last event of each matching topic, ordered by topic name."""
        events: list[Event] = []
        async for reply in self._pages("retained", self._last_request(pattern), timeout):
            events += await self._events(reply.retained.events, timeout)
        return events

    async def replay(self, pattern: str, *, after: tuple[int, int] | None = None, after_offset: int | None = None,
                     since_ns: int | None = None, since_ago: float | None = None, until: int = 0,
                     timeout: float = 10.0) -> AsyncIterator[Event]:
        """History in order of positions, fetched in slices as it is read; `timeout` applies to each slice. It begins
        after a (stream, position), or after an offset if `pattern` is a single topic, or at a Unix time in
        nanoseconds, or `since_ago` seconds ago by the broker's clock. It ends at the position `until`, or at the newest
        event. Raises HistoryGone if some of it is no longer available."""
        request = self._replay_request(pattern, after, after_offset, since_ns, since_ago, until)
        async for reply in self._pages("replay", request, timeout):
            for event in await self._events(self._replayed(pattern, reply), timeout):
                yield event

    async def tails(self, patterns: list[str], after: int = 0,
                    timeout: float = 10.0) -> tuple[int, int, list[control_pb2.TailsReply.Tail]]:
        """(stream, position, the last position and offset of each matching topic that changed after `after`). The
        tails are complete up to the returned position."""
        request = control_pb2.TailsRequest(patterns=patterns, after_position=after)
        replies = [reply async for reply in self._pages("tails", request, timeout)]
        return replies[0].stream, replies[0].position, [tail for reply in replies for tail in reply.tails.tails]

    async def register(self, *kinds: type[Message], timeout: float = 10.0) -> None:
        """Registers the definitions of your own types with the broker, as backplane.Control.register()."""
        await self.ask(timeout, types=self._register_request(kinds))

    async def ask(self, timeout: float = 10.0, **request: Any) -> control_pb2.ControlReply:
        """Sends one request, named by the keyword, and returns its reply: ask(admitted={"source": …, "session": …}). If
        another task has sent one, waits until that has its reply; the timeout begins then."""
        self._turn = self._turn or asyncio.Lock()
        async with self._turn:
            self._check_open()
            replies: list[control_pb2.ControlReply | None] = []
            self._channel.request(replies.append, timeout, **request)
            waiter = self._waiter = Waiter()
            try:
                while not replies:
                    await waiter.wait(self._channel.sockets(), max(0.0, self._channel.due() - time.monotonic()))
                    self._check_open()
                    self._channel.poll()
                    self._check(replies)
                return self._reply_of(replies, timeout)
            finally:
                self._waiter = None
                if self._closed:
                    self._channel.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the connection is closed")

    def close(self) -> None:
        """Closes the connection. Does not block. Requests under way raise ValueError. A second call has no effect."""
        self._closed = True
        if self._waiter:
            self._waiter.wake()
        else:
            self._channel.close()

    async def __aenter__(self) -> "Control":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _pages(self, name: str, request: Any, timeout: float) -> AsyncIterator[control_pb2.ControlReply]:
        while True:
            reply = await self.ask(timeout, **{name: request})
            yield reply
            if not self._has_more(reply, request):
                return

    async def _events(self, stored: Any, timeout: float) -> list[Event]:
        events = self._events_of(stored)
        if request := self._types_request(events):
            try:
                self._learn([reply async for reply in self._pages("types", request, timeout)])
            except self.NOT_FETCHED:
                pass  # their payloads are shown as bytes
        return events
