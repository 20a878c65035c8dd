"""History on disk: what a broker with `--data` has confirmed or published survives kill -9, in the same stream."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

from backplane.v1 import control_pb2, event_pb2
from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, INGRESS, METRICS, RAW, TIMEOUT_S, BackplaneTest, Deadline, position_and_offset
from publisher_library_test import Driver

SANITIZED = bool(os.environ["SANITIZED"])
BURST = 50_000 if SANITIZED else 400_000
KILLS = 3 if SANITIZED else 6


class Store(BackplaneTest):
    sync = None  # store_sync, if not the default

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = folder.name

    def start(self, *options):
        sync = "" if self.sync is None else f'[[backplane]]\nstore_sync = "{self.sync}"\n'
        return self.start_broker("--data", self.data, "--config", self.config_file(sync), *options)

    def history(self, topic, **start):
        """(position, offset, text) of the events in history. Those that damage has destroyed are in `destroyed`."""
        events, request = [], {"pattern": topic, **(start or {"since_ns": 1})}
        self.destroyed = []
        while True:
            reply = self.control_request(replay=request)
            events += [(*position_and_offset(stored.event), stored.event) for stored in reply.replay.events]
            self.destroyed += [(each.topic, each.first_offset, each.last_offset) for each in reply.replay.destroyed]
            if reply.WhichOneof("end") == "complete":
                return events
            if reply.WhichOneof("end") == "gone":  # goes on behind what is missing
                after = {"stream": reply.stream, "position": reply.gone.first_available - 1}
                request = {"pattern": topic, "after_position": after}
            else:
                self.assertEqual(reply.WhichOneof("end"), "more", reply)
                request["cursor"] = reply.more.cursor

    def tail(self, topic):
        reply = self.control_request(tails=control_pb2.TailsRequest(patterns=[topic]))
        return next(((tail.position, tail.offset) for tail in reply.tails.tails), None)

    # ── one broker after another ──────────────────────────────────────────────────────────────────────────

    def test_a_killed_broker_comes_back_with_everything_it_has_confirmed(self):
        broker = self.start()
        stream = self.control_request(hello={"name": "x", "role": 3}).stream
        pub = self.run_program("pub", "news.uk", "rain", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        driver = Driver(self, INGRESS, CONTROL)
        self.assertEqual(driver.command("order orders 42"), "offered 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        before = self.history(">")
        tail = self.tail("orders")
        broker.kill()
        again = self.start()
        again.wait_line(again.err, "default: continues its stream after position [1-9]")
        self.assertEqual(self.control_request(hello={"name": "x", "role": 3}).stream, stream)
        self.assertEqual(self.history(">")[:len(before)], before)
        get = self.run_program("get", "news.uk", *ENDPOINTS)
        self.assertEqual((get.wait_exit(), get.out), (0, ["rain"]), get.transcript())
        # The type that only a publisher knew, and numbering that continues.
        get = self.run_program("get", "orders", *ENDPOINTS)
        self.assertEqual(get.wait_exit(), 0, get.transcript())
        self.assertEqual(json.loads(get.out[0])["price"]["cents"], "42", get.transcript())
        self.assertEqual(driver.command("order orders 43"), "offered 2")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.tail("orders")[1], tail[1] + 1)

    def test_top_audit_and_metrics_show_what_the_store_holds(self):
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t")
        for number in range(200):
            writer.send("t", str(number))
            reader.receive()
        top = self.run_program("top", "--once", "--every", "100ms", *ENDPOINTS)
        self.assertEqual(top.wait_exit(), 0, top.transcript())
        at = next(index for index, line in enumerate(top.out) if line.startswith("STORE "))
        self.assertIn("LIMIT", top.out[at])
        self.assertRegex(top.out[at + 1], rf"^default \S+ +{self.sync or '1s'} +\S+ (KiB|MiB) +16\.0 GiB +1 +2\d\d ", top.transcript())
        self.assertRegex(top.out[at + 1], r" 0 +ok$")
        for start in (0, 1):
            audit = self.run_program("audit", *ENDPOINTS)
            self.assertEqual(audit.wait_exit(), 0, audit.transcript())
            self.assertRegex("\n".join(audit.out), r"position \d+ = written to the store \d+ \+ refused by history 0"
                             + (r" \+ before the restart 2\d\d\n" if start else r"\n"))
            counters = self.control_request(stats={}).stats.counters
            self.assertEqual(counters[f"store_info.file.{self.sync or '1s'}"], 1)
            self.assertEqual(counters["store_written_events_total"] + counters["start_position"], counters["position"])
            self.assertGreater(counters["store_bytes"], 200 * 100)
            if start == 0:
                self.assertGreater(counters["store_writes_total"], 0)
                broker.kill()
                self.start()

    def test_the_gateways_status_shows_what_the_store_holds(self):
        self.start()
        self.start_gateway()
        writer = self.ready_writer()
        writer.send("t", "x" * 5000)
        status, deadline = {}, Deadline()
        while status.get("store", {}).get("bytes", 0) < 5000 and deadline.left():
            with urllib.request.urlopen(f"http://{GATEWAY}/v1/status", timeout=TIMEOUT_S) as reply:
                status = json.load(reply)
        self.assertEqual((status["broker"], status["store"]["sync"], status["store"]["segments"]), (True, self.sync or "1s", 1), status)
        self.assertLess(abs(status["store"]["oldest_seconds"] - time.time()), 100)

    def test_what_a_publisher_resends_is_refused_as_a_duplicate(self):
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t")
        events = [writer.event(text=str(number)).SerializeToString() for number in range(3)]
        for event in events:
            writer.send_frames(b"t", event)
            reader.receive()
        broker.kill()
        self.start()
        again = self.ready_writer()
        reader.wait_live()
        for event in (*events, writer.event(text="new").SerializeToString()):
            again.send_frames(b"t", event)
        topic, event = reader.receive()
        self.assertEqual((topic, event.text, event.stamp.offset), ("t", "new", 4))
        counters = self.control_request(stats={}).stats.counters
        self.assertEqual(counters["rejected_total.repeat"], 3)

    def test_a_token_from_before_continues_after_the_restart(self):
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t")
        for number in range(10):
            writer.send("t", str(number))
            event = reader.receive()[1]
        broker.kill()
        self.start()
        position = event.stamp.position - 6
        after = self.history("t", after_position={"stream": event.stamp.stream, "position": position})
        self.assertEqual([event_pb2.Event.FromString(event).text for _, _, event in after], [str(n) for n in range(4, 10)])

    def test_a_clean_restart_loses_nothing_and_a_drain_writes_everything(self):
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t", "$SYS.drain")
        for number in range(1_000):
            writer.send("t", "x" * 500)
        seen = [reader.receive_frames()]
        broker.signal(signal.SIGTERM)
        while seen[-1][0] != b"$SYS.drain":
            seen.append(reader.receive_frames())
        seen = [(*position_and_offset(event), event) for _, event in seen[:-1]]
        self.assertEqual(len(seen), 1_000)
        self.assertEqual(broker.wait_exit(), 0, broker.transcript())
        self.start()
        self.assertEqual(self.history("t"), seen)

    # ── under load ────────────────────────────────────────────────────────────────────────────────────────

    def test_kills_under_load_lose_nothing_repeat_nothing_and_reset_nothing(self):
        broker = self.start()
        driver = Driver(self, INGRESS, CONTROL)
        self.assertEqual(driver.command("ready"), "ready true")
        sub = self.run_program("sub", "load", "--format", "json", *ENDPOINTS)
        control = self.control_client()
        control.close()
        self.wait_subscribed(sub)
        driver.send(f"burst load {BURST}")
        for kill in range(1, KILLS + 1):
            self.wait_output(sub, lambda lines: len(lines) >= BURST * kill // (KILLS + 2), 4 * TIMEOUT_S)
            broker.kill()
            broker = self.start()
        self.assertEqual(driver.reply(timeout=6 * TIMEOUT_S), f"offered {BURST}")
        self.assertEqual(driver.command("flush"), "flushed true")
        # Some of the lines are of wait_subscribed().
        self.wait_output(sub, lambda lines: lines and json.loads(lines[-1])["text"] == str(BURST), 6 * TIMEOUT_S)
        offsets = [json.loads(line)["offset"] for line in sub.out[-BURST:]]
        self.assertEqual(offsets, list(range(offsets[0], offsets[0] + BURST)))
        self.assertFalse([line for line in sub.err if "gap" in line.lower() or "reset" in line.lower()], sub.err)
        texts = [json.loads(line)["text"] for line in sub.out[-BURST:]]
        self.assertEqual(texts, [str(number) for number in range(1, BURST + 1)])
        stored = self.history("load")
        self.assertEqual([offset for _, offset, _ in stored[-BURST:]], offsets)

    def wait_output(self, process, condition, timeout):
        deadline = Deadline(timeout)
        while not condition(process.out):
            if not deadline.left():
                raise AssertionError(f"only {len(process.out)} lines within {timeout} s: {process.err[-5:]}")
            with process._changed:
                process._changed.wait(0.2)

    def wait_subscribed(self, sub):
        """Publishes on the topic until `sub` has printed something. More may follow."""
        self.publish_until_received("load", sub)

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_second_broker_is_refused_and_names_the_first(self):
        broker = self.start()
        second = self.run_program("broker", "--data", self.data, "--ingress", "tcp://127.0.0.1:0", "--egress",
                                  "tcp://127.0.0.1:0", "--control", "tcp://127.0.0.1:0", "--raw", "off", "--metrics", "off")
        self.assertEqual(second.wait_exit(), 1, second.transcript())
        self.assertIn(str(broker.pid), "\n".join(second.err))
        self.assertIn(self.data, "\n".join(second.err))
        self.assertTrue(broker.running())

    def test_a_store_that_is_a_file_or_of_another_backplane_is_refused(self):
        path = pathlib.Path(self.data, "default")
        path.write_text("not a store")
        broker = self.run_program("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, "--data", self.data)
        self.assertEqual(broker.wait_exit(), 2, broker.transcript())
        self.assertIn("expected a folder", "\n".join(broker.err))
        path.unlink()
        self.start("--name", "one").end()
        os.rename(pathlib.Path(self.data, "one"), pathlib.Path(self.data, "two"))
        broker = self.run_program("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, "--data", self.data, "--name",
                                  "two")
        self.assertEqual(broker.wait_exit(), 2, broker.transcript())
        self.assertIn("one", "\n".join(broker.err))

    def damage(self, *texts):
        """A store with 200 events of "t" and 20 of "u", of which those with these texts are destroyed."""
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t", "u")
        for number in range(200):
            writer.send("t", f"number {number}")
            reader.receive()
            if number % 10 == 0:
                writer.send("u", f"other {number}")
                reader.receive()
        broker.kill()
        log = sorted(pathlib.Path(self.data, "default").glob("*.log"))[0]
        content = bytearray(log.read_bytes())
        for text in texts:
            content[content.index(text)] ^= 0x40
        log.write_bytes(content)
        return reader, self.start()

    def test_a_damaged_segment_costs_only_the_events_in_it_and_they_are_announced(self):
        reader, broker = self.damage(b"number 100", b"number 101", b"other 100")
        for pattern, start in ((">", {}), ("t", {}), ("t", {"after_offset": 0})):
            history = self.history(pattern, **start)
            texts = [event_pb2.Event.FromString(event).text for _, _, event in history]
            self.assertEqual([text for text in texts if text.startswith("number")],
                             [f"number {number}" for number in range(200) if number not in (100, 101)])
            expected = [("t", 101, 102), ("u", 11, 11)] if pattern == ">" else [("t", 101, 102)]
            self.assertEqual(sorted(self.destroyed), expected)
        broker.wait_line(broker.err, "damage")
        again = self.ready_writer()
        reader.wait_live()
        again.send("t", "on")
        self.assertEqual(reader.receive()[1].stamp.offset, 201)

    def test_readers_of_every_kind_get_a_gap_for_what_is_damaged(self):
        self.damage(b"number 100", b"number 101", b"other 100")
        replay = self.run_program("replay", ">", *ENDPOINTS, "--to", "-", "--strict")
        self.assertEqual(replay.wait_exit(), 3, replay.transcript())
        self.assertIn("the broker's store is damaged and has lost events: 2 gaps, the first one u 11 to 11",
                      "\n".join(replay.err))
        sub = self.run_program("sub", ">", *ENDPOINTS, "--since", "1h", "--format", "text+offset", "--count", "217")
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual([line for line in sub.out if line.startswith("!")],
                         ["!GAP u 11 11 damaged", "!GAP t 101 102 damaged"])
        at = sub.out.index("!GAP t 101 102 damaged")
        self.assertLess(sub.out.index("t 100 number 99"), at)
        self.assertGreater(sub.out.index("t 103 number 102"), at)
        strict = self.run_program("sub", "t", *ENDPOINTS, "--since", "1h", "--strict", "--count", "198")
        self.assertEqual(strict.wait_exit(), 3, strict.transcript())


    # ── the machine goes down ─────────────────────────────────────────────────────────────────────────────

    def restart_machine(self, broker, lost_bytes):
        """As if the machine had gone down: what was written last is lost, and the kernel has another boot id."""
        broker.kill()
        folder = pathlib.Path(self.data, "default")
        log = sorted(folder.glob("*.log"))[-1]
        os.truncate(log, log.stat().st_size - lost_bytes)
        lines = folder.joinpath("store").read_text().splitlines(keepends=True)[:-1]
        text = "".join("boot another\n" if line.startswith("boot ") else line for line in lines)
        folder.joinpath("store").write_text(f"{text}crc {crc32c(text.encode()):08x}\n")

    def test_after_a_power_loss_the_earlier_incarnation_is_read_then_a_reset_then_the_new_one(self):
        broker = self.start()
        writer, reader = self.ready_writer(), self.live_reader("t", "value")
        writer.send("value", "kept")
        for number in range(100):
            writer.send("t", f"number {number}")
        events = [reader.receive()[1] for _ in range(101)]
        old = f"{events[0].stamp.stream:016x}"
        self.restart_machine(broker, lost_bytes=20)  # the last event
        broker = self.start()
        self.start_gateway()
        broker.wait_line(broker.err, "the machine went down before everything was synced")
        stream = self.control_request(hello={"name": "x", "role": 3}).stream
        self.assertNotEqual(stream, events[0].stamp.stream)
        get = self.run_program("get", "value", *ENDPOINTS)
        self.assertEqual((get.wait_exit(), get.out), (0, ["kept"]), get.transcript())
        again = self.ready_writer()
        again.send("t", "new")
        self.wait_admitted(again)
        # The value of "t" that was left is the first event of the new stream.
        end = ["!RESET t", "t 1 number 98", "t 2 new"]
        for since, first in (("1h", 0), (f"{old}:{events[50].stamp.position}", 50)):
            numbers = [f"t {number + 1} number {number}" for number in range(first, 99)]
            for addresses in (ENDPOINTS, ["--gateway", GATEWAY]):
                sub = self.run_program("sub", "t", *addresses, "--since", since, "--format", "text+offset", "--count",
                                       str(len(numbers) + 2))
                self.assertEqual(sub.wait_exit(), 0, sub.transcript())
                self.assertEqual(sub.out, [*numbers, *end])
        # Live events follow the history.
        client = self.client()
        client.send("FORMAT text+offset")
        client.send(f"SUB t since={old}:{events[98].stamp.position}")
        client.events_until("t 2 new")
        again.send("t", "live")
        client.events_until("t 3 live")
        lines = [line for line in client.lines if not line.startswith("+")]
        self.assertEqual(lines, ["t 99 number 98", *end, "t 3 live"])
        # A second time: a token of the first incarnation goes through both.
        self.restart_machine(broker, lost_bytes=0)
        self.start()
        sub = self.run_program("sub", "t", *ENDPOINTS, "--since", f"{old}:{events[98].stamp.position}", "--format",
                               "text+offset", "--count", "5")
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual(sub.out, ["t 99 number 98", *end, "t 3 live", "!RESET t", "t 1 live"])


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class AlwaysSynced(Store):
    sync = "always"

    def test_after_a_power_loss_the_earlier_incarnation_is_read_then_a_reset_then_the_new_one(self):
        """The stream continues instead."""
        broker = self.start()
        stream = self.control_request(hello={"name": "x", "role": 3}).stream
        pub = self.run_program("pub", "t", "x", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        self.restart_machine(broker, lost_bytes=0)
        self.start()
        self.assertEqual(self.control_request(hello={"name": "x", "role": 3}).stream, stream)
        self.assertEqual(len(self.history("t")), 1)


if __name__ == "__main__":
    unittest.main()
