"""Reading events by pattern in an event loop."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from backplane.aio.waiting import Waiter
from backplane.subscriber_base import SubscriberBase
from backplane.wire import Event, Gap, Reset


class Subscriber(SubscriberBase):
    """Reads the topics that match some patterns, as backplane.Subscriber does, in an event loop. Belongs to the loop in
    which it is first awaited; owns its sockets, starts no threads. It works while wait_live() or receive() is awaited, by
    one task at a time: between two calls, events wait in its sockets.

        async with Subscriber("stock.>", "clock") as subscriber:
            async for item in subscriber:
                …
    """

    _waiter: Waiter | None = None
    _busy = False

    async def wait_live(self, timeout: float = 10.0) -> None:
        """Waits until the subscriptions are active: everything published from now on is delivered or reported as a
        Gap, at whichever broker of the list. Raises TimeoutError if none of them replies within `timeout` seconds,
        AuthenticationError if none of them accepts our keys, ValueError after close(), RuntimeError while another task
        waits."""
        self._check_open()
        deadline = time.monotonic() + timeout
        with self._alone() as waiter:
            while not self._is_live():
                if self._closed or time.monotonic() >= deadline:
                    raise self._not_live(timeout)
                await waiter.wait(self._sockets(), self._turn(deadline))
                self._raise_problem()

    async def receive(self, timeout: float = 10.0) -> Event | Gap | Reset | None:
        """The next event, Gap or Reset; None if there is none within `timeout` seconds (0: does not wait), and if close() is
        called meanwhile. A call that is cancelled takes nothing. If no broker of the list accepts our keys (any more),
        raises AuthenticationError, once a second at most; if a broker does not permit us to read a pattern, raises
        ControlError with the code "not_permitted", once. The subscriber goes on. Raises ValueError after close(),
        RuntimeError while another task waits."""
        self._check_open()
        deadline = time.monotonic() + timeout
        with self._alone() as waiter:
            await waiter.let_others_work()
            while not self._closed:
                if item := self._next():
                    return item
                self._raise_problem()
                if time.monotonic() >= deadline:
                    self._turn(0.0)  # with a timeout of 0, too, what has arrived is handled
                    return self._next()
                await waiter.wait(self._sockets(), self._turn(deadline))
        return None

    async def __aiter__(self) -> AsyncIterator[Event | Gap | Reset]:
        """All items, until close(). Raises what receive() raises; a new loop then goes on."""
        while not self._closed:
            if item := await self.receive(timeout=60):
                yield item

    def close(self) -> None:
        """Closes the subscriber. Does not block. A receive() that is awaited returns None. A second call has no effect."""
        self._closed = True
        if self._busy and self._waiter:
            self._waiter.wake()  # it closes the sockets, which it is waiting for
        else:
            self._close()

    async def __aenter__(self) -> "Subscriber":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[Waiter]:
        if self._busy:
            raise RuntimeError("another task waits for this subscriber")
        self._waiter = self._waiter or Waiter()
        self._busy = True
        try:
            yield self._waiter
        finally:
            self._busy = False
            if self._closed:
                self._close()
