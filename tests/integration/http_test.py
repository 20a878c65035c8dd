"""HTTP and Server-Sent Events on the gateway's port, with Python's client and raw sockets."""

import http.client
import json
import socket
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline


class EventStream:
    """Reads Server-Sent Events as the standard defines them: fields up to an empty line."""

    def __init__(self, target, **fields):
        self._connection = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self._connection.request("GET", target, headers=fields)
        self.response = self._connection.getresponse()
        self.last_id = None

    def wait_id(self):
        """Reads a block of fields, with or without an event."""
        while self.last_id is None:
            line = self.response.readline().decode()
            if not line:
                raise AssertionError("the stream has ended")
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ").rstrip("\n")

    def next(self):
        """Returns (name, data as an object, id) of the next event. Ignores comments and blocks without data."""
        fields = {}
        while True:
            line = self.response.readline().decode()
            if not line:
                raise AssertionError("the stream has ended")
            if line != "\n":
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                return fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
            else:
                self.last_id = fields.get("id", self.last_id)
                fields = {}

    def text(self):
        """The same of the next event that is no notice."""
        name, data, _ = self.next()
        if name != "message":
            raise AssertionError(f"expected an event, got {name}: {data}")
        return data["text"]

    def wait(self, expected):
        """Skips everything before a notice of this name."""
        while (event := self.next())[0] != expected:
            pass
        return event[1]

    def close(self):
        self._connection.close()


class Http(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.gateway = self.start_gateway()

    def connection(self):
        connection = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self.addCleanup(connection.close)
        return connection

    def get(self, target, method="GET", connection=None, body=None, **fields):
        """(status, headers, body)"""
        connection = connection or self.connection()
        connection.request(method, target, body=body, headers=fields)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()

    def publish(self, topic, text):
        status, _, body = self.get(f"/v1/topics/{topic}", "POST", body=text.encode())
        self.assertEqual((status, json.loads(body)), (200, {"topic": topic}))

    def stream(self, target, **fields):
        stream = EventStream(target, **fields)
        self.addCleanup(stream.close)
        self.assertEqual(stream.response.status, 200)
        return stream

    def raw(self, data):
        """Sends bytes. Returns everything received until the connection ends."""
        with socket.create_connection((HOST, 1601), timeout=TIMEOUT_S) as connection:
            connection.sendall(data)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def test_one_connection_requests_and_publishes(self):
        connection = self.connection()
        self.publish("news.uk", "Hello")
        for target, expected in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
            deadline = Deadline()
            while (answer := self.get(target, connection=connection)[2]) != expected and deadline.left():
                self.publish("news.uk", "more")  # counters are updated once a second
            self.assertEqual(answer, expected)
        self.assertIn("backplane_gateway_http_responses_total", self.get("/metrics", connection=connection)[2])
        status = json.loads(self.get("/v1/status", connection=connection)[2])
        self.assertEqual((status["backplane"], status["broker"]), ("default", True))
        topics = json.loads(self.get("/v1/topics?pattern=news.*", connection=connection)[2])["topics"]
        self.assertEqual([each["topic"] for each in topics], ["news.uk"])
        self.assertEqual(set(topics[0]), {"topic", "offset", "bytes", "age"})

    def test_the_page_and_its_parts_come_from_the_gateway(self):
        status, headers, body = self.get("/")
        self.assertEqual(status, 200)
        self.assertIn("default-src 'self'", headers["Content-Security-Policy"])
        self.assertIn("<html", body)
        self.assertEqual(self.get("/", **{"If-None-Match": headers["ETag"]})[0], 304)
        self.assertEqual(self.get("/", "HEAD")[2], "")

    def test_many_topics_are_listed_completely(self):
        writer = self.ready_writer()
        for number in range(3000):
            writer.send(f"many.{number}", "x")
        self.wait_admitted(writer)
        self.publish("other", "x")
        topics = json.loads(self.get("/v1/topics?pattern=many.>")[2])["topics"]
        self.assertEqual({each["topic"] for each in topics}, {f"many.{number}" for number in range(3000)})

    def test_an_event_reaches_event_streams_and_line_clients(self):
        stream, client = self.stream("/v1/events?topic=stock.>"), self.client()
        self.assertEqual(stream.response.headers["Content-Type"], "text/event-stream")
        self.assertEqual(client.command("FORMAT json"), "+OK FORMAT json")
        client.subscribe("stock.*")
        self.publish("stock.MSFT", "39.81\nand more")
        name, data, token = stream.next()
        self.assertEqual(name, "message")
        self.assertEqual(data, json.loads(client.event()))
        self.assertEqual(data["text"], "39.81\nand more")
        self.assertEqual(token, f"{data['stream']}:{data['position']}")

    def test_a_resume_has_neither_hole_nor_duplicate(self):
        """A reader is cut off repeatedly while a publisher continues."""
        writer = self.ready_writer()
        count = 3000
        stream = self.stream("/v1/events?topic=n.*")
        seen = []
        for number in range(count):
            writer.send(f"n.{number % 7}", str(number))
            if number % 300 == 299:
                seen.extend(stream.text() for _ in range(100))
                token = stream.last_id
                stream.close()
                stream = self.stream("/v1/events?topic=n.*", **{"Last-Event-ID": token})
        while len(seen) < count:
            seen.append(stream.text())
        self.assertEqual(seen, [str(number) for number in range(count)])

    def test_a_reader_that_is_cut_off_before_its_first_event_misses_none(self):
        self.publish("early", "0")
        for query in ("topic=early", "topic=early&topic=other.*", "topic=early&last"):
            stream = self.stream("/v1/events?" + query)
            stream.wait_id()
            stream.close()
            for number in range(1, 4):
                self.publish("early", str(number))
            again = self.stream("/v1/events?" + query, **{"Last-Event-ID": stream.last_id})
            self.assertEqual([again.text() for _ in range(3)], ["1", "2", "3"], query)

    def test_several_topics_resume_from_one_token(self):
        target = "/v1/events?topic=a&topic=b.*"
        stream = self.stream(target)
        for topic in ("a", "b.x", "c", "b.y"):
            self.publish(topic, topic)
        self.assertEqual([stream.text() for _ in range(2)], ["a", "b.x"])
        again = self.stream(target + "&last_event_id=" + stream.last_id)
        self.assertEqual(again.text(), "b.y")
        self.publish("a", "live")
        name, data, token = again.next()
        while token is None:  # it may have come during the replays
            self.publish("a", "live")
            name, data, token = again.next()
        self.assertEqual((name, data["text"]), ("message", "live"))

    def test_events_that_history_no_longer_has_are_announced(self):
        self.publish("n", "0")
        first = self.stream("/v1/events?topic=n&since=0")
        first.text()
        stream_of, position = first.last_id.split(":")
        other_life = stream_of[:8] + f"{int(stream_of[8:], 16) ^ 1:08x}"
        again = self.stream("/v1/events?topic=n", **{"Last-Event-ID": f"{other_life}:{position}"})
        told = {name: (data, token) for name, data, token in (again.next(), again.next())}
        self.assertEqual(set(told), {"reset", "message"})
        self.assertEqual((told["reset"][0]["reset"]["topic"], told["reset"][1]), ("n", None))
        self.assertEqual(told["message"][0]["text"], "0")

    def test_retained_values_come_first(self):
        self.publish("v.a", "1")
        self.publish("v.b", "2")
        stream = self.stream("/v1/events?topic=v.*&last")
        self.assertEqual({stream.text(), stream.text()}, {"1", "2"})
        self.assertIsNone(stream.last_id)

    def test_the_loss_and_return_of_the_broker_are_announced(self):
        stream = self.stream("/v1/events?topic=a")
        self.broker.kill()
        self.assertEqual(stream.wait("wait"), {"wait": "broker"})
        status, headers, body = self.get("/v1/topics/a", "POST", body=b"x")
        self.assertEqual((status, headers["Content-Type"]), (503, "application/problem+json"))
        self.assertEqual(json.loads(body)["code"], "unavailable")
        self.assertEqual(self.get("/v1/topics")[0], 503)
        self.start_broker()
        self.assertEqual(stream.wait("live"), {"live": "broker"})
        self.gateway.end()
        self.assertEqual(stream.wait("bye"), {"bye": "drain"})

    def test_each_error_has_its_status(self):
        connection = self.connection()
        for target, method, expected in (
                ("/nothing", "GET", 404), ("/healthz", "POST", 405), ("/v1/events", "GET", 400),
                ("/v1/events?topic=a..b", "GET", 400), ("/v1/events?topic=a.>&since=3", "GET", 400),
                ("/v1/topics/a..b", "POST", 400), ("/v1/socket", "GET", 426), ("/healthz", "BREW", 501)):
            status, headers, body = self.get(target, method, connection=connection)
            self.assertEqual((status, headers["Content-Type"]), (expected, "application/problem+json"), target)
            self.assertEqual(json.loads(body)["status"], expected)
        self.assertEqual(self.get("/v1/topics/a", "POST", connection=connection, body=b"x" * 2_000_000)[0], 413)

    def test_a_page_of_another_origin_cannot_use_the_gateway(self):
        self.assertEqual(self.get("/v1/topics", Host="evil.example")[0], 403)
        self.assertEqual(self.get("/v1/topics/a", "POST", body=b"x", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.get("/v1/topics/a", "POST", body=b"x", Origin=f"http://{GATEWAY}")[0], 200)

    def test_ambiguous_requests_are_refused_and_end_the_connection(self):
        stream = self.stream("/v1/events?topic=forged")
        smuggled = b"PUB forged line\nPOST /v1/topics/forged HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
        for fields in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 1\r\nContent-Length: 2\r\n",
                       b"Transfer-Encoding : chunked\r\n", b"X: a\r\n b\r\n", b"X: a\nY: b\r\n"):
            answer = self.raw(b"POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n0\r\n\r\n" + smuggled)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.publish("forged", "by us")
        self.assertEqual(stream.text(), "by us")

    def test_an_empty_chunked_body_may_arrive_byte_by_byte(self):
        with socket.create_connection((HOST, 1601), timeout=TIMEOUT_S) as slow:
            slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            slow.sendall(b"POST /v1/topics/empty HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b"0\r\n\r\n":
                slow.sendall(bytes([byte]))
                self.assertEqual(self.get("/healthz")[0], 200)  # the gateway has had time to read it
            self.assertRegex(slow.recv(65536), rb"^HTTP/1\.1 200 ")
        self.assertTrue(self.gateway.running())

    def test_a_million_bytes_of_header_are_refused_early(self):
        for data in (b"GET /" + b"x" * 30_000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"):
            self.assertRegex(self.raw(data), rb"^HTTP/1\.1 4(14|31) ")


class Slow(BackplaneTest):
    def test_a_request_that_never_ends_is_closed_while_others_are_served(self):
        path = self.config_file('[gateway]\nhttp_request_timeout = "300ms"\n')
        self.start_broker()
        self.start_gateway("--config", path)
        slow = [socket.create_connection((HOST, 1601), timeout=TIMEOUT_S) for _ in range(20)]
        for connection in slow:
            self.addCleanup(connection.close)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        for connection in slow:
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
        other = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self.addCleanup(other.close)
        other.request("GET", "/healthz")
        self.assertEqual(other.getresponse().status, 200)

    def test_if_http_is_off_a_request_gets_an_error(self):
        path = self.config_file("[gateway]\nhttp = false\n")
        self.start_broker()
        self.start_gateway("--config", path)
        client = self.client()
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertRegex(client.reply(), "^-ERR not_http ")
        self.assertEqual(client.notice(), "!BYE not_http")


if __name__ == "__main__":
    unittest.main()
