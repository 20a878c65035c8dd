"""What a publisher's thread does: it chooses a broker, sends, resends, and learns what was admitted."""

import os
import time

import zmq

from backplane.control import ControlError
from backplane.credentials import Keys
from backplane.handshake import AuthenticationError
from backplane.ingress import NO_REPLY, Ingress
from backplane.publisher_queue import PublisherQueue
from backplane.v1 import control_pb2

_HELLO_S = 1.0
_ADMITTED_S = 0.1        # how often to request what was admitted, while something is unconfirmed
_FLUSH_S = (0.001, 0.1)  # the same while somebody waits for it: at first, and at most
_PROBE_S = 0.25          # how often to check that a broker of the list is there
_LOST_S = 0.5            # a connection that has been down for this long is lost, if there are other brokers
_PREFER_S = 0.5          # how long an earlier broker of the list may take to show up before a later one is chosen
_HEALTHY_S = 3.0         # how long an earlier broker must have been available before the publisher returns to it
_LEAVE_S = 2.0           # how long what was sent may take to be confirmed before that
_STALL_S = (15.0, 120.0)  # how long a connection may confirm nothing of what was sent: at first, and at most
_PROBLEM_S = 3.0         # how long calls raise what a broker has against us
_SEND_MAX = 500          # events sent in one turn
_FULL_S = 0.005          # before another attempt if the connection's send queue is full


class Sender:
    """Publishes the events of a queue at one broker of a list: the first one that replies on ingress and control. It
    moves when that is lost or drains, and returns to an earlier one that has been available for some seconds. Belongs to
    the publisher's thread; owns the sockets. The caller of work() holds the publisher's lock."""

    def __init__(self, context: zmq.Context, brokers: list[dict[str, str]], source: str, session: int,
                 queue: PublisherQueue, keys: Keys | None):
        """Starts connecting. Raises zmq.ZMQError for an invalid endpoint."""
        self._context, self._brokers, self._source, self.session = context, brokers, source, session
        self._queue, self._keys = queue, keys
        self.last_problem = ""
        self.problem: AuthenticationError | ControlError | None = None  # for calls that wait; once for each attempt
        self._problem_at = float("-inf")
        self._refused_seen = 0
        self.flushing = 0                  # how many wait for confirmation
        self._flush_pause = _FLUSH_S[0]
        self._ingresses: list[Ingress | None] = [None] * len(brokers)
        self._healthy_since: list[float | None] = [None] * len(brokers)
        self._current: int | None = 0 if len(brokers) == 1 else None
        self._search_since = time.monotonic()
        self._resumed = 0                  # the connection on which sending may go on
        self._resuming = 0                 # the connection on which that is being found out
        self._returning_since: float | None = None
        self._registered: set[str] = set()
        self._registering = False
        self._full = False
        self._hello_at, self._admitted_at, self._probe_at = 0.0, 0.0, 0.0
        self._progress_at, self._stall_s = time.monotonic(), _STALL_S[0]
        self._confirmed_seen = 0
        self._last_stream: int | None = None
        self._connections: dict[int, int] = {}  # by which the session's events may have come, by stream
        self._closing_said = False
        try:
            for index in range(len(brokers)):
                self._open(index)
        except zmq.ZMQError:
            self.close()
            raise

    @property
    def endpoint(self) -> str:
        """The broker in use, for messages."""
        return self._brokers[self._current or 0]["ingress"]

    def ready(self) -> bool:
        """Whether a broker is connected, and it is known what earlier connections delivered."""
        current = self._ingress()
        return bool(current and current.subscribed and self._resumed == current.connection)

    def event_bytes_max(self) -> int | None:
        """The broker's limit; None: not known yet."""
        current = self._ingress()
        return current.event_bytes_max if current else None

    def sockets(self) -> list[zmq.Socket]:
        return [socket for each in self._ingresses if each for socket in each.sockets()]

    def work(self) -> None:
        """One turn. Does not wait, except for brokers that close connections."""
        now = time.monotonic()
        for each in self._ingresses:
            if each:
                each.poll(now)
        self._note_problems(now)
        if len(self._brokers) > 1:
            self._probe(now)
            self._choose(now)
        current = self._ingress()
        if not current:
            return
        if current.subscribed and self._resumed != current.connection:
            self._resume(current)
        if now >= self._hello_at:
            self._say_hello(current, now)
        self._send(current)
        if len(self._queue) and now >= self._admitted_at and (self.ready() or current.draining):
            self._ask(current, now)
        self._check_progress(current, now)

    def due(self) -> float:
        times = [each.due() for each in self._ingresses if each]
        if current := self._ingress():
            times.append(self._hello_at)
            if current.subscribed and self._resuming != current.connection and not current.asking:
                times.append(current.refused_until)
        if len(self._brokers) > 1:
            times.append(self._probe_at)
        if (current := self._ingress()) and len(self._queue) and (self.ready() or current.draining):
            times.append(self._admitted_at)
            if self._may_send(current):
                times.append(time.monotonic() + _FULL_S if self._full else 0.0)
        return min(times)

    def hurry(self) -> None:
        """Somebody waits for confirmation."""
        self._flush_pause = _FLUSH_S[0]
        self._admitted_at = 0.0

    def say_closing(self) -> None:
        """Reports the source as down, if a broker is there; `closing_done()` tells when that has been received."""
        self._closing_said = False
        current = self._ingress()
        if current and current.replies(time.monotonic()):
            current.say_hello(self._counters(), closing=True, on_done=self._on_closing_said)
        else:
            self._closing_said = True

    def closing_done(self) -> bool:
        return self._closing_said

    def reply_sockets(self) -> list[zmq.Socket]:
        """Those that poll_replies() reads."""
        current = self._ingress()
        return current.channel.sockets() if current else []

    def poll_replies(self) -> None:
        if current := self._ingress():
            current.channel.poll()

    def close(self) -> None:
        for index in range(len(self._ingresses)):
            self._close(index)

    def _note_problems(self, now: float) -> None:
        problems: list[AuthenticationError | ControlError] = [
            problem for each in self._ingresses if each and (problem := each.take_problem(now))]
        if problems:
            self.last_problem = str(problems[0])
        if not all(each and each.problem for each in self._ingresses):
            problems.clear()  # another broker of the list may do
            if isinstance(self.problem, AuthenticationError):
                self.problem = None
        if current := self._ingress():
            self.last_problem = current.hello_problem or self.last_problem
            if refusal := current.take_refusal():
                self.last_problem = str(refusal)
                problems.append(refusal)
        if problems:
            self.problem, self._problem_at = problems[0], now
        elif now >= self._problem_at + _PROBLEM_S:
            self.problem = None  # says nothing about a broker that is away now
        if self._queue.refused > self._refused_seen:
            self.last_problem = f"events were refused, the last one because of: {self._queue.refused_text()}"
            self._refused_seen = self._queue.refused

    # The broker.

    def _ingress(self) -> Ingress | None:
        return None if self._current is None else self._ingresses[self._current]

    def _open(self, index: int) -> None:
        if not self._ingresses[index]:
            broker = self._brokers[index]
            self._ingresses[index] = Ingress(self._context, broker["ingress"], broker["control"], self._source,
                                             self.session, self._keys)
            self._healthy_since[index] = None

    def _close(self, index: int) -> None:
        if self._ingresses[index]:
            self._ingresses[index].close()
            self._ingresses[index] = None

    def _probe(self, now: float) -> None:
        for index, each in enumerate(self._ingresses):
            if each and not each.available(now):
                self._healthy_since[index] = None
            elif each and self._healthy_since[index] is None:
                self._healthy_since[index] = now
        if now >= self._probe_at:
            self._probe_at = now + _PROBE_S
            for index, each in enumerate(self._ingresses):
                if each and index != self._current:
                    each.ask_admitted()
            if current := self._ingress():
                self._ask(current, now)

    def _choose(self, now: float) -> None:
        current = self._ingress()
        if current and not current.lost(now, _LOST_S) and not (current.draining and self._queue.all_sent_confirmed()):
            for later in range(self._current + 1, len(self._brokers)):
                self._close(later)
            self._consider_return(now)
            return
        self._returning_since = None
        if all(self._ingresses):
            if (index := self._first_available(now)) is not None and index != self._current:
                self._select(index)
        else:
            self._search_since = now
            for index in range(len(self._brokers)):
                self._open(index)

    def _first_available(self, now: float) -> int | None:
        for index, each in enumerate(self._ingresses):
            if each.available(now):
                return index
            if index != self._current and now < self._search_since + _PREFER_S:
                return None  # it may show up yet
        return None

    def _consider_return(self, now: float) -> None:
        """Returns to an earlier broker of the list, once everything that was sent here has been confirmed."""
        earlier = next((index for index in range(self._current) if self._healthy_since[index] is not None
                        and now >= self._healthy_since[index] + _HEALTHY_S), None)
        if earlier is None:
            self._returning_since = None
        elif self._queue.all_sent_confirmed():
            self._select(earlier)
        elif self._returning_since is None:
            self._returning_since = now
        elif now >= self._returning_since + _LEAVE_S:
            self._returning_since = self._healthy_since[earlier] = None  # not now

    def _select(self, index: int) -> None:
        if (current := self._ingress()) and current.replies(time.monotonic()):
            current.say_hello(self._counters(), closing=True)  # sent before the socket is closed, or not at all
        self._current, self._returning_since, self._hello_at = index, None, 0.0
        for other in range(index + 1, len(self._brokers)):
            self._close(other)
        self._resumed = self._resuming = 0

    # The connection.

    def _resume(self, current: Ingress) -> None:
        """Finds out what earlier connections delivered, and registers the types, before anything is sent."""
        if self._resuming == current.connection:
            return
        if current.asking or time.monotonic() < current.refused_until:
            return  # that reply may be from before the connection
        self._resuming = connection = current.connection
        self._registered.clear()
        self._registering = False
        self._say_hello(current, time.monotonic())
        self._register(current)
        # The broker handles the requests in order: its limit and its reply about the types are known by then.
        current.ask_admitted(lambda reply: self._on_resume(reply, connection))

    def _on_resume(self, reply: control_pb2.ControlReply | None, connection: int) -> None:
        if reply is None:
            self._resuming = 0
            return
        # Nothing has been sent on this connection.
        before = max(self._connections.get(reply.stream, 0), reply.admitted.connections)
        self._connections[reply.stream] = before + 1
        if self._on_admitted(reply) and reply.stream != self._last_stream:
            self._queue.doubt()
        self._last_stream = reply.stream
        self._queue.rewind()
        self._resumed = connection

    def _register(self, current: Ingress) -> None:
        missing = {name: file for name, file in self._queue.types.items() if name not in self._registered}
        if not missing:
            return
        connection = current.connection
        self._registering = True

        def on_done(problem: str | None) -> None:
            if connection == current.connection:
                self._registering = False
                if problem != NO_REPLY:
                    self._registered.update(missing)
                self.last_problem = f"types: {problem}" if problem else self.last_problem
        current.register(self._queue.types.values(), on_done)

    def _say_hello(self, current: Ingress, now: float) -> None:
        self._hello_at = now + _HELLO_S
        current.say_hello(self._counters())

    def _counters(self) -> dict[str, int]:
        queue = self._queue
        return {"offered": queue.offered, "confirmed": queue.confirmed, "refused": queue.refused, "resent": queue.resent,
                "in_doubt": queue.in_doubt}

    def _on_closing_said(self) -> None:
        self._closing_said = True

    # Events.

    def _send(self, current: Ingress) -> None:
        queue = self._queue
        if not self._may_send(current):
            return
        self._register(current)
        if self._registering:
            return
        self._full = False
        for _ in range(_SEND_MAX):
            if queue.sent == queue.offered:
                break
            frames = queue.next_unsent()
            limit = current.event_bytes_max
            if frames and limit and len(frames.event) > limit:
                queue.refuse_next("too_large")
                frames = None
            if frames and not current.send(frames):
                self._full = True
                break
            queue.mark_sent()
        queue.confirm_refused()

    def _check_progress(self, current: Ingress, now: float) -> None:
        """The broker may reply on control while the connection for events is dead, of which the kernel learns late."""
        if self._queue.confirmed != self._confirmed_seen:
            self._confirmed_seen = self._queue.confirmed
            self._progress_at, self._stall_s = now, _STALL_S[0]
        elif not self.ready() or self._queue.all_sent_confirmed():
            self._progress_at = now
        elif now >= self._progress_at + self._stall_s:
            self.last_problem = f"the broker confirms nothing of what was sent to {self.endpoint}"
            self._progress_at, self._stall_s = now, min(2 * self._stall_s, _STALL_S[1])
            current.disconnect(now)

    def _may_send(self, current: Ingress) -> bool:
        return (self.ready() and self._queue.sent < self._queue.offered and not current.draining
                and self._returning_since is None and not self._registering)

    def _ask(self, current: Ingress, now: float) -> None:
        self._admitted_at = max(now + (self._flush_pause if self.flushing else _ADMITTED_S), current.refused_until)
        current.ask_admitted(self._on_admitted)

    def _on_admitted(self, reply: control_pb2.ControlReply | None) -> bool:
        """Returns False if the reply shows that another program sends events of our session."""
        if reply is None:
            return True
        if isinstance(self.problem, ControlError):
            self.problem = None
        admitted = reply.admitted
        if (max(admitted.sequence, admitted.refused_sequence) > self._queue.session_sent
                or admitted.connections > self._connections.get(reply.stream, 1)):
            self._change_session(reply.stream)
            return False
        before = self._queue.confirmed
        self._queue.on_admitted(reply.stream, reply.admitted)
        if self._queue.confirmed > before:
            self._flush_pause = _FLUSH_S[0]
        else:
            self._flush_pause = min(2 * self._flush_pause, _FLUSH_S[1])
        if self.flushing:
            self._admitted_at = min(self._admitted_at, time.monotonic() + self._flush_pause)
        return True

    def _change_session(self, stream: int) -> None:
        """Which of our events were admitted, and which were refused as duplicates of the other program's, cannot be
        known."""
        self.last_problem = f"another program publishes as {self._source} in our session; continuing in a new one"
        self.session = int.from_bytes(os.urandom(8), "little") or 1
        self._queue.change_session(self._source, self.session)
        self._connections = {stream: 1}
        for each in self._ingresses:
            if each:
                each.change_session(self.session)
        self._hello_at = 0.0
