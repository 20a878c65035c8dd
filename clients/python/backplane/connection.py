"""A single ZeroMQ connection, and the choice of a broker."""

import time
from collections.abc import Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

_ENDED = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_ENDED |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_HEARTBEAT_MS = 5000
_FAILOVER_S = 1.0


class Brokers:
    """Which broker of a list is in use. Moves to the next one when the current one has been down for a second.
    Not thread-safe: used by its owner only."""

    def __init__(self, **endpoints: str | Sequence[str]):
        """Takes one endpoint or several for each purpose: egress=…, control=…. The first endpoints of all purposes
        belong to the first broker, and so on. Raises ValueError if there are none, or if the numbers differ."""
        lists = {name: [each] if isinstance(each, str) else list(each) for name, each in endpoints.items()}
        counts = {len(each) for each in lists.values()}
        if len(counts) != 1 or 0 in counts:
            numbers = ", ".join(f"{len(each)} for {name}" for name, each in lists.items())
            raise ValueError(f"expected the same number of endpoints for each purpose, at least one, got {numbers}")
        self._brokers = [dict(zip(lists, each)) for each in zip(*lists.values())]
        self.index = 0
        self._down_since: float | None = time.monotonic()

    def __getitem__(self, name: str) -> str:
        return self._brokers[self.index][name]

    def mark_up(self) -> None:
        """Notes that the current broker has responded."""
        self._down_since = None

    def move_on(self) -> bool:
        """To be called before a new connection. Returns True if that should go to the next broker."""
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        if len(self._brokers) == 1 or now - self._down_since < _FAILOVER_S:
            return False
        self.index = (self.index + 1) % len(self._brokers)
        self._down_since = now
        return True


class Connection:
    """A socket with one connection that libzmq does not renew: when it ends, the owner creates another Connection.
    Everything received from the socket therefore came over the same connection, in order.

    Belongs to one thread. Owns its socket and the socket's monitor.
    """

    def __init__(self, context: zmq.Context, kind: int, endpoint: str, options: dict[int, int] | None = None):
        """Starts connecting. Raises zmq.ZMQError if `endpoint` is invalid."""
        self.socket = context.socket(kind)
        for option, value in {
                zmq.LINGER: 0, zmq.RECONNECT_IVL: -1, zmq.IPV6: int("[" in endpoint), zmq.SNDHWM: 0, zmq.RCVHWM: 0,
                zmq.HEARTBEAT_IVL: _HEARTBEAT_MS, zmq.HEARTBEAT_TIMEOUT: 3 * _HEARTBEAT_MS, **(options or {}),
        }.items():
            self.socket.setsockopt(option, value)
        self._monitor = self.socket.get_monitor_socket(_ENDED)
        self._poller = zmq.Poller()
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._ended = False
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError:
            self.close()
            raise

    def ended(self) -> bool:
        """Whether the connection has ended or could not be established. Does not wait."""
        while not self._ended and self._monitor.poll(0):
            self._ended = bool(recv_monitor_message(self._monitor)["event"] & _ENDED)
        return self._ended

    def receive(self, deadline: float) -> list[bytes] | None:
        """The frames of the next message. None if none has arrived by `deadline` (time.monotonic()), or if the
        connection has ended and everything received over it has been returned."""
        while True:
            try:
                return self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                pass
            left = deadline - time.monotonic()
            if left <= 0 or self._ended:
                return None
            self.poll(left)
            # Messages received before the end are in the queue by now. They are returned before the end is reported.
            self.ended()

    def poll(self, seconds: float) -> None:
        """Waits until a message or a connection event is available, for at most `seconds`."""
        self._poller.poll(seconds * 1000)

    def close(self) -> None:
        """Closes the connection at once and discards unsent messages."""
        self.socket.disable_monitor()
        self._monitor.close()
        self.socket.close()
