"""`publish file`: follows a growing file, and resumes after its own restart."""

import contextlib
import os
import pathlib
import queue
import shutil
import socket
import tempfile
import threading
import time
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, HOST, TIMEOUT_S, BackplaneTest, Deadline


class LogWriter:
    """Writes numbered lines into a file, like a program with a log."""

    def __init__(self, path):
        self.path = path
        self.written = 0
        self._file = open(path, "ab", buffering=0)

    def write(self, count=1):
        for _ in range(count):
            self.written += 1
            self._file.write(b"line %d\n" % self.written)

    def reopen(self):
        self._file.close()
        self._file = open(self.path, "ab", buffering=0)

    def rotate(self):
        """Renames the file, like logrotate; the writer reopens it later."""
        number = 1 + max([0, *(int(old.suffix[1:]) for old in self.path.parent.glob(self.path.name + ".*"))])
        self.path.rename(f"{self.path}.{number}")
        self.path.touch()

    def copy_and_truncate(self):
        shutil.copy(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)

    def close(self):
        self._file.close()


class SlowPath:
    """What clients of `endpoint` send reaches port 5570 this much later, also if the client has been killed."""

    def __init__(self, delay_s):
        self._delay_s = delay_s
        self._listener = socket.create_server((HOST, 0))
        self.endpoint = f"tcp://{HOST}:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    @staticmethod
    def _start(work, *arguments):
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server, chunks = socket.create_connection((HOST, 5570)), queue.Queue()
            self._start(self._read, client, chunks)
            self._start(self._write, server, chunks)
            self._start(self._return, server, client)

    def _read(self, client, chunks):
        data = b"x"
        while data:
            try:
                data = client.recv(65536)
            except OSError:
                data = b""
            chunks.put((time.monotonic() + self._delay_s, data))

    @staticmethod
    def _write(server, chunks):
        data = b"x"
        while data:
            due, data = chunks.get()
            time.sleep(max(0, due - time.monotonic()))  # this is the delay itself
            try:
                server.sendall(data)
            except OSError:
                break
        with contextlib.suppress(OSError):  # the other thread may have closed it
            server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _return(server, client):
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        client.close()
        server.close()

    def close(self):
        self._listener.close()


class FileTest(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path, self.state = self.folder / "app.log", self.folder / "state"
        self.command = ["publish", "file", "--path", str(self.path), "--state", str(self.state), "--topic", "log",
                        "--source-name", "file@test"]
        self.broker = self.start_broker()
        self.reader_of_log = self.live_reader("log")

    def writer_of_log(self):
        writer = LogWriter(self.path)
        self.addCleanup(writer.close)
        return writer

    def follow(self, *options, ready=True):
        source = self.run_program(*self.command, *ENDPOINTS, *options)
        if ready:
            source.ready()
        return source

    def texts(self, count):
        return [self.reader_of_log.receive()[1].text for _ in range(count)]

    def expect_lines(self, first, last):
        for number in range(first, last + 1):
            self.assertEqual(self.reader_of_log.receive()[1].text, f"line {number}")

    def expect_no_more(self, published):
        """Waits until the broker has this many events, and checks that it has no more."""
        self.assertEqual(self.counters()["published_total"], published)
        self.assertFalse(self.reader_of_log.poll_now())

    def wait_state(self, source, *expected):
        """Waits until the state file contains these words."""
        deadline = Deadline()
        while not (self.state.exists() and all(word in self.state.read_text() for word in expected)):
            self.assertTrue(deadline.left(), source.transcript())


class Following(FileTest):
    def test_lines_are_published_when_complete(self):
        self.path.write_text("one\ntw")
        self.follow()
        self.assertEqual(self.texts(1), ["one"])
        with open(self.path, "a") as log:
            log.write("o\n\nüäö — x\n")
        self.assertEqual(self.texts(3), ["two", "", "üäö — x"])

    def test_a_file_may_be_created_later(self):
        self.follow()
        self.path.write_text("one\n")
        self.assertEqual(self.texts(1), ["one"])

    def test_from_the_end_only_new_lines_are_published(self):
        self.path.write_text("old\nhal")
        source = self.follow("--from", "end")
        self.wait_state(source, "offset 4")
        with open(self.path, "a") as log:
            log.write("f\nnew\n")
        self.assertEqual(self.texts(2), ["half", "new"])

    def test_lines_that_are_too_long_are_reported_by_number_and_the_others_published(self):
        self.path.write_text("one\n" + "x" * 5000 + "\ntwo\n")
        source = self.follow("--max-event-bytes", "4KiB")
        self.assertEqual(self.texts(2), ["one", "two"])
        source.end()
        self.assertRegex("\n".join(source.err), r"app\.log:2: expected at most 3584 bytes, got more")
        self.assertRegex(source.err[-1], "bad records: 1; events published: 2")

    def test_a_state_belongs_to_one_process(self):
        self.path.write_text("one\n")
        self.follow()
        self.texts(1)
        second = self.follow(ready=False)
        self.assertEqual(second.wait_exit(), 2)
        self.assertIn("another process has this state file", "\n".join(second.err))

    def test_a_damaged_state_is_reported_and_kept(self):
        self.state.write_text("no state\n")
        self.assertEqual(self.follow(ready=False).wait_exit(), 2)
        self.assertEqual(self.state.read_text(), "no state\n")


    def test_nuls_that_a_truncation_left_are_no_part_of_the_first_line(self):
        log = open(self.path, "wb", buffering=0)  # not O_APPEND: it goes on at its old offset
        self.addCleanup(log.close)
        log.write(b"x" * 99 + b"\n" + b"one\n")
        self.follow("--max-event-bytes", "4KiB")
        self.assertEqual(self.texts(2), ["x" * 99, "one"])
        log.seek(1_000_000)
        shutil.copy(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)
        log.write(b"two\nthree\n")
        self.assertEqual(self.texts(2), ["two", "three"])

    def test_a_byte_order_mark_is_no_part_of_the_first_line(self):
        self.path.write_bytes(b"\xef\xbb\xbf{}\n")
        self.follow()
        self.assertEqual(self.texts(1), ["{}"])


class Restarts(FileTest):
    def test_after_sigterm_it_resumes_after_the_published_lines(self):
        log = self.writer_of_log()
        log.write(1000)
        source = self.follow()
        self.expect_lines(1, 1000)
        source.end()
        log.write(10)
        self.follow()
        self.expect_lines(1001, 1010)
        self.expect_no_more(1010)

    def test_kill_9_loses_and_duplicates_nothing(self):
        log = self.writer_of_log()
        # Never so far ahead that the broker drops events for this slow reader.
        permits, enough = threading.Semaphore(200), threading.Event()

        def write():
            while not enough.is_set():
                permits.acquire()
                log.write(10)

        writer = threading.Thread(target=write)
        writer.start()
        expected = 1
        try:
            for round_ in range(8):
                source = self.follow()
                # At any moment: in the middle of a file that grows while it is read.
                for _ in range(100 + 37 * round_):
                    self.expect_lines(expected, expected + 9)
                    expected += 10
                    permits.release()
                source.kill()
        finally:
            enough.set()
            permits.release()
            writer.join(TIMEOUT_S)
        self.follow()
        self.expect_lines(expected, log.written)
        self.expect_no_more(log.written)

    def test_kill_9_before_the_first_state_duplicates_nothing(self):
        log = self.writer_of_log()
        log.write(5000)
        source = self.follow()
        self.expect_lines(1, 1)
        source.kill()
        self.follow()
        self.expect_lines(2, 5000)
        self.expect_no_more(5000)

    def test_kill_9_with_lines_on_a_slow_path_loses_and_repeats_nothing(self):
        path = SlowPath(0.8)
        self.addCleanup(path.close)
        slow = ["--ingress", path.endpoint, "--egress", EGRESS, "--control", CONTROL]
        log = self.writer_of_log()
        log.write(10)
        source = self.run_program(*self.command, *slow)
        self.expect_lines(1, 10)
        self.wait_state(source, "sequence 10 ")
        log.write(100)
        self.wait_offered(110)
        source.kill()
        # The next run does not use the slow path, and overtakes what the killed one had sent.
        source = self.follow()
        self.expect_lines(11, 110)
        # What is sent now on the slow path arrives after it.
        late = self.ready_writer(source="late@test", endpoint=path.endpoint)
        late.send("log", "late")
        log.write(10)
        self.expect_lines(111, 120)
        self.assertEqual(self.texts(1), ["late"])
        self.expect_no_more(121)
        source.end()
        self.assertEqual([line for line in source.err if "doubt" in line or "another program" in line], [])

    def test_lines_above_the_brokers_limit_do_not_shift_the_others_at_a_restart(self):
        self.broker.end()
        self.start_broker("--config", self.config_file('[[backplane]]\nmax_event_bytes = "1KiB"\n'))
        self.reader_of_log = self.live_reader("log")
        self.path.write_text("".join(f"line {n}\n{'x' * 5000}\n" for n in range(1, 51)))
        source = self.follow()
        self.expect_lines(1, 50)
        source.kill()
        with open(self.path, "a") as log:
            log.write("".join(f"line {n}\n{'x' * 5000}\n" for n in range(51, 101)))
        source = self.follow()
        self.expect_lines(51, 100)
        source.kill()
        with open(self.path, "a") as log:
            log.write("line 101\n")
        self.follow()
        self.expect_lines(101, 101)
        self.expect_no_more(101)

    def wait_offered(self, count):
        """Until the publisher has said that it has so many events. They are sent by then: nothing holds them up."""
        deadline = Deadline()
        while True:
            for each in self.control_request(stats={}).stats.participants:
                if each.name == "file@test" and each.counters.get("offered", 0) >= count:
                    return
            self.assertTrue(deadline.left())

    def test_a_file_rotated_while_it_is_down_is_read_to_its_end_first(self):
        log = self.writer_of_log()
        log.write(100)
        source = self.follow()
        self.expect_lines(1, 100)
        source.kill()
        for _ in range(3):
            log.write(100)
            log.rotate()
            log.reopen()
        log.write(50)
        self.follow()
        self.expect_lines(101, log.written)
        self.expect_no_more(log.written)

    def test_a_file_copied_and_truncated_while_it_is_down_is_read_from_the_copy(self):
        log = self.writer_of_log()
        log.write(100)
        source = self.follow()
        self.expect_lines(1, 100)
        source.end()
        log.write(100)
        log.copy_and_truncate()
        log.write(10)
        self.follow()
        self.expect_lines(101, log.written)
        self.expect_no_more(log.written)

    def test_a_removed_file_is_reported_and_the_new_one_read(self):
        log = self.writer_of_log()
        log.write(100)
        source = self.follow()
        self.expect_lines(1, 100)
        source.end()
        self.path.unlink()
        log.reopen()
        log.write(5)
        source = self.follow()
        self.expect_lines(101, 105)
        self.assertRegex("\n".join(source.err), "cannot find the file that contains line 101")

    def test_a_broker_that_lost_its_state_gets_the_unconfirmed_lines(self):
        log = self.writer_of_log()
        log.write(100)
        source = self.follow()
        self.expect_lines(1, 100)
        self.wait_state(source, "sequence 100 ")
        source.kill()
        self.broker.end()
        self.start_broker()
        self.reader_of_log = self.live_reader("log")
        log.write(10)
        source = self.follow()
        self.expect_lines(101, 110)
        source.wait_line(source.err, "the broker has no record of the last run")


    def test_unconfirmed_lines_are_published_by_the_next_run(self):
        log = self.writer_of_log()
        log.write(100)
        source = self.follow()
        self.expect_lines(1, 100)
        self.wait_state(source, "sequence 100 ")
        self.broker.end()
        before = self.bytes_read(source)
        log.write(1000)
        deadline = Deadline()
        while self.bytes_read(source) < before + 7000:
            self.assertTrue(deadline.left(), source.transcript())
        source.end()
        self.assertRegex("\n".join(source.err), "unconfirmed events: the next run publishes those that have not arrived")
        self.start_broker()
        self.reader_of_log = self.live_reader("log")
        self.follow()
        self.expect_lines(101, 1100)

    @staticmethod
    def bytes_read(process):
        status = pathlib.Path(f"/proc/{process.pid}/io").read_text()
        return int(status.split("rchar: ")[1].split()[0])


class Links(FileTest):
    """As Kubernetes has them: a link to a link to the file, which is rotated where it is."""

    def setUp(self):
        super().setUp()
        self.target = self.folder / "containers" / "abc" / "abc-json.log"
        self.target.parent.mkdir(parents=True)
        self.target.touch()
        pods = self.folder / "pods"
        pods.mkdir()
        (pods / "0.log").symlink_to(self.target)
        self.path.symlink_to("pods/0.log")

    def writer_of_log(self):
        writer = LogWriter(self.target)
        self.addCleanup(writer.close)
        return writer

    def test_what_is_rotated_beside_the_target_while_it_is_down_is_read_first(self):
        log = self.writer_of_log()
        log.write(10)
        source = self.follow()
        self.expect_lines(1, 10)
        source.end()
        for _ in range(3):
            log.write(10)
            log.rotate()
            log.reopen()
        log.write(10)
        source = self.follow()
        self.expect_lines(11, 50)
        self.expect_no_more(50)
        self.assertNotRegex("\n".join(source.err), "lost")

    def test_rotation_beside_the_target_under_writing_loses_and_repeats_nothing(self):
        log = self.writer_of_log()
        self.follow()
        for _ in range(10):
            log.write(50)
            log.rotate()
            log.reopen()
        log.write(1)
        self.assertEqual(sorted(self.texts(501), key=lambda text: int(text.split()[1])),
                         [f"line {number}" for number in range(1, 502)])
        self.expect_no_more(501)

    def test_a_link_that_points_to_another_container_later_loses_nothing_of_the_first(self):
        log = self.writer_of_log()
        log.write(10)
        source = self.follow()
        self.expect_lines(1, 10)
        source.end()
        log.write(10)
        log.rotate()
        log.reopen()
        log.write(10)
        second = self.folder / "containers" / "def" / "def-json.log"
        second.parent.mkdir()
        second.write_text("line 31\n")
        (self.folder / "pods" / "1.log").symlink_to(second)
        self.path.unlink()
        self.path.symlink_to("pods/1.log")
        source = self.follow()
        self.assertEqual(sorted(self.texts(21)), [f"line {number}" for number in range(11, 32)])
        self.expect_no_more(31)
        self.assertNotRegex("\n".join(source.err), "lost")


class Rotations(FileTest):
    def test_files_that_only_share_the_beginning_of_the_name_are_never_published(self):
        for suffix in (".env", ".offset", "-key", ".8080", ".1.env", ".bak", "~"):
            (self.folder / f"app.log{suffix}").write_text("password=secret\n")
        log = self.writer_of_log()
        source = self.follow()
        log.write(10)
        self.expect_lines(1, 10)
        for suffix in (".env", ".offset", "-key", ".8080", ".1.env", ".bak", "~"):
            (self.folder / f"app.log{suffix}").write_text("password=secret\nanother\n")
        log.path.rename(f"{self.path}.1")
        self.path.touch()
        log.reopen()
        log.write(10)
        self.expect_lines(11, 20)
        source.end()
        for suffix in (".env", ".offset", ".swp"):
            (self.folder / f"app.log{suffix}").write_text("password=secret\n")
        log.path.rename(f"{self.path}.2")
        self.path.touch()
        log.reopen()
        log.write(10)
        self.follow()
        self.expect_lines(21, 30)
        self.expect_no_more(30)

    def test_rotation_during_writes_loses_and_duplicates_nothing(self):
        log = self.writer_of_log()
        self.follow()
        for _ in range(20):
            log.write(50)
            log.rotate()
            log.write(50)  # into the old file
            log.reopen()
        log.write(1)
        received = self.texts(log.written)
        # Lines still written into the old file may be overtaken, but none is lost or duplicated.
        self.assertEqual(sorted(received, key=lambda text: int(text.split()[1])),
                         [f"line {number}" for number in range(1, log.written + 1)])
        self.expect_no_more(log.written)

    def test_a_file_that_gets_its_name_back_is_not_read_again(self):
        log = self.writer_of_log()
        self.follow()
        log.write(10)
        self.expect_lines(1, 10)
        log.rotate()
        log.reopen()
        log.write(10)
        self.expect_lines(11, 20)
        self.path.rename(f"{self.path}.2")
        pathlib.Path(f"{self.path}.1").rename(self.path)
        log.reopen()
        log.write(10)
        self.expect_lines(21, 30)
        deadline = Deadline()
        while "file other" in self.state.read_text():  # until the other one has been quiet for 10 s
            self.assertTrue(deadline.left(), self.state.read_text())
            time.sleep(0.05)
        log.write(1)
        self.expect_lines(31, 31)
        self.expect_no_more(31)

    def test_rotation_and_kill_9_together_lose_and_duplicate_nothing(self):
        log = self.writer_of_log()
        received = []
        for _ in range(6):
            source = self.follow()
            log.write(300)
            log.rotate()
            log.write(20)
            log.reopen()
            log.write(300)
            received += self.texts(150)
            source.kill()
        self.follow()
        received += self.texts(log.written - len(received))
        self.assertEqual(sorted(received, key=lambda text: int(text.split()[1])),
                         [f"line {number}" for number in range(1, log.written + 1)])
        self.expect_no_more(log.written)

    def test_a_truncated_file_is_read_from_its_beginning(self):
        log = self.writer_of_log()
        source = self.follow()
        log.write(10)
        self.expect_lines(1, 10)
        self.wait_state(source, "line 10 ")
        os.truncate(self.path, 0)
        log.write(100)
        self.expect_lines(11, 110)
        source.wait_line(source.err, r"was truncated after line 10")
        source.kill()
        log.write(1)
        self.follow()
        self.expect_lines(111, 111)
        self.expect_no_more(111)

    def test_copying_and_truncating_during_writes_loses_nothing_that_the_copy_has(self):
        log = self.writer_of_log()
        self.follow()
        for _ in range(5):
            # If the source has not seen a file before it is emptied, it cannot recognise the copy.
            log.write(1)
            self.expect_lines(log.written, log.written)
            log.write(500)
            log.copy_and_truncate()
            self.expect_lines(log.written - 499, log.written)
        self.expect_no_more(log.written)


if __name__ == "__main__":
    unittest.main()
