"""Faults of a store on disk, with real brokers: places where no store can be, full disks, and files that are damaged,
missing, or of another version. Each has a clear message, and costs nothing else."""

import collections
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import struct
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import zmq
from backplane.v1 import event_pb2
from harness import CONTROL, ENDPOINTS, INGRESS, METRICS, PROGRAM, RAW, TIMEOUT_S, BackplaneTest, Deadline
from mount import Mount
from publisher_library_test import Driver

SANITIZED = bool(os.environ["SANITIZED"])
EVENTS = ["--raw", RAW, "--metrics", METRICS]
NOBODY = 65534
MIB = 1 << 20


class StoreTest(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "store"
        self.keys = ""

    def config(self, path=None, name="default"):
        """The text of a configuration; store_path is in line 3."""
        return f'[[backplane]]\nstore = "file"\nstore_path = "{path or self.path}"\nname = "{name}"\n{self.keys}'

    def start(self):
        return self.start_broker("--config", self.config_file(self.config()))

    def refused(self, text, code, *wrapper, flags=(*ENDPOINTS, *EVENTS)):
        """Runs a broker that does not start. Returns its one line."""
        broker = self.run_process([*wrapper, PROGRAM, "broker", *flags, "--config", self.config_file(text)])
        self.assertEqual(broker.wait_exit(), code, broker.transcript())
        self.assertEqual(broker.out, [])
        lines = [line for line in broker.err if "is reachable from other machines" not in line]
        self.assertEqual(len(lines), 1, broker.transcript())
        return lines[0]

    def page(self, path):
        try:
            with urllib.request.urlopen(f"http://{METRICS}{path}", timeout=TIMEOUT_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name):
        return int(float(re.search(rf"^backplane_broker_{name}{{.*}} (\S+)$", self.page("/metrics")[1], re.M)[1]))

    def wait_until(self, condition, what, seconds=TIMEOUT_S):
        deadline = Deadline(seconds)
        while not condition():
            self.assertTrue(deadline.left(), f"not within {seconds} s: {what}")
            time.sleep(0.01)

    def stream(self):
        return self.control_request(stats={}).stream

    def history_of(self, pattern):
        """(position, offset, text) of what history has of a pattern, over all gaps."""
        return [(event.stamp.position, event.stamp.offset, event.text) for event in self.events_of(pattern)]

    def events_of(self, pattern):
        events, request = [], {"pattern": pattern, "since_ns": 1}
        while True:
            reply = self.control_request(replay=request)
            events += [event_pb2.Event.FromString(stored.event) for stored in reply.replay.events]
            if reply.WhichOneof("end") == "complete":
                return events
            if reply.WhichOneof("end") == "gone":
                after = {"stream": reply.stream, "position": reply.gone.first_available - 1}
                request = {"pattern": pattern, "after_position": after}
            else:
                request["cursor"] = reply.more.cursor


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────


class Places(StoreTest):
    """A place where no store can be is an error of the configuration, with its line."""

    def assert_no_place(self, path, reason, *wrapper):
        line = self.refused(self.config(path), 2, *wrapper)
        self.assertRegex(line, r"^(backplane broker: )?\S*backplane\.toml:3 \[backplane\]\.store_path: ")
        self.assertRegex(line, reason)
        self.assertIn(str(path), line)

    def test_a_file(self):
        self.path.write_text("not a store")
        self.assert_no_place(self.path, "expected a folder, got the file")
        self.assertEqual(self.path.read_text(), "not a store")

    def test_below_a_file(self):
        self.path.write_text("not a store")
        self.assert_no_place(self.path / "store", "Not a directory")

    def test_a_relative_path(self):
        self.assert_no_place("data/store", "expected an absolute path")

    def test_a_missing_parent(self):
        self.assert_no_place(self.folder / "missing" / "store", f"folder {self.folder}/missing does not exist")

    def test_a_name_that_is_too_long(self):
        self.assert_no_place(self.folder / ("x" * 300), "File name too long")

    def test_symbolic_links_in_a_circle(self):
        self.path.symlink_to(self.path)
        self.assert_no_place(self.path, "Too many levels of symbolic links")

    def test_a_link_to_nothing(self):
        self.path.symlink_to(self.folder / "missing")
        self.assert_no_place(self.path, "link to a place that does not exist")

    def test_a_directory_of_another_user(self):
        if os.geteuid() != 0:
            return self.assert_no_place("/usr", "expected a directory of user [0-9]+, got one of user 0")
        self.path.mkdir()
        os.chown(self.path, NOBODY, NOBODY)
        self.assert_no_place(self.path, f"expected a directory of user 0, got one of user {NOBODY}")
        self.assertEqual(os.listdir(self.path), [])

    def test_a_directory_without_permission(self):
        # root may write anywhere, unless it has lost that capability.
        wrapper = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
        for mode in (0o555, 0o000):
            with self.subTest(mode=oct(mode)):
                self.path.mkdir()
                self.path.chmod(mode)
                self.assert_no_place(self.path, "Permission denied", *wrapper)
                self.path.chmod(0o755)
                self.assertEqual(os.listdir(self.path), [])
                self.path.rmdir()
        self.folder.chmod(0o555)
        self.assert_no_place(self.path, "Permission denied", *wrapper)
        self.folder.chmod(0o755)

    def test_a_read_only_filesystem(self):
        mount = Mount(self, "size=4m")
        (mount.path / "store").mkdir()
        mount.run("mount", "-o", "remount,ro", "/mnt")
        self.assert_no_place(mount.path / "store", "Read-only file system")
        self.assert_no_place(mount.path / "other", "Read-only file system")

    def test_a_full_filesystem(self):
        mount = Mount(self, "size=1m")
        with contextlib.suppress(OSError):
            (mount.path / "filler").write_bytes(bytes(2 * MIB))
        self.assert_no_place(mount.path / "store", "No space left on device")

    def test_no_filesystem_for_files(self):
        for path in ("/proc/self", "/sys/kernel"):
            with self.subTest(path=path):
                kind = path.split("/")[1].replace("sys", "sysfs")
                self.assert_no_place(path, f"expected a local filesystem, got {kind}")
        self.assert_no_place("/proc/store", "expected a local filesystem, got proc")

    def test_an_unknown_filesystem(self):
        mount = Mount(self, "size=4m", kind="cgroup2")
        self.assert_no_place(mount.path / "store", "expected a local filesystem, got cgroup2")

    def test_an_unknown_kind_of_store(self):
        line = self.refused('[[backplane]]\nstore = "files"\n', 2)
        self.assertRegex(line, r'backplane\.toml:2 \[backplane\]\.store: expected one of memory, file, got "files"')

    def test_no_path(self):
        line = self.refused('[[backplane]]\nstore = "file"\n', 2)
        self.assertRegex(line, r"backplane\.toml:2 \[backplane\]\.store: expected store_path")

    def test_two_backplanes_with_one_path(self):
        self.path.mkdir()
        (self.folder / "link").symlink_to(self.path)
        for other in (self.path, f"{self.folder}/./store", f"{self.folder}/x/../store", f"{self.path}/",
                      self.folder / "link", f"{self.folder}//store"):
            with self.subTest(other=other):
                second = self.config(other, "two") + "".join(
                    f'{name} = "tcp://127.0.0.1:0"\n' for name in ("ingress", "egress", "control")) + 'raw = "off"\n'
                line = self.refused(self.config() + second, 2, flags=())
                self.assertRegex(line, r"backplane\.toml:7 \[backplane\]\.store_path: the folder .* is taken")
                self.assertRegex(line, r"see \[backplane\]\.store_path at \S*backplane\.toml:3")
        self.assertEqual(os.listdir(self.path), [])

    def test_the_store_of_another_backplane(self):
        self.start().end()
        before = contents(self.path)
        line = self.refused(self.config(name="two"), 2)
        self.assertRegex(line, r'backplane\.toml:3 \[backplane\]\.store_path: .*expected one of backplane "two", got '
                               'one of "default"')
        self.assertEqual(contents(self.path), before)

    def test_data_that_cannot_be_created(self):
        self.path.write_text("a file")
        broker = self.run_program("broker", *ENDPOINTS, *EVENTS, "--data", str(self.path))
        self.assertEqual(broker.wait_exit(), 2, broker.transcript())
        self.assertEqual(len(broker.err), 1, broker.transcript())
        self.assertRegex(broker.err[0], f'--data: .*{self.path}')

    def test_the_lock_of_another_process(self):
        broker = self.start()
        second = self.run_program("broker", "--config", self.config_file(self.config()), "--ingress", "tcp://127.0.0.1:0",
                                  "--egress", "tcp://127.0.0.1:0", "--control", "tcp://127.0.0.1:0", "--raw", "off",
                                  "--metrics", "off")
        self.assertEqual(second.wait_exit(), 1, second.transcript())
        self.assertRegex(second.err[-1], f"cannot open store {self.path}: it is in use by process {broker.pid} on ")
        self.assertTrue(broker.running())

    def test_files_of_others_stay(self):
        self.path.mkdir()
        for name in ("letter.tmp", "notes.log", "x.checkpoint"):
            (self.path / name).write_text(name)
        self.start().end()
        self.start().end()
        for name in ("letter.tmp", "notes.log", "x.checkpoint"):
            self.assertEqual((self.path / name).read_text(), name)


# ── a full disk ───────────────────────────────────────────────────────────────────────────────────────────


class FullDisk(StoreTest):
    sync = "1s"

    def setUp(self):
        super().setUp()
        self.mount = Mount(self, "size=8m")
        self.path = self.mount.path / "store"
        self.keys = f'store_sync = "{self.sync}"\n'
        self.filler = self.mount.path / "filler"

    def fill(self):
        """Leaves 64 KiB."""
        room = os.statvfs(self.mount.path)
        with open(self.filler, "wb") as file:
            file.write(bytes(room.f_bavail * room.f_frsize - 65536))

    def publish_until_full(self):
        """A publisher of more than there is room for."""
        driver = Driver(self, INGRESS, CONTROL)
        self.assertEqual(driver.command("ready"), "ready true")
        driver.send("burst load 20000")
        self.wait_until(lambda: self.metric("store_full") == 1, "the store is full")
        return driver

    def assert_whole_burst(self, driver):
        self.assertEqual(driver.reply(), "offered 20000")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual([(offset, int(text)) for _, offset, text in self.history_of("load")],
                         [(number, number) for number in range(1, 20001)])

    def cpu_seconds(self, process):
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_publishers_wait_readers_go_on_and_it_continues_by_itself(self):
        broker = self.start()
        reader = self.live_reader("load")
        writer = self.ready_writer()
        writer.send("before", "this is there")
        self.wait_admitted(writer)
        self.fill()
        driver = self.publish_until_full()
        status, reason = self.page("/readyz")
        self.assertEqual(status, 503)
        self.assertRegex(reason, 'the store of backplane "default" is full: .*No space left on device')
        self.assertEqual(self.page("/healthz")[0], 200)
        self.assertGreaterEqual(self.metric("store_full_total"), 1)
        # Readers go on: those that are connected, and new ones.
        self.assertEqual([text for _, _, text in self.history_of("before")], ["this is there"])
        self.live_reader("something")
        get = self.run_program("get", "before", *ENDPOINTS)
        self.assertEqual((get.wait_exit(), get.out), (0, ["this is there"]), get.transcript())
        self.filler.unlink()
        self.wait_until(lambda: self.metric("store_full") == 0, "there is room again")
        self.wait_until(lambda: self.page("/readyz") == (200, "ready\n"), "it is ready again")
        self.assertEqual(driver.reply(), "offered 20000")
        self.assertEqual(driver.command("flush"), "flushed true")
        texts = [reader.receive()[1].text for _ in range(20000)]
        self.assertEqual([int(text) for text in texts], list(range(1, 20001)))
        self.assertEqual([(offset, int(text)) for _, offset, text in self.history_of("load")],
                         [(number, number) for number in range(1, 20001)])
        lines = [line for line in broker.err if "full" in line or "room" in line]
        self.assertLessEqual(len(lines), 10, lines)
        self.assertEqual(self.metric("store_damaged_ranges"), 0)

    def test_large_events_that_wait_for_a_full_disk_do_not_fill_the_memory(self):
        self.keys += 'max_event_bytes = "16MiB"\n'  # 32 of them may wait per publisher
        broker = self.start()
        self.fill()
        driver = self.publish_until_full()
        with self.context.socket(zmq.XPUB) as writer:
            writer.setsockopt(zmq.LINGER, 0)
            writer.setsockopt(zmq.XPUB_NODROP, 1)
            writer.setsockopt(zmq.SNDHWM, 1)
            writer.setsockopt(zmq.SNDTIMEO, 3000)
            writer.connect(RAW)
            self.assertTrue(writer.poll(TIMEOUT_S * 1000))
            writer.recv()
            sent = 0
            with contextlib.suppress(zmq.Again):
                for _ in range(400):
                    writer.send_multipart([b"large", bytes(1 << 20)])
                    sent += 1
        self.assertLess(sent, 80)  # some of them are in buffers of the network
        self.assertTrue(broker.running())
        driver.process.kill()
        broker.kill()

    def test_a_publisher_that_ends_while_the_disk_is_full_does_no_harm(self):
        broker = self.start()
        self.fill()
        driver = self.publish_until_full()
        driver.process.kill()
        other = self.publish_until_full()
        # Publishers renew a connection that confirms nothing after 15 s.
        begun, used = time.monotonic(), self.cpu_seconds(broker)
        self.wait_until(lambda: time.monotonic() > begun + 20, "twenty seconds have passed")
        self.assertLess(self.cpu_seconds(broker) - used, 3, "waiting takes no time of the processor")
        self.assertTrue(broker.running(), broker.transcript())
        self.assertEqual(self.page("/readyz")[0], 503)
        self.filler.unlink()
        self.assertEqual(other.reply(), "offered 20000")
        self.assertEqual(other.command("flush"), "flushed true")
        by_publisher = collections.defaultdict(list)
        for event in self.events_of("load"):
            by_publisher[event.session].append(int(event.text))
        first, second = by_publisher.values()
        self.assertEqual(first, list(range(1, len(first) + 1)))
        self.assertEqual(second, list(range(1, 20001)))

    def test_a_broker_that_is_killed_while_its_disk_is_full_comes_back_and_loses_nothing(self):
        broker = self.start()
        stream = self.stream()
        writer = self.ready_writer()
        writer.send("before", "this is there")
        self.wait_admitted(writer)
        self.fill()
        driver = self.publish_until_full()
        broker.kill()
        broker = self.start()
        self.assertEqual(self.stream(), stream)
        self.wait_until(lambda: self.metric("store_full") == 1, "the store is full again")
        self.assertEqual([text for _, _, text in self.history_of("before")], ["this is there"])
        self.filler.unlink()
        self.assert_whole_burst(driver)

    def test_a_broker_that_ends_while_its_disk_is_full_says_so_and_loses_nothing(self):
        broker = self.start()
        stream = self.stream()
        self.fill()
        driver = self.publish_until_full()
        broker.signal(signal.SIGTERM)
        code = broker.wait_exit()
        self.assertTrue([line for line in broker.err if "were not written" in line or "cannot write" in line],
                        broker.transcript())
        self.assertIn(code, (0, 1))
        self.filler.unlink()
        self.start()
        self.assertEqual(self.stream(), stream)
        self.assert_whole_burst(driver)

    def test_a_store_that_was_closed_is_not_changed_by_a_start_without_room(self):
        broker = self.start()
        writer = self.ready_writer()
        writer.send("t", "there")
        self.wait_admitted(writer)
        broker.end()
        with contextlib.suppress(OSError):
            self.filler.write_bytes(bytes(16 * MIB))
        before = contents(self.path)
        line = self.refused(self.config(), 1)  # later there may be room: it is started again
        self.assertRegex(line, r"backplane\.toml:3 \[backplane\]\.store_path: .*No space left on device")
        self.assertEqual(contents(self.path), before)
        self.filler.unlink()
        self.start()
        self.assertEqual([text for _, _, text in self.history_of("t")], ["there"])


class FullDiskAlwaysSynced(FullDisk):
    sync = "always"


# ── damage ────────────────────────────────────────────────────────────────────────────────────────────────


def contents(path):
    """By name, a digest of each file but the lock."""
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(path.iterdir())
            if each.name != "lock"}


class Damage(StoreTest):
    """A store of three segments, in which the first event of each topic is as old as the segment."""

    EVENTS = 3000
    TEXT = "." * 50_000  # 64 MiB in a segment

    @classmethod
    def setUpClass(cls):
        cls.templates = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.templates.cleanup)

    def setUp(self):
        super().setUp()
        self.keys = 'history_events = 1000000\n'

    def make(self, how):
        """Copies a store whose broker was killed or ended; it is made once."""
        template = pathlib.Path(self.templates.name, how)
        if not template.exists():
            broker = self.start()
            writer = self.ready_writer(source="maker@test")
            writer.session = 77
            for number in range(1, self.EVENTS + 1):
                writer.send("t", f"{number} {self.TEXT}")
            writer.send("rare", "only once")
            self.wait_admitted(writer)
            # Not by the close.
            self.wait_until(lambda: len(self.files("checkpoint")) >= 1 and len(self.files("idx")) >= 2, "files",
                            TIMEOUT_S)
            broker.kill() if how == "killed" else broker.end()
            shutil.move(self.path, template)
        # Whole segments are only read: flip() copies those that it changes.
        shutil.copytree(template, self.path, copy_function=lambda source, to: (
            os.link if source.endswith(".log") and source != str(self.files("log", template)[-1]) else shutil.copy)(
                source, to))
        self.assertGreaterEqual(len(self.files("log")), 3)

    def files(self, suffix, path=None):
        return sorted(each for each in (path or self.path).iterdir() if each.name.endswith("." + suffix))

    def own(self, path):
        """Makes it a file that may be changed."""
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    def flip(self, path, at):
        self.own(path)
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))

    def numbers(self):
        return [(offset, int(text.split(" ")[0])) for _, offset, text in self.history_of("t")]

    def in_log(self):
        """What a read of all topics returns of "t"."""
        return [int(text.split(" ")[0]) for _, _, text in self.history_of(">") if text.endswith("...")]

    def whole(self):
        return [(number, number) for number in range(1, self.EVENTS + 1)]

    def assert_goes_on(self, offset):
        """New events get numbers of their own."""
        writer = self.ready_writer()
        reader = self.live_reader("t")
        writer.send("t", "on")
        event = reader.receive()[1]
        self.assertEqual((event.text, event.stamp.offset), ("on", offset))
        return event

    def assert_repeats_refused(self):
        writer = self.ready_writer(source="maker@test")
        writer.session = 77
        writer.sequence = self.EVENTS - 1
        writer.send("t", "again")
        self.wait_until(lambda: self.counters()["rejected_total.repeat"] == 1, "it is refused")

    # Nothing is lost.

    def test_a_damaged_index_costs_nothing(self):
        for damage in (lambda path: self.flip(path, 100), lambda path: self.flip(path, 9), lambda path: self.flip(path, 30),
                       lambda path: path.write_bytes(path.read_bytes()[:50]), lambda path: path.write_bytes(b""),
                       pathlib.Path.unlink):
            self.make("ended")
            damage(self.files("idx")[0])
            broker = self.start()
            self.assertEqual(self.numbers(), self.whole())
            self.assertEqual(self.metric("store_damaged_ranges"), 0)
            broker.end()
            shutil.rmtree(self.path)

    def test_a_damaged_checkpoint_costs_nothing_and_is_reported(self):
        for how in ("ended", "killed"):
            for damage in (lambda path: self.flip(path, 100), lambda path: path.write_bytes(path.read_bytes()[:50]),
                           lambda path: path.write_bytes(b"")):
                self.make(how)
                damage(self.files("checkpoint")[-1])
                broker = self.start()
                broker.wait_line(broker.err, r"\.checkpoint is damaged")
                self.assertEqual(self.metric("store_damaged_ranges"), 1)
                self.assertEqual(self.numbers(), self.whole())
                self.assertEqual([text for _, _, text in self.history_of("rare")], ["only once"])
                self.assert_repeats_refused()
                self.assert_goes_on(self.EVENTS + 1)
                broker.end()
                shutil.rmtree(self.path)

    def test_without_any_checkpoint_nothing_is_lost(self):
        self.make("killed")
        for path in self.files("checkpoint"):
            path.unlink()
        self.start()
        self.assertEqual(self.numbers(), self.whole())
        self.assert_repeats_refused()
        self.assert_goes_on(self.EVENTS + 1)

    # It is not opened, and not changed.

    def assert_unchanged(self, reason):
        before = contents(self.path)
        line = self.refused(self.config(), 1)
        self.assertRegex(line, f"cannot open store {self.path}: ")
        self.assertRegex(line, reason)
        self.assertEqual(contents(self.path), before)

    def test_an_unknown_version_is_refused_and_nothing_is_changed(self):
        for suffix in ("log", "checkpoint"):
            for at in (0, -1):
                self.make("killed")
                path = self.files(suffix)[at]
                # What an opening would remove or cut off.
                (self.path / f"{path.stem}.idx.tmp").write_bytes(b"half")
                (self.path / f"{path.name.split('-')[0]}-{0:020}.log").write_bytes(b"half a header")
                with open(self.files("log")[-1], "ab") as log:
                    log.write(b"half a record")
                header = bytearray(path.read_bytes()[:64])
                header[8:10] = struct.pack("<H", 9)
                header[60:64] = struct.pack("<I", crc32c(header[:60]))
                self.own(path)
                with open(path, "r+b") as file:
                    file.write(header)
                with self.subTest(path=path.name):
                    known = "1" if suffix == "log" else "1 or 2"
                    self.assert_unchanged(f"{path.name}: expected format version {known}, got 9")
                shutil.rmtree(self.path)
        self.make("killed")
        mark = (self.path / "store").read_bytes().replace(b"backplane-store 1", b"backplane-store 9")
        mark = mark[:mark.rindex(b"crc ")]
        (self.path / "store").write_bytes(mark + f"crc {crc32c(mark):08x}\n".encode())
        self.assert_unchanged('expected format version 1 or 2, got "9')

    def test_a_damaged_mark_is_refused_and_nothing_is_changed(self):
        for damage in (lambda path: self.flip(path, 30), lambda path: path.write_bytes(path.read_bytes()[:50]),
                       lambda path: path.write_bytes(b"")):
            self.make("ended")
            damage(self.path / "store")
            self.assert_unchanged("store: it is damaged")
            shutil.rmtree(self.path)

    def test_a_missing_mark_is_refused_and_nothing_is_changed(self):
        self.make("ended")
        (self.path / "store").unlink()
        self.assert_unchanged('its file "store" is missing')
        for path in self.files("log") + self.files("idx"):
            path.unlink()
        self.assert_unchanged('its file "store" is missing')

    # Something is lost.

    def test_a_deleted_segment_in_the_middle_costs_what_was_in_it(self):
        for how in ("ended", "killed"):
            self.make(how)
            logs = self.files("log")
            logs[1].unlink()
            before = contents(self.path)
            broker = self.start()
            broker.wait_line(broker.err, "positions [0-9]+ to [0-9]+ are missing")
            self.assertEqual(self.metric("store_damaged_ranges"), 1)
            first = int(logs[1].stem.split("-")[1])
            numbers = self.in_log()
            self.assertEqual(numbers, [*range(1, numbers[0] + numbers.index(next(
                number for number in numbers if number > numbers.index(number) + 1))),
                *range(next(number for number in numbers if number > numbers.index(number) + 1), self.EVENTS + 1)])
            self.assertGreater(first, 1)
            self.assert_repeats_refused()
            self.assert_goes_on(self.EVENTS + 1)
            broker.end()
            after = contents(self.path)
            for path in (logs[0],):
                self.assertEqual(after[path.name], before[path.name])
            shutil.rmtree(self.path)

    def test_a_deleted_first_segment_is_reported(self):
        self.make("ended")
        logs = self.files("log")
        logs[0].unlink()
        broker = self.start()
        broker.wait_line(broker.err, "positions 1 to [0-9]+ are missing")
        self.assertEqual(self.metric("store_damaged_ranges"), 1)
        self.assert_goes_on(self.EVENTS + 1)

    def test_without_its_last_segment_no_number_is_used_twice(self):
        for how in ("ended", "killed"):
            with self.subTest(how=how):
                self.make(how)
                logs = self.files("log")
                logs[-1].unlink()
                before = contents(self.path)
                broker = self.start()
                broker.wait_line(broker.err, "missing")
                self.assertGreaterEqual(self.metric("store_damaged_ranges"), 1)
                stream = int(logs[0].name.split("-")[0], 16)
                writer, reader = self.ready_writer(), self.live_reader("t")
                writer.send("t", "on")
                event = reader.receive()[1]
                # Another stream, or numbers that follow.
                if event.stamp.stream == stream:
                    self.assertEqual(event.stamp.offset, self.EVENTS + 1)
                broker.end()
                after = contents(self.path)
                for path in logs[:-1]:
                    self.assertEqual(after[path.name], before[path.name])
                shutil.rmtree(self.path)

    def test_flipped_bits_in_the_last_record_do_not_lead_to_a_number_that_is_used_twice(self):
        for how in ("ended", "killed"):
            with self.subTest(how=how):
                self.make(how)
                log = self.files("log")[-1]
                damaged = log.read_bytes()
                self.flip(log, log.stat().st_size - 20)
                damaged = log.read_bytes()
                broker = self.start()
                broker.wait_line(broker.err, "damaged")
                self.assertGreaterEqual(self.metric("store_damaged_ranges"), 1)
                stream = int(log.name.split("-")[0], 16)
                writer, reader = self.ready_writer(), self.live_reader("rare")
                writer.send("rare", "on")
                event = reader.receive()[1]
                if event.stamp.stream == stream:
                    self.assertEqual(event.stamp.offset, 2)
                broker.end()
                self.assertEqual(log.read_bytes(), damaged)
                shutil.rmtree(self.path)

    def test_flipped_bits_in_headers_and_records_cost_only_what_they_hit(self):
        # The header of the segment; the header of a record; its body.
        for at in (3, 20, 62, 64, 69, 72, 200):
            with self.subTest(at=at):
                self.make("ended")
                log = self.files("log")[1]
                before = contents(self.path)
                self.flip(log, at)
                damaged = log.read_bytes()
                broker = self.start()
                numbers = self.in_log()
                self.assertEqual(len(set(numbers)), len(numbers))
                self.assertGreaterEqual(len(numbers), self.EVENTS - (at >= 64))
                self.assert_goes_on(self.EVENTS + 1)
                self.assert_repeats_refused()
                broker.end()
                self.assertEqual(log.read_bytes(), damaged)
                for other in (self.files("log")[0],):
                    self.assertEqual(contents(self.path)[other.name], before[other.name])
                shutil.rmtree(self.path)


def crc32c(data, table=[]):
    if not table:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            table.append(value)
    crc = 0xFFFFFFFF
    for byte in bytes(data):
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    unittest.main()
