"""A gateway with a policy: two users with disjoint topics, through every way in."""

import http.client
import json
import os
import pathlib
import signal
import tempfile
import threading
import time
import unittest

import tls_test
from backplane.v1 import session_pb2
from harness import ENDPOINTS, GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline, LineClient
from websocket_peer import WebSocketPeer

SANITIZED = bool(os.environ["SANITIZED"])
SECRETS = {"anna": "a-secret", "bert": "b-secret", "root": "r-secret"}
ANNA, BERT, ROOT = (f"{name}:{secret}" for name, secret in SECRETS.items())
ROLES = """
[roles.a]
publish = ["a.>"]
subscribe = ["a.>"]
[roles.b]
publish = ["b.>"]
subscribe = ["b.>"]
[roles.open]
subscribe = ["open"]
[roles.admin]
admin = true
"""


def varint_message(message):
    data = message.SerializeToString()
    assert len(data) < 128
    return bytes([len(data)]) + data


class Gateway(BackplaneTest):
    broker_config = gateway_config = ""

    @classmethod
    def setUpClass(cls):
        cls.hashes = {}

    def hash_of(self, name):
        if name not in self.hashes:
            run = self.run_program("policy", "hash", "--stdin", stdin=-1)
            run.stdin.write(SECRETS[name] + "\n")
            run.stdin.flush()
            run.stdin.close()
            self.assertEqual(run.wait_exit(), 0, run.transcript())
            self.hashes[name] = run.out[0]
        return self.hashes[name]

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.policy = pathlib.Path(folder.name, "policy.toml")
        self.write_policy(anna=["a"], bert=["b"], root=["admin"])
        self.broker = self.start_broker("--config", self.config_file(self.broker_config))
        self.gateway = self.start_gateway("--policy", str(self.policy), "--config", self.config_file(self.gateway_config))
        self.writer_ = self.ready_writer()

    def write_policy(self, **roles):
        text = "".join(f'[users.{name}]\ntoken = "{self.hash_of(name)}"\nroles = {json.dumps(of)}\n' for name, of in roles.items())
        self.policy.write_text(text + '[users.anonymous]\nroles = ["open"]\n' + ROLES, encoding="utf-8")
        self.policy.chmod(0o600)

    def reload(self, expected="reload: applied the policy"):
        since = len(self.gateway.err)
        self.gateway.signal(signal.SIGHUP)
        self.gateway.wait_line(self.gateway.err, expected, since)

    def publish(self, *topics):
        for topic in topics:
            self.writer_.send(topic, f"of {topic}")
        self.wait_admitted(self.writer_)

    def line(self, token=None):
        client = LineClient()
        self.addCleanup(client.close)
        if token:
            self.assertEqual(client.command(f"AUTH {token}"), f"+OK AUTH {token.split(':')[0]}")
        return client

    def websocket(self, target="/v1/socket"):
        client = WebSocketPeer(target=target)
        self.addCleanup(client.close)
        return client

    def request(self, method, target, token=None, body=None, **fields):
        """Returns (status, fields, body)."""
        connection = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self.addCleanup(connection.close)
        if token:
            fields["Authorization"] = f"Bearer {token}"
        connection.request(method, target, body=body, headers=fields)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()

    def stream(self, target, token=None):
        connection = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self.addCleanup(connection.close)
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse()

    def stream_until(self, response, last):
        """Reads a stream of events until the topic `last`. Returns the topics and the other data."""
        seen = []
        while True:
            line = response.readline().decode()
            self.assertTrue(line, "the stream has ended")
            if line.startswith("data: "):
                data = json.loads(line[6:])
                seen.append(data.get("topic") or data)
                if seen[-1] == last:
                    return seen


class Permissions(Gateway):
    def test_the_line_protocol(self):
        anna, bert, nobody = self.line(ANNA), self.line(BERT), self.line()
        for client in (anna, bert, nobody):
            client.subscribe(">")
        self.assertIn("-ERR not_permitted a.x: ", bert.command("SUB a.x"))
        self.assertIn("-ERR not_permitted b.x: ", anna.command("SUB b.x"))
        self.assertIn("-ERR not_authenticated a.x: ", nobody.command("SUB a.x"))
        self.assertIn("-ERR not_permitted b.x: ", anna.command("PUB b.x forged"))
        self.assertIn("-ERR not_authenticated a.x: ", nobody.command("PUB a.x forged"))
        self.assertEqual(anna.command("PUB a.x own"), "+OK PUB a.x")
        self.publish("b.x", "a.x", "open", "a.end", "b.end")
        self.assertEqual(anna.events_until("a.end of a.end"), ["a.x own", "a.x of a.x"])
        self.assertEqual(bert.events_until("b.end of b.end"), ["b.x of b.x"])
        self.assertEqual(nobody.event(), "open of open")
        anna.send("TOPICS")
        while not (reply := anna.reply()).startswith("+OK TOPICS"):
            self.assertTrue(reply.startswith("+TOPIC a."), reply)
        self.assertEqual(reply, "+OK TOPICS 2")
        self.assertIn("-ERR not_permitted ", anna.command("TOPICS b.x"))
        self.assertIn("-ERR not_permitted ", anna.command("SUB $SYS.>"))

    def test_retained_values_and_history(self):
        self.publish("a.x", "b.x", "a.y", "b.y")
        for options in ("last", "since=1h"):
            anna, bert = self.line(ANNA), self.line(BERT)
            anna.subscribe(f"> {options}")
            bert.subscribe(f"*.* {options}")
            self.publish("a.end", "b.end")
            self.assertEqual(anna.events_until("a.end of a.end")[:2], ["a.x of a.x", "a.y of a.y"])
            self.assertEqual(bert.events_until("b.end of b.end")[:2], ["b.x of b.x", "b.y of b.y"])
            self.assertFalse([line for line in anna.seen if " b." in line or line.startswith("b.")])
            self.assertFalse([line for line in bert.seen if " a." in line or line.startswith("a.")])

    def test_gaps_and_resets(self):
        anna, bert = self.line(ANNA), self.line(BERT)
        for client in (anna, bert):
            client.subscribe(">")
        self.publish("a.x", "b.x", "b.y")
        self.assertEqual(anna.event(), "a.x of a.x")
        self.assertEqual([bert.event(), bert.event()], ["b.x of b.x", "b.y of b.y"])
        self.broker.kill()
        self.broker = self.start_broker()
        self.writer_ = self.ready_writer(source="again@test")
        deadline = Deadline()
        while "!RESET a.x" not in anna.seen:
            self.assertTrue(deadline.left())
            anna.notice()
        while not {"!RESET b.x", "!RESET b.y"} <= set(bert.seen):
            self.assertTrue(deadline.left())
            bert.notice()
        self.assertFalse([line for line in anna.seen if " b." in line])
        self.assertFalse([line for line in bert.seen if " a." in line])

    def test_format_proto(self):
        client = self.line()
        client.send("FORMAT proto")
        self.assertEqual(client.reply(), "+OK FORMAT proto")
        token = session_pb2.ClientMessage(authenticate={"token": ANNA})
        client.send_bytes(varint_message(token))
        for pattern in ("b.x", ">"):
            client.send_bytes(varint_message(session_pb2.ClientMessage(subscribe={"pattern": pattern})))
        data, messages = client._buffer, []
        while len(messages) < 3:
            while data and len(data) > data[0]:
                messages.append(session_pb2.ServerMessage.FromString(data[1:1 + data[0]]))
                data = data[1 + data[0]:]
            if len(messages) < 3:
                data += client._socket.recv(4096)
        self.assertEqual(messages[0].ok.argument, "anna")
        self.assertEqual(messages[1].error.code, "not_permitted")
        self.assertEqual(messages[2].ok.argument, ">")
        self.publish("b.x", "a.x")
        while not (data and len(data) > data[0]):
            data += client._socket.recv(4096)
        self.assertEqual(session_pb2.ServerMessage.FromString(data[1:1 + data[0]]).delivery.topic, "a.x")

    def test_http(self):
        status, fields, body = self.request("POST", "/v1/topics/a.x", body="forged")
        self.assertEqual((status, json.loads(body)["code"]), (401, "not_authenticated"))
        self.assertTrue(fields["WWW-Authenticate"].startswith("Bearer"))
        for token in ("anna:wrong", "nobody:a-secret", "a-secret", "bert:a-secret"):
            self.assertEqual(self.request("POST", "/v1/topics/a.x", token, "forged")[0], 401)
        status, _, body = self.request("POST", "/v1/topics/b.x", ANNA, "forged")
        self.assertEqual((status, json.loads(body)["code"]), (403, "not_permitted"))
        self.assertEqual(self.request("POST", "/v1/topics/a.x", ANNA, "own")[0], 200)
        self.assertEqual(self.request("POST", f"/v1/topics/b.x?access_token={BERT}", body="own")[0], 200)
        self.assertEqual([each["topic"] for each in json.loads(self.request("GET", "/v1/topics", ANNA)[2])["topics"]], ["a.x"])
        self.assertEqual(json.loads(self.request("GET", "/v1/topics")[2])["topics"], [])
        self.assertEqual(self.request("GET", "/v1/topics?pattern=b.>", ANNA)[0], 403)
        self.assertEqual(self.request("GET", "/metrics", ANNA)[0], 403)
        self.assertEqual(self.request("GET", "/metrics")[0], 401)
        self.assertIn('backplane_gateway_not_permitted_total{backplane="default",action="publish"} 2',
                      self.metrics_when("publish"))
        own = json.loads(self.request("GET", "/v1/status", ANNA)[2])
        self.assertEqual(own, {"backplane": "default", "broker": True, "user": "anna", "admin": False})
        self.assertEqual(json.loads(self.request("GET", "/v1/status")[2])["user"], "anonymous")
        self.assertIn("clients", json.loads(self.request("GET", "/v1/status", ROOT)[2])["counters"])
        for path in ("/", "/healthz", "/readyz"):
            self.assertEqual(self.request("GET", path)[0], 200)

    def metrics_when(self, action):
        """The metrics, which are a second old, when both refusals of the test are among them."""
        deadline = Deadline()
        while True:
            text = self.request("GET", "/metrics", ROOT)[2]
            if f'not_permitted_total{{backplane="default",action="{action}"}} 2' in text or not deadline.left():
                return text

    def test_host_and_origin_apply_to_requests_with_a_token(self):
        self.assertEqual(self.request("GET", "/v1/topics", ANNA, Host="elsewhere.example")[0], 403)
        self.assertEqual(self.request("GET", "/v1/topics", ANNA, Origin="https://elsewhere.example")[0], 403)
        self.assertEqual(self.request("POST", f"/v1/topics/a.x?access_token={ANNA}", body="x", Origin="null")[0], 403)

    def test_server_sent_events(self):
        self.publish("a.x", "b.x")
        self.assertEqual(self.stream("/v1/events?topic=a.x").status, 401)
        self.assertEqual(self.stream("/v1/events?topic=b.x", ANNA).status, 403)
        self.assertEqual(self.stream("/v1/events?topic=a.x&topic=b.x", ANNA).status, 403)
        for query in ("topic=%3E&last", "topic=%3E&since=1h", "topic=%3E&since=1h&access_token=" + ANNA):
            events = self.stream(f"/v1/events?{query}", None if "access_token" in query else ANNA)
            self.assertEqual(events.status, 200)
            self.publish("b.y", "a.y")
            self.assertEqual(set(self.stream_until(events, "a.y")), {"a.x", "a.y"})

    def test_websocket(self):
        anna = self.websocket(f"/v1/socket?topic=%3E&access_token={ANNA}")
        self.assertEqual(anna.reply(), "+OK SUB >")
        bert = self.websocket()
        self.assertEqual(bert.command(f"AUTH {BERT}"), "+OK AUTH bert")
        self.assertEqual(bert.command("SUB >"), "+OK SUB >")
        self.assertIn("-ERR not_permitted", bert.command("PUB a.x forged"))
        nobody = self.websocket("/v1/socket?topic=a.x")
        self.assertIn("-ERR not_authenticated a.x: ", nobody.reply())
        self.publish("a.x", "b.x")
        self.assertEqual(anna.event()["topic"], "a.x")
        self.assertEqual(bert.event()["topic"], "b.x")

    def test_a_feed_has_the_rights_of_anonymous(self):
        config = self.config_file(f'policy = "{self.policy}"\n[gateway]\nlisten = ["{HOST}:1701"]\n'
                                  f'[[gateway.feed]]\nlisten = "{HOST}:1702"\ntopics = [">"]\n'
                                  f'[[gateway.feed]]\nlisten = "{HOST}:1703"\ntopics = ["a.>"]\n')
        self.run_program("gateway", "--config", config, *ENDPOINTS).ready()
        forbidden = LineClient(f"{HOST}:1703")
        self.addCleanup(forbidden.close)
        self.assertEqual(forbidden.notice(), "!BYE not_permitted")
        feed = LineClient(f"{HOST}:1702")
        self.addCleanup(feed.close)
        deadline = Deadline()
        while not feed.seen:  # a feed does not say when its subscription is active
            self.assertTrue(deadline.left())
            self.publish("a.x", "open")
            try:
                feed._read(Deadline(0.2))
                feed._sort()
            except AssertionError:
                pass
        self.assertEqual(set(feed.seen), {"open of open"})


class Changes(Gateway):
    def test_revoked_while_connected(self):
        anna, bert, nobody = self.line(ANNA), self.line(BERT), self.line()
        for client in (anna, bert, nobody):
            client.subscribe(">")
        socket_ = self.websocket(f"/v1/socket?topic=%3E&access_token={ANNA}")
        self.assertEqual(socket_.reply(), "+OK SUB >")
        events = self.stream("/v1/events?topic=%3E", ANNA)
        self.write_policy(bert=["b"], root=["admin"])
        self.reload()
        self.publish("a.x", "b.x")
        self.assertEqual(anna.notice(), "!BYE revoked")
        anna.wait_closed()
        self.assertEqual(socket_.notice(), {"bye": "revoked"})
        self.assertEqual(self.stream_until(events, {"bye": "revoked"}), [{"bye": "revoked"}])
        self.assertEqual(socket_.wait_close(), 1008)
        self.assertEqual(bert.event(), "b.x of b.x")
        self.assertIn("-ERR not_authenticated", self.line().command(f"AUTH {ANNA}"))
        self.assertEqual(self.request("GET", "/v1/topics", ANNA)[0], 401)
        self.assertEqual(bert.command("PING") and nobody.command("PING"), "+PONG")

    def test_fewer_and_more_rights(self):
        anna, bert = self.line(ANNA), self.line(BERT)
        anna.subscribe("a.x")
        bert.subscribe(">")
        self.write_policy(anna=["open"], bert=["a", "b"], root=["admin"])
        self.reload()
        self.assertEqual(anna.notice(), "!BYE revoked")
        self.publish("a.x", "b.x")
        self.assertEqual([bert.event(), bert.event()], ["a.x of a.x", "b.x of b.x"])
        self.assertEqual(bert.command("PUB a.x now"), "+OK PUB a.x")
        self.assertIn("-ERR not_permitted", self.line(ANNA).command("PUB a.x no"))

    def test_a_policy_with_errors_changes_nothing(self):
        anna = self.line(ANNA)
        anna.subscribe("a.x")
        self.policy.write_text('[users.anna]\nroles = ["x"]\n', encoding="utf-8")
        self.reload("reload: nothing applied: ")
        self.publish("a.x")
        self.assertEqual(anna.event(), "a.x of a.x")
        self.policy.unlink()
        self.reload("reload: nothing applied: ")
        self.line(ANNA)


class Hostile(Gateway):
    def test_wrong_tokens_do_not_slow_healthy_clients(self):
        healthy = self.line(ANNA)
        healthy.subscribe("a.x")
        stop = threading.Event()
        sent = [0]

        def flood():
            client = LineClient()
            number = 0
            while not stop.is_set():
                lines = "".join(f"AUTH {('anna', 'bert', f'user{number + i}')[i % 3]}:wrong{number + i}\n" for i in range(50))
                client.send_bytes(lines.encode())
                number += 50
                for _ in range(50):
                    reply = client.reply()
                    if not reply.startswith("-ERR not_authenticated "):
                        raise AssertionError(reply)
                sent[0] += 50
            client.close()

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            deadline = Deadline()
            while sent[0] < 2000 and deadline.left():
                begun = time.monotonic()
                self.assertEqual(healthy.command("PUB a.x x"), "+OK PUB a.x")
                self.assertEqual(healthy.event(), "a.x x")
                self.assertLess(time.monotonic() - begun, TIMEOUT_S if SANITIZED else 5)
                known = LineClient()
                self.assertEqual(known.command(f"AUTH {ANNA}"), "+OK AUTH anna")
                known.close()
        finally:
            stop.set()
            thread.join()
        self.assertGreaterEqual(sent[0], 2000)
        self.assertLess(sum("policy:" in line for line in self.gateway.err), 120)

    def test_no_token_in_logs_errors_or_metrics(self):
        self.line(ANNA)
        self.line().command("AUTH anna:wrong-secret")
        self.line().command("AUTH b-secret")
        self.request("GET", "/v1/topics?access_token=bert:other-secret")
        self.request("POST", f"/v1/topics/b.x?access_token={ANNA}", body="x")
        shown = "\n".join(self.gateway.err) + self.request("GET", "/metrics", ROOT)[2]
        for secret in ("a-secret", "b-secret", "wrong-secret", "other-secret", "r-secret", "argon2"):
            self.assertNotIn(secret, shown)
        arguments = pathlib.Path(f"/proc/{self.gateway.pid}/cmdline").read_bytes()
        self.assertNotIn(b"secret", arguments)


class WithTls(tls_test.TlsTest):
    """Client certificates as credentials, and listeners for other machines."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.policy = pathlib.Path(folder.name, "policy.toml")
        self.write_policy("a")
        self.start("--policy", str(self.policy), "--tls-client-ca", self.certificates.file("ca.pem"))

    def write_policy(self, role):
        self.policy.write_text(f'[users.dashboard]\ncertificate = "dashboard"\nroles = ["{role}"]\n' + ROLES, encoding="utf-8")
        self.policy.chmod(0o600)

    def test_the_user_of_a_certificate(self):
        client = self.tls_client(context=self.tls("dashboard"))
        client.subscribe("a.x", ">")
        self.assertIn("-ERR not_permitted b.x: user dashboard ", client.command("SUB b.x"))
        self.assertEqual(client.command("PUB a.x own"), "+OK PUB a.x")
        self.assertEqual(client.event(), "a.x own")
        nobody = self.tls_client(context=self.tls("second"))  # no user has this one
        self.assertIn("-ERR not_authenticated a.x: ", nobody.command("SUB a.x"))
        self.assertIn("-ERR not_authenticated a.x: ", self.tls_client().command("SUB a.x"))
        own = ["--cert", self.certificates.file("dashboard.pem"), "--key", self.certificates.file("dashboard.key")]
        self.assertEqual(json.loads("".join(self.curl(*own, f"https://{GATEWAY}/v1/status")))["user"], "dashboard")
        self.assertIn("not_permitted", "".join(self.curl(*own, "-d", "x", f"https://{GATEWAY}/v1/topics/b.x")))
        self.assertIn("not_authenticated", "".join(self.curl("-d", "x", f"https://{GATEWAY}/v1/topics/a.x")))
        self.write_policy("b")
        self.gateway.signal(signal.SIGHUP)
        self.assertEqual(client.notice(), "!BYE revoked")

    def test_other_machines_may_be_served(self):
        files = [*self.certificates.options(), "--policy", str(self.policy), "--listen", "0.0.0.0:7000", "--check-config"]
        permitted = self.run_program("gateway", *files)
        self.assertEqual((permitted.wait_exit(), permitted.err), (0, []))
        refused = self.run_program("gateway", *files, "--no-tls-required")
        self.assertEqual(refused.wait_exit(), 2)
        self.assertIn("because connections are not encrypted", refused.err[0])
        refused = self.run_program("gateway", *self.certificates.options(), "--listen", "0.0.0.0:7000", "--check-config")
        self.assertEqual(refused.wait_exit(), 2)
        self.assertIn("because clients are not authenticated", refused.err[0])


class Start(BackplaneTest):
    def test_a_policy_that_cannot_be_used_is_an_error_at_the_start(self):
        for text, mode, expected in (("[users.a]\nroles = [\"x\"]\n", 0o600, "expected"), ("", 0o666, "expected a file that other users")):
            with tempfile.TemporaryDirectory() as folder:
                policy = pathlib.Path(folder, "policy.toml")
                policy.write_text(text, encoding="utf-8")
                policy.chmod(mode)
                gateway = self.run_program("gateway", "--policy", str(policy), "--listen", GATEWAY, *ENDPOINTS)
                self.assertEqual((gateway.wait_exit(), gateway.out), (2, []), gateway.transcript())
                self.assertIn(expected, gateway.err[0])

    def test_other_machines_need_encryption_too(self):
        with tempfile.TemporaryDirectory() as folder:
            policy = pathlib.Path(folder, "policy.toml")
            policy.write_text("", encoding="utf-8")
            policy.chmod(0o600)
            refused = self.run_program("gateway", "--policy", str(policy), "--listen", "0.0.0.0:7000", "--check-config")
            self.assertEqual(refused.wait_exit(), 2)
            self.assertIn("because connections are not encrypted", refused.err[0])
            both = self.run_program("gateway", "--policy", str(policy), "--listen", "0.0.0.0:7000", "--insecure", "--check-config")
            self.assertEqual(both.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
