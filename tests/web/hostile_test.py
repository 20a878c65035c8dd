"""Hostile HTTP clients: each is refused with the right status or close code, and no other client is affected."""

import base64
import os
import resource
import socket
import struct
import unittest

from harness import GATEWAY, Deadline
from web_harness import SANITIZED, WebTest

OWN = f"Host: {GATEWAY}\r\n".encode()
UPGRADE = (b"GET /v1/socket HTTP/1.1\r\n" + OWN + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(range(16))) + b"\r\n")
# What a smuggled request would do.
SMUGGLED = b"POST /v1/topics/smuggled HTTP/1.1\r\n" + OWN + b"Content-Length: 1\r\n\r\nx"
MAX_EVENT_BYTES = 64 << 10
CONFIG = f'max_event_bytes = {MAX_EVENT_BYTES}\n'


def request(method, path, *lines, body=b"", host=OWN):
    head = f"{method} {path} HTTP/1.1\r\n".encode() + host
    return head + b"".join(line.encode() + b"\r\n" for line in lines) + b"\r\n" + body


def frame(opcode, payload=b"", fin=True, mask=b"\x12\x34\x56\x78", reserved=0, length=None):
    """A client's frame. `length` is (form, value): how the length is encoded, and as what."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    masked = 0x80 if mask else 0
    form, value = length or ((7 if size < 126 else 16 if size < 1 << 16 else 64), size)
    if form == 7:
        head += bytes([masked | value])
    else:
        head += bytes([masked | (126 if form == 16 else 127)]) + struct.pack(">H" if form == 16 else ">Q", value)
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return head + mask + payload


class Hostile(WebTest):
    CONFIG = CONFIG

    def setUp(self):
        super().setUp()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.start_all(config=self.CONFIG)
        self.friend = self.client()
        self.friend.subscribe("friend")

    def tearDown(self):
        self.assert_unharmed()
        super().tearDown()

    def assert_unharmed(self):
        """Checks that the gateway carries events by every protocol and has metrics, and that nothing was smuggled."""
        self.assertTrue(self.gateway.running(), self.gateway.transcript())
        status, _, _ = self.request("POST", "/v1/topics/friend", body="still there?")
        self.assertEqual(status, 200)
        self.assertEqual(self.friend.event(), "friend still there?")
        self.assertEqual(self.sse("/v1/events?topic=friend&last").message()[0]["text"], "still there?")
        self.assertEqual(self.get("/metrics")[0], 200)
        self.assertEqual(self.friend.command("TOPICS smuggled"), "+OK TOPICS 0")

    def one(self, data, half_close=False):
        """Sends bytes. Returns (status, headers, body), or None if the connection ends."""
        raw = self.raw()
        raw.send(data)
        if half_close:
            raw.half_close()
        response = raw.response()
        return response, raw

    def assert_refused(self, data, *statuses, closes=True):
        """Expects one response with one of these statuses, and that nothing after it is executed."""
        response, raw = self.one(data)
        self.assertIsNotNone(response, data[:200])
        self.assertIn(response[0], statuses, data[:200])
        self.assertTrue(response[1]["content-type"].startswith("application/problem+json"), response[1])
        if closes:
            self.assertEqual(raw.read_to_end(), b"", data[:200])


class Requests(Hostile):
    def test_smuggling_shapes(self):
        for name, data in {
            "both lengths": request("POST", "/v1/topics/n", "Content-Length: 4", "Transfer-Encoding: chunked",
                                    body=b"0\r\n\r\n" + SMUGGLED),
            "both lengths, other order": request("POST", "/v1/topics/n", "Transfer-Encoding: chunked",
                                                 "Content-Length: 4", body=b"0\r\n\r\n" + SMUGGLED),
            "two lengths": request("POST", "/v1/topics/n", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}",
                                   body=SMUGGLED),
            "two lengths in one": request("POST", "/v1/topics/n", "Content-Length: 0, 1", body=SMUGGLED),
            "a negative length": request("POST", "/v1/topics/n", "Content-Length: -1", body=SMUGGLED),
            "a length with a sign": request("POST", "/v1/topics/n", "Content-Length: +1", body=b"x" + SMUGGLED),
            "a length in hexadecimal": request("POST", "/v1/topics/n", "Content-Length: 0x1", body=b"x" + SMUGGLED),
            "a length beyond numbers": request("POST", "/v1/topics/n", f"Content-Length: {2**64 + 1}",
                                               body=b"x" + SMUGGLED),
            "another coding": request("POST", "/v1/topics/n", "Transfer-Encoding: gzip, chunked",
                                      body=b"0\r\n\r\n" + SMUGGLED),
            "chunked not last": request("POST", "/v1/topics/n", "Transfer-Encoding: chunked, identity",
                                        body=b"0\r\n\r\n" + SMUGGLED),
            "a coding that almost is": request("POST", "/v1/topics/n", "Transfer-Encoding: xchunked",
                                               body=b"0\r\n\r\n" + SMUGGLED),
            "a space before the colon": request("POST", "/v1/topics/n", "Transfer-Encoding : chunked",
                                                body=b"0\r\n\r\n" + SMUGGLED),
            "a folded line": request("POST", "/v1/topics/n", "X: a\r\n Content-Length: 4", body=SMUGGLED),
            "no end of the first line but LF": b"GET /healthz HTTP/1.1\n" + OWN + b"\r\n" + SMUGGLED,
            "a chunk size that is none": request("POST", "/v1/topics/n", "Transfer-Encoding: chunked",
                                                 body=b"g\r\n" + SMUGGLED),
            "a chunk size beyond numbers": request("POST", "/v1/topics/n", "Transfer-Encoding: chunked",
                                                   body=b"1" + b"0" * 16 + b"\r\n" + SMUGGLED),
            "a chunk that is longer than it says": request("POST", "/v1/topics/n", "Transfer-Encoding: chunked",
                                                           body=b"1\r\nxx\r\n0\r\n\r\n" + SMUGGLED),
            "a null byte": request("GET", "/healthz", "X: a\0b", body=SMUGGLED),
            "a carriage return alone": request("GET", "/healthz", "X: a\rContent-Length: 4", body=SMUGGLED),
            "two hosts": request("GET", "/healthz", f"Host: {GATEWAY}", body=SMUGGLED),
            "no host": request("GET", "/healthz", host=b"", body=SMUGGLED),
            "a body on a GET that is a request": b"GET /healthz HTTP/1.1\r\n" + OWN
                                                 + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
            "a version that is none": b"GET /healthz HTTP/9.9\r\n" + OWN + b"\r\n" + SMUGGLED,
            "a space in the path": b"GET /heal thz HTTP/1.1\r\n" + OWN + b"\r\n" + SMUGGLED,
        }.items():
            with self.subTest(name):
                raw = self.raw()
                raw.send(data)
                raw.half_close()
                statuses = []
                while response := raw.response():
                    statuses.append(response[0])
                self.assertEqual(len(statuses), 1, statuses)
                # A body that is not needed may be read and ignored.
                expected = (200, 400, 413) if name.startswith("a body on") else (400, 501, 505, 421, 403)
                self.assertIn(statuses[0], expected)

    def test_line_protocol_commands_after_a_request_are_not_executed(self):
        for data in (b"POST / HTTP/1.1\r\n\r\nPUB smuggled x\r\nPUB smuggled y\r\n",
                     b"GET /healthz HTTP/1.0\r\n\r\nPUB smuggled x\r\n",
                     b"POST /v1/topics/n HTTP/1.1\r\n" + OWN + b"Content-Length: 1\r\n\r\nxPUB smuggled x\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nPUB smuggled x\r\n"):
            raw = self.raw()
            raw.send(data)
            raw.half_close()
            self.assertNotIn(b"+OK", raw.read_to_end())

    def test_an_http_2_preface_gets_a_response(self):
        raw = self.raw()
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.assertRegex(raw.read_to_end(), rb"^HTTP/1\.1 (400|505) ")

    def test_too_many_bytes_of_headers(self):
        self.assert_refused(request("GET", "/healthz", "X: " + "a" * (20 << 10)), 431)
        self.assert_refused(request("GET", "/healthz", *(f"X-{number}: a" for number in range(5000))), 431)
        # Also without an end.
        self.assert_refused(b"GET /healthz HTTP/1.1\r\n" + OWN + b"X: " + b"a" * (20 << 10), 431)

    def test_a_request_line_that_is_too_long(self):
        self.assert_refused(request("GET", "/" + "a" * (200 << 10)), 414)
        self.assert_refused(request("GET", "/v1/events?topic=" + "a" * (20 << 10)), 414)

    def test_a_body_that_is_too_long(self):
        topic = "/v1/topics/n"
        # By its length, before any of it arrives; without a length, when it is too much.
        self.assert_refused(request("POST", topic, f"Content-Length: {MAX_EVENT_BYTES + 1}"), 413)
        self.assert_refused(request("POST", topic, f"Content-Length: {1 << 62}"), 413)
        chunk = b"%x\r\n" % (32 << 10) + b"x" * (32 << 10) + b"\r\n"
        self.assert_refused(request("POST", topic, "Transfer-Encoding: chunked", body=chunk * 4), 413)
        status, _, _ = self.request("POST", topic, body="x" * (MAX_EVENT_BYTES - 1000))
        self.assertEqual(status, 200)

    def test_invalid_paths_methods_and_queries(self):
        for status, method, path in ((404, "GET", "/elsewhere"), (404, "GET", "/../etc/passwd"),
                                     (404, "GET", "/%2e%2e/etc/passwd"), (405, "DELETE", "/v1/topics/n"),
                                     (405, "POST", "/healthz"), (405, "PUT", "/"), (400, "POST", "/v1/topics/a..b"),
                                     (400, "POST", "/v1/topics/a%20b"), (400, "POST", "/v1/topics/%zz"),
                                     (400, "POST", "/v1/topics/%ff"), (400, "POST", "/v1/topics/%00"),
                                     (400, "POST", "/v1/topics/$SYS.x"), (400, "GET", "/v1/events"),
                                     (400, "GET", "/v1/events?topic="), (400, "GET", "/v1/events?topic=a..b"),
                                     (400, "GET", "/v1/events?topic=a&every=never"),
                                     (400, "GET", "/v1/events?topic=a&since=1:2:3"),
                                     (400, "GET", "/v1/events?topic=a&policy=none"),
                                     (400, "GET", "/v1/topics?pattern=a..b")):
            with self.subTest(f"{method} {path}"):
                answer, headers, body = self.request(method, path, body="x" if method == "POST" else None)
                self.assertEqual(answer, status, body)
                self.assertTrue(headers["content-type"].startswith("application/problem+json"), headers)
                if status == 405:
                    self.assertIn("GET" if path in ("/healthz", "/") else "POST", headers["allow"])

    def test_foreign_host_names(self):
        for host in ("rebound.test:1601", "127.0.0.1.rebound.test", "localhost.rebound.test", "", "[", "a b", "::1",
                     f"{GATEWAY}@rebound.test", "rebound.test/" + GATEWAY):
            with self.subTest(host):
                response, _ = self.one(request("GET", "/v1/topics", host=f"Host: {host}\r\n".encode()))
                self.assertIn(response[0], (400, 403, 421))

    def test_a_bad_last_event_id_is_an_error(self):
        for token in ("x", "1:", "0123456789abcdef:x", "a" * 8000):
            raw = self.raw()
            raw.send(request("GET", "/v1/events?topic=n", f"Last-Event-ID: {token}"))
            self.assertEqual(raw.response()[0], 400, token[:20])


class Connections(Hostile):
    def test_a_hundred_requests_at_once_get_responses_in_order(self):
        raw = self.raw()
        raw.send(b"".join(request("GET", f"/number-{number}") if number % 2 else request("GET", "/healthz")
                          for number in range(100)))
        for number in range(100):
            status, _, body = raw.response()
            self.assertEqual((status, b"ok" in body), (404, False) if number % 2 else (200, True), number)
        raw.send(b"".join(request("POST", "/v1/topics/n", "Content-Length: 3", body=b"%03d" % number)
                          for number in range(100)))
        for number in range(100):
            self.assertEqual(raw.response()[0], 200)
        offsets = [line for line in (self.friend.command("TOPICS n"), self.friend.reply()) if line.startswith("+TOPIC")]
        self.assertEqual(offsets[0].split(" ")[2], "100")

    def test_half_a_request_and_then_silence(self):
        whole = request("POST", "/v1/topics/n", "Content-Length: 10", body=b"0123456789")
        for length in range(1, len(whole) - 1, 3):
            raw = self.raw()
            raw.send(whole[:length])
            if length % 2:
                raw.half_close()
                raw.read_to_end()
            raw.close()

    def test_one_byte_at_a_time(self):
        raw = self.raw()
        for byte in request("POST", "/v1/topics/n", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"):
            raw.send(bytes([byte]))
        self.assertEqual(raw.response()[0], 200)

    def test_http_1_0_gets_a_response_and_is_closed(self):
        raw = self.raw()
        raw.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        status, headers, body = raw.response()
        self.assertEqual((status, body), (200, b"ok\n"))
        self.assertEqual(raw.read_to_end(), b"")
        # An HTTP/1.0 connection may be kept alive on request; the response says so. Events come without chunks.
        raw = self.raw()
        raw.send(b"GET /v1/events?topic=friend HTTP/1.0\r\n\r\n")
        head = b""
        while line := raw.line():
            head += line + b"\n"
        self.assertNotIn(b"chunked", head.lower())

    def test_expect_100_continue_gets_a_response(self):
        raw = self.raw()
        raw.send(request("POST", "/v1/topics/n", "Content-Length: 3", "Expect: 100-continue"))
        self.assertEqual(raw.response()[0], 100)
        raw.send(b"abc")
        self.assertEqual(raw.response()[0], 200)

    def test_input_of_a_client_that_never_reads_is_paused(self):
        raw = self.raw()
        raw._socket.setblocking(False)
        data = request("GET", "/metrics") * 100
        sent, full = 0, 0
        deadline = Deadline()
        while full < 20 and deadline.left():
            try:
                sent += raw._socket.send(data)
                full = 0
            except BlockingIOError:
                full += 1
                self.assertEqual(self.friend.command("PING"), "+PONG")
            except ConnectionError:
                break  # disconnected for it, which is fine, too
            self.assertLess(sent, 100 << 20, "the gateway keeps reading")


class Slow(Hostile):
    CONFIG = CONFIG + 'first_byte_timeout = "1s"\nhttp_request_timeout = "1s"\n'

    def test_slow_senders_are_disconnected_and_others_served(self):
        count = 50 if SANITIZED else 300
        # Each stops in its first line, a header or its body, and then adds a byte now and then.
        beginnings = (b"GET /he", b"GET /healthz HTTP/1.1\r\nX: ",
                      request("POST", "/v1/topics/n", f"Content-Length: {MAX_EVENT_BYTES}", body=b"a"))
        slow = [self.raw() for _ in range(count)]
        for number, raw in enumerate(slow):
            raw.send(beginnings[number % len(beginnings)])
            raw._socket.setblocking(False)
        said = [b""] * count
        left = set(range(count))
        deadline = Deadline()
        while left:
            for number in list(left):
                try:
                    slow[number]._socket.send(b"a")
                    data = slow[number]._socket.recv(1 << 16)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    said[number] += data
                else:
                    left.discard(number)
            self.assertEqual(self.friend.command("PING"), "+PONG")
            self.assertEqual(self.get("/healthz")[0], 200)
            self.assertTrue(deadline.left(), f"{len(left)} are still there")
        for number, text in enumerate(said):
            if text and number % len(beginnings):
                self.assertIn(b" 408 ", text.split(b"\r\n")[0])


class Frames(Hostile):
    def test_invalid_upgrades(self):
        key = b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n"
        head = b"GET /v1/socket HTTP/1.1\r\n" + OWN
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        version = b"Sec-WebSocket-Version: 13\r\n"
        for name, data, statuses in (
            ("no upgrade", head, (400, 426)),
            ("no key", head + upgrade + version, (400,)),
            ("a short key", head + upgrade + version + b"Sec-WebSocket-Key: AAAA\r\n", (400,)),
            ("a key that is none", head + upgrade + version + b"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!\r\n", (400,)),
            ("no version", head + upgrade + key, (400, 426)),
            ("version 8", head + upgrade + key + b"Sec-WebSocket-Version: 8\r\n", (400, 426)),
            ("another protocol", head + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + version + key, (400, 426)),
            ("no connection", head + b"Upgrade: websocket\r\n" + version + key, (400, 426)),
            ("HTTP/1.0", UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), (400, 426)),
            ("POST", UPGRADE.replace(b"GET", b"POST") + b"Content-Length: 0\r\n", (400, 405)),
            ("another path", UPGRADE.replace(b"/v1/socket", b"/v1/elsewhere"), (404,)),
            ("from elsewhere", UPGRADE + b"Origin: http://elsewhere.test\r\n", (403,)),
            ("another host", UPGRADE.replace(GATEWAY.encode(), b"rebound.test"), (400, 403, 421)),
        ):
            with self.subTest(name):
                response, _ = self.one(data + b"\r\n")
                self.assertIn(response[0], statuses)
                if response[0] == 426:
                    self.assertEqual(response[1]["sec-websocket-version"], "13")
                    self.assertEqual(response[1]["upgrade"].lower(), "websocket")

    def upgraded(self):
        raw = self.raw()
        raw.send(UPGRADE + b"\r\n")
        self.assertEqual(raw.response()[0], 101)
        return raw

    def next_frame(self, raw):
        """Returns (opcode, payload) of the next frame, which must be whole, unmasked and in the shortest form."""
        first, second = raw.take(2)
        self.assertEqual(first & 0xF0, 0x80)
        size = second
        if second == 126:
            size, = struct.unpack(">H", raw.take(2))
            self.assertGreater(size, 125)
        elif second == 127:
            size, = struct.unpack(">Q", raw.take(8))
            self.assertGreater(size, 0xFFFF)
        self.assertEqual(second & 0x80, 0, "masked")
        return first & 0x0F, raw.take(size)

    def close_code(self, raw):
        """Returns the code of the gateway's close. Ignores everything before it."""
        while True:
            opcode, payload = self.next_frame(raw)
            if opcode == 8:
                self.assertEqual(raw.read_to_end(), b"")
                return struct.unpack(">H", payload[:2])[0] if payload else None

    def test_invalid_frames_close_with_their_code(self):
        text, close, ping = 1, 8, 9
        for name, code, frames in (
            ("unmasked", 1002, frame(text, b"PING", mask=b"")),
            ("reserved bit 1", 1002, frame(text, b"PING", reserved=4)),
            ("reserved bit 2", 1002, frame(text, b"PING", reserved=2)),
            ("reserved bit 3", 1002, frame(text, b"PING", reserved=1)),
            *((f"opcode {opcode}", 1002, frame(opcode, b"PING")) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            ("binary", 1003, frame(2, b"PING")),
            ("a continuation of nothing", 1002, frame(0, b"PING")),
            ("a text within a text", 1002, frame(text, b"PI", fin=False) + frame(text, b"NG")),
            ("a ping in pieces", 1002, frame(ping, b"x", fin=False)),
            ("a ping that is too long", 1002, frame(ping, b"x" * 126)),
            ("a close in pieces", 1002, frame(close, struct.pack(">H", 1000), fin=False)),
            ("a close of one byte", 1002, frame(close, b"\x03")),
            *((f"close code {bad}", 1002, frame(close, struct.pack(">H", bad)))
              for bad in (0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000, 65535)),
            ("a close whose reason is no text", 1007, frame(close, struct.pack(">H", 1000) + b"\xff")),
            ("text that is none", 1007, frame(text, b"PUB n \xff\xfe")),
            ("text that ends within a character", 1007, frame(text, b"PUB n \xe2\x82")),
            ("text that is none, in pieces", 1007,
             frame(text, b"PUB n \xe2", fin=False) + frame(0, b"\x28", fin=False) + frame(0, b"\xa1")),
            ("a surrogate", 1007, frame(text, b"PUB n \xed\xa0\x80")),
            ("a length not of the shortest form", 1002, frame(text, b"PING", length=(16, 4))),
            ("the same, longer", 1002, frame(text, b"PING", length=(64, 4))),
            ("a length with its first bit", 1002, frame(text, b"PING", length=(64, 1 << 63))),
            ("far too long", 1009, frame(text, b"PUB n ", length=(64, 1 << 40))),
            ("too long for a command", 1009, frame(text, b"SUB " + b"a" * (65 << 10))),
            ("too long, in pieces", 1009, frame(text, b"PUB n ", fin=False) + frame(0, b"a" * 60_000, fin=False) * 2),
        ):
            with self.subTest(name):
                raw = self.upgraded()
                raw.send(frames)
                self.assertEqual(self.close_code(raw), code)

    def test_commands_after_an_invalid_frame_are_not_executed(self):
        raw = self.upgraded()
        raw.send(frame(3) + frame(1, b"PUB smuggled x"))
        self.assertEqual(self.close_code(raw), 1002)
        raw = self.upgraded()
        raw.send(frame(8, struct.pack(">H", 1000)) + frame(1, b"PUB smuggled x"))
        self.assertEqual(self.close_code(raw), 1000)

    def test_control_frames_between_fragments_and_empty_fragments_are_valid(self):
        raw = self.upgraded()
        raw.send(frame(1, b"", fin=False) + frame(9, b"a") + frame(0, b"PI", fin=False) + frame(10, b"unasked")
                 + frame(0, b"", fin=False) + frame(9, b"b" * 125) + frame(0, b"NG") + frame(0 | 9))
        self.assertEqual([self.next_frame(raw) for _ in range(4)],
                         [(10, b"a"), (10, b"b" * 125), (1, b"+PONG"), (10, b"")])
        raw.send(frame(8))
        self.assertIsNone(self.close_code(raw))

    def test_one_byte_at_a_time(self):
        raw = self.raw()
        for byte in UPGRADE + b"\r\n" + frame(1, b"SUB friend") + frame(9, b"x" * 100):
            raw.send(bytes([byte]))
        self.assertEqual(raw.response()[0], 101)
        got = [self.next_frame(raw) for _ in range(2)]
        self.assertCountEqual(got, [(1, b"+OK SUB friend"), (10, b"x" * 100)])

    def test_frames_right_after_the_handshake_are_executed(self):
        raw = self.raw()
        raw.send(UPGRADE + b"\r\n" + frame(1, b"PING") * 3)
        self.assertEqual(raw.response()[0], 101)
        self.assertEqual([self.next_frame(raw) for _ in range(3)], [(1, b"+PONG")] * 3)

    def test_random_bytes_harm_no_others(self):
        for number in range(100):
            raw = self.upgraded() if number % 2 else self.raw()
            raw.send((b"" if number % 4 else b"GET /v1/socket HTTP/1.1\r\n") + os.urandom(3000))
            raw.close()

    def test_connections_that_end_with_a_reset(self):
        for number in range(100):
            raw = self.upgraded()
            raw.send(frame(1, b"SUB friend"))
            # Closing with unread bytes and without lingering sends a reset.
            raw._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()


class Counters(Hostile):
    def test_the_metrics_count_clients_and_refusals(self):
        base = self.wait_figure("backplane_gateway_clients", lambda value: value >= 1)
        held = [self.raw() for _ in range(5)]
        for raw in held:
            raw.send(UPGRADE + b"\r\n")
            self.assertEqual(raw.response()[0], 101)
        self.wait_figure("backplane_gateway_clients", lambda value: value >= base + 4)
        for raw in held:
            raw.close()
        self.wait_figure("backplane_gateway_clients", lambda value: value <= base + 1)


if __name__ == "__main__":
    unittest.main()
