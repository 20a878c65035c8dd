"""Adds up what was acknowledged, seen and announced, and finds every broken promise.

For each subscriber and each topic of a stream: every event was seen exactly once and in order, or was announced: by a
GAP with its offset, or by a RESET after it, if the stream has really ended. Nothing is announced as lost that was seen
or that history still has. A RESET precedes the first event of a new incarnation. Every acknowledged event is somewhere.

Subscribers must read before the first event is published, since all events of a topic are theirs, from offset 1; or the
checker knows after which positions they do.
"""

import collections
from dataclasses import dataclass, field

from records import Lost, Recovered, Reset, Resumed, Seen

# Losses that no history can prevent.
_NOT_FROM_HISTORY = {"slow_consumer", "undecodable", "too_large", "hole"}
OFFENCES_SHOWN = 4


@dataclass
class Publications:
    """What a publisher sent: (topic, text) each."""
    name: str
    acknowledged: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    unknown: list = field(default_factory=list)

    @property
    def offered(self):
        return len(self.acknowledged) + len(self.refused) + len(self.unknown)


@dataclass
class Rules:
    """What a kind of subscriber promises beyond what all do."""
    position_order: bool = False   # a stream in order of positions, over all topics, but for what says that it is late
    says_late: bool = True         # it can say so
    resets_by_topic: bool = False  # a reset names a topic, and comes only for topics that were read
    knows_ends: bool = True        # it asks for what no later event shows: a loss at the end of a topic


@dataclass
class Account:
    """One subscriber's records, in their order."""
    name: str
    records: list
    rules: Rules = field(default_factory=Rules)
    died: str = ""  # how, if it was not meant to


class Truth:
    """What the brokers numbered, as far as anybody knows: the union of what all subscribers saw and of what history
    has at the end."""

    def __init__(self):
        self.events = collections.defaultdict(lambda: collections.defaultdict(dict))  # stream, topic, offset: text
        self.positions = {}  # (stream, topic, offset)
        self.history = {}    # stream, topic: the offsets that a broker has at the end
        self.conflicts = []

    def add(self, event):
        self.positions[event.stream, event.topic, event.offset] = event.position
        before = self.events[event.stream][event.topic].setdefault(event.offset, event.text)
        if before != event.text:
            where = place(event.topic, event.stream, event.offset)
            self.conflicts.append(f"{where}: both {before!r} and {event.text!r}")

    def add_history(self, stream, events):
        """All that the broker of this stream has."""
        topics = self.history.setdefault(stream, collections.defaultdict(set))
        for event in events:
            self.add(event)
            topics[event.topic].add(event.offset)

    def last_offset(self, stream, topic):
        return max(self.events[stream][topic], default=0)

    def places(self):
        """By (topic, text), the (stream, offset) at which an event is."""
        places = collections.defaultdict(list)
        for stream, topics in self.events.items():
            for topic, offsets in topics.items():
                for offset, text in offsets.items():
                    places[topic, text].append((stream, offset))
        return places


def place(topic, stream, offset):
    return f"{topic} {stream:016x} {offset}"


def matches(pattern, topic):
    """Whether a topic matches a pattern; a topic is a pattern too."""
    tokens, parts = pattern.split("."), topic.split(".")
    if tokens[-1] == ">":
        tokens, parts = tokens[:-1], parts[:len(tokens) - 1] if len(parts) >= len(tokens) else []
        if not parts and tokens:
            return False
    return len(tokens) == len(parts) and all(token in ("*", part) for token, part in zip(tokens, parts))


@dataclass
class Options:
    """What a scenario may do.

    wanted: which topics count; every subscriber must have subscribed to all of them.
    doubles_allowed: an event may be in two streams, because it was unconfirmed when its broker was lost. In one stream,
        it may never be twice.
    after: by stream, the position after which every subscriber reads.
    resets_account: a reset accounts for the end of its stream.
    late_unsaid: a kind that cannot say that an event is late may deliver it late."""
    wanted: object = lambda topic: True
    doubles_allowed: bool = False
    after: dict = field(default_factory=dict)
    resets_account: bool = True
    late_unsaid: bool = True


@dataclass
class Row:
    """The sums of one subscriber."""
    name: str
    seen: int = 0
    recovered: int | None = None
    late: int = 0
    announced: int = 0
    resets: int = 0
    missing: int = 0
    twice: int = 0
    out_of_order: int = 0
    false_losses: int = 0
    without_reset: int = 0
    died: str = ""
    offences: list = field(default_factory=list)

    @property
    def broken(self):
        return bool(self.missing or self.twice or self.out_of_order or self.false_losses or self.without_reset
                    or self.died)


class _Ledger:
    """Goes through one subscriber's records."""

    def __init__(self, account, truth, options):
        self.account, self.truth, self.options, self.wanted = account, truth, options, options.wanted
        self.row = Row(account.name, died=account.died)
        self.kinds = collections.Counter()
        if account.died:
            self.offend("died", account.died)
        self.seen = collections.defaultdict(set)       # (stream, topic): offsets
        self.last = {}                                 # (stream, topic): the last one seen
        self.highest = collections.defaultdict(int)    # stream: the highest position
        self.announced = collections.defaultdict(set)  # (stream, topic): offsets
        self.open_gaps = []                            # (stream, pattern): of unknown extent
        self.reset_behind = collections.defaultdict(list)  # (stream, topic): offsets behind which a reset came
        self.incarnation, self.predecessor = {}, {}
        self.resets, self.stale = set(), set()         # (topic or None, new stream); streams that ended
        self.may_repeat = set()
        self.resumed = False
        self.positions = {}                            # (stream, topic, offset): position

    def offend(self, kind, text):
        self.kinds[kind] += 1
        if self.kinds[kind] <= OFFENCES_SHOWN:
            self.row.offences.append(f"{self.account.name}: {kind}: {text}")

    def go_through(self):
        takes = {Seen: self.on_seen, Lost: self.on_lost, Reset: self.on_reset, Resumed: self.on_resumed,
                 Recovered: self.on_recovered}
        for record in self.account.records:
            if take := takes.get(type(record)):
                take(record)

    def on_recovered(self, recovered):
        self.row.recovered = recovered.count

    def on_resumed(self, resumed):
        self.resumed = True
        if resumed.stream is not None:
            self.may_repeat |= {key for key, position in self.positions.items()
                                if key[0] == resumed.stream and position > resumed.position}

    def on_seen(self, event):
        if not self.wanted(event.topic):
            return
        self.row.seen += 1
        key = event.stream, event.topic
        where = place(event.topic, event.stream, event.offset)
        self.check_incarnation(event, where)
        if event.offset in self.seen[key]:
            if (*key, event.offset) in self.may_repeat:
                self.may_repeat.discard((*key, event.offset))  # once
                self.row.seen -= 1
            else:
                self.row.twice += 1
                self.offend("twice", where)
            return
        if event.offset in self.announced[key]:
            self.row.false_losses += 1
            self.offend("seen after it was announced as lost", where)
        if event.offset < self.last.get(key, 0) and not event.late:
            self.row.out_of_order += 1
            self.offend("out of order", f"{where} after {self.last[key]}")
        elif event.position < self.highest[event.stream]:
            self.on_late(event, where)
        self.highest[event.stream] = max(self.highest[event.stream], event.position)
        self.last[key] = max(self.last.get(key, 0), event.offset)
        self.seen[key].add(event.offset)
        self.positions[(*key, event.offset)] = event.position

    def on_late(self, event, where):
        """It comes after a higher position of its stream."""
        self.row.late += 1
        rules = self.account.rules
        said = event.late or (self.options.late_unsaid and not rules.says_late)
        if rules.position_order and not self.resumed and not said:
            self.row.out_of_order += 1
            self.offend("out of order", f"{where} at position {event.position} after {self.highest[event.stream]}")

    def check_incarnation(self, event, where):
        stream, topic = event.stream, event.topic
        current = self.incarnation.setdefault(stream >> 32, stream)
        if stream in self.stale:
            self.row.out_of_order += 1
            self.offend("out of order", f"{where} of an incarnation that had ended")
        elif current != stream:
            self.predecessor[stream] = current
            self.stale.add(current)
            self.incarnation[stream >> 32] = stream
        before = self.predecessor.get(stream)
        if before is None or (stream, topic) in self.last:
            return
        needed = not self.account.rules.resets_by_topic or (before, topic) in self.last
        if needed and not self.resets & {(None, stream), (topic, stream)}:
            self.row.without_reset += 1
            self.offend("without a reset before it", where)

    def on_lost(self, lost):
        if lost.last == 0:
            self.open_gaps.append((lost.stream, lost.topic))
            return
        if not self.wanted(lost.topic):
            return
        key = lost.stream, lost.topic
        first = lost.first or self.last.get(key, 0) + 1
        for offset in range(first, lost.last + 1):
            where = f"{place(*reversed(key), offset)} ({lost.reason})"
            if offset in self.announced[key]:
                self.row.twice += 1
                self.offend("announced twice", where)
            elif offset in self.seen[key]:
                self.row.false_losses += 1
                self.offend("announced as lost after it was seen", where)
            elif lost.reason not in _NOT_FROM_HISTORY and offset in self.truth.history.get(lost.stream, {}).get(
                    lost.topic, ()):
                self.row.false_losses += 1
                self.offend("announced as lost, and history has it", where)
            self.announced[key].add(offset)
            self.row.announced += 1
        self.last[key] = max(self.last.get(key, 0), lost.last)

    def on_reset(self, reset):
        self.row.resets += 1
        self.resets.add((reset.topic, reset.new))
        streams = self.streams_before(reset)
        for stream, topic in list(self.last):
            if stream in streams and reset.topic in (None, topic):
                self.reset_behind[stream, topic].append(self.last[stream, topic])
        for stream in streams:
            self.reset_behind[stream, None].append(0)  # of topics that it has not read

    def streams_before(self, reset):
        """The streams whose end it announces: of that broker, or of all if it is the first of another broker."""
        if reset.old is not None:
            return {reset.old}
        others = {stream for stream in self.truth.events if stream != reset.new}
        return {stream for stream in others if stream >> 32 == reset.new >> 32} or others

    def covered(self, key, offset, seen_before):
        """Whether an event that was not seen was announced. `seen_before`: the last offset before it that was seen."""
        stream, topic = key
        if offset in self.announced[key]:
            return True
        if any(stream == each and matches(pattern, topic) for each, pattern in self.open_gaps):
            return True
        if not self.options.resets_account or stream in self.truth.history:  # a stream that goes on
            return False
        if key not in self.last:
            return bool(self.reset_behind.get((stream, None)))
        return any(seen_before <= behind < offset for behind in self.reset_behind.get(key, ()))

    def close(self, acknowledged_nowhere):
        for stream, topics in self.truth.events.items():
            for topic in topics:
                if self.wanted(topic):
                    self.find_missing((stream, topic))
        for topic, text in acknowledged_nowhere:
            # Its broker was killed before anybody had it: a reset says so.
            if not self.end_announced(topic):
                self.row.missing += 1
                self.offend("missing", f"{topic} {text!r}: acknowledged, and nobody saw it")
        return self.row

    def end_announced(self, topic):
        """Whether a reset has accounted for the end of some stream, for this topic."""
        if not self.options.resets_account:
            return False
        read = any(topic == each for _, each in self.last)
        return any(of in (None, topic) or not read for of, _ in self.resets)

    def find_missing(self, key):
        stream, topic = key
        before = 0
        end = self.truth.last_offset(stream, topic) if self.account.rules.knows_ends else self.last.get(key, 0)
        for offset in range(1, end + 1):
            if offset in self.seen[key]:
                before = offset
            elif (self.truth.positions.get((*key, offset), 1) > self.options.after.get(stream, 0)
                  and not self.covered(key, offset, before)):
                self.row.missing += 1
                text = self.truth.events[stream][topic].get(offset, "?")
                self.offend("missing", f"{place(topic, stream, offset)} {text!r}")


@dataclass
class Verdict:
    rows: list
    publishers: list
    doubles: dict      # publisher's name: events that are at two places
    offences: list

    @property
    def missing(self):
        return sum(row.missing for row in self.rows)

    def table(self):
        heads = ["subscriber", "seen", "recovered", "late", "announced", "resets", "missing", "twice", "out of order",
                 "falsely lost", "no reset"]
        lines = [heads]
        for row in self.rows:
            numbers = (row.seen, row.recovered, row.late, row.announced, row.resets, row.missing, row.twice,
                       row.out_of_order, row.false_losses, row.without_reset)
            lines.append([row.name, *("-" if number is None else str(number) for number in numbers)])
        publishers = [["publisher", "offered", "acknowledged", "refused", "unknown", "published twice"]]
        for each in self.publishers:
            numbers = each.offered, len(each.acknowledged), len(each.refused), len(each.unknown)
            publishers.append([each.name, *map(str, numbers), str(self.doubles.get(each.name, 0))])
        return "\n".join([*_columns(lines), "", *_columns(publishers), "", *(self.offences or ["no offence"])])


def _columns(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ["  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                      for at, (cell, width) in enumerate(zip(line, widths))) for line in lines]


def check(accounts, publications, truth, options=Options()):
    """The verdict."""
    wanted = options.wanted
    for account in accounts:
        for record in account.records:
            if type(record) is Seen and wanted(record.topic):
                truth.add(record)
    places = truth.places()
    offences, doubles, nowhere = truth.conflicts[:OFFENCES_SHOWN], {}, []
    for each in publications:
        nowhere += [event for event in each.acknowledged if event not in places and wanted(event[0])]
        twice = {event: places[event] for event in [*each.acknowledged, *each.unknown]
                 if len(places.get(event, ())) > 1}
        doubles[each.name] = len(twice)
        broken = [f"{each.name}: published twice: {text!r} is {', '.join(place(topic, *at) for at in found)}"
                  for (topic, text), found in twice.items()
                  if not options.doubles_allowed or len({stream for stream, _ in found}) < len(found)]
        offences += broken[:OFFENCES_SHOWN]
        offences += [f"{each.name}: refused, and published: {topic} {text!r}"
                     for topic, text in each.refused if (topic, text) in places][:OFFENCES_SHOWN]
    if nowhere and not any(type(record) is Reset for account in accounts for record in account.records):
        offences.append(f"acknowledged, and nowhere: {len(nowhere)} events, the first {nowhere[0]}")
    rows = []
    for account in accounts:
        ledger = _Ledger(account, truth, options)
        ledger.go_through()
        rows.append(ledger.close(nowhere))
        offences += rows[-1].offences
    return Verdict(rows, publications, doubles, offences)
