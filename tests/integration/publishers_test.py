"""Publishers and readers start, stop and die without affecting others."""

import subprocess
import unittest

from harness import ENDPOINTS, BackplaneTest


class Publishers(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def test_two_publishers_on_one_topic_both_arrive(self):
        reader = self.live_reader("n")
        writers = [self.ready_writer(source=f"writer{number}@test") for number in (1, 2)]
        for number in range(1, 501):
            for writer in writers:
                writer.send("n", str(number))
        texts = {writer.source: [] for writer in writers}
        for offset in range(1, 1001):
            _, event = reader.receive()
            self.assertEqual(event.stamp.offset, offset)
            texts[event.source].append(event.text)
        expected = [str(number) for number in range(1, 501)]
        self.assertEqual(texts, {"writer1@test": expected, "writer2@test": expected})

    def test_two_clocks_on_one_topic_both_arrive(self):
        reader = self.live_reader("clock")
        for name in ("clock1@test", "clock2@test"):
            self.start_clock("--source-name", name)
        seen = {}
        offset = 0
        while min(seen.values(), default=0) < 3 or len(seen) < 2:
            _, event = reader.receive()
            offset += 1
            self.assertEqual(event.stamp.offset, offset)
            seen[event.source] = seen.get(event.source, 0) + 1
            self.assertEqual(event.sequence, seen[event.source])

    def test_a_publisher_that_dies_leaves_the_others_alone(self):
        reader = self.live_reader("clock")
        doomed = self.start_clock("--source-name", "doomed@test")
        self.start_clock("--source-name", "survivor@test")
        seen = set()
        while len(seen) < 2:
            seen.add(reader.receive()[1].source)
        doomed.kill()
        offset = reader.receive()[1].stamp.offset
        for _ in range(20):
            _, event = reader.receive()
            offset += 1
            self.assertEqual(event.stamp.offset, offset)
        self.assertEqual(event.source, "survivor@test")

    def test_a_reader_that_dies_leaves_the_others_alone(self):
        reader, writer = self.live_reader("n"), self.ready_writer()
        doomed = self.run_program("sub", "n", *ENDPOINTS)
        writer.send("n", "for both")
        self.assertEqual(reader.receive()[1].text, "for both")
        doomed.kill()
        for number in range(1000):
            writer.send("n", str(number))
        for number in range(1000):
            self.assertEqual(reader.receive()[1].text, str(number))

    def test_a_client_that_dies_leaves_the_others_alone(self):
        self.start_gateway()
        writer = self.ready_writer()
        doomed, other = self.client(), self.client()
        for client in (doomed, other):
            client.subscribe("n", "the.end")
        writer.send("n", "for both")
        self.assertEqual([doomed.event(), other.event()], ["n for both", "n for both"])
        doomed.close()
        for number in range(1000):
            writer.send("n", str(number))
        writer.send("the.end", "x")
        self.assertEqual(other.events_until("the.end x"), [f"n {number}" for number in range(1000)])

    def test_a_late_reader_gets_the_events_from_then_on(self):
        self.start_gateway()
        early, writer = self.live_reader("n"), self.ready_writer()
        for number in range(10):
            writer.send("n", f"before {number}")
        for _ in range(10):
            early.receive()
        late, late_client, late_writer = self.live_reader("n"), self.client(), self.ready_writer(source="late@test")
        late_client.subscribe("n")
        late_writer.send("n", "after")
        self.assertEqual(late.receive()[1].stamp.offset, 11)
        self.assertEqual(late_client.event(), "n after")
        self.assertEqual(early.receive()[1].text, "after")

    def test_lines_of_standard_input_become_events(self):
        reader = self.live_reader("log")
        lines = self.run_program("publish", "lines", "--topic", "log", *ENDPOINTS, stdin=subprocess.PIPE)
        lines.stdin.write("one\ntwo words\nthree — ü\n")
        lines.stdin.close()
        self.assertEqual([reader.receive()[1].text for _ in range(3)], ["one", "two words", "three — ü"])
        self.assertEqual(lines.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
