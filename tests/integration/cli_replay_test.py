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

    def check_unchanged(self, text):
        self.assertEqual(pathlib.Path(self.file).read_text(encoding="utf-8"), text)
        self.assertEqual([path.name for path in pathlib.Path(self.file).parent.iterdir()], ["day.events"])

    def test_without_a_broker_the_file_is_unchanged(self):
        self.broker.end()
        pathlib.Path(self.file).write_text("yesterday", encoding="utf-8")
        self.replay(">", "--to", self.file, code=1)
        self.check_unchanged("yesterday")

    def test_with_wrong_usage_the_file_is_unchanged(self):
        pathlib.Path(self.file).write_text("yesterday", encoding="utf-8")
        for wrong in (["--since", "x"], ["--format", "x"], ["--broker", "a b"], ["--strict=1"]):
            self.replay(">", "--to", self.file, *wrong, code=2)
            self.check_unchanged("yesterday")

    def publish_megabytes(self, count):
        pub = self.run_program("pub", "n", "x" * 100_000, "--count", str(10 * count), *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())

    def test_on_a_full_disk_the_file_is_unchanged(self):
        self.publish_megabytes(2)
        pathlib.Path(self.file).write_text("yesterday", encoding="utf-8")
        saved = self.run_process(["prlimit", "--fsize=1000000", "--", PROGRAM, "replay", "n", "--to", self.file, *ENDPOINTS])
        self.assertEqual(saved.wait_exit(), 1, saved.transcript())
        self.assertEqual(saved.err, [f"backplane replay: {self.file}: File too large"])
        self.check_unchanged("yesterday")

    def test_if_the_broker_is_lost_or_a_signal_comes_the_file_is_unchanged(self):
        self.publish_megabytes(30)
        for name in ("SIGINT", "SIGTERM", "kill the broker"):
            with self.subTest(name):
                pathlib.Path(self.file).write_text("yesterday", encoding="utf-8")
                saved = self.run_program("replay", "n", "--to", self.file, *ENDPOINTS)
                # The file beside grows.
                deadline = time.monotonic() + 60
                while not any(path.name.startswith(".day.events.") and path.stat().st_size > 0
                              for path in pathlib.Path(self.file).parent.iterdir()):
                    self.assertLess(time.monotonic(), deadline)
                    if not saved.running():
                        self.skipTest("the replay was complete before it could be interrupted")
                if name == "kill the broker":
                    self.broker.kill()
                else:
                    saved.signal(getattr(signal, name))
                self.assertEqual(saved.wait_exit(), 1, saved.transcript())
                self.check_unchanged("yesterday")

    def test_a_complete_file_keeps_permissions_and_links(self):
        self.publish_one_of_each()
        folder = pathlib.Path(self.file).parent
        target = folder / "target.events"
        target.write_text("yesterday", encoding="utf-8")
        target.chmod(0o600)
        pathlib.Path(self.file).symlink_to("target.events")
        self.replay("n.>", "--to", self.file)
        self.assertTrue(pathlib.Path(self.file).is_symlink())
        self.assertGreater(target.stat().st_size, 20)
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)
        new = folder / "new.events"
        dangling = folder / "dangling.events"
        dangling.symlink_to(new)
        self.replay("n.>", "--to", str(dangling))
        self.assertEqual(new.read_bytes(), target.read_bytes())
        self.assertEqual(sorted(path.name for path in folder.iterdir()),
                         ["dangling.events", "day.events", "new.events", "target.events"])

    def test_devices_and_pipes_are_written_directly(self):
        self.publish_one_of_each()
        self.replay("n.>", "--to", "/dev/null")
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())
        full = self.replay("n.>", "--to", "/dev/full", code=1)
        self.assertEqual(full.err, ["backplane replay: /dev/full: No space left on device"])
        self.assertEqual(self.replay("n.text", "--to", "/dev/stdout", "--format", "text").out[0], "n.text text")

    def test_a_place_that_cannot_be_written_is_wrong_usage(self):
        folder = str(pathlib.Path(self.file).parent)
        for place in (folder, folder + "/", folder + "/none/day.events"):
            self.assertIn(place, self.replay("n.>", "--to", place, code=2).err[0])

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
