"""Reading events by pattern, with a Gap for every event that is lost."""

import time
from collections.abc import Iterator

import zmq

from backplane.subscriber_base import DEFAULT_EGRESS as DEFAULT_EGRESS
from backplane.subscriber_base import SubscriberBase
from backplane.wire import Event, Gap, Reset


class Subscriber(SubscriberBase):
    """Reads the topics that match some patterns. Belongs to one thread at a time; owns its sockets, starts no threads.

    The events of each topic arrive in order and once. A missing event is recovered from the broker's history. If it
    is no longer there, a Gap takes its place. Meanwhile the other topics go on. When a broker comes back without its
    history, a Reset is returned before its new events. After a lost connection the subscriber reconnects and recovers
    what was published meanwhile. It reads every broker of the list at once, each with numbers of its own: wherever a
    publisher moves, its events arrive.

        with Subscriber("stock.>", "clock") as subscriber:
            subscriber.wait_live()
            for item in subscriber:
                …
    """

    def wait_live(self, timeout: float = 10.0) -> None:
        """Waits until the subscriptions are active: everything published from now on is delivered or reported as a
        Gap, at whichever broker of the list. Raises TimeoutError if none of them replies within `timeout` seconds,
        AuthenticationError if none of them accepts our keys, ValueError after close(), RuntimeError in a child of
        fork()."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while not self._is_live():
            if time.monotonic() >= deadline:
                raise self._not_live(timeout)
            self._wait(self._turn(deadline))
            self._raise_problem()

    def receive(self, timeout: float = 10.0) -> Event | Gap | Reset | None:
        """The next event, Gap or Reset; None if there is none within `timeout` seconds (0: does not wait). If no broker of
        the list accepts our keys (any more), raises AuthenticationError, once a second at most; if a broker does not permit
        us to read a pattern, raises ControlError with the code "not_permitted", once. The subscriber goes on. Raises
        ValueError after close(), RuntimeError in a child of fork()."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while True:
            if item := self._next():
                return item
            self._raise_problem()
            if time.monotonic() >= deadline:
                self._turn(0.0)  # with a timeout of 0, too, what has arrived is handled
                return self._next()
            self._wait(self._turn(deadline))

    def __iter__(self) -> Iterator[Event | Gap | Reset]:
        """All items, until close(). Raises what receive() raises; a new loop then goes on."""
        while not self._closed:
            if item := self.receive(timeout=60):
                yield item

    def close(self) -> None:
        """Closes the subscriber at once. A second call has no effect."""
        self._close()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            poller = zmq.Poller()
            for each in self._sockets():
                poller.register(each, zmq.POLLIN)
            poller.poll(int(seconds * 1000) + 1)
