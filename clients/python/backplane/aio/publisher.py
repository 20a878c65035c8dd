"""Publishing from an event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence

import zmq
from google.protobuf.message import Message

from backplane import publisher
from backplane.aio.waiting import Waiter
from backplane.control import DEFAULT_CONTROL
from backplane.credentials import Path


class Publisher:
    """A source of events, as backplane.Publisher, for an event loop. Belongs to the loop in which it is first awaited; its
    tasks may use it at the same time. Has one thread of its own, which sends also while the loop is busy. No method blocks
    the loop for longer than that thread's turn: some microseconds, or 0.2 s while a broker closes connections.

        async with Publisher("clock@host7") as source:  # flushes at the end
            await source.publish("clock", "it is late")
    """

    def __init__(self, source: str, *, ingress: str | Sequence[str] = publisher.DEFAULT_INGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL, unconfirmed_bytes_max: int = 64 << 20,
                 event_bytes_max: int | None = None, key_file: Path | None = None, server_key_file: Path | None = None,
                 context: zmq.Context | None = None):
        """Connects in the background. See backplane.Publisher."""
        self._publisher = publisher.Publisher(
            source, ingress=ingress, control=control, unconfirmed_bytes_max=unconfirmed_bytes_max,
            event_bytes_max=event_bytes_max, key_file=key_file, server_key_file=server_key_file, context=context)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        self._waiter = Waiter()
        self._publisher._on_change = self._on_change

    @property
    def source(self) -> str:
        """The publisher's stable name."""
        return self._publisher.source

    @property
    def session(self) -> int:
        """Random. It changes if another program sends events of this source and session."""
        return self._publisher.session

    @property
    def offered(self) -> int:
        """Sequence of the last event accepted by publish()."""
        return self._publisher.offered

    @property
    def confirmed(self) -> int:
        """Sequence up to which every event has been admitted or refused."""
        return self._publisher.confirmed

    @property
    def refused(self) -> int:
        """Events that were refused."""
        return self._publisher.refused

    @property
    def resent(self) -> int:
        """Events sent again after a reconnect."""
        return self._publisher.resent

    @property
    def in_doubt(self) -> int:
        """Unconfirmed events sent to a broker that lost its state or was replaced."""
        return self._publisher.in_doubt

    @property
    def last_problem(self) -> str:
        """What went wrong last without stopping the publisher, for example in registering a type, or because the broker
        has refused events or our keys; "" if nothing."""
        return self._publisher.last_problem

    async def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until a broker is connected. Not required before publish(). Raises TimeoutError."""
        await self._until(lambda: self._publisher.wait_ready(0.0), timeout,
                          lambda: f"no broker has subscribed at {self._publisher._sender.endpoint} within {timeout:g} s")

    async def publish(self, topic: str, payload: str | bytes | Message | None, *, time_ns: int | None = None,
                      attributes: dict[str, str] | None = None, timeout: float = 10.0) -> None:
        """Queues an event: text, bytes, a message, or None, which clears the topic's retained value. `time_ns` is when
        it happened (Unix; None: now). Returns at once, also without a broker, unless the limit on unconfirmed events
        is reached; then it waits for at most `timeout` seconds. Events of tasks that wait are queued in any order. The
        definition of a message's type is registered with the broker before the event is sent. Raises TimeoutError, and
        queues nothing, if the limit is still reached, ValueError if the event cannot be published."""
        await self._waiter.let_others_work()
        happened = time_ns or time.time_ns()
        limit = self._publisher._unconfirmed_bytes_max
        await self._until(lambda: self._publisher.publish(topic, payload, time_ns=happened, attributes=attributes, timeout=0.0),
                          timeout, lambda: f"limit of {limit} unconfirmed bytes still reached after {timeout:g} s")

    async def register(self, *kinds: type[Message]) -> None:
        """Registers the definitions of types with the broker before the next event, and again whenever a broker is
        connected. publish() does it for the types of messages. Does not wait for the broker."""
        self._publisher.register(*kinds)

    async def flush(self, timeout: float = 10.0) -> None:
        """Waits until the broker has admitted everything published before. Raises TimeoutError if that takes longer
        than `timeout` seconds (the events are kept), and Refused if it has refused events since the last flush."""
        inner = self._publisher
        with inner._lock:
            inner._check_open()
            target = inner._begin_flush()
        try:
            await self._until(lambda: self._check_confirmed(target), timeout,
                              lambda: inner._flush_timeout_text(target, timeout))
        finally:
            with inner._lock:
                inner._end_flush()
        with inner._lock:
            inner._raise_refused()

    async def close(self, timeout: float = 10.0) -> None:
        """Awaits flush(timeout), then closes the publisher in any case: within a second and a half. A second call has no
        effect."""
        try:
            if not self._publisher._closed:
                await self.flush(timeout)
        finally:
            await self._close()

    async def __aenter__(self) -> "Publisher":
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            await self.close()
            return
        try:  # what is lost is reported on standard error, as at the end of the program
            await self.close(publisher.EXIT_FLUSH_S)
        except Exception as error:
            self._publisher._report_loss(error)

    async def _close(self) -> None:
        if self._publisher._closed:
            return
        self._publisher._stop()
        event = self._register_wait()
        try:
            while not self._publisher._ended:
                await event.wait()
                event.clear()
        finally:
            self._waiting.discard(event)
            self._publisher._close()

    async def _until(self, attempt: Callable[[], None], timeout: float, problem: Callable[[], str]) -> None:
        """Calls `attempt` again after each change until it does not raise TimeoutError."""
        try:
            return attempt()
        except TimeoutError:
            pass
        deadline = time.monotonic() + timeout
        event = self._register_wait()
        try:
            while True:
                event.clear()
                try:
                    return attempt()
                except TimeoutError:
                    left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(problem())
                try:
                    await asyncio.wait_for(event.wait(), left)
                except asyncio.TimeoutError:
                    pass  # one more attempt
        finally:
            self._waiting.discard(event)

    def _check_confirmed(self, target: int) -> None:
        inner = self._publisher
        with inner._lock:
            if not inner._wait(lambda: inner._queue.confirmed >= target, 0.0):
                raise TimeoutError

    def _register_wait(self) -> asyncio.Event:
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def _on_change(self) -> None:
        """Called by the publisher's thread, with its lock."""
        if self._waiting and self._loop:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop has been closed

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
