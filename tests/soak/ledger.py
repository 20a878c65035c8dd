"""What one client has seen of each topic, and whether all of it adds up."""

import struct
from collections import Counter

OFFENCES_SHOWN = 20
STAMP_BYTES = 47


class Books:
    """The figures of many clients, by kind."""

    def __init__(self):
        self.counts = {}
        self.offences = []

    def count(self, kind, what, number=1):
        self.counts.setdefault(kind, Counter())[what] += number

    def offend(self, kind, text):
        self.count(kind, "offences")
        if len(self.offences) < OFFENCES_SHOWN:
            self.offences.append(f"{kind}: {text}")

    def report(self):
        return {"counts": self.counts, "offences": self.offences}


class Ledger:
    """One client's events by offset. Within a stream, what it receives and what is announced as lost have to be everything
    that was published from the first event on. `may_skip`: events that a newer one superseded may be missing. `may_repeat`:
    events may come again, because the client resumes."""

    def __init__(self, books, kind, may_skip=False, may_repeat=False):
        self._books, self._kind = books, kind
        self._may_skip, self._may_repeat = may_skip, may_repeat
        self._last = {}

    def event(self, stream, topic, offset):
        key, last = (stream, topic), self._last.get((stream, topic))
        self._books.count(self._kind, "events")
        if last is not None and offset <= last:
            self._books.count(self._kind, "again")
            if not self._may_repeat:
                self._books.offend(self._kind, f"{topic} {offset} after {last} of stream {stream}")
            return
        if last is not None and offset > last + 1 and not self._may_skip:
            self._books.offend(self._kind, f"{topic} {offset} after {last} of stream {stream}, nothing announced")
        self._last[key] = offset

    def gap(self, stream, topic, first, last, reason):
        self._books.count(self._kind, f"gaps {reason}")
        if not last:  # how much is not known
            self._last.clear()
            return
        key = stream, topic
        seen = self._last.get(key)
        self._books.count(self._kind, "announced", last - (first or seen or last) + 1)
        if first and seen is not None and first > seen + 1:
            self._books.offend(self._kind, f"{topic}: {first} to {last} announced after {seen} of stream {stream}")
        self._last[key] = max(last, seen or 0)

    def reset(self):
        self._books.count(self._kind, "resets")
        self._last.clear()

    def resume(self):
        """The client continues on another connection."""
        self._may_repeat = True

    def forget(self):
        """Begins again: what comes next is new."""
        self._last.clear()


def stamp_of(event):
    """(stream, position, offset) of an event as a broker sends it."""
    return struct.unpack_from("<QxQxQ", event, len(event) - STAMP_BYTES + 3)
