"""One event of each topic per interval."""

import heapq
from collections.abc import Callable

from backplane.wire import Event


class Throttle:
    """Passes on the first event of each topic at once, then the latest one at most once per interval. Belongs to one
    thread."""

    def __init__(self, interval_s: float, pass_on: Callable[[Event], None]):
        self._interval_s, self._pass_on = interval_s, pass_on
        self._free_at: dict[str, float] = {}     # by topic: when the next event may be passed on
        self._waiting: dict[str, Event] = {}
        self._due: list[tuple[float, str]] = []  # a heap; an entry for each topic in _waiting, perhaps old ones

    def event(self, event: Event, now: float) -> None:
        if now >= self._free_at.get(event.topic, now):
            self._pass(event, now)
        else:
            if event.topic not in self._waiting:
                heapq.heappush(self._due, (self._free_at[event.topic], event.topic))
            self._waiting[event.topic] = event

    def release(self, topic: str, now: float) -> None:
        """Passes on the topic's waiting event, if there is one: what follows must not overtake it."""
        if topic in self._waiting:
            self._pass(self._waiting[topic], now)

    def release_all(self, now: float) -> None:
        for topic in list(self._waiting):
            self.release(topic, now)

    def tick(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            topic = heapq.heappop(self._due)[1]
            if topic in self._waiting and now >= self._free_at[topic]:
                self._pass(self._waiting[topic], now)

    def due(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def lowest_waiting(self, stream: int) -> int | None:
        """The lowest position of the stream's events that wait; None if none does."""
        return min((event.stamp.position for event in self._waiting.values() if event.stamp.stream == stream),
                   default=None)

    def _pass(self, event: Event, now: float) -> None:
        self._waiting.pop(event.topic, None)
        self._free_at[event.topic] = now + self._interval_s
        self._pass_on(event)
