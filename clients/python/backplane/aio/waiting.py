"""Waiting in an event loop."""

import asyncio
import time
from collections.abc import Sequence

import zmq

_TURN_S = 0.01  # how long the event loop may be kept from its other work


def _number(socket: zmq.Socket, option: int) -> int:
    value = socket.getsockopt(option)
    assert isinstance(value, int)
    return value


class Waiter:
    """Waits for sockets, or for wake(). Belongs to one event loop."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._turn_at = 0.0

    def wake(self) -> None:
        """Ends a wait. Only from the loop's thread."""
        if self._future and not self._future.done():
            self._future.set_result(None)

    async def let_others_work(self) -> None:
        """Lets the event loop do its other work, now and then."""
        if time.monotonic() >= self._turn_at:
            await asyncio.sleep(0)
            self._turn_at = time.monotonic() + _TURN_S

    async def wait(self, sockets: Sequence[zmq.Socket], seconds: float) -> None:
        """Waits until one of the sockets can be read, for at most `seconds`."""
        # The descriptor of a ZeroMQ socket shows changes only; this takes note of those that there were.
        if seconds <= 0 or any(_number(each, zmq.EVENTS) & zmq.POLLIN for each in sockets):
            await self.let_others_work()
            return
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        descriptors = [_number(each, zmq.FD) for each in sockets]
        timer = loop.call_later(seconds, self.wake)
        for descriptor in descriptors:
            loop.add_reader(descriptor, self.wake)
        try:
            await self._future
        finally:
            timer.cancel()
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            self._future = None
            self._turn_at = time.monotonic() + _TURN_S
