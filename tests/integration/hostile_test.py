"""Hostile peers on every port of a broker: afterwards it works, its ledger balances, and its memory has not grown."""

import os
import pathlib
import random
import resource
import socket
import struct
import unittest

import zmq
from backplane.v1 import event_pb2
from harness import (CONTROL, EGRESS, HOST, INGRESS, METRICS, TIMEOUT_S, RAW, BackplaneTest, Deadline, Writer,
                     position_and_offset)

GOOD = event_pb2.Event(text="good").SerializeToString()
# Small: too large is then still cheap.
MAX_EVENT_BYTES = 64 << 10
# What an attack may leave behind in a process that had 20 to 30 MB. A leak per connection or message would be
# more.
GROWTH_BYTES_MAX = 64 << 20
PORTS = [int(endpoint.rsplit(":", 1)[1]) for endpoint in (INGRESS, EGRESS, CONTROL, RAW, METRICS)]
ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)


def stamp(stream=1, position=2, offset=3, previous=0, received_ns=4):
    return b"\x7a\x2d" + b"".join(bytes([tag]) + struct.pack("<Q", value) for tag, value in zip(
        (0x09, 0x11, 0x19, 0x21, 0x29), (stream, position, offset, previous, received_ns)))


class Hostile(BackplaneTest):
    def setUp(self):
        super().setUp()
        # This process opens thousands of connections, too.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.broker = self.start_broker("--config", self.config_file(
            f"[[backplane]]\nmax_event_bytes = {MAX_EVENT_BYTES}\n"))
        self.friend = self.live_reader("friend")
        self.writer = self.ready_writer()
        self.resident_bytes = self.resident()

    def tearDown(self):
        self.assert_unharmed()
        super().tearDown()

    def resident(self):
        status = pathlib.Path(f"/proc/{self.broker.pid}/status").read_text("ascii")
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def assert_unharmed(self):
        """Checks that the broker carries events and replies, and that its ledger balances."""
        self.writer.send("friend", "still there?")
        topic, event = self.friend.receive()
        self.assertEqual((topic, event.text), ("friend", "still there?"))
        counters = self.counters()
        rejected = sum(value for name, value in counters.items() if name.startswith("rejected_total."))
        self.assertEqual(counters["received_total"], counters["published_total"] + rejected)
        with socket.create_connection((HOST, PORTS[-1]), timeout=TIMEOUT_S) as page:
            page.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            self.assertTrue(page.recv(100).startswith(b"HTTP/1."))
        grown = self.resident() - self.resident_bytes
        if not os.environ.get("SANITIZED"):  # sanitizers keep freed memory
            self.assertLess(grown, GROWTH_BYTES_MAX)

    def settle(self, sent):
        """Waits until the broker has received this many messages."""
        deadline = Deadline()
        while (received := self.counters()["received_total"]) < sent:
            self.assertTrue(deadline.left(), f"it received {received} of {sent} messages")
        return self.counters()

    def test_random_bytes_on_every_port(self):
        chance = random.Random(9570)
        for port in PORTS:
            for number in range(60):
                # Alone, after a greeting, and after most of a handshake.
                before = (b"", ZMTP_GREETING, ZMTP_GREETING + b"\x04\x19\x05READY")[number % 3]
                with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as peer:
                    try:
                        peer.sendall(before + chance.randbytes(chance.randrange(1, 20_000)))
                    except OSError:
                        pass  # disconnected already

    def test_frames_that_lie_about_their_length(self):
        for port in PORTS[:-1]:
            for length in (2**63 - 1, 2**64 - 1, 2**40, 1 << 31):
                with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as peer:
                    peer.sendall(ZMTP_GREETING + b"\x06" + struct.pack(">Q", length) + b"\x05READY")

    def test_thousands_of_silent_connections(self):
        silent = []
        try:
            for number in range(2000):
                silent.append(socket.create_connection((HOST, PORTS[number % len(PORTS)]), timeout=TIMEOUT_S))
            self.assert_unharmed()
        finally:
            for peer in silent:
                peer.close()

    def test_forged_and_damaged_stamps(self):
        chance = random.Random(47)
        reader = self.live_reader("n")
        forged = [GOOD + stamp(), stamp() + GOOD, GOOD + stamp() + stamp(), stamp(), GOOD + stamp(offset=2**64 - 1),
                  GOOD + b"\x7a\x00", GOOD + b"\x78\x01", GOOD + b"\x7d1234", GOOD + b"\x79" + bytes(8)]
        forged += [GOOD + stamp()[:length] for length in range(1, 47)]
        for _ in range(200):  # a damaged stamp may be part of a valid event without a stamp
            damaged = bytearray(GOOD + stamp())
            damaged[chance.randrange(len(GOOD), len(damaged))] = chance.randrange(256)
            forged.append(bytes(damaged))
        for event in forged:
            self.writer.send_frames(b"n", event)
            self.writer.send_frames(b"n", GOOD)
        counters = self.settle(2 * len(forged))
        self.assertEqual(sum(value for name, value in counters.items() if name.startswith("rejected_total.")),
                         2 * len(forged) - counters["published_total"])
        self.assertGreaterEqual(counters["published_total"], len(forged))
        self.assertGreater(counters["rejected_total.stamped"], 9)
        # What arrives has exactly one stamp: the broker's, at its end.
        before = 0
        for offset in range(1, counters["published_total"] + 1):
            event = reader.receive_frames()[1]
            position, stamped_offset = position_and_offset(event)
            self.assertEqual(stamped_offset, offset)
            self.assertGreater(position, before)
            before = position
            self.assertEqual(event_pb2.Event.FromString(event).stamp.offset, offset)

    def test_wrong_frames_and_huge_topics_and_events(self):
        for count in (1, 3, 4, 50, 500):
            self.writer.send_frames(*[b"n"] * count)
        for size in (256, 1000, MAX_EVENT_BYTES, 4 * MAX_EVENT_BYTES):
            self.writer.send_frames(b"t" * size, GOOD)
        for size in (MAX_EVENT_BYTES, 2 * MAX_EVENT_BYTES, 4 * MAX_EVENT_BYTES - 100):
            self.writer.send_frames(b"n", event_pb2.Event(binary=bytes(size)).SerializeToString())
        counters = self.settle(12)
        for reason, count in (("wrong_frames", 5), ("bad_topic", 4), ("too_large", 3)):
            self.assertEqual(counters[f"rejected_total.{reason}"], count)

    def test_above_four_times_the_limit_only_that_connection_is_cut(self):
        for endpoint in (INGRESS, RAW):
            with self.context.socket(zmq.PUB) as hostile:
                hostile.setsockopt(zmq.LINGER, 0)
                with hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                    hostile.connect(endpoint)
                    deadline = Deadline()
                    while not monitor.poll(5):  # a PUB sends nothing before the broker subscribes
                        hostile.send_multipart([b"n", bytes(4 * MAX_EVENT_BYTES + 100)])
                        self.assertTrue(deadline.left(), "it was taken")
        self.writer.send("friend", "not cut")
        self.assertEqual(self.friend.receive()[1].text, "not cut")
        self.assertEqual(self.counters()["received_total"], 1)

    def test_a_flood_of_subscriptions_to_nothing(self):
        # A second flood reuses the memory of the first.
        for _ in range(2):
            flood = self.reader()
            for number in range(20_000):
                flood.subscribe(f"nothing.{number}")
            flood.wait_live()
            self.assertGreaterEqual(self.counters()["subscriptions"], 20_000)
            self.writer.send("friend", "beside it")
            self.assertEqual(self.friend.receive()[1].text, "beside it")
            flood.close()
            deadline = Deadline()
            while (left := self.counters()["subscriptions"]) > 10:
                self.assertTrue(deadline.left(), f"{left} subscriptions stay")

    def test_a_subscription_longer_than_any_topic_costs_its_sender_the_connection(self):
        """libzmq would keep 32 bytes for each byte of it."""
        with self.context.socket(zmq.SUB) as hostile:
            hostile.setsockopt(zmq.LINGER, 0)
            with hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                hostile.connect(EGRESS)
                hostile.subscribe("x" * 4000)
                hostile.subscribe("$SYS.live.hostile")
                self.assertEqual(hostile.recv_multipart()[0], b"$SYS.live.hostile")
                hostile.subscribe("x" * 100_000)
                self.assertTrue(monitor.poll(TIMEOUT_S * 1000), "it is connected")

    def wait_subscriptions(self, count):
        deadline = Deadline()
        while (now := self.counters()["subscriptions"]) != count:
            self.assertTrue(deadline.left(), f"expected {count} subscriptions, got {now}")

    def test_unsubscribing_from_what_was_never_subscribed_counts_nothing(self):
        self.wait_subscriptions(1)  # the friend's
        host, port = EGRESS.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as peer:
            peer.sendall(ZMTP_GREETING)
            peer.recv(64, socket.MSG_WAITALL)
            peer.sendall(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB")
            peer.recv(2, socket.MSG_WAITALL)
            peer.sendall(b"\x00\x06\x01twice" * 3 + b"\x00\x06\x00never" * 100 + b"\x00\x05\x01last")
            self.wait_subscriptions(3)
        self.wait_subscriptions(1)

    def test_the_subscriber_with_most_subscriptions_is_disconnected_above_their_limit(self):
        self.broker.end()
        self.broker = self.start_broker("--config", self.config_file("[[backplane]]\nsubscriptions_bytes_max = '1MiB'\n"))
        self.friend = self.live_reader("friend")
        self.writer = Writer(self.context)
        self.addCleanup(self.writer.close)
        self.writer.wait_ready()
        self.resident_bytes = self.resident()
        with self.context.socket(zmq.SUB) as hostile:
            hostile.setsockopt(zmq.LINGER, 0)
            hostile.setsockopt(zmq.SNDHWM, 0)
            with hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                hostile.connect(EGRESS)
                for number in range(4000):
                    hostile.subscribe(f"nothing.{number}")
                self.assertTrue(monitor.poll(TIMEOUT_S * 1000), "it is connected")
        self.assertGreaterEqual(self.counters()["subscribers_disconnected_total"], 1)
        self.writer.send("friend", "beside it")
        self.assertEqual(self.friend.receive()[1].text, "beside it")

    def test_a_subscriber_that_sends_events_upstream_is_ignored(self):
        with self.context.socket(zmq.XSUB) as hostile:
            hostile.setsockopt(zmq.LINGER, 0)
            hostile.connect(EGRESS)
            for message in (b"", b"\x02friend", b"\x01", os.urandom(1000), b"\x00never subscribed", b"\x01\xff\xfe"):
                hostile.send(message)
            hostile.send_multipart([b"friend", GOOD])
            hostile.send(b"\x01$SYS.live.hostile")
            deadline = Deadline()
            while hostile.poll(TIMEOUT_S * 1000) and hostile.recv_multipart()[0] != b"$SYS.live.hostile":
                self.assertTrue(deadline.left())
        self.assertEqual(self.counters()["received_total"], 0)

    def test_a_flood_of_invented_publishers(self):
        control_client = self.control_client()
        for number in range(12_000):
            control_client.request(hello={"name": f"invented{number}", "session": number, "role": 1, "closing": False})
        counters = self.counters()
        self.assertLessEqual(counters["participants.publisher.up"] + counters["participants.publisher.down"], 10_000)


if __name__ == "__main__":
    unittest.main()
