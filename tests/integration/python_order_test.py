"""clients/python: the order of one stream, with a broker that is simulated: every event once and in order within its
topic, or a gap in its place, and a resume position that never passes what was not delivered."""

import random
import unittest

from backplane.progress import StreamProgress, parse_interval, parse_since, resume_token
from backplane.reply_size import FIRST, MOST, ReplySize
from backplane.stream_reader import Begin, Counters, StreamReader
from backplane.topic import Pattern
from backplane.v1 import control_pb2, event_pb2
from backplane.wire import Event, Gap, Stamp
from golden import golden

STREAM = 0x0123456789ABCDEF
STAMP_HEAD = golden("stamp.hex")[:2]


def stamp_bytes(stamp):
    fields = b"".join(tag + value.to_bytes(8, "little")
                      for tag, value in zip((b"\x09", b"\x11", b"\x19", b"\x21", b"\x29"), stamp))
    return STAMP_HEAD + fields


class FakeBroker:
    """A stream, its history, and a control endpoint that replies when reply() is called."""

    def __init__(self, choice, history_max=None):
        self.choice, self.history_max = choice, history_max
        self.events, self.last = [], {}  # (topic, bytes, Stamp); by topic, the last Stamp
        self.requests = []
        self.silent = 0                  # requests in a row without a reply
        self.gone_through = {}           # by topic, the position of the last event that history no longer has

    def publish(self, topic):
        before = self.last.get(topic, Stamp(STREAM, 0, 0, 0, 0))
        stamp = Stamp(STREAM, len(self.events) + 1, before.offset + 1, before.position, 0)
        body = event_pb2.Event(text=str(stamp.offset)).SerializeToString() + stamp_bytes(stamp)
        self.last[topic] = stamp
        self.events.append((topic, body, stamp))
        return topic, body, stamp

    @property
    def position(self):
        return len(self.events)

    def history(self, topic=None):
        """What is still there: of each topic, the last ones."""
        kept = {}
        for event in self.events:
            kept.setdefault(event[0], []).append(event)
        if self.history_max:
            for each, events in kept.items():
                if len(events) > self.history_max:
                    self.gone_through[each] = events[-self.history_max - 1][2].position
                    kept[each] = events[-self.history_max:]
        return sorted((event for each in kept.values() for event in each), key=lambda event: event[2].position)

    # As a ControlChannel.

    def request(self, on_reply, timeout, even_late=False, **request):
        self.requests.append((on_reply, request))

    def reply(self):
        """Replies to one request, sometimes not (at most twice in a row), and sometimes that it is busy or, as after a
        restart with the same stream, that it does not know the cursor."""
        if not self.requests:
            return False
        on_reply, request = self.requests.pop(0)
        chance = self.choice.random()
        silent = chance < 0.1 and self.silent < 2
        self.silent = self.silent + 1 if silent else 0
        if silent:
            on_reply(None)
        elif chance < 0.15:
            reply = control_pb2.ControlReply(stream=STREAM, position=self.position)
            reply.error.code = "busy"
            on_reply(reply)
        elif chance < 0.2 and "replay" in request and request["replay"].cursor:
            reply = control_pb2.ControlReply(stream=STREAM, position=self.position)
            reply.error.code = "bad_cursor"
            on_reply(reply)
        else:
            reply = control_pb2.ControlReply(stream=STREAM, position=self.position)
            (self.replay if "replay" in request else self.tails)(reply, next(iter(request.values())))
            on_reply(reply)
        return True

    def replay(self, reply, request):
        pattern = Pattern(request.pattern)
        after = int(request.cursor) if request.cursor else request.after_position.position
        events = [event for event in self.history() if pattern.matches(event[0])]
        gone = max((position for topic, position in self.gone_through.items() if pattern.matches(topic)), default=0)
        if not request.cursor and after < gone:
            reply.gone.first_available = gone + 1
            return
        events = [event for event in events if after < event[2].position <= (request.until_position or 2**60)]
        slice_max = self.choice.randint(1, 5)
        for topic, body, stamp in events[:slice_max]:
            reply.replay.events.add(topic=topic, event=body)
            reply.replay.through_position = stamp.position
        if len(events) > slice_max:
            reply.more.cursor = str(events[slice_max - 1][2].position).encode()
        else:
            reply.replay.through_position = request.until_position
            reply.complete.SetInParent()

    def tails(self, reply, request):
        for topic, stamp in self.last.items():
            if stamp.position > request.after_position and any(Pattern(each).matches(topic) for each in request.patterns):
                reply.tails.tails.add(topic=topic, position=stamp.position, offset=stamp.offset)
        reply.complete.SetInParent()


class Simulation:
    """A reader of a FakeBroker, some of whose live events are lost."""

    def __init__(self, seed, patterns, begin, history_max=None, published_before=0):
        self.choice = random.Random(seed)
        self.broker = FakeBroker(self.choice, history_max)
        self.patterns = [Pattern(pattern) for pattern in patterns]
        self.queue = []  # items and ("mark", position)
        self.topics = ["a.x", "a.y", "a.z", "b"]
        for _ in range(published_before):
            self.broker.publish(self.choice.choice(self.topics))
        self.now = 0.0
        self.started_at = self.broker.position
        self.reader = self.read(begin)

    def read(self, begin):
        return StreamReader(STREAM, self.patterns, begin, self.broker.position, control=self.broker,
                            deliver=self.queue.append, mark=lambda _, position: self.queue.append(("mark", position)),
                            counters=Counters(), note_permission=lambda *_: None)

    def matches(self, topic):
        return any(pattern.matches(topic) for pattern in self.patterns)

    def step(self, loss):
        for _ in range(self.choice.randint(0, 3)):
            event = self.broker.publish(self.choice.choice(self.topics))
            if self.matches(event[0]) and self.choice.random() >= loss:
                self.reader.on_event(*event)
                if self.choice.random() < 0.05:
                    self.reader.on_event(*event)  # again
        if self.choice.random() < 0.1:
            self.reader.on_live(self.broker.position, self.choice.random() < 0.5)
        self.turn()

    def turn(self):
        self.now += self.choice.random()
        self.reader._retry_at = 0.0  # the simulation's time is its own
        self.reader._tails_at = min(self.reader._tails_at, self.now)
        for topic in self.reader._suspects:
            self.reader._suspects[topic] = 0.0
        self.reader._mark_at = 0.0
        self.reader.work(self.now, drained=True)
        if self.choice.random() < 0.7:
            self.broker.reply()

    def settle(self):
        for _ in range(3000):
            self.turn()
            if not self.broker.requests and not self.reader._holes and not self.reader._suspects \
                    and self.reader.progress.verified == self.broker.position:
                return
        raise AssertionError("it does not settle")


class Order(unittest.TestCase):
    def check(self, simulation, after):
        """Everything behind `after` came once, in order, or is in a gap; and before each mark, all up to it did."""
        delivered, last, mark = set(), {}, after
        wanted = {(topic, stamp.offset): stamp.position for topic, _, stamp in simulation.broker.events
                  if simulation.matches(topic) and stamp.position > after}
        first = {}
        for (topic, offset) in wanted:
            first[topic] = min(first.get(topic, offset), offset)
        for item in simulation.queue:
            if isinstance(item, Event):
                places = [(item.topic, item.stamp.offset)]
            elif isinstance(item, Gap):
                places = [(item.topic, offset) for offset in range(item.first or first[item.topic], item.last + 1)]
            else:
                self.assertGreaterEqual(item[1], mark)
                mark = item[1]
                missing = [place for place, position in wanted.items() if position <= mark and place not in delivered]
                self.assertEqual(missing, [], f"at the mark {mark}")
                continue
            for place in places:
                self.assertNotIn(place, delivered)
                self.assertGreater(place[1], last.get(place[0], 0))
                last[place[0]] = place[1]
                delivered.add(place)
        self.assertEqual(set(wanted) - delivered, set())
        self.assertEqual(delivered - set(wanted), set())
        return [item for item in simulation.queue if isinstance(item, Gap)]

    def run_one(self, seed, begin=Begin(), history_max=None, published_before=0, loss=0.3, after=None):
        patterns = random.Random(seed).choice((["a.*"], ["a.x", "b"], [">"], ["a.x", "a.>", "a.*"]))
        simulation = Simulation(seed, patterns, begin, history_max, published_before)
        for _ in range(60):
            simulation.step(loss)
        simulation.settle()
        return self.check(simulation, simulation.started_at if after is None else after)

    def test_lost_events_are_recovered_in_order_and_marks_never_pass_them(self):
        for seed in range(300):
            with self.subTest(seed=seed):
                self.assertEqual(self.run_one(seed, published_before=seed % 7), [])

    def test_what_history_no_longer_has_is_a_gap(self):
        gaps = sum(len(self.run_one(seed, history_max=3, loss=0.6)) for seed in range(300))
        self.assertGreater(gaps, 100)

    def test_a_reader_that_begins_at_a_position_gets_everything_behind_it(self):
        for seed in range(300):
            with self.subTest(seed=seed):
                position = random.Random(seed).randint(0, 80)
                self.assertEqual(self.run_one(seed, Begin(position=position), published_before=80, after=position), [])

    def test_a_reader_that_begins_at_a_position_that_history_does_not_reach_gets_gaps(self):
        for seed in range(200):
            with self.subTest(seed=seed):
                self.run_one(seed, Begin(position=5), history_max=6, published_before=80, after=5)

    def test_readers_that_end_anywhere_and_resume_miss_nothing(self):
        for seed in range(12):
            simulation = Simulation(seed, ["a.x", "a.*"], Begin())
            for _ in range(40):
                simulation.step(0.3)
            simulation.settle()
            broker, queue = simulation.broker, list(simulation.queue)
            wanted = {(topic, stamp.offset) for topic, _, stamp in broker.events if simulation.matches(topic)}
            for cut in range(len(queue) + 1):
                seen = {(item.topic, item.stamp.offset) for item in queue[:cut] if isinstance(item, Event)}
                position = max((item[1] for item in queue[:cut] if isinstance(item, tuple)), default=0)
                simulation.queue.clear()
                simulation.reader = simulation.read(Begin(position=position))
                simulation.settle()
                seen |= {(item.topic, item.stamp.offset) for item in simulation.queue if isinstance(item, Event)}
                self.assertEqual(wanted - seen, set(), (seed, cut))

    def test_the_end_of_a_stream_delivers_what_waits_and_announces_what_is_missing(self):
        for seed in range(200):
            simulation = Simulation(seed, ["a.*"], Begin(position=0), published_before=seed % 20)
            for _ in range(20):
                simulation.step(0.4)
            simulation.reader.end()
            self.assertEqual(simulation.reader._holes, {})
            self.assertEqual(simulation.reader.progress.missing(), {})
            last = {}
            for item in simulation.queue:
                if isinstance(item, Event):
                    self.assertEqual(item.stamp.offset, last.get(item.topic, 0) + 1, seed)
                    last[item.topic] = item.stamp.offset
                elif isinstance(item, Gap):
                    self.assertEqual(item.first, last.get(item.topic, 0) + 1, seed)
                    last[item.topic] = item.last


class Progress(unittest.TestCase):
    def test_the_resume_position_stays_before_what_is_missing(self):
        progress = StreamProgress(STREAM, 10)
        self.assertEqual(progress.resume_position(), 10)
        progress.miss("b", 1, 19)  # nothing of it was delivered
        progress.done("a", 1, 12)
        progress.miss("a", 3, 18)
        progress.verified = 20
        self.assertEqual(progress.resume_position(), 10)
        progress.done("b", 1, 19)
        self.assertEqual(progress.resume_position(), 12)
        progress.done("a", 2, 15)
        self.assertEqual(progress.resume_position(), 15)
        progress.done("a", 3, 18)
        self.assertEqual(progress.resume_position(), 20)
        progress.miss("a", 4, 25)
        self.assertEqual(progress.resume_position(), 20)

    def test_since_and_tokens(self):
        positions = {STREAM: 9, 1: 2**64 - 1}
        token = resume_token(positions)
        self.assertEqual(token, "0123456789abcdef:9,0000000000000001:18446744073709551615")
        self.assertEqual(parse_since(token).positions, positions)
        self.assertEqual(parse_since("10m").ago_ns, 600 * 10**9)
        self.assertEqual((parse_since("42").offset, parse_since(0).offset), (42, 0))
        self.assertEqual([parse_interval(every) for every in ("5s", 0.25, None)], [5.0, 0.25, None])
        for since in ("", "x", "1.5h", -1, True, 1.5, "0123456789abcdef:1,", "0123456789ABCDEF:1", f"{2**64}",
                      ",".join(f"{number:016x}:1" for number in range(65)), "1:1", "0123456789abcdef:-1"):
            with self.assertRaises(ValueError, msg=repr(since)):
                parse_since(since)


class Sizes(unittest.TestCase):
    """As tests/follower/reply_size_test.cpp."""

    def setUp(self):
        self.size, self.now = ReplySize(), 1000.0

    def request(self, bytes_per_s, latency, available=MOST):
        """Returns how long the reply took."""
        requested = self.size.next(self.now)
        size = min(requested, available)
        took = latency + size / bytes_per_s
        self.now += took
        self.size.on_reply(requested, size, took, True, self.now)
        return took

    def test_replies_grow_on_a_fast_path_whatever_its_latency(self):
        for latency in (0.001, 0.6):
            self.setUp()
            self.assertEqual(self.size.next(self.now), FIRST)
            for _ in range(6):
                self.request(1e8, latency)
            self.assertEqual(self.size.next(self.now), MOST)

    def test_replies_stay_short_on_a_slow_path(self):
        for rate in (4e3, 10e3, 50e3):
            self.setUp()
            self.request(rate, 0.001, available=100)
            for count in range(50):
                took = self.request(rate, 0.001)
                self.assertTrue(count == 0 or took < 1.5, (rate, count, took))

    def test_replies_shrink_at_once_when_the_path_becomes_slow(self):
        for _ in range(10):
            self.request(1e8, 0.001)
        self.request(20e3, 0.001, available=60_000)
        self.assertLessEqual(self.size.next(self.now), 8 << 10)

    def test_replies_begin_small_after_a_pause(self):
        for _ in range(10):
            self.request(1e8, 0.001)
        self.assertEqual(self.size.next(self.now + 6), FIRST)


if __name__ == "__main__":
    unittest.main()
