"""A TCP relay between programs and a broker or gateway, whose connections a test can cut, refuse, delay, stall or slow.

A Relay is one path. A RelayThread owns the sockets of any number of paths; a Relay without one gets its own.
"""

import collections
import errno
import heapq
import itertools
import queue
import random
import selectors
import socket
import struct
import threading
import time

CHUNK_BYTES = 1 << 16
# Bytes read from one side and not yet passed on: above this, the relay stops reading from that side.
QUEUED_BYTES_MAX = 1 << 20


def split_endpoint(endpoint):
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


class RelayThread:
    """The thread that owns the sockets of all its relays. call() is the only way to it."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self._calls = queue.SimpleQueue()
        self._due, self._order = [], itertools.count()
        self._open = True
        self._bell, self._ear = socket.socketpair()
        self.selector.register(self._ear, selectors.EVENT_READ, lambda _: self._ear.recv(4096))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def call(self, function):
        """Runs function() on the thread. @returns its result, or raises what it raised."""
        if threading.current_thread() is self._thread:
            return function()
        answer = queue.SimpleQueue()
        self._calls.put((function, answer))
        self._bell.send(b"!")
        result, error = answer.get()
        if error:
            raise error
        return result

    def at(self, when, function):
        """Calls function() on the thread at `when` (time.monotonic()). Only from the thread itself."""
        heapq.heappush(self._due, (when, next(self._order), function))

    def close(self):
        """Ends the thread. Its relays must have been closed before."""
        self.call(self._end)
        self._thread.join()
        for end in (self._bell, self._ear):
            end.close()
        self.selector.close()

    def _end(self):
        self._open = False

    def _run(self):
        while self._open:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, events in self.selector.select(wait):
                # An earlier one of this round may have ended it.
                if self.selector.get_map().get(key.fd) is key:
                    key.data(events)
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            while not self._calls.empty():
                function, answer = self._calls.get()
                try:
                    answer.put((function(), None))
                except Exception as error:  # for the thread that called
                    answer.put((None, error))


class Relay:
    """One path: passes on bytes between everyone who connects to `endpoint` and `target`, both of the form
    tcp://HOST:PORT. Every method may be called from any thread and returns when it has taken effect."""

    UP, DOWN = "up", "down"  # to the target, and from it

    def __init__(self, target, cut_once_after=None, listen=None, thread=None, seed=1):
        """`cut_once_after`: after this many bytes towards the target, all connections are cut, once; the last bytes
        are not passed on, so that something is lost for sure. `listen`: (host, port), by default the target's host
        and a free port. `seed`: of the jitter."""
        self._target = split_endpoint(target)
        self._cut_once_after = cut_once_after
        self._forwarded = 0
        self._random = random.Random(seed)
        self.cuts = 0         # connections that were ended by a fault
        self.accepted = 0     # connections ever taken
        self.delay_s = self.jitter_s = 0.0
        self.stalled = frozenset()
        self.bytes_per_s = None
        self._pairs = set()
        self._own_thread = thread is None
        self._thread = thread or RelayThread()
        self._listener = None
        self._listen(listen or (self._target[0], 0))
        self._address = self._listener.getsockname()[:2]
        self.endpoint = f"tcp://{self._address[0]}:{self._address[1]}"

    # Faults. Each lasts until mend().

    def cut(self, reset=False):
        """Ends all connections, by RST if `reset`; new ones are refused."""
        self._thread.call(lambda: (self._stop_listening(), self._end_all(reset)))

    def refuse(self):
        """Refuses new connections; those that exist go on."""
        self._thread.call(self._stop_listening)

    def delay(self, seconds, jitter=0.0):
        """Passes on each piece `seconds` later, and up to `jitter` more, in order, in both directions."""
        self._set(delay_s=seconds, jitter_s=jitter)

    def stall(self, *directions):
        """Accepts connections and passes on nothing, in these directions (UP, DOWN; none given: both). Neither side
        learns that the other one has closed."""
        self._set(stalled=frozenset(directions or (self.UP, self.DOWN)))

    def limit(self, bytes_per_s):
        """Passes on at most this many bytes per second in each direction of each connection."""
        self._set(bytes_per_s=bytes_per_s)

    def mend(self):
        """Ends all faults. What was delayed or stalled is passed on."""
        self._set(delay_s=0.0, jitter_s=0.0, stalled=frozenset(), bytes_per_s=None)
        self._thread.call(lambda: self._listener or self._listen(self._address))

    # Not faults that last for the path.

    def drop(self, reset=False):
        """Ends all connections, by RST if `reset`; new ones are accepted."""
        self._thread.call(lambda: self._end_all(reset))

    def silence(self):
        """Passes on nothing more on the connections that there are, for ever, and neither side learns of it; new ones
        are not concerned. As if a router between the two had been replaced."""
        self._thread.call(lambda: [pair.silence() for pair in self._pairs])

    def close(self):
        self.cut()
        if self._own_thread:
            self._thread.close()

    # On the thread.

    def _set(self, **faults):
        def apply():
            for name, value in faults.items():
                setattr(self, name, value)
            for pair in list(self._pairs):
                pair.continue_both()
        self._thread.call(apply)

    def _listen(self, address):
        self._listener = socket.create_server(address, backlog=1024)
        self._listener.setblocking(False)
        self._thread.call(lambda: self._thread.selector.register(self._listener, selectors.EVENT_READ, self._accept))

    def _stop_listening(self):
        if self._listener:
            self._thread.selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, _):
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        self.accepted += 1
        self._pairs.add(_Pair(self, self._thread, client, self._target))

    def _end_all(self, reset):
        for pair in list(self._pairs):
            self.cuts += 1
            pair.end(reset)

    def ended(self, pair):
        self._pairs.discard(pair)

    def passes(self, direction, data):
        """Whether the data may be passed on, or has made all connections end."""
        if direction == self.UP and self._cut_once_after is not None:
            self._forwarded += len(data)
            if self._forwarded >= self._cut_once_after:
                self._cut_once_after = None
                self._end_all(reset=False)
                return False
        return True

    def due(self):
        """When data that has come now is to be passed on."""
        return time.monotonic() + self.delay_s + self._random.uniform(0, self.jitter_s)


class _Flow:
    """One direction of a connection: bytes that were read and are not passed on yet."""

    def __init__(self, direction, source, sink):
        self.direction, self.source, self.sink = direction, source, sink
        self.waiting = collections.deque()  # (due, bytes); b"" is the end, None a reset
        self.bytes = 0
        self.read_all = self.passed_all = False
        self.sink_full = False
        self.free_at = 0.0  # by the limit of bytes per second
        self.timer = False


class _Pair:
    """A client's connection and the one to the target. Lives on the relay's thread, owns both sockets."""

    def __init__(self, relay, thread, client, target):
        self._relay, self._thread = relay, thread
        server = socket.socket()
        self._ends = (client, server)
        self._events = {client: 0, server: 0}
        self._flows = {client: _Flow(Relay.UP, client, server), server: _Flow(Relay.DOWN, server, client)}
        self._connected = self._ended = self._silent = False
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.connect_ex(target) not in (0, errno.EINPROGRESS):
            self.end(reset=True)
        self.continue_both()

    def end(self, reset=False):
        if self._ended:
            return
        self._ended = True
        for end in self._ends:
            if self._events[end]:
                self._thread.selector.unregister(end)
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self._relay.ended(self)

    def silence(self):
        self._silent = True
        self._watch()

    def continue_both(self):
        for flow in self._flows.values():
            if not self._ended:
                self._pass_on(flow)
        if not self._ended:
            self._watch()

    def _watch(self):
        for end in self._ends:
            flow, back = self._flows[end], self._flows[self._other(end)]
            events = 0
            if self._connected and not flow.read_all and flow.bytes < QUEUED_BYTES_MAX and not self._stalls(flow):
                events |= selectors.EVENT_READ
            if back.sink_full or (end is self._ends[1] and not self._connected):
                events |= selectors.EVENT_WRITE
            self._set_events(end, events)

    def _set_events(self, end, events):
        before, self._events[end] = self._events[end], events
        if events and not before:
            self._thread.selector.register(end, events, lambda ready, end=end: self._on_ready(end, ready))
        elif before and not events:
            self._thread.selector.unregister(end)
        elif events != before:
            self._thread.selector.modify(end, events, lambda ready, end=end: self._on_ready(end, ready))

    def _other(self, end):
        return self._ends[1] if end is self._ends[0] else self._ends[0]

    def _stalls(self, flow):
        return self._silent or flow.direction in self._relay.stalled

    def _on_ready(self, end, ready):
        if end is self._ends[1] and not self._connected:
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.end(reset=True)
                return
            self._connected = True
        if ready & selectors.EVENT_WRITE:
            self._flows[self._other(end)].sink_full = False
        if ready & selectors.EVENT_READ:
            self._read(self._flows[end])
        if not self._ended:
            self.continue_both()

    def _read(self, flow):
        try:
            data = flow.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = None
        if data and not self._relay.passes(flow.direction, data):
            return
        flow.read_all = not data
        flow.waiting.append((self._relay.due(), data))
        flow.bytes += len(data or b"")

    def _pass_on(self, flow):
        now = time.monotonic()
        while flow.waiting and not flow.sink_full and self._connected and not self._stalls(flow):
            due, data = flow.waiting[0]
            if self._relay.delay_s == 0 and self._relay.jitter_s == 0:
                due = 0.0
            when = max(due, flow.free_at if self._relay.bytes_per_s else 0.0)
            if when > now:
                self._wait(flow, when)
                return
            if not data:
                flow.waiting.popleft()
                flow.passed_all = True
                self._shut_down(flow) if data is not None else self.end(reset=True)
                return
            self._send(flow, data)
            if self._ended:
                return

    def _send(self, flow, data):
        rate = self._relay.bytes_per_s
        try:
            # At most a tenth of a second's worth at once.
            sent = flow.sink.send(data[:max(1, int(rate / 10))] if rate else data)
        except BlockingIOError:
            flow.sink_full = True
            return
        except OSError:
            self.end(reset=True)
            return
        if rate:
            flow.free_at = time.monotonic() + sent / rate
        flow.bytes -= sent
        due, _ = flow.waiting.popleft()
        if sent < len(data):
            flow.waiting.appendleft((due, data[sent:]))

    def _wait(self, flow, when):
        if flow.timer:
            return
        flow.timer = True

        def again():
            flow.timer = False
            if not self._ended:
                self.continue_both()
        self._thread.at(when, again)

    def _shut_down(self, flow):
        try:
            flow.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.end(reset=True)
            return
        if all(each.passed_all for each in self._flows.values()):
            self.end()
