"""How large a reply to request from a broker."""

from collections import deque

LEAST, FIRST, MOST = 1 << 10, 4 << 10, 256 << 10  # bytes
TARGET_S = 0.25   # what a reply may take beyond the path's latency
_VALID_S = 5.0    # after this time without a reply of about the requested size, the path is unknown again


class ReplySize:
    """Chooses the size of the replies on one connection by how fast the last ones came: over a slow path, a complete
    reply is the only progress that shows. The first ones are small; after each one that came quickly, the next may be
    twice as large."""

    def __init__(self) -> None:
        self._size, self._measured = FIRST, float("-inf")
        self._waits: deque[float] = deque(maxlen=8)  # of requests that were alone: the shortest is the latency

    def next(self, now: float) -> int:
        """The size to request now, in bytes."""
        if now - self._measured > _VALID_S:
            self._size = min(self._size, FIRST)
        return self._size

    def on_reply(self, requested: int, size: int, waited: float, alone: bool, now: float) -> None:
        """`waited`: seconds since the request was sent, or the reply before arrived. `alone`: no other request was
        pending when it was sent."""
        took = waited
        if alone:
            self._waits.append(waited)
            took -= min(self._waits)
        if size < LEAST:
            return  # it says nothing about the rate
        fits = int(min(max(size * TARGET_S / max(took, 0.001), LEAST), MOST))
        full = 2 * size >= requested
        if full or fits < self._size:  # else, a larger one has not been tried
            self._size, self._measured = min(fits, max(2 * requested, LEAST)) if full else fits, now
