"""What a program sees that uses ZeroMQ alone, in Python and C++."""

import os
import struct
import unittest

import zmq
from backplane.v1 import control_pb2, event_pb2
from harness import EGRESS, ENDPOINTS, RAW, STAMP_BYTES, BackplaneTest


def stamp_of(event):
    """The stamp's fields, read from the end of an event as docs/protocol.md describes."""
    stamp = event[-STAMP_BYTES:]
    # Field 15 with 45 bytes, then fixed64 fields 1 to 5.
    assert stamp[:2] == b"\x7a\x2d" and stamp[2::9] == b"\x09\x11\x19\x21\x29", stamp.hex()
    return struct.unpack("<xxxQxQxQxQxq", stamp)


class ZeroMq(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def test_offsets_count_each_topic_and_positions_all(self):
        reader, writer = self.live_reader("a", "b"), self.ready_writer()
        for topic in ["a", "b", "a", "a", "b"]:
            writer.send(topic, "x")
        seen = [reader.receive() for _ in range(5)]
        self.assertEqual([(topic, event.stamp.offset) for topic, event in seen],
                         [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)])
        # Some positions in between may belong to system events.
        positions = [event.stamp.position for _, event in seen]
        self.assertEqual(positions, sorted(set(positions)))
        first_a, first_b, second_a, *_ = positions
        self.assertEqual([event.stamp.previous for _, event in seen], [0, 0, first_a, second_a, first_b])
        self.assertEqual(len({event.stamp.stream for _, event in seen}), 1)

    def test_the_stamp_is_the_last_47_bytes_after_the_publishers_bytes(self):
        reader, writer = self.live_reader("a"), self.ready_writer()
        # Fields out of order and an unknown one: the broker forwards the bytes unchanged.
        sent = b"\x32\x02hi" + b"\x18\x01" + b"\x0a\x08w@golden" + b"\xa2\x06\x03new"
        writer.send_frames(b"a", sent)
        frames = reader.receive_frames()
        self.assertEqual(len(frames), 2)
        topic, event = frames
        self.assertEqual((topic, event[:-STAMP_BYTES]), (b"a", sent))
        stream, position, offset, previous, received_ns = stamp_of(event)
        self.assertEqual((offset, previous), (1, 0))
        parsed = event_pb2.Event.FromString(event)
        self.assertEqual((parsed.stamp.stream, parsed.stamp.position, parsed.stamp.received_ns),
                         (stream, position, received_ns))
        self.assertEqual((parsed.source, parsed.text, parsed.sequence), ("w@golden", "hi", 1))

    def test_every_event_of_a_publisher_arrives_in_order(self):
        reader, writer = self.live_reader("n"), self.ready_writer()
        for number in range(1, 20_001):
            writer.send("n", str(number))
        for number in range(1, 20_001):
            _, event = reader.receive()
            self.assertEqual((event.text, event.stamp.offset), (str(number), number))

    def test_python_reads_the_programs_own_publisher(self):
        reader = self.live_reader("clock")
        clock = self.start_clock("--source-name", "clock@test")
        self.assertEqual(clock.ready(), {"role": "publisher", "source": "clock@test"})
        for offset in (1, 2, 3):
            topic, event = reader.receive()
            self.assertEqual((topic, event.source, event.sequence, event.stamp.offset),
                             ("clock", "clock@test", offset, offset))
            self.assertEqual(event.message.type_url, "type.googleapis.com/backplane.events.v1.ClockTick")

    def test_a_cpp_program_reads_the_same(self):
        program = self.run_process([os.environ["CPP_SUB"], EGRESS, "n", "3"])
        program.wait_line(program.out, "^live$")
        reader, writer = self.live_reader("n"), self.ready_writer()
        for text in ("one", "two", "three"):
            writer.send("n", text)
        self.assertEqual(program.wait_exit(), 0)
        lines = [f"{topic} {event.stamp.offset} {event.stamp.position} {event.text}"
                 for topic, event in (reader.receive() for _ in range(3))]
        self.assertEqual([line.split()[1::2] for line in lines], [["1", "one"], ["2", "two"], ["3", "three"]])
        self.assertEqual(program.out, ["live", *lines])

    def test_the_live_reply_has_the_position_where_reading_begins(self):
        writer, early = self.ready_writer(), self.live_reader("n")
        for number in range(5):
            writer.send("n", str(number))
        last = [early.receive() for _ in range(5)][-1][1]
        late = self.reader("n")
        answer = late.wait_live()
        self.assertEqual(answer.stamp.stream, last.stamp.stream)
        self.assertGreaterEqual(answer.stamp.position, last.stamp.position)
        writer.send("n", "next")
        self.assertLessEqual(late.receive()[1].stamp.previous, answer.stamp.position)

    def test_live_replies_are_no_events_of_the_stream(self):
        writer = self.ready_writer()
        readers = [self.live_reader("n") for _ in range(3)]
        writer.send("n", "first")
        for reader in readers:
            self.assertEqual(reader.receive()[1].stamp.offset, 1)
        stats = self.control_request(stats=control_pb2.StatsRequest())
        self.assertEqual(stats.stats.counters["published_total"], 1)
        self.assertEqual(stats.position, 1 + stats.stats.counters["system_published_total"])

    def test_bytes_without_protobuf_become_events_at_the_raw_ingress(self):
        reader = self.live_reader("raw.")
        device = self.context.socket(zmq.XPUB)
        self.addCleanup(device.close, linger=0)
        device.connect(RAW)
        self.assertTrue(device.poll(30_000))
        device.recv()
        device.send_multipart([b"raw.text", "21.5 °C".encode()])
        device.send_multipart([b"raw.bytes", b"\xff\x00\x01"])
        topic, event = reader.receive()
        self.assertEqual((topic, event.WhichOneof("payload"), event.text), ("raw.text", "text", "21.5 °C"))
        self.assertEqual((event.source, event.session, event.sequence, event.HasField("time")), ("raw", 0, 0, False))
        topic, event = reader.receive()
        self.assertEqual((topic, event.WhichOneof("payload"), event.binary), ("raw.bytes", "binary", b"\xff\x00\x01"))
        self.assertEqual(event.stamp.offset, 1)

    def test_a_plain_pub_socket_can_publish(self):
        reader = self.live_reader("pub")
        plain = self.context.socket(zmq.PUB)
        self.addCleanup(plain.close, linger=0)
        plain.connect(ENDPOINTS[1])
        # A PUB cannot know when it is connected: repeat until received.
        event = event_pb2.Event(text="hello").SerializeToString()
        for _ in range(3000):
            plain.send_multipart([b"pub", event])
            if reader._socket.poll(10):
                break
        self.assertEqual(reader.receive()[1].text, "hello")


if __name__ == "__main__":
    unittest.main()
