"""The addresses that the host of a ZeroMQ endpoint has."""

import ipaddress
import re
import socket
import threading

_LOOKUP_WAIT_S = 0.2


class Addresses:
    """The endpoints with numeric addresses that stand for an endpoint with a host name, tried one after another: libzmq
    knows only one of a name's addresses. `localhost` means 127.0.0.1 and ::1. Belongs to one thread; a name is looked up
    on a thread of its own."""

    def __init__(self, endpoint: str):
        """Waits up to 0.2 s while a name is looked up."""
        self._name = endpoint
        self._all = [endpoint]
        self._at = 0
        self._host: str | None = None  # a name
        self._port = ""
        self._found: list[str] | None = None
        self._lookup: threading.Thread | None = None
        if not (parts := re.fullmatch(r"tcp://(.+):(\d+)", endpoint)):
            return
        host, self._port = parts.groups()
        if host.lower() == "localhost":
            self._all = [f"tcp://{address}:{self._port}" for address in ("127.0.0.1", "[::1]")]
        elif not _is_address(host):
            self._host = host
            self._start().join(_LOOKUP_WAIT_S)
            self._take()

    @property
    def current(self) -> str:
        """The endpoint to connect to: the one with the name itself while its addresses are unknown."""
        return self._all[self._at]

    def next(self) -> bool:
        """Moves on to the next address, after the last one to the first. Returns whether it is another one."""
        before = self.current
        self._take()
        if self.current == before:
            self._at = (self._at + 1) % len(self._all)
            if self._at == 0 and self._host and not self._lookup:
                self._start()  # it may have other addresses now
        return self.current != before

    def _start(self) -> threading.Thread:
        self._found = None
        self._lookup = threading.Thread(target=self._look_up, daemon=True)
        self._lookup.start()
        return self._lookup

    def _look_up(self) -> None:
        try:
            infos = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except OSError:
            infos = []
        hosts = [f"[{info[4][0]}]" if info[0] == socket.AF_INET6 else info[4][0]
                 for info in sorted(infos, key=lambda info: info[0] == socket.AF_INET6)]
        self._found = list(dict.fromkeys(hosts))

    def _take(self) -> None:
        if not self._lookup or self._lookup.is_alive() or self._found is None:
            return
        self._lookup = None
        if self._found:
            before = self.current
            self._all = [f"tcp://{host}:{self._port}" for host in self._found]
            self._at = self._all.index(before) if before in self._all else 0


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        return False
    return True
