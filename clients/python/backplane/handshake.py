"""Why a broker does not accept this program's keys, or their absence."""

import contextlib
import itertools
import socket
import struct
import time

import zmq

from backplane.credentials import Keys

_EVENTS = (zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
           | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_RETRY_S = 1.0             # from a refusal to the next connection: libzmq gives most refused ones up
_FRESH_S = 3.0             # a refusal is reported for this long
_CLOSED_MIN = 2            # a broker that stops can end one handshake
_GREETING_WAIT_S = 0.2
_STATUS_REFUSED = 400

# A greeting of ZMTP 3: its signature and major version. A server that has these sends its own without waiting for ours.
# Our mechanism must not follow: libzmq closes the connection as soon as it sees another one than its own.
_GREETING_BEGIN = b"\xff" + bytes(8) + b"\x7f\x03"
_GREETING_BYTES = 64

_numbers = itertools.count()


class AuthenticationError(Exception):
    """A broker and this program do not agree on keys. `code` is a word for programs to test: "key_refused" (no user of
    the broker's policy has it, or the user may not connect to this endpoint), "wrong_server_key", "keys_required",
    "keys_not_used" or "not_checked" (the broker cannot check keys now). The program keeps trying, once a second."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code


class Handshake:
    """Watches the handshakes of connections to one endpoint, over one socket after another. Belongs to the sockets'
    thread.

    What libzmq 4.3.4 shows: the broker's refusal of a key, with its status; another security mechanism at the broker,
    sometimes; otherwise only that the broker has closed the connection, as one with another key does, too. Then the
    broker's greeting tells which it is.
    """

    def __init__(self, context: zmq.Context, endpoint: str, keys: Keys | None):
        """`endpoint` begins each text."""
        self._context, self._endpoint, self._keys = context, endpoint, keys
        self.problem: AuthenticationError | None = None  # what ended the last handshake
        self.retry_at = float("inf")                     # when to connect again
        self.monitor: zmq.Socket | None = None           # readable: there is something for poll()
        self._socket: zmq.Socket | None = None
        self._address = endpoint
        self._closed = 0                                 # handshakes in a row that the broker ended without a word
        self._refused_at = float("-inf")
        self._looked_at = float("-inf")
        self._fresh = False

    def attach(self, watched: zmq.Socket, address: str) -> None:
        """Gives the keys to a socket that has not connected yet, and watches it. `address` is the endpoint with a numeric
        address."""
        self.detach()
        if self._keys:
            self._keys.apply(watched)
        name = f"inproc://backplane.handshake.{next(_numbers)}"
        watched.monitor(name, _EVENTS)
        self._socket = watched
        self.monitor = self._context.socket(zmq.PAIR)
        self.monitor.setsockopt(zmq.RCVHWM, 0)  # with a limit, unread events would stop the socket's I/O thread
        self.monitor.connect(name)
        self._address = address

    def reconnecting(self, address: str) -> None:
        """The socket connects again, to this address."""
        self._address, self.retry_at = address, float("inf")

    def detach(self) -> None:
        """Call this before the socket is closed."""
        if self._socket and not self._socket.closed:
            self._socket.monitor(None, 0)
        if self.monitor:
            self.monitor.close(0)
        self._socket = self.monitor = None
        self.retry_at = float("inf")

    def poll(self, now: float) -> None:
        """Handles what has happened. Waits up to 0.2 s, once a second at most, if the broker closes connections."""
        while self.monitor:
            try:
                event, _ = self.monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            kind, value = struct.unpack("=Hi", event)
            self._on_event(kind, value, now)

    def take(self, now: float) -> AuthenticationError | None:
        """The problem, if another handshake has failed since it was taken last, at most once a second."""
        if not self._fresh or now >= self._refused_at + _FRESH_S:
            return None
        self._fresh = False
        return self.problem

    def _on_event(self, event: int, value: int, now: float) -> None:
        self._closed = self._closed + 1 if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else 0
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.problem, self._fresh, self.retry_at = None, False, float("inf")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._refuse("key_refused" if value == _STATUS_REFUSED else "not_checked", now)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            if self._closed >= _CLOSED_MIN and now >= self._looked_at + _RETRY_S:
                self._looked_at = now
                self._look(now)
        elif value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            self._refuse("keys_not_used" if self._keys else "keys_required", now)
        elif value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            self._refuse("wrong_server_key", now)

    def _look(self, now: float) -> None:
        mechanism = _server_mechanism(self._address)
        if mechanism == b"CURVE":
            self._refuse("wrong_server_key" if self._keys else "keys_required", now)
        elif mechanism == b"NULL" and self._keys:
            self._refuse("keys_not_used", now)

    def _refuse(self, code: str, now: float) -> None:
        self.problem = AuthenticationError(code, f"{self._endpoint}: {self._text(code)}")
        self.retry_at, self._refused_at, self._fresh = now + _RETRY_S, now, True

    def _text(self, code: str) -> str:
        if code == "key_refused" and not self._keys:
            return "the broker does not admit clients without keys"
        return {"keys_required": "the broker requires keys (key_file, server_key_file)",
                "keys_not_used": "the broker uses no keys; connect without them",
                "wrong_server_key": f"the broker's key is not the one in {self._keys and self._keys.server_key_file}",
                "key_refused": f"the broker does not admit the key in {self._keys and self._keys.key_file}: its policy "
                               "has no user with it, or the user may not connect to this endpoint",
                "not_checked": "the broker cannot check keys now"}[code]


def _server_mechanism(endpoint: str) -> bytes:
    """The security mechanism in the greeting of a ZeroMQ server; b"": unknown. Waits up to 0.2 s."""
    deadline = time.monotonic() + _GREETING_WAIT_S
    greeting = b""
    with contextlib.suppress(OSError, ValueError), _connection(endpoint) as peer:
        peer.sendall(_GREETING_BEGIN)
        while len(greeting) < _GREETING_BYTES:
            peer.settimeout(max(0.001, deadline - time.monotonic()))
            more = peer.recv(_GREETING_BYTES - len(greeting))
            if not more:
                break
            greeting += more
    complete = len(greeting) == _GREETING_BYTES and greeting[0] == 0xFF and greeting[9] == 0x7F
    return greeting[12:32].rstrip(b"\0") if complete else b""


def _connection(endpoint: str) -> socket.socket:
    scheme, _, place = endpoint.partition("://")
    if scheme == "ipc":
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(_GREETING_WAIT_S)
        try:
            peer.connect(place)
        except OSError:
            peer.close()
            raise
        return peer
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), _GREETING_WAIT_S)
