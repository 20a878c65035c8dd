"""`backplane replay`: history to a file, a file back to a broker."""

import json
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from backplane.v1 import session_pb2
from harness import ENDPOINTS, PROGRAM, BackplaneTest


class Replay(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = str(pathlib.Path(folder.name, "day.events"))
        self.broker = self.start_broker()
        self.writer = self.ready_writer()

    def replay(self, *arguments, code=0, **options):
        replay = self.run_program("replay", *arguments, *ENDPOINTS, **options)
        self.assertEqual(replay.wait_exit(), code, replay.transcript())
        return replay

    def publish_one_of_each(self):
        event = self.writer.event(text="text")
        event.time.seconds, event.attributes["unit"] = 1_000_000, "C"
        self.writer.send_frames(b"n.text", event.SerializeToString())
        self.writer.send_frames(b"n.bytes", self.writer.event(binary=b"\xff\x00").SerializeToString())
        event = self.writer.event()
        event.message.type_url, event.message.value = "type.googleapis.com/acme.Reading", b"\x0a\x04roof"
        self.writer.send_frames(b"n.message", event.SerializeToString())
        self.writer.send_frames(b"n.clear", self.writer.event().SerializeToString())
        self.wait_admitted(self.writer)

    def test_playing_a_recorded_file_publishes_the_same_events(self):
        self.publish_one_of_each()
        saved = self.replay(">", "--to", self.file)
        self.assertEqual(saved.out, [f"4 events of 4 topics written to {self.file}"])
        self.broker.end()
        self.start_broker()
        played = self.replay("--from", self.file, "--speed", "max")
        self.assertEqual(played.out, ["4 events published"])
        control_client = self.control_client()
        text, data, message, clear = (self.history(control_client, f"n.{kind}")[0]
                                      for kind in ("text", "bytes", "message", "clear"))
        self.assertEqual((text.text, text.time.seconds, text.attributes["unit"]), ("text", 1_000_000, "C"))
        self.assertEqual(data.binary, b"\xff\x00")
        self.assertEqual((message.message.type_url, message.message.value),
                         ("type.googleapis.com/acme.Reading", b"\x0a\x04roof"))
        self.assertIsNone(clear.WhichOneof("payload"))
        self.assertRegex(text.source, "^replay@")

    def test_a_file_that_sub_wrote_in_proto_can_be_played(self):
        self.publish_one_of_each()
        with open(self.file, "wb") as file:
            subprocess.run([PROGRAM, "sub", "n.text", "--last", "--count", "1",
                            "--format", "proto", *ENDPOINTS], check=True, stdout=file, timeout=60)
        self.replay("--from", self.file, "--under", "again")
        self.assertEqual(self.history(self.control_client(), "again.n.text")[0].text, "text")

    def test_at_real_pace_events_keep_their_intervals(self):
        pub = self.run_program("pub", "n", "x", "--count", "5", "--every", "100ms", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0)
        self.replay("n", "--to", self.file)
        times = [event.stamp.received_ns for event in self.history(self.control_client(), "n")]
        begun = time.monotonic()
        self.replay("--from", self.file, "--under", "real")
        self.assertGreaterEqual(time.monotonic() - begun, (times[-1] - times[0]) / 1e9)
        self.assertEqual(len(self.history(self.control_client(), "real.n")), 5)

    def test_speed_shortens_the_intervals(self):
        # The two events are a year apart.
        data = b""
        for received in (1, 365 * 86_400 * 10**9):
            message = session_pb2.ServerMessage()
            message.delivery.topic, message.delivery.event.text = "n", "x"
            message.delivery.event.stamp.received_ns = received
            data += bytes([message.ByteSize()]) + message.SerializeToString()
        pathlib.Path(self.file).write_bytes(data)
        for speed in ("1000000000", "max"):
            self.replay("--from", self.file, "--speed", speed, "--under", f"speed{speed}")
            self.assertEqual(len(self.history(self.control_client(), f"speed{speed}.n")), 2)

    def test_lines_are_written_to_standard_output(self):
        self.publish_one_of_each()
        lines = self.replay("n.text", "--to", "-", "--format", "json").out
        self.assertEqual([json.loads(line)["text"] for line in lines], ["text"])

    def test_since_selects_a_part(self):
        for text in ("1", "2", "3"):
            self.writer.send("n", text)
        self.wait_admitted(self.writer)
        self.assertEqual(self.replay("n", "--to", "-", "--format", "text", "--since", "2").out, ["n 3"])
        self.assertEqual(self.replay("n", "--to", "-", "--format", "text", "--since", "1h").out, ["n 1", "n 2", "n 3"])

    def test_several_slices_are_written_in_order(self):
        pub = self.run_program("pub", "n", "x" * 100, "--count", "5000", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0)
        lines = self.replay("n", "--to", "-", "--format", "text+offset").out
        self.assertEqual([int(line.split()[1]) for line in lines], list(range(1, 5001)))

    def test_a_damaged_file_is_reported_with_the_place_and_the_events_before_are_published(self):
        self.publish_one_of_each()
        self.replay("n.>", "--to", self.file)
        data = pathlib.Path(self.file).read_bytes()
        pathlib.Path(self.file).write_bytes(data[:-1])
        played = self.replay("--from", self.file, "--under", "again", code=1)
        self.assertRegex(played.err[0], f"^backplane replay: {self.file}: byte [0-9]+: the file ends within a message")
        self.assertEqual(played.out, ["3 events published"])

    def test_a_file_of_another_kind_is_an_error(self):
        pathlib.Path(self.file).write_text("topic,price\nMSFT,39.81\n" + 300 * "x", encoding="utf-8")
        played = self.replay("--from", self.file, code=1)
        self.assertRegex(played.err[0], "is this an event file\\?$")

    def test_a_signal_ends_a_slow_replay(self):
        pub = self.run_program("pub", "n", "x", "--count", "2", "--every", "500ms", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0)
        self.replay("n", "--to", self.file)
        reader = self.live_reader("again")
        replay = self.run_program("replay", "--from", self.file, "--speed", "0.001", "--under", "again", *ENDPOINTS)
        reader.receive()
        replay.signal(signal.SIGINT)
        self.assertEqual(replay.wait_exit(), 0, replay.transcript())
        self.assertEqual(replay.out, ["1 event published"])


if __name__ == "__main__":
    unittest.main()
