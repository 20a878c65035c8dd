"""`backplane store`: what a store has, what is damaged, and its events, also while a broker writes it. Copies of stores."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from backplane.v1 import event_pb2, session_pb2
from harness import CONTROL, ENDPOINTS, INGRESS, PROGRAM, BackplaneTest, Deadline
from publisher_library_test import Driver

DAMAGED = 3
NOBODY = 65534


def content(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in pathlib.Path(folder).iterdir()}


class StoreCli(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.data = str(self.folder / "data")
        self.store = self.folder / "data" / "default"
        self.file = self.folder / "day.events"

    def start(self, *options, data=None, config=""):
        return self.start_broker("--data", data or self.data, "--config", self.config_file(config), *options)

    def run_store(self, *arguments, code=0, **options):
        process = self.run_program("store", *map(str, arguments), **options)
        self.assertEqual(process.wait_exit(), code, process.transcript())
        return process

    def info(self, path=None):
        return json.loads(self.run_store("info", path or self.store, "--json").out[0])

    def pub(self, topic, payload="x", count=1):
        pub = self.run_program("pub", topic, payload, "--count", str(count), *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())

    def publish_segments(self):
        """Publishes more than fits into one segment."""
        self.pub("large", "x" * 100_000, count=800)

    def flip(self, path, at):
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)

    def only(self, pattern):
        found = sorted(self.store.glob(pattern))
        self.assertTrue(found, os.listdir(self.store))
        return found[0]

    # ── info ──────────────────────────────────────────────────────────────────────────────────────────────

    def test_info_shows_a_running_a_killed_and_a_closed_store(self):
        broker = self.start()
        stream = self.control_request(hello={"name": "x", "role": 3}).stream
        self.pub("n.a", count=3)
        info = self.info()
        self.assertEqual((info["backplane"], info["state"], info["sync"], info["damage"]), ("default", "in_use", "later", []))
        self.assertRegex(info["user"], f"^process {broker.pid} on ")
        incarnation, = info["incarnations"]
        self.assertEqual(incarnation["stream"], f"{stream:016x}")
        self.assertEqual((incarnation["current"], incarnation["segments"], incarnation["first_position"]), (True, 1, 1))
        self.assertEqual(incarnation["events"], incarnation["last_position"])
        self.assertGreaterEqual(incarnation["events"], 3)
        self.assertLessEqual(incarnation["oldest"], incarnation["newest"])
        broker.kill()
        self.assertEqual(self.info()["state"], "killed")
        self.start().end()
        self.assertEqual(self.info()["state"], "closed")
        before = content(self.store)
        # The parent folder has one store; its table is the same.
        table = self.run_store("info", self.data).out
        self.assertEqual(table, self.run_store("info", self.store).out)
        self.assertIn("state       closed", table)
        heading = next(line for line in table if line.startswith("STREAM"))
        self.assertEqual(heading.split(), "STREAM INCARNATION SEGMENTS TOPICS EVENTS FIRST LAST OLDEST NEWEST BYTES".split())
        self.assertEqual(content(self.store), before)

    def test_info_shows_each_backplane(self):
        for name in ("one", "two"):
            broker = self.start("--name", name)
            self.pub("n", name)
            broker.end()
        out = self.run_store("info", self.data, "--json").out
        self.assertEqual([json.loads(line)["backplane"] for line in out], ["one", "two"])
        self.assertEqual(len(self.run_store("verify", self.data).out), 2)
        export = self.run_store("export", self.data, "--to", self.file, code=2)
        self.assertIn(f"{self.data}: expected one store, got 2: {self.data}/one, {self.data}/two", export.err[0])
        self.assertFalse(self.file.exists())

    def test_what_is_no_store_is_one_clear_line(self):
        (self.folder / "file").write_text("x", encoding="utf-8")
        (self.folder / "empty").mkdir()
        for path, text in (("none", "expected a store, got nothing there"), ("file", "expected a directory, got a file"),
                           ("empty", "expected a store, got a directory without one")):
            for command in (["info"], ["verify"], ["export", "--to", str(self.file)]):
                process = self.run_store(*command, self.folder / path, code=2)
                self.assertEqual(process.err, [f"backplane store {command[0]}: {self.folder / path}: {text}"])
                self.assertEqual(process.out, [])
        for arguments in ((), ("info",), ("export", self.folder), ("export", self.folder, "a..b", "--to", "-"),
                          ("export", self.folder, "--to", "-", "--format", "x"), ("verify", self.folder, "more")):
            self.assertEqual(len(self.run_store(*arguments, code=2).err), 1)
        self.assertFalse(self.file.exists())

    def test_an_unknown_version_is_refused(self):
        self.start().end()
        mark = self.store / "store"
        before = content(self.store)
        text = re.sub(b"crc .*\n", b"", mark.read_bytes().replace(b"backplane-store 1", b"backplane-store 9"))
        mark.write_bytes(text + f"crc {crc32c(text):08x}\n".encode())
        for command in (["info"], ["verify"], ["export", "--to", str(self.file)]):
            process = self.run_store(*command, self.store, code=1)
            self.assertEqual(process.err, [f'backplane store {command[0]}: cannot read store {self.store}: store: expected format '
                                           'version 1 or 2, got "9"'])
        self.assertEqual({name: data for name, data in content(self.store).items() if name != "store"},
                         {name: data for name, data in before.items() if name != "store"})

    @unittest.skipIf(os.getuid() != 0, "only root can become another user")
    def test_another_user_reads_a_read_only_store_or_is_refused(self):
        broker = self.start()
        self.pub("n", count=2)
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", PROGRAM, "store"]
        if subprocess.run([*as_nobody, "--help"], stdout=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("the program cannot be run by another user")

        def run(*arguments, code):
            process = self.run_process([*as_nobody, *map(str, arguments)])
            self.assertEqual(process.wait_exit(), code, process.transcript())
            return process

        refused = run("info", self.store, code=1)
        self.assertEqual(refused.err, [f"backplane store info: cannot read store {self.store}: Permission denied"])
        for path in (self.folder, self.folder / "data", self.store):
            path.chmod(0o555)
        refused = run("info", self.store, code=1)
        self.assertRegex(refused.err[0], f"^backplane store info: cannot read store {self.store}: cannot open .*: Permission denied$")
        for path in self.store.iterdir():
            path.chmod(0o444)
        for running in (True, False):
            self.assertRegex(run("verify", self.store, code=0).out[0], "^intact: ")
            self.assertEqual(run("export", self.store, "n", "--to", "-", "--format", "text", code=0).out, ["n x", "n x"])
            if running:
                broker.kill()

    # ── verify ────────────────────────────────────────────────────────────────────────────────────────────

    def test_verify_names_each_damaged_place_and_changes_nothing(self):
        broker = self.start()
        self.pub("n.a", "number one")
        self.publish_segments()
        self.pub("n.b", "number two")
        broker.end()
        self.assertRegex(self.run_store("verify", self.store).out[0], "^intact: [0-9,]+ events of [0-9]+ topics in 2 segments, ")
        log, index, checkpoint, mark = (self.only("*.log"), self.only("*.idx"), self.only("*.checkpoint"), self.store / "store")
        for path, at, lost in ((log, log.read_bytes().index(b"number one"), 1), (log, 20, 0), (index, 100, 0), (index, 20, 0),
                               (checkpoint, 80, 0), (mark, 30, 0)):
            with self.subTest(path=path.name, at=at):
                self.flip(path, at)
                before = content(self.store)
                damaged = self.run_store("verify", self.store, code=DAMAGED)
                self.assertRegex(damaged.out[0], f"^{path}:[0-9]+: expected .*, got ")
                self.assertRegex(damaged.out[-1], f"^damaged: 1 place, {lost} events? of {lost} topics? lost; left: ")
                self.assertEqual("n.a: offset 1 is lost" in "\n".join(damaged.out), bool(lost))
                self.assertEqual(content(self.store), before)
                self.flip(path, at)
        # A missing segment.
        log.rename(self.folder / log.name)
        damaged = self.run_store("verify", self.store, code=DAMAGED)
        self.assertRegex(damaged.out[0], ":32: expected position 1, got [0-9]+$")
        self.assertRegex("\n".join(damaged.out), "n.a: offset 1 is lost")
        (self.folder / log.name).rename(log)
        self.run_store("verify", self.store)
        self.start()

    def test_an_interrupted_write_is_no_damage(self):
        broker = self.start()
        self.pub("n", count=3)
        broker.kill()
        log = self.only("*.log")
        log.write_bytes(log.read_bytes()[:-3])
        verified = self.run_store("verify", self.store)
        self.assertRegex(verified.err[0], f"{log}:[0-9]+: the last write was interrupted; the next start removes it$")

    def test_a_broker_starts_while_its_store_is_verified(self):
        self.start().end()
        ends = threading.Event()

        def verify():
            while not ends.is_set():
                subprocess.run([PROGRAM, "store", "verify", str(self.store)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False, timeout=60)

        readers = [threading.Thread(target=verify) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for _ in range(5):
                self.start().kill()
        finally:
            ends.set()
            for reader in readers:
                reader.join()

    # ── export ────────────────────────────────────────────────────────────────────────────────────────────

    def test_an_export_is_what_replay_writes(self):
        broker = self.start()
        self.pub("n.a", count=20)
        self.pub("n.b", count=20)
        driver = Driver(self, INGRESS, CONTROL)
        self.assertEqual(driver.command("order orders 42"), "offered 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        replayed = self.folder / "replay.events"
        replay = self.run_program("replay", ">", "--to", str(replayed), *ENDPOINTS)
        self.assertEqual(replay.wait_exit(), 0, replay.transcript())
        for end in (None, broker.kill):
            if end:
                end()
            exported = self.run_store("export", self.store, "--to", self.file)
            self.assertEqual(exported.out, [f"41 events of 3 topics written to {self.file}"])
            self.assertEqual(self.file.read_bytes(), replayed.read_bytes())
        # The store knows the publishers' types.
        order, = self.run_store("export", self.store, "orders", "--to", "-", "--format", "json").out
        self.assertEqual(json.loads(order)["data"]["price"]["cents"], "42")
        # A new broker accepts the file.
        self.start(data=str(self.folder / "other"))
        played = self.run_program("replay", "--from", str(self.file), "--speed", "max", *ENDPOINTS)
        self.assertEqual(played.wait_exit(), 0, played.transcript())
        self.assertEqual(played.out, ["41 events published"])

    def test_patterns_and_since_select_events(self):
        broker = self.start()
        for text in ("1", "2", "3"):
            self.pub("n.a", text)
        self.pub("n.b", "4")
        broker.kill()

        def export(*arguments, **options):
            return self.run_store("export", self.store, *arguments, "--to", "-", **options)

        def texts(*arguments):
            return [line.split()[1] for line in export(*arguments, "--format", "text").out]

        self.assertEqual(texts("n.*"), ["1", "2", "3", "4"])
        self.assertEqual(texts("n.b", "n.a", "none"), ["1", "2", "3", "4"])
        self.assertEqual(texts("n.b"), ["4"])
        self.assertEqual(texts("n.a", "--since", "1"), ["2", "3"])
        self.assertEqual(texts("n.>", "--since", "1h"), ["1", "2", "3", "4"])
        self.assertEqual(texts("n.>", "--since", "1ms"), [])
        events = [json.loads(line) for line in export("n.>", "--format", "json").out]
        token = f"{events[1]['stream']}:{events[1]['position']}"
        self.assertEqual(texts("n.>", "--since", token), ["3", "4"])
        self.assertEqual(export("n.>", "--since", "00000000000000ab:1", code=2).err,
                         ["backplane store export: --since: expected a position of a stream in this store, got "
                          '"00000000000000ab:1"'])
        self.assertEqual(len(export("n.>", "--since", "1", code=2).err), 1)

    def test_an_export_says_what_damage_it_leaves_out(self):
        broker = self.start()
        self.pub("n.a", "number one")
        self.pub("n.a", "number two")
        self.pub("n.b", "number three")
        broker.kill()
        log = self.only("*.log")
        self.flip(log, log.read_bytes().index(b"number one"))
        exported = self.run_store("export", self.store, "--to", self.file, code=DAMAGED)
        self.assertEqual(exported.out, [f"2 events of 2 topics written to {self.file}"])
        self.assertEqual(exported.err, ["backplane store export: n.a: offset 1 is lost",
                                        "backplane store export: the store is damaged in 1 place: 1 event of 1 topic left out "
                                        "(see backplane store verify)"])
        message = session_pb2.ServerMessage.FromString(self.file.read_bytes()[1:1 + self.file.read_bytes()[0]])
        self.assertEqual((message.gap.topic, message.gap.first, message.gap.last, message.gap.reason), ("n.a", 1, 1, "damaged"))

    def test_a_failed_export_leaves_the_file_as_it_was(self):
        broker = self.start()
        self.publish_segments()
        broker.kill()
        self.file.write_text("yesterday", encoding="utf-8")
        process = self.run_process(["prlimit", "--fsize=1000000", "--", PROGRAM, "store", "export", str(self.store), "--to",
                                    str(self.file)])
        self.assertEqual(process.wait_exit(), 1, process.transcript())
        self.assertEqual(process.err, [f"backplane store export: {self.file}: File too large"])
        self.assertEqual(self.file.read_text(encoding="utf-8"), "yesterday")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["data", "day.events"])

    def test_a_signal_leaves_the_file_as_it_was(self):
        broker = self.start()
        self.publish_segments()
        broker.kill()
        for name in ("SIGINT", "SIGTERM"):
            self.file.write_text("yesterday", encoding="utf-8")
            export = self.run_program("store", "export", str(self.store), "--to", str(self.file))
            deadline = Deadline()
            while not any(path.name.startswith(".day.events.") for path in self.folder.iterdir()):
                if not export.running():
                    self.skipTest("the export was complete before it could be interrupted")
                self.assertTrue(deadline.left())
            export.signal(getattr(signal, name))
            if export.wait_exit() == 0:
                self.skipTest("the export was complete before it could be interrupted")
            self.assertEqual(export.err, [f"backplane store export: interrupted; {self.file} is unchanged"])
            self.assertEqual(self.file.read_text(encoding="utf-8"), "yesterday")

    # ── while a broker writes ─────────────────────────────────────────────────────────────────────────────

    def publish_for_long(self):
        """Publishes large events on three topics until the returned function is called. The cleaner has work to do."""
        ends = threading.Event()
        writer = self.ready_writer()

        def write():
            payload = "x" * 60_000
            while not ends.is_set():
                for topic in ("a", "b", "c"):
                    writer.send(f"load.{topic}", payload)

        thread = threading.Thread(target=write)
        thread.start()

        def stop():
            ends.set()
            thread.join()

        self.addCleanup(stop)
        return stop

    def position(self):
        return self.info()["incarnations"][-1]["last_position"]

    def wait_cleaned(self, process):
        """Waits until the cleaner has removed events."""
        deadline = Deadline()
        while True:
            incarnation = self.info()["incarnations"][-1]
            if incarnation["events"] + 500 < incarnation["last_position"]:
                return
            self.assertTrue(deadline.left() and process.running(), incarnation)

    RETENTION = '[[backplane]]\nhistory_events = 50\n'

    def check_offsets(self, lines):
        offsets = {}
        for line in lines:
            event = json.loads(line)
            offsets.setdefault(event["topic"], []).append(event["offset"])
        self.assertEqual(sorted(offsets), ["load.a", "load.b", "load.c"])
        for topic, each in offsets.items():
            self.assertEqual(each[-50:], list(range(each[-50], each[-1] + 1)), topic)

    def test_a_store_that_is_written_and_cleaned_is_read_without_damage(self):
        broker = self.start(config=self.RETENTION)
        self.publish_for_long()
        self.wait_cleaned(broker)
        for _ in range(3):
            verified = self.run_store("verify", self.store)
            self.assertRegex(verified.out[0], "^intact: ")
            self.assertRegex(verified.err[0], f"{self.store} is in use by process {broker.pid} on .*; what was written later was not read$")
        self.check_offsets(self.run_store("export", self.store, "load.*", "--to", "-", "--format", "json").out)

    # ── copies ────────────────────────────────────────────────────────────────────────────────────────────

    def check_copy(self, copy):
        """A broker that starts with the copy has everything that an export of the copy has."""
        exported = self.run_store("export", copy / "default", "load.*", "--to", "-", "--format", "text+offset").out
        broker = self.start(data=str(copy), config=self.RETENTION)
        self.assertFalse([line for line in broker.err if "damage" in line or "missing" in line], broker.transcript())
        for topic in ("load.a", "load.b", "load.c"):
            offsets = [int(line.split()[1]) for line in exported if line.startswith(topic + " ")]
            stored = [event.stamp.offset for event in self.history(self.control_client(), topic)]
            self.assertEqual(stored, offsets[-50:])
        broker.end()

    def history(self, control_client, topic):
        """The events that history has, without those that are gone."""
        reply = self.control_request(replay={"pattern": topic, "after_offset": 0})
        after = reply.gone.first_available_offset - 1 if reply.WhichOneof("end") == "gone" else 0
        return [event_pb2.Event.FromString(stored.event)
                for page, _ in control_client.pages(replay={"pattern": topic, "after_offset": after})
                for stored in page.replay.events]

    def test_a_copy_made_at_one_moment_is_consistent(self):
        # A stopped process stands for a snapshot of the file system.
        broker = self.start(config=self.RETENTION)
        stop = self.publish_for_long()
        self.wait_cleaned(broker)
        copy = self.folder / "copy"
        broker.signal(signal.SIGSTOP)
        shutil.copytree(self.data, copy)
        broker.signal(signal.SIGCONT)
        stop()
        self.run_store("verify", copy)
        broker.end()
        self.check_copy(copy)

    def test_a_copy_of_a_running_store_is_consistent_if_verify_says_so(self):
        broker = self.start(config=self.RETENTION)
        stop = self.publish_for_long()
        self.wait_cleaned(broker)
        copy = self.folder / "copy"
        (copy / "default").mkdir(parents=True)
        damaged, deadline = 0, Deadline()
        while True:
            # As rsync --delete: only what has changed is copied again.
            names = os.listdir(self.store)
            for path in (copy / "default").iterdir():
                if path.name not in names:
                    path.unlink()
            for name in names:
                source, target = self.store / name, copy / "default" / name
                try:
                    status = source.stat()
                    if target.exists() and (target.stat().st_size, target.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns):
                        continue
                    shutil.copy2(source, target)
                except FileNotFoundError:
                    pass
            verify = self.run_program("store", "verify", str(copy))
            if verify.wait_exit() == 0:
                break
            damaged += 1
            self.assertTrue(deadline.left(), verify.transcript())
        stop()
        broker.end()
        self.check_copy(copy)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    unittest.main()
