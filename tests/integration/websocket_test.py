"""WebSocket on the gateway's port, frame by frame."""

import os
import random
import socket
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline, gateway_figures
from websocket_peer import BINARY, CLOSE, CONTINUATION, PING, TEXT, WebSocketPeer, frame

SANITIZED = bool(os.environ.get("SANITIZED"))


def close(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class WebSockets(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.gateway = self.start_gateway("--metrics", f"{HOST}:9571", "--config", self.config_file(
            '[gateway]\nbacklog_bytes_max = "256KiB"\nmax_event_bytes = "256KiB"\n'))
        self.publisher = self.ready_writer()

    def connect(self, **fields):
        peer = WebSocketPeer(**fields)
        self.addCleanup(peer.close)
        return peer

    def open(self, **fields):
        peer = self.connect(**fields)
        self.assertEqual(peer.status, 101)
        return peer

    def test_speaks_the_line_protocol_with_one_line_per_frame(self):
        peer = self.open()
        peer.subscribe("news.>")
        self.assertEqual(peer.command("PUB news.uk grüße\\nund mehr"), "+OK PUB news.uk")
        event = peer.event()
        self.assertEqual((event["topic"], event["offset"], event["text"]), ("news.uk", 1, "grüße\nund mehr"))
        self.assertEqual(peer.command("PING"), "+PONG")
        self.assertEqual(peer.command("PING\r\n"), "+PONG")
        self.assertRegex(peer.command("FORMAT text"), "^-ERR bad_format ")
        self.assertRegex(peer.command("SUB a..b"), "^-ERR bad_topic ")
        self.assertRegex(peer.command("TOPICS news.*"), r"^\+TOPIC news\.uk 1 \d+ ")
        self.assertEqual(peer.reply(), "+OK TOPICS 1")
        self.assertEqual(peer.command("UNSUB news.>"), "+OK UNSUB news.>")
        again = self.open()
        again.send("SUB news.> last")
        self.assertEqual(again.reply(), "+OK SUB news.>")
        self.assertEqual(again.event(), event)
        resumed = self.open()
        resumed.subscribe(f"news.> since={event['stream']}:{event['position'] - 1}")
        self.assertEqual(resumed.event(), event)

    def test_events_are_those_of_format_json(self):
        line, peer = self.client(), self.open()
        line.command("FORMAT json")
        line.subscribe("n")
        peer.subscribe("n")
        for size in (0, 1, 125, 126, 1000, 65_000, 70_000):
            self.publisher.send("n", "x" * size)
            text = line.event()
            peer.event()
            self.assertEqual(peer.seen[-1].payload.decode(), text)

    def test_accepts_single_bytes_and_fragments(self):
        peer = self.open()
        data = (frame(TEXT, "PI", final=False) + frame(PING, b"one") + frame(CONTINUATION, "N", final=False)
                + frame(CONTINUATION, "G") + frame(PING))
        for byte in data:
            peer.send_bytes(bytes([byte]))
        self.assertEqual((peer.pong(), peer.reply(), peer.pong()), (b"one", "+PONG", b""))

    def test_bytes_sent_with_the_handshake_are_not_lost(self):
        with socket.create_connection((HOST, int(GATEWAY.rsplit(":", 1)[1])), timeout=TIMEOUT_S) as peer:
            peer.sendall(f"GET /v1/socket HTTP/1.1\r\nHost: {GATEWAY}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                         + frame(TEXT, "PING") + frame(TEXT, "QUIT"))
            data = b""
            while piece := peer.recv(65536):
                data += piece
        self.assertTrue(data.startswith(b"HTTP/1.1 101 "), data)
        self.assertTrue(data.endswith(b"\r\n\r\n\x81\x05+PONG\x81\x08+OK QUIT\x88\x02\x03\xe8"), data)

    def test_closes_with_the_code_of_the_error(self):
        long_pub = frame(TEXT, "PUB a " + "x" * (256 << 10))
        for data, code in ((frame(BINARY, b"x"), 1003), (frame(TEXT, b"\xff"), 1007), (long_pub, 1009),
                           (frame(TEXT, "x" * 70_000), 1009), (frame(TEXT, "x", masked=False), 1002),
                           (frame(TEXT, "x", reserved=4), 1002), (frame(3), 1002), (frame(PING, final=False), 1002),
                           (frame(CONTINUATION, "x"), 1002), (close(1005), 1002), (close(1000, b"\xff"), 1007),
                           (frame(CLOSE, b"x"), 1002)):
            with self.subTest(data=data[:20]):
                peer = self.open()
                peer.send_bytes(frame(TEXT, "PING") + data)
                self.assertEqual(peer.reply(), "+PONG")
                self.assertEqual(peer.wait_close(), code)
                self.assertTrue(peer.close_reason)
        for name, expected in (("websockets_total", 12), ("websocket_faults_total.protocol", 7),
                             ("websocket_faults_total.binary", 1), ("websocket_faults_total.not_utf8", 2),
                             ("websocket_faults_total.too_long", 2)):
            self.wait_metric(name, lambda value, expected=expected: value == expected)

    def test_a_close_is_answered_with_its_code(self):
        for data, code in ((close(1000, b"done"), 1000), (close(4321), 4321), (frame(CLOSE), 1005)):
            peer = self.open()
            peer.send_bytes(data)
            self.assertEqual(peer.wait_close(), code)
        peer = self.open()
        self.assertEqual(peer.command("QUIT"), "+OK QUIT")
        self.assertEqual(peer.wait_close(), 1000)

    def test_a_client_that_ends_without_a_close_has_left(self):
        peer = self.open()
        peer.subscribe("n")
        peer.half_close()
        peer.wait_closed()
        self.wait_metric("clients", lambda count: count == 0)

    def test_a_slow_reader_gets_gaps_for_exactly_what_it_lost(self):
        slow, fast = self.open(receive_bytes=4096), self.open()
        for peer in (slow, fast):
            peer.subscribe("n", "the.end")
        count = 5000
        for number in range(count):
            self.publisher.send("n", f"{number:05} " + "x" * 1000)
            self.assertEqual(fast.event()["offset"], number + 1)
        self.publisher.send("the.end", "x")
        self.assertEqual(fast.event()["topic"], "the.end")
        told = 0
        while (thing := slow.event_or_gap()).get("topic") != "the.end":
            gap = thing.get("gap", {"first": thing.get("offset"), "last": thing.get("offset")})
            self.assertEqual(gap["first"], told + 1, thing)
            told = gap["last"]
        self.assertEqual(told, count)
        self.wait_metric("dropped_total.slow_consumer", lambda dropped: dropped > 0)

    def test_policy_disconnect_closes_and_a_new_connection_works(self):
        peer = self.open(receive_bytes=4096)
        peer.subscribe("n policy=disconnect")
        other = self.open()
        other.subscribe("n")
        # More than backlog and buffers hold. A client that has not read the close after a second is disconnected without
        # it.
        for number in range(600 if SANITIZED else 1500):
            self.publisher.send("n", "x" * 1000)
            other.event()
        code = peer.wait_close()
        if code is None and SANITIZED:
            return  # a slow machine: the second was over
        self.assertEqual((code, peer.close_reason), (1013, "slow_consumer"))

    def test_says_goodbye_when_the_gateway_ends(self):
        peer = self.open()
        peer.subscribe("n")
        self.gateway.end()
        self.assertEqual(peer.wait_close(), 1001)
        self.assertEqual(peer.notice(), {"bye": "drain"})

    def test_waits_for_the_broker_and_says_so(self):
        peer = self.open()
        peer.subscribe("n")
        self.broker.kill()
        self.assertEqual(peer.notice(), {"wait": "broker"})
        self.start_broker()
        self.assertEqual(peer.notice(), {"live": "broker"})

    def test_refuses_invalid_handshakes(self):
        for fields, status in (({"Sec-WebSocket-Version": "8"}, 426), ({"Upgrade": None}, 426),
                               ({"Connection": "close"}, 426), ({"Sec-WebSocket-Key": "x"}, 400)):
            with self.subTest(fields=fields):
                peer = self.connect(**fields)
                self.assertEqual(peer.status, status)
                if status == 426:
                    self.assertEqual(peer.fields["sec-websocket-version"], "13")

    def test_survives_any_bytes(self):
        chance = random.Random(6455)
        for _ in range(200):
            peer = self.open()
            data = b"".join(frame(chance.choice((0, 1, 1, 1, 2, 3, 8, 9, 10)), chance.randbytes(chance.randrange(200)),
                                  final=chance.random() < 0.7) for _ in range(5))
            try:
                peer.send_bytes(data + chance.randbytes(50))
            except OSError:
                pass  # disconnected already
            peer.close()
        peer = self.open()
        peer.subscribe("n")
        self.publisher.send("n", "x")
        self.assertEqual(peer.event()["text"], "x")
        self.wait_metric("clients", lambda count: count == 1)

    def wait_metric(self, name, is_good):
        """Counters may be up to a second old."""
        deadline = Deadline()
        while not is_good(value := gateway_figures(f"{HOST}:9571")[name]):
            self.assertTrue(deadline.left(), f"{name} is {value}")


if __name__ == "__main__":
    unittest.main()
