"""Two users with disjoint topics: nothing of one reaches the other, by any entry point of gateway and broker. Everything that
one user receives is searched for the other's topics and texts."""

import json
import re
import unittest

import security_broker_test
import security_gateway_test
import zmq
from backplane.v1 import control_pb2, session_pb2
from google.protobuf import duration_pb2
from harness import ControlClient, Deadline
from security_gateway_test import ANNA

HISTORY = "[[backplane]]\nhistory_events = 3\n"
# What the other user has: topics, texts, and what they may appear as.
OF_BERT = re.compile(rb"\bb\.|of b")


def assert_nothing_of_bert(test, raw, what):
    if found := OF_BERT.search(raw):
        test.fail(f"{what}: {raw[max(0, found.start() - 100):found.end() + 100]!r}")


class Gateway(security_gateway_test.Gateway):
    """anna reads a.>, bert b.>; history has forgotten the first events of both."""
    broker_config = HISTORY
    gateway_config = "[gateway]\nbacklog_bytes_max = 4096\nunsent_bytes_max = 4096\n"

    def setUp(self):
        super().setUp()
        first = self.line("bert:b-secret")
        first.subscribe("b.>")  # the gateway knows the topics of both
        for _ in range(5):
            self.publish("a.x", "b.secret", "b.x")

    # As a line or a text message; `>` and `*` cover topics of both.
    COMMANDS = ("SUB > last", "SUB *.*", "SUB *.secret", "SUB *.x since=1h", "SUB > since={position}", "SUB > every=10ms last",
                "TOPICS", "TOPICS *.secret", "TOPICS b.x", "POSITION", "UNSUB *.x", "PUB b.secret forged", "PUB b.new forged",
                "SUB b.secret", "SUB b.>")

    def first_position(self):
        """A token from before all events."""
        client = self.line(ANNA)
        self.assertEqual(client.command("FORMAT json"), "+OK FORMAT json")
        client.subscribe("a.x since=1h")
        first = json.loads(client.event())
        return f"{first.get('gap', first)['stream']}:1"

    def talk(self, client):
        """Runs all commands while events of both come. Returns when the last event has come."""
        client.send(f"AUTH {ANNA}")
        position = self.first_position()
        for command in self.COMMANDS:
            client.send(command.format(position=position))
            self.publish("b.secret", "a.x", "b.x")
        self.publish("b.end", "a.end")

    def without_own_errors(self, texts):
        """Refusals name what the client itself has named."""
        return b"\n".join(text for text in texts if not re.match(rb"-ERR not_permitted (b\.\S+: |user anna |anna )?.*b\.", text))

    def test_the_line_protocol(self):
        for form in ("text", "text+offset", "json"):
            with self.subTest(form):
                client = self.line()
                client.send(f"FORMAT {form}")
                self.talk(client)
                deadline = Deadline()
                while not any("a.end" in line for line in client.seen):
                    client._pump(deadline)
                self.assertTrue(any("a.x" in line for line in client.seen), client.seen)
                assert_nothing_of_bert(self, self.without_own_errors([line.encode() for line in client.seen]), form)
                client.close()

    def test_websocket(self):
        for target in ("/v1/socket", f"/v1/socket?topic=%3E&since=1h&access_token={ANNA}"):
            with self.subTest(target):
                peer = self.websocket(target)
                self.talk(peer)
                deadline = Deadline()
                while not any(b"a.end" in frame.payload for frame in peer.seen):
                    peer._pump(deadline)
                assert_nothing_of_bert(self, self.without_own_errors([frame.payload for frame in peer.seen]), target)
                peer.close()

    def test_format_proto(self):
        client = self.line()
        client.send("FORMAT proto")
        self.assertEqual(client.reply(), "+OK FORMAT proto")
        position = self.first_position()
        subscribe = session_pb2.ClientMessage.Subscribe
        messages = [session_pb2.ClientMessage(authenticate={"token": ANNA})]
        messages += [session_pb2.ClientMessage(subscribe=each) for each in (
            subscribe(pattern=">", last=True), subscribe(pattern="*.secret"), subscribe(pattern=">", resume=position),
            subscribe(pattern="*.x", ago=duration_pb2.Duration(seconds=3600)))]
        for message in messages:
            client.send_bytes(security_gateway_test.varint_message(message))
            self.publish("b.secret", "a.x")
        self.publish("b.end", "a.end")
        raw = client._buffer
        while b"of a.end" not in raw:
            raw += client._socket.recv(65536)
        self.assertIn(b"of a.x", raw)
        assert_nothing_of_bert(self, raw, "FORMAT proto")

    def test_server_sent_events(self):
        position = self.first_position()
        queries = ("topic=%3E", "topic=%3E&last", "topic=*.x&topic=*.secret&since=1h", f"topic=%3E&last_event_id={position}",
                   "topic=*.*&every=10ms&last")
        for query in queries:
            with self.subTest(query):
                response = self.stream(f"/v1/events?{query}", ANNA)
                self.assertEqual(response.status, 200)
                raw, deadline = b"", Deadline()
                while b"of a.x" not in raw or (b"secret" not in query.encode() and b"a.end" not in raw):
                    self.assertTrue(deadline.left(), raw)
                    self.publish("b.secret", "a.x", "b.end", "a.end")
                    raw += response.readline()
                assert_nothing_of_bert(self, raw, query)

    def test_http(self):
        targets = ("/v1/topics", "/v1/topics?pattern=%3E", "/v1/topics?pattern=*.secret", "/v1/status", "/metrics", "/", "/healthz",
                   "/readyz")
        for target in targets:
            with self.subTest(target):
                status, fields, body = self.request("GET", target, ANNA)
                self.assertIn(status, (200, 403, 503), f"{target}: {body}")
                if target != "/":  # the page's own text
                    assert_nothing_of_bert(self, f"{fields}\n{body}".encode(), target)

    def test_gaps_of_slow_readers(self):
        """Each loses events of its own topics; those of the other leave no trace."""
        text = "x" * 2000
        for make in (self.line, self.websocket):
            with self.subTest(make.__name__):
                client = make()
                client.send(f"AUTH {ANNA}")
                client.send("SUB >")
                deadline = Deadline()
                while len(client._replies) < 2:
                    client._pump(deadline)
                for _ in range(4000):  # 8 MB of each, which it does not read
                    self.writer_.send("a.x", text)
                    self.writer_.send("b.secret", text)
                self.wait_admitted(self.writer_)
                seen = []
                while not any("a.end" in each for each in seen):
                    self.publish("b.end", "a.end")
                    client._pump(deadline)
                    seen = [each if isinstance(each, str) else each.payload.decode() for each in client.seen]
                gaps = [each for each in seen if "!GAP" in each or '"gap"' in each]
                self.assertTrue(gaps, "it has lost nothing: the test shows nothing")
                self.assertTrue(all("a.x" in gap for gap in gaps), gaps)
                assert_nothing_of_bert(self, "\n".join(seen).encode(), make.__name__)
                client.close()


class Broker(security_broker_test.SecuredBroker):
    """anna and bert have keys, and an egress endpoint each."""

    def setUp(self):
        super().setUp()
        self.users = {"anna": ["a"], "bert": ["b"], "full": ["all"]}
        self.write_policy()
        roles = '[roles.a]\npublish = ["a.>"]\nsubscribe = ["a.>"]\n[roles.b]\npublish = ["b.>"]\nsubscribe = ["b.>"]\n'
        policy = self.folder / "policy.toml"
        policy.write_text(policy.read_text("utf-8") + roles, encoding="utf-8")
        configuration = security_broker_test.CONFIGURATION.replace('topics = ["sensor.>"]', 'topics = ["a.>"]')
        (self.folder / "b.toml").write_text(configuration.replace("raw =", "history_events = 3\nraw ="), encoding="utf-8")
        self.running = self.broker()
        self.writers = {user: self.writer_of(user, source=f"{user}@test")[0] for user in ("anna", "bert")}
        for _ in range(5):
            self.writers["anna"].send("a.x", "of a.x")
            self.writers["bert"].send("b.secret", "of b.secret")
            self.writers["bert"].send("b.x", "of b.x")
        full = self.control_of("full")
        deadline = Deadline()
        while full.request(stats=control_pb2.StatsRequest()).position < 15:
            self.assertTrue(deadline.left())

    def control_of(self, user):
        control = ControlClient(self.context_of(user))
        self.addCleanup(control.close)
        return control

    def test_egress(self):
        reader, _ = self.reader_of("anna", "", egress=security_broker_test.LIMITED)
        refused = self.outcome(self.context_of("bert"), zmq.SUB, security_broker_test.LIMITED)
        self.assertEqual((refused["event"], refused["value"]), (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400))
        self.assertIsNot(self.outcome(self.context_of("anna"), zmq.SUB, security_broker_test.EGRESS), True)
        self.writers["bert"].send("b.secret", "of b.secret")
        self.writers["anna"].send("a.end", "end")
        raw = b""
        while b"a.end" not in raw:
            raw += b"\n".join(reader.receive_frames())
        assert_nothing_of_bert(self, raw, "egress")

    def test_control(self):
        control = self.control_of("anna")
        start = self.control_of("full").request(stats=control_pb2.StatsRequest())
        after = {"stream": start.stream, "position": 1}
        requests = [{"retained": {"pattern": pattern}} for pattern in (">", "*.secret", "*.x")]
        requests += [{"replay": {"pattern": pattern, **begin}} for pattern in (">", "*.x")
                     for begin in ({"since_ns": 0}, {"after_position": after, "earlier": True}, {"since_ago_ns": 10**15})]
        requests += [{"tails": {"patterns": [">", "b.secret", "*.secret"]}}, {"topics": {"pattern": ">"}},
                     {"topics": {"pattern": "*.secret"}}, {"types": {}}, {"hello": {"name": "anna", "session": 7, "role": 3}},
                     {"retained": {"pattern": "a.>"}}, {"replay": {"pattern": "a.x", "after_offset": 2}}]
        seen = b""
        for request in requests:
            for reply_bytes_max in (0, 1):  # 1: one entry per reply, with cursors in between
                (name, fields), = request.items()
                fields = dict(fields)
                for _ in range(100):
                    control.send(control_pb2.ControlRequest(version=1, id=7, reply_bytes_max=reply_bytes_max, **{name: fields}))
                    raw = control.reply_bytes()
                    reply = control_pb2.ControlReply.FromString(raw)
                    seen += raw
                    assert_nothing_of_bert(self, raw, f"{request}: {reply}")
                    if reply.WhichOneof("end") != "more":
                        break
                    fields["cursor"] = reply.more.cursor
                self.assertIn(reply.WhichOneof("end"), ("complete", "gone"), f"{request}: {reply}")
        self.assertIn(b"of a.x", seen)
        for request in ({"retained": {"pattern": "b.secret"}}, {"replay": {"pattern": "b.>", "since_ns": 0}},
                        {"topics": {"pattern": "b.>"}}, {"tails": {"patterns": ["b.>"]}}, {"stats": {}}, {"drain": {}},
                        {"admitted": {"source": "bert@test", "session": self.writers["bert"].session}}):
            self.assertEqual(control.request(**request).error.code, "not_permitted", request)

    def test_publishing(self):
        everything, _ = self.reader_of("full", "")
        forger, _ = self.writer_of("bert", source="anna@test")
        forger.session, forger.sequence = self.writers["anna"].session, self.writers["anna"].sequence
        forger.send("b.x", "in the session of anna")
        forger.send("a.x", "on a topic of anna")
        raw, _ = self.writer_of("bert", endpoint=security_broker_test.RAW)
        raw.send_frames(b"a.x", b"raw, on a topic of anna")
        self.wait_metric(r'rejected_total\{backplane="default",reason="not_permitted"\}', 2)
        self.wait_metric(r'rejected_total\{backplane="default",reason="wrong_user"\}', 1)
        self.writers["anna"].send("a.x", "her own")
        topic, event = everything.receive()
        while topic.startswith("$SYS."):
            topic, event = everything.receive()
        self.assertEqual((topic, event.text), ("a.x", "her own"))


if __name__ == "__main__":
    unittest.main()
