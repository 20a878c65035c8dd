"""Publishing: events are numbered, kept until the broker confirms them, and resent after a reconnect."""

import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import zmq
from google.protobuf.message import Message

from backplane.brokers import broker_list
from backplane.control import DEFAULT_CONTROL, ControlError, definitions
from backplane.credentials import Path, read_keys
from backplane.handshake import AuthenticationError
from backplane.publisher_queue import Frames, PublisherQueue
from backplane.sender import Sender
from backplane.topic import SYSTEM_PREFIX, check_topic
from backplane.v1 import event_pb2

DEFAULT_INGRESS = "tcp://127.0.0.1:5570"

EXIT_FLUSH_S = 5.0   # how long the end of the program may wait for the broker
_CLOSING_S = 0.5      # how long close() waits for the broker to hear of it


class Refused(Exception):
    """The broker refused events of this publisher."""


class Publisher:
    """A source of events. May be used by several threads. Has a thread of its own, which connects, sends, and reports the
    source as up ($SYS.source.<source>).

    Events are kept until the broker has admitted them, and resent after a reconnect; the broker refuses duplicates.
    Only flush() and close() confirm that everything was admitted. If the broker comes back without its state, or
    another broker takes over, the unconfirmed events are resent and may reach readers twice: see `in_doubt`.

    Of a list of brokers, one is used at a time: the first that replies. The publisher moves within a second of losing
    it, or when it drains, and returns to an earlier one that has been there for some seconds.

    At the end of the program, what is unconfirmed gets 5 more seconds. What is lost then is reported on standard error.
    After fork(), the child cannot use its parent's publishers.

        with Publisher("clock@host7") as publisher:  # flushes at the end
            publisher.publish("clock", "it is late")
    """

    def __init__(self, source: str, *, ingress: str | Sequence[str] = DEFAULT_INGRESS,
                 control: str | Sequence[str] = DEFAULT_CONTROL, unconfirmed_bytes_max: int = 64 << 20,
                 event_bytes_max: int | None = None, key_file: Path | None = None, server_key_file: Path | None = None,
                 context: zmq.Context | None = None):
        """Connects in the background. `source` is the publisher's stable name. At most `unconfirmed_bytes_max` bytes
        of events wait for the broker. An event above the broker's limit is refused; `event_bytes_max` is a lower limit
        of your own. For several brokers, `ingress` and `control` contain one endpoint each per broker. For brokers that
        require keys, `key_file` and `server_key_file` name files as for a Subscriber. Raises zmq.ZMQError for an invalid
        endpoint, ValueError for keys that cannot be used.

        The methods that wait raise AuthenticationError if no broker of the list accepts the keys, and ControlError with
        the code "not_permitted" if this user may not publish anything."""
        self.source = source
        self._unconfirmed_bytes_max, self._event_bytes_max = unconfirmed_bytes_max, event_bytes_max
        self._pid = os.getpid()
        self._closed, self._stopping, self._ended = False, False, False
        self._on_change: Callable[[], None] = lambda: None  # called by the thread, with the lock, after notable changes
        self._failure: BaseException | None = None
        self._refused_reported = 0
        self._queue = PublisherQueue()
        brokers = broker_list(ingress=ingress, control=control)
        self._sender = Sender(context or zmq.Context.instance(), brokers, source,
                              int.from_bytes(os.urandom(8), "little") or 1, self._queue,
                              read_keys(key_file, server_key_file))
        self._lock = threading.Lock()               # protects everything but the sockets
        self._changed = threading.Condition(self._lock)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._awake = False                         # a byte is on its way
        self._thread = threading.Thread(target=self._run, name=f"backplane publisher {source}", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def session(self) -> int:
        """Random. It changes if another program sends events of this source and session."""
        return self._sender.session

    @property
    def offered(self) -> int:
        """Sequence of the last event accepted by publish()."""
        return self._queue.offered

    @property
    def confirmed(self) -> int:
        """Sequence up to which every event has been admitted or refused."""
        return self._queue.confirmed

    @property
    def refused(self) -> int:
        """Events that were refused."""
        return self._queue.refused

    @property
    def resent(self) -> int:
        """Events sent again after a reconnect."""
        return self._queue.resent

    @property
    def in_doubt(self) -> int:
        """Unconfirmed events sent to a broker that lost its state or was replaced."""
        return self._queue.in_doubt

    @property
    def last_problem(self) -> str:
        """What went wrong last without stopping the publisher, for example in registering a type, or because the broker
        has refused events or our keys; "" if nothing."""
        return self._sender.last_problem

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Waits until a broker is connected. Not required before publish(). Raises TimeoutError."""
        with self._lock:
            self._check_open()
            if not self._wait(self._sender.ready, timeout):
                raise TimeoutError(f"no broker has subscribed at {self._sender.endpoint} within {timeout:g} s")

    def publish(self, topic: str, payload: str | bytes | Message | None, *, time_ns: int | None = None,
                attributes: dict[str, str] | None = None, timeout: float = 10.0) -> None:
        """Queues an event: text, bytes, a message, or None, which clears the topic's retained value. `time_ns` is when
        it happened (Unix; None: now). Returns at once, also without a broker, unless the limit on unconfirmed events
        is reached; then it waits for at most `timeout` seconds. The definition of a message's type is registered with
        the broker before the event is sent. Raises TimeoutError, and queues nothing, if the limit is still reached;
        ValueError if the event cannot be published."""
        if check_topic(topic).startswith(SYSTEM_PREFIX):
            raise ValueError(f"expected a topic outside $SYS., got {topic!r}")
        with self._lock:
            self._check_open()
            deadline = time.monotonic() + timeout
            while True:
                frames = Frames(topic.encode(), self._encode(payload, time_ns or time.time_ns(), attributes or {}))
                self._check_size(len(frames.event))
                sequence = self._queue.offered
                if not self._wait(partial(self._has_room, frames.size()), deadline - time.monotonic()):
                    raise TimeoutError(f"limit of {self._unconfirmed_bytes_max} unconfirmed bytes still reached after "
                                       f"{timeout:g} s")
                if self._queue.offered == sequence:
                    break  # otherwise another thread has taken the number
            if isinstance(payload, Message):
                self._note_type(payload)
            self._queue.add(frames)
            self._wake()

    def register(self, *kinds: type[Message]) -> None:
        """Registers the definitions of types with the broker before the next event, and again whenever a broker is
        connected. publish() does it for the types of messages."""
        with self._lock:
            self._check_open()
            self._queue.types.update(definitions(kind.DESCRIPTOR.file for kind in kinds))
            self._wake()

    def flush(self, timeout: float = 10.0) -> None:
        """Waits until the broker has admitted everything published before. Raises TimeoutError if that takes longer
        than `timeout` seconds (the events are kept), and Refused if it has refused events since the last flush."""
        with self._lock:
            self._check_open()
            self._flush(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Calls flush(timeout), then closes the publisher in any case. A second call has no effect."""
        self._check_process()
        try:
            with self._lock:
                if not self._closed:
                    self._flush(timeout)
        finally:
            self._close()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._close_at_end()

    # The user's side.

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("the publisher was created before fork(): create one in each process")

    def _check_open(self) -> None:
        self._check_process()
        if self._closed:
            raise ValueError("the publisher is closed")
        if self._failure:
            raise RuntimeError(f"the publisher's thread has failed: {self._failure!r}") from self._failure

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        sender = self._sender
        self._changed.wait_for(lambda: condition() or self._closed or self._failure or sender.problem, max(0.0, timeout))
        if condition():
            return True
        self._check_open()
        if problem := sender.problem:
            sender.problem = None
            raise problem
        return False

    def _has_room(self, size: int) -> bool:
        return not len(self._queue) or self._queue.bytes + size <= self._unconfirmed_bytes_max

    def _flush(self, timeout: float) -> None:
        target = self._begin_flush()
        try:
            if not self._wait(lambda: self._queue.confirmed >= target, timeout):
                raise TimeoutError(self._flush_timeout_text(target, timeout))
        finally:
            self._end_flush()
        self._raise_refused()

    def _begin_flush(self) -> int:
        """The thread hurries until _end_flush(). Returns the sequence up to which everything is to be confirmed."""
        self._sender.flushing += 1
        self._sender.hurry()
        self._wake()
        return self._queue.offered

    def _end_flush(self) -> None:
        self._sender.flushing -= 1

    def _flush_timeout_text(self, target: int, timeout: float) -> str:
        return (f"{target - self._queue.confirmed} of {target} events not admitted by {self._sender.endpoint} within "
                f"{timeout:g} s")

    def _raise_refused(self) -> None:
        queue = self._queue
        if queue.refused > self._refused_reported:
            refused, self._refused_reported = queue.refused - self._refused_reported, queue.refused
            raise Refused(f"the broker refused {refused} events, the last one because of: {queue.refused_text()}")

    def _check_size(self, size: int) -> None:
        limits = [limit for limit in (self._event_bytes_max, self._sender.event_bytes_max()) if limit]
        if limits and size > min(limits):
            raise ValueError(f"expected an event of at most {min(limits)} bytes, got {size}")

    def _note_type(self, payload: Message) -> None:
        file = payload.DESCRIPTOR.file
        if file.name not in self._queue.types:
            self._queue.types.update(definitions([file]))

    def _encode(self, payload: str | bytes | Message | None, time_ns: int, attributes: dict[str, str]) -> bytes:
        event = event_pb2.Event(source=self.source, session=self.session, sequence=self._queue.offered + 1,
                                attributes=attributes)
        event.time.FromNanoseconds(time_ns)
        if isinstance(payload, str):
            event.text = payload
        elif isinstance(payload, bytes):
            event.binary = payload
        elif isinstance(payload, Message):
            event.message.Pack(payload)
        elif payload is not None:
            raise ValueError(f"payload: expected str, bytes, a message or None, got {type(payload).__name__}")
        return event.SerializeToString()

    def _close_at_end(self) -> None:
        """Closes the publisher when nobody handles its errors: what is lost is reported on standard error."""
        try:
            self.close(EXIT_FLUSH_S)
        except (TimeoutError, Refused, AuthenticationError, ControlError, RuntimeError) as error:
            self._report_loss(error)

    def _report_loss(self, error: BaseException) -> None:
        print(f"backplane: publisher {self.source}: {error}; what was not admitted is lost", file=sys.stderr)

    def _stop(self) -> None:
        """The thread ends within a second."""
        with self._lock:
            self._stopping = True
            self._wake()

    def _close(self) -> None:
        """Closes at once, without a flush."""
        self._stop()
        self._thread.join(2 * _CLOSING_S + 1)
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        self._wake_reader.close()
        self._wake_writer.close()
        _open.discard(self)

    # The thread.

    def _wake(self) -> None:
        if not self._awake and not self._closed:
            self._awake = True
            self._wake_writer.send(b"w")

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
            self._say_closing()
        except BaseException as error:  # whatever it is: nobody else would notice
            with self._lock:
                self._failure = error
                self._notify()
        finally:
            self._sender.close()
            with self._lock:
                self._ended = True
                self._notify()

    def _turn(self) -> None:
        with self._lock:
            before = self._state()
            self._sender.work()
            if before != self._state():
                self._notify()
            due = self._sender.due()
            poller = zmq.Poller()
            poller.register(self._wake_reader, zmq.POLLIN)
            for each in self._sender.sockets():
                poller.register(each, zmq.POLLIN)
        wait_s = due - time.monotonic()
        if wait_s > 0 and self._wake_reader.fileno() in dict(poller.poll(int(wait_s * 1000) + 1)):
            with self._lock:
                self._wake_reader.recv(64)
                self._awake = False

    def _notify(self) -> None:
        self._changed.notify_all()
        self._on_change()

    def _state(self) -> tuple:
        """What calls wait for."""
        return self._queue.confirmed, self._queue.bytes, self._sender.ready(), self._sender.problem

    def _say_closing(self) -> None:
        deadline = time.monotonic() + _CLOSING_S
        self._sender.say_closing()
        while not self._sender.closing_done() and (left := deadline - time.monotonic()) > 0:
            poller = zmq.Poller()
            for each in self._sender.reply_sockets():
                poller.register(each, zmq.POLLIN)
            poller.poll(int(left * 1000) + 1)
            self._sender.poll_replies()


_open: set[Publisher] = set()


@atexit.register
def _close_all() -> None:
    for publisher in list(_open):
        if publisher._pid == os.getpid():
            publisher._close_at_end()
