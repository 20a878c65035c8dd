"""What a broker refuses from a publisher: each refusal is counted by its reason, and other events pass."""

import os
import random
import unittest

import zmq
from backplane.v1 import event_pb2
from harness import CONTROL, BackplaneTest

GOOD = event_pb2.Event(text="good").SerializeToString()
# Reason, topic, and the frames after the topic.
REFUSED = [
    ("wrong_frames", [b"n"]),
    ("wrong_frames", [b"n", GOOD, b"third"]),
    ("wrong_frames", [b"n", b"", GOOD]),
    ("bad_topic", [b"", GOOD]),
    ("bad_topic", [b"a..b", GOOD]),
    ("bad_topic", [b"a b", GOOD]),
    ("bad_topic", [b"a.*", GOOD]),
    ("bad_topic", [b"\xff\xfe", GOOD]),
    ("bad_topic", [b"x" * 256, GOOD]),
    ("reserved_topic", [b"$SYS.live.forged", GOOD]),
    ("truncated", [b"n", GOOD[:-1]]),
    ("truncated", [b"n", b"\x32\xff\xff\xff\xff\x0fx"]),
    ("bad_varint", [b"n", b"\x18" + b"\xff" * 10 + b"\x01"]),
    ("field_zero", [b"n", b"\x02\x00"]),
    ("group", [b"n", b"\xa3\x06\xa4\x06"]),
    ("wrong_wire_type", [b"n", b"\x08\x01"]),
    ("source_not_utf8", [b"n", b"\x0a\x01\xff"]),
    ("text_not_utf8", [b"n", b"\x32\x01\xff"]),
    ("bad_time", [b"n", b"\x22\x02\x08\xff"]),
    ("bad_message", [b"n", b"\x2a\x02\x0a\x05"]),
    ("bad_attributes", [b"n", b"\x42\x02\x0a\x05"]),
    ("bad_lost", [b"n", b"\x71\x01\0\0\0\0\0\0\0\x18\x01"]),
    ("stamped", [b"n", GOOD + b"\x7a\x00"]),
    ("too_large", [b"n", event_pb2.Event(binary=bytes(1 << 20)).SerializeToString()]),
]


class MalformedEvents(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.readers = self.live_reader("")
        self.writer = self.ready_writer()

    def rejected(self):
        return {name: value for name, value in self.counters().items()
                if name.startswith("rejected") and value}

    def test_each_is_refused_with_its_own_reason_and_valid_events_pass(self):
        expected = {}
        for number, (reason, frames) in enumerate(REFUSED, start=1):
            with self.subTest(reason, frames=[frame[:20] for frame in frames]):
                self.writer.send_frames(*frames)
                self.writer.send_frames(b"ok", GOOD)
                topic, event = self.next_event()
                self.assertEqual((topic, event.stamp.offset), ("ok", number))
                expected[reason] = expected.get(reason, 0) + 1
                self.assertEqual(sum(self.rejected().values()), number)
                self.assertEqual({name: value for name, value in self.rejected().items() if reason in name}.popitem()[1],
                                 expected[reason])
        counters = self.counters()
        self.assertEqual(counters["received_total"], 2 * len(REFUSED))
        self.assertEqual(counters["published_total"], len(REFUSED))

    def test_a_duplicate_is_refused(self):
        event = self.writer.event(text="once").SerializeToString()
        self.writer.send_frames(b"n", event)
        self.writer.send_frames(b"n", event)
        self.writer.send("n", "twice")
        self.assertEqual([self.next_event()[1].text for _ in range(2)], ["once", "twice"])
        self.assertEqual(list(self.rejected().values()), [1])
        self.assertIn("repeat", next(iter(self.rejected())))

    def test_random_bytes_are_refused_or_admitted_but_never_harm(self):
        chance = random.Random(1601)
        for _ in range(2000):
            frames = [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(1, 4))]
            self.writer.send_frames(*frames)
        self.writer.send_frames(b"the.end", GOOD)
        while self.next_event()[0] != "the.end":
            pass
        counters = self.counters()
        self.assertEqual(counters["received_total"], 2001)
        self.assertEqual(counters["published_total"] + sum(self.rejected().values()), 2001)
        self.assertTrue(self.broker.running())

    def test_the_log_says_what_was_wrong_but_not_once_per_event(self):
        for _ in range(1000):
            self.writer.send_frames(b"bad topic", GOOD)
        self.writer.send_frames(b"the.end", GOOD)
        self.next_event()
        line = self.broker.wait_line(self.broker.err, "bad topic")
        self.assertTrue(line)
        self.assertLess(len(self.broker.err), 100)

    def test_an_invalid_control_request_gets_a_reply_or_is_ignored(self):
        for request in (b"", b"\xff\xff", os.urandom(1000)):
            with self.context.socket(zmq.DEALER) as control_client:
                control_client.setsockopt(zmq.LINGER, 0)
                control_client.connect(CONTROL)
                control_client.send_multipart([b"", request])
                # There may be no reply; in any case the broker replies to the next request.
                control_client.poll(50)
        reply = self.control_request()
        self.assertEqual(reply.WhichOneof("end"), "error")
        self.assertGreaterEqual(self.counters()["received_total"], 0)

    def next_event(self):
        """Returns the next event outside $SYS."""
        while (received := self.readers.receive())[0].startswith("$SYS."):
            pass
        return received


if __name__ == "__main__":
    unittest.main()
