"""A program on the C++ client library: it gets events in order and without duplicates, and knows what it missed. Across
replay and live events, a lost broker, and a failover."""

import collections
import os
import re
import signal
import socket
import threading
import time
import unittest

from google.protobuf import any_pb2, descriptor_pb2
from harness import CONTROL, EGRESS, ENDPOINTS, HOST, BackplaneTest, Deadline, Writer

READER = os.environ["CLIENT_READER"]
BROKER = ["--broker", EGRESS, CONTROL]
MANY = 5000
SECOND = [f"tcp://{HOST}:{port}" for port in (5670, 5671, 5672)]


class ClientLibrary(BackplaneTest):
    def reader_process(self, *arguments, broker=BROKER):
        return self.run_process([READER, *broker, *arguments])

    def subscribed(self, *arguments, broker=BROKER):
        reader = self.reader_process(*arguments, broker=broker)
        reader.wait_line(reader.out, "^subscribed 1$")
        return reader

    def finish(self, reader):
        """Stops the reader. Returns its token and its counters."""
        reader.signal(signal.SIGTERM)
        self.assertEqual(reader.wait_exit(), 0, reader.transcript())
        token, status = reader.out[-2:]
        counters = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", status)}
        return token.removeprefix("token "), counters

    def events(self, reader):
        """The offsets of each topic, in the order of delivery."""
        told = collections.defaultdict(list)
        for line in reader.out:
            if match := re.match(r"event (\S+) (\d+) ", line):
                told[match[1]].append(int(match[2]))
        return told

    def test_events_arrive_in_order_with_their_payload(self):
        self.start_broker()
        writer = self.ready_writer()
        reader = self.subscribed("stock.*")
        for text in ("one", "two"):
            writer.send("stock.MSFT", text)
        writer.send("stocks", "not this")
        reader.wait_line(reader.out, '^event stock.MSFT 2 "two"$')
        self.finish(reader)
        self.assertEqual([line for line in reader.out if line.startswith("event")],
                         ['event stock.MSFT 1 "one"', 'event stock.MSFT 2 "two"'])

    def test_many_subscriptions_survive_the_brokers_kill_and_are_active_when_reported(self):
        broker = self.start_broker()
        reader = self.reader_process("--many", str(MANY))
        reader.wait_line(reader.out, f"^subscribed {MANY}$")
        broker.kill()
        reader.wait_line(reader.out, "^down 0$")
        since = len(reader.out)
        self.start_broker()
        reader.wait_line(reader.out, "^up 0$", since=since)
        writer = self.ready_writer()
        for number in range(MANY):
            writer.send(f"many.{number}", "x")
        for number in range(MANY):
            reader.wait_line(reader.out, rf'^event many\.{number} 1 "x"$', since=since)
        _, counters = self.finish(reader)
        # All came by subscription: none had to be recovered.
        self.assertEqual((counters["seen"], counters["recovered"], counters["gaps"]), (MANY, 0, 0))

    def test_a_reader_resumes_from_its_token(self):
        self.start_broker()
        writer = self.ready_writer()
        reader = self.subscribed("a.*")
        for number in range(10):
            writer.send(f"a.{number % 2}", str(number))
        reader.wait_line(reader.out, '^event a.1 5 "9"$')
        token, _ = self.finish(reader)
        for number in range(10, 2000):
            writer.send(f"a.{number % 2}", str(number))
        self.wait_admitted(writer)
        again = self.reader_process("--since", token, "a.*")
        again.wait_line(again.out, '^event a.1 1000 "1999" history$')
        writer.send("a.0", "live")
        again.wait_line(again.out, '^event a.0 1001 "live"$')
        self.finish(again)
        self.assertEqual(self.events(again), {"a.0": list(range(6, 1002)), "a.1": list(range(6, 1001))})

    def test_replay_joins_live_events_while_they_arrive(self):
        self.start_broker()
        writer = self.ready_writer()
        for number in range(5000):
            writer.send("a", "x" * 200)
        self.wait_admitted(writer)
        stop = threading.Event()

        def publish():
            # No more than fits into the queues between a broker and its readers: none may be lost.
            for _ in range(500):
                for _ in range(10):
                    writer.send("a", "x" * 200)
                if stop.wait(0.001):
                    return

        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            readers = [self.reader_process("--offset", "0", "a") for _ in range(3)]
            for reader in readers:  # until its replay is under way
                reader.wait_line(reader.out, r"^event a 2500 ")
        finally:
            stop.set()
            publishing.join()
        writer.send("a", "end")
        for reader in readers:
            last = int(reader.wait_line(reader.out, r'^event a (\d+) "end"')[1])
            _, counters = self.finish(reader)
            self.assertEqual(self.events(reader)["a"], list(range(1, last + 1)))
            self.assertEqual(counters["gaps"], 0)

    def test_a_stopped_reader_gets_each_event_once_or_as_a_gap(self):
        self.start_broker("--config", self.config_file("[[backplane]]\negress_hwm = 100\n"))
        writer = self.ready_writer()
        reader = self.subscribed("a")
        sent = 0
        reader.signal(signal.SIGSTOP)
        self.addCleanup(reader.signal, signal.SIGCONT)
        deadline = Deadline()
        while self.counters()["lossy_sends_total"] == 0:
            self.assertTrue(deadline.left(), "the broker dropped nothing")
            for _ in range(200):
                writer.send("a", "x" * 4000)
            sent += 200
        reader.signal(signal.SIGCONT)
        writer.send("a", "end")
        last = int(reader.wait_line(reader.out, r'^event a (\d+) "end"')[1])
        self.assertEqual(last, sent + 1)
        _, counters = self.finish(reader)
        self.assertGreater(counters["recovered"] + counters["lost"], 0)
        # If recovery takes too long on a slow machine, gaps are announced in place of the events.
        expected = 1
        for line in reader.out:
            if match := re.match(r"event a (\d+) ", line):
                self.assertEqual(int(match[1]), expected)
                expected += 1
            elif match := re.match(r"gap a (\d+) (\d+) ", line):
                self.assertEqual(int(match[1]), expected)
                expected = int(match[2]) + 1
        self.assertEqual(expected, last + 1)

    def test_events_that_history_no_longer_holds_are_a_gap(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 10\n"))
        writer = self.ready_writer()
        for number in range(100):
            writer.send("a", str(number))
        self.wait_admitted(writer)
        reader = self.reader_process("--offset", "20", "a")
        reader.wait_line(reader.out, "^event a 100 ")
        self.finish(reader)
        self.assertIn("gap a 21 90 history_gone", reader.out)
        self.assertEqual(self.events(reader)["a"], list(range(91, 101)))

    def test_a_broker_that_comes_back_without_its_history_is_a_reset(self):
        broker = self.start_broker()
        writer = self.ready_writer()
        reader = self.subscribed("a")
        writer.send("a", "before")
        reader.wait_line(reader.out, '^event a 1 "before"$')
        broker.kill()
        reader.wait_line(reader.out, "^down 0$")
        self.start_broker()
        again = self.ready_writer(source="another@test")
        again.send("a", "after")
        reader.wait_line(reader.out, '^event a 1 "after"')
        token, _ = self.finish(reader)
        self.assertIn("reset", reader.out)
        self.assertLess(reader.out.index("reset"), reader.out.index('event a 1 "after"'))
        resumed = self.subscribed("--since", token, "a")
        again.send("a", "more")
        resumed.wait_line(resumed.out, '^event a 2 "more"')  # live, or from history if it was published before
        self.finish(resumed)
        self.assertNotIn("reset", resumed.out)

    def test_the_client_reads_every_broker_of_its_list(self):
        first = self.start_broker()
        ingress, egress, control = SECOND
        second = self.run_program("broker", "--ingress", ingress, "--egress", egress, "--control", control, "--raw",
                                  f"tcp://{HOST}:5674", "--metrics", f"{HOST}:9670", "--name", "second")
        second.ready()
        reader = self.subscribed("a", broker=[*BROKER, "--broker", egress, control])
        writer = Writer(self.context, endpoint=ingress)
        self.addCleanup(writer.close)
        writer.wait_ready()
        self.ready_writer().send("a", "from the first")
        reader.wait_line(reader.out, '^event a 1 "from the first"')
        writer.send("a", "from the second")
        reader.wait_line(reader.out, '^event a 1 "from the second"')
        first.kill()
        writer.send("a", "without the first")
        reader.wait_line(reader.out, '^event a 2 "without the first"')
        self.finish(reader)
        self.assertNotIn("reset", reader.out)

    def test_retained_values_come_first(self):
        self.start_broker()
        writer = self.ready_writer()
        for topic in ("v.1", "v.1", "v.2"):
            writer.send(topic, "x")
        self.wait_admitted(writer)
        reader = self.reader_process("--last", "v.*")
        reader.wait_line(reader.out, "^event v.2 1 ")
        writer.send("v.1", "live")
        reader.wait_line(reader.out, '^event v.1 3 "live"$')
        self.finish(reader)
        self.assertEqual(self.events(reader), {"v.1": [2, 3], "v.2": [1]})

    def test_since_a_time(self):
        self.start_broker()
        writer = self.ready_writer()
        writer.send("a", "early")
        self.wait_admitted(writer)
        early = self.reader_process("--offset", "0", "a")
        early.wait_line(early.out, "^event a 1 ")
        self.finish(early)
        now = time.time_ns()
        writer.send("a", "late")
        self.wait_admitted(writer)
        reader = self.reader_process("--time", str(now), "a")
        reader.wait_line(reader.out, '^event a 2 "late" history$')
        self.finish(reader)
        self.assertEqual(self.events(reader), {"a": [2]})

    def test_every_delivers_the_first_event_at_once_and_later_the_latest(self):
        self.start_broker()
        writer = self.ready_writer()
        reader = self.subscribed("--every", "300", "a")
        for number in range(200):
            writer.send("a", str(number))
        reader.wait_line(reader.out, '^event a 200 "199"$')
        self.finish(reader)
        offsets = self.events(reader)["a"]
        self.assertEqual(offsets[0], 1)
        self.assertLess(len(offsets), 200)

    def test_a_type_that_only_publishers_know_is_shown(self):
        self.start_broker()
        files = descriptor_pb2.FileDescriptorSet()
        farm = files.file.add(name="farm.proto", package="farm", syntax="proto3")
        farm.message_type.add(name="Milk").field.add(name="litres_today", number=1, type=5, label=1)
        self.control_request(types={"register_files": files})
        writer = self.ready_writer()
        reader = self.subscribed("milk")
        milk = any_pb2.Any(type_url="type.googleapis.com/farm.Milk", value=b"\x08\x2a")
        writer.send_frames(b"milk", writer.event(message=milk).SerializeToString())
        reader.wait_line(reader.out, r'^event milk 1 \{"litres_today":42\}$')
        self.finish(reader)

    def test_without_a_broker_the_client_ends_in_time(self):
        reader = self.reader_process("--limit", "300", "a")
        self.assertEqual(reader.wait_exit(), 0)
        self.assertEqual(reader.out[0], "token ")

    def test_a_server_with_another_protocol_is_no_broker(self):
        with socket.create_server((HOST, 5571)) as listener:
            def answer():
                while True:
                    try:
                        peer, _ = listener.accept()
                    except OSError:
                        return
                    with peer:
                        peer.sendall(b"220 mail.example.org ESMTP\r\n" * 100)

            answering = threading.Thread(target=answer, daemon=True)
            answering.start()
            reader = self.reader_process("--limit", "1000", "a")
            self.assertEqual(reader.wait_exit(), 0)
            self.assertFalse([line for line in reader.out if not line.startswith(("token", "status"))])
            listener.shutdown(socket.SHUT_RDWR)
        answering.join()

    def test_invalid_endpoints_and_patterns_are_one_line(self):
        for arguments in (["--broker", "nonsense", CONTROL, "a"], [*BROKER, "a..b"], [*BROKER, "--since", "x", "a"],
                          ["a"], [*BROKER, "--last", "--offset", "1", "a"]):
            reader = self.run_process([READER, *arguments])
            self.assertEqual(reader.wait_exit(), 2, arguments)
            self.assertEqual(len(reader.err), 1, reader.transcript())


if __name__ == "__main__":
    unittest.main()
