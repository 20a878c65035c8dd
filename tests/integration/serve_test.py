"""`backplane serve`: broker and gateway in one process, seen by clients of every protocol."""

import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest

import zmq
from backplane.v1 import control_pb2
from harness import (CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, METRICS, RAW, TIMEOUT_S, BackplaneTest, ControlClient,
                     Deadline, LineClient, Reader)
from tls_test import Certificates
from websocket_peer import WebSocketPeer

SANITIZED = bool(os.environ["SANITIZED"])
OPTIONS = [*ENDPOINTS, "--raw", RAW, "--metrics", METRICS, "--listen", GATEWAY]
FREE_PORTS = [word for flag in ("--ingress", "--egress", "--control") for word in (flag, f"tcp://{HOST}:0")]


def get(target, address=METRICS, token=None, tls=None):
    """(status, body) of a page."""
    connection = (http.client.HTTPSConnection(address, timeout=TIMEOUT_S, context=tls) if tls
                  else http.client.HTTPConnection(address, timeout=TIMEOUT_S))
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class ServeTest(BackplaneTest):
    def serve(self, *options, **process):
        """Starts it. Returns the process; the fields of its ready line are in self.fields."""
        serve = self.run_program("serve", *OPTIONS, *options, **process)
        self.fields = serve.ready()
        return serve

    def text_events(self, client, count):
        return [client.event() for _ in range(count)]

    def wait_until(self, condition, what):
        deadline = Deadline()
        while not condition():
            self.assertTrue(deadline.left(), what)

    def figures(self):
        """The metrics by name, of the backplane default and without further labels."""
        return {match[1]: float(match[2])
                for match in re.finditer(r'^(backplane_\w+)\{backplane="default"\} (\S+)$', get("/metrics")[1], re.M)}


class Serve(ServeTest):
    def test_one_ready_line_names_everything_and_everything_is_ready(self):
        serve = self.serve()
        self.assertEqual(list(self.fields), ["role", "name", "ingress", "egress", "control", "raw", "listen", "metrics"])
        self.assertEqual(self.fields, {"role": "serve", "name": "default", "ingress": INGRESS, "egress": EGRESS,
                                       "control": CONTROL, "raw": RAW, "listen": GATEWAY, "metrics": METRICS})
        self.assertEqual(get("/readyz")[0], 200)
        self.assertEqual(get("/readyz", GATEWAY)[0], 200)
        self.assertEqual(get("/healthz")[0], 200)
        self.assertEqual(len(serve.out), 1)
        self.assertFalse([line for line in serve.err if re.search(r"Z (warning|error) ", line)], serve.transcript())

    def test_an_event_of_any_way_in_gets_out_by_every_way_out(self):
        self.serve()
        line, web, sub = self.client(), WebSocketPeer(), self.live_reader("news.")
        self.addCleanup(web.close)
        line.subscribe("news.>")
        web.send("SUB news.>")
        self.assertEqual(web.reply(), "+OK SUB news.>")
        stream = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
        self.addCleanup(stream.close)
        stream.request("GET", "/v1/events?topic=news.%3E")
        events = stream.getresponse()

        def next_of_stream():
            while not (found := events.readline().decode()).startswith("data: "):
                self.assertTrue(found, "the stream has ended")
            return json.loads(found[6:])

        def publish_raw():
            raw = self.context.socket(zmq.XPUB)
            self.addCleanup(raw.close)
            raw.setsockopt(zmq.LINGER, 0)
            raw.connect(RAW)
            self.assertTrue(raw.poll(TIMEOUT_S * 1000))
            raw.send_multipart([b"news.raw", b"by raw"])

        def publish_http():
            post = http.client.HTTPConnection(GATEWAY, timeout=TIMEOUT_S)
            post.request("POST", "/v1/topics/news.http", body="by http")
            self.assertEqual(post.getresponse().status // 100, 2)
            post.close()

        def pub(topic, text, *addresses):
            pub = self.run_program("pub", topic, text, *addresses)
            self.assertEqual(pub.wait_exit(), 0, pub.transcript())

        ways = {"ingress": lambda: pub("news.ingress", "by ingress", *ENDPOINTS),
                "gateway": lambda: pub("news.gateway", "by gateway", "--gateway", GATEWAY),
                "raw": publish_raw, "http": publish_http}
        for name, publish in ways.items():
            with self.subTest(name):
                publish()
                self.assertEqual(line.event(), f"news.{name} by {name}")
                self.assertEqual(web.event()["text"], f"by {name}")
                self.assertEqual(next_of_stream()["text"], f"by {name}")
                topic, event = sub.receive()
                self.assertEqual((topic, event.text), (f"news.{name}", f"by {name}"))

    def test_zeromq_sockets_use_the_gateways_port_too(self):
        self.serve()
        sub = self.context.socket(zmq.SUB)
        self.addCleanup(sub.close)
        sub.linger = 0
        sub.connect(f"tcp://{GATEWAY}")
        for prefix in ("stock.", "$SYS.gap.", "$SYS.live.now"):
            sub.subscribe(prefix)
        self.assertTrue(sub.poll(TIMEOUT_S * 1000))
        self.assertEqual(sub.recv_multipart()[0], b"$SYS.live.now")
        pub = self.context.socket(zmq.XPUB)
        self.addCleanup(pub.close)
        pub.linger = int(TIMEOUT_S * 1000)
        pub.connect(f"tcp://{GATEWAY}")
        self.assertTrue(pub.poll(TIMEOUT_S * 1000), "the gateway subscribes to everything")
        line, there = self.client(), self.live_reader("stock.")
        line.subscribe("stock.>")
        pub.send_multipart([b"news.uk", b"not for it"])
        pub.send_multipart([b"stock.MSFT", b"39.5"])
        self.assertTrue(sub.poll(TIMEOUT_S * 1000))
        self.assertEqual(sub.recv_multipart(), there.receive_frames())
        self.assertEqual(line.event(), "stock.MSFT 39.5")

    def test_history_and_retained_values_come_from_the_broker(self):
        self.serve()
        writer = self.ready_writer()
        for number in range(1, 6):
            writer.send("count", f"{number}")
        self.wait_admitted(writer)
        late = self.client()
        self.assertEqual(late.command("SUB count last"), "+OK SUB count")
        self.assertEqual(late.event(), "count 5")
        later = self.client()
        self.assertEqual(later.command("SUB count since=2"), "+OK SUB count")
        self.assertEqual(self.text_events(later, 3), ["count 3", "count 4", "count 5"])
        self.assertIn("count", get("/v1/topics", GATEWAY)[1])

    def test_a_burst_arrives_completely_and_in_order(self):
        serve = self.serve()
        client, sub = self.client(), self.live_reader("load")
        client.subscribe("load")
        writer, count = self.ready_writer(), 5_000 if SANITIZED else 50_000
        sender = threading.Thread(target=lambda: [writer.send("load", f"{i}") for i in range(count)])
        sender.start()
        for number in range(count):
            self.assertEqual(client.event(), f"load {number}")
        for number in range(count):
            self.assertEqual(sub.receive()[1].text, f"{number}")
        sender.join()
        self.wait_admitted(writer)
        self.wait_until(lambda: self.figures()["backplane_gateway_delivered_total"] >= count, "the ledger lags")
        self.assertEqual(self.figures()["backplane_broker_drop_episodes_total"], 0, serve.transcript())

    def test_one_page_has_the_metrics_of_both_each_once(self):
        self.serve()
        for address in (METRICS, GATEWAY):
            status, page = get("/metrics", address)
            self.assertEqual(status, 200)
            names = re.findall(r"^# TYPE (\w+) ", page, re.M)
            self.assertEqual(len(names), len(set(names)), "a metric is there twice")
            for name in ("backplane_broker_published_total", "backplane_gateway_clients", "backplane_gateway_broker_connected"):
                self.assertIn(name, names)
        self.wait_until(lambda: self.figures()["backplane_broker_turns_total"] > 0, "no turns")
        self.assertEqual(self.figures()["backplane_gateway_broker_connected"], 1)
        other = self.run_program("serve", *FREE_PORTS, "--raw", "off", "--metrics", "off", "--listen", f"{HOST}:0")
        self.assertEqual(list(other.ready()), ["role", "name", "ingress", "egress", "control", "listen"])

    def test_the_tools_work_with_it(self):
        self.serve()
        pub = self.run_program("pub", "mood", "good", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        value = self.run_program("get", "mood", *ENDPOINTS)
        self.assertEqual((value.wait_exit(), value.out), (0, ["good"]), value.transcript())
        top = self.run_program("top", "--once", *ENDPOINTS)
        self.assertEqual(top.wait_exit(), 0, top.transcript())
        self.assertTrue(any(line.startswith("gateway@") for line in top.out), top.transcript())
        audit = self.run_program("audit", *ENDPOINTS)
        self.assertEqual(audit.wait_exit(), 0, audit.transcript())


class Ends(ServeTest):
    def test_a_stop_delivers_everything_before_it_says_goodbye(self):
        serve = self.serve()
        client, sub = self.client(), self.live_reader("load", "$SYS.drain")
        client.subscribe("load")
        writer, count = self.ready_writer(), 2_000 if SANITIZED else 20_000
        for number in range(count):
            writer.send("load", f"{number}")
        own = self.client()
        own.send("PUB load from a client")
        serve.signal(signal.SIGTERM)
        client.wait_closed()
        lines = client.lines[1:]
        self.assertEqual(lines[-1], "!BYE drain")
        events = [line for line in lines[:-1] if line != "load from a client"]
        self.assertEqual(events, [f"load {number}" for number in range(count)])
        own.wait_closed()
        self.assertEqual(own.lines[-1], "!BYE drain")
        if "+OK PUB load" in own.lines:
            self.assertIn("load from a client", lines)
        last = None
        while last != b"$SYS.drain":
            last = sub.receive_frames()[0]
        self.assertEqual(serve.wait_exit(), 0, serve.transcript())

    def test_a_drain_request_ends_it_with_exit_code_0(self):
        serve = self.serve()
        client = self.client()
        client.subscribe("x")
        drain = self.run_program("broker", "drain", *ENDPOINTS)
        self.assertEqual(drain.wait_exit(), 0, drain.transcript())
        client.wait_closed()
        self.assertEqual(client.lines[-1], "!BYE drain")
        self.assertEqual(serve.wait_exit(), 0, serve.transcript())

    def test_an_idle_process_ends_within_seconds_although_a_client_reads_nothing(self):
        serve = self.serve()
        client = self.client()
        client.subscribe(">")
        deadline = Deadline(20)
        serve.signal(signal.SIGINT)
        self.assertEqual(serve.wait_exit(), 0, serve.transcript())
        self.assertGreater(deadline.left(), 0)

    def test_a_killed_process_continues_its_stream_and_clients_resume(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        data = os.path.join(folder.name, "new")
        serve = self.serve("--data", data)
        client = self.client()
        self.assertEqual(client.command("FORMAT json"), "+OK FORMAT json")
        client.subscribe("news")
        pub = self.run_program("pub", "news", "one", "--gateway", GATEWAY)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        first = json.loads(client.event())
        serve.kill()
        client.wait_closed()
        again = self.serve("--data", data)
        again.wait_line(again.err, "default: continues its stream after position [1-9]")
        pub = self.run_program("pub", "news", "two", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        client = self.client()
        self.assertEqual(client.command("FORMAT json"), "+OK FORMAT json")
        token = f"{first['stream']}:{first['position']}"
        self.assertEqual(client.command(f"SUB news since={token}"), "+OK SUB news")
        second = json.loads(client.event())
        self.assertEqual((second["text"], second["stream"], second["offset"]), ("two", first["stream"], first["offset"] + 1))
        late = self.client()
        self.assertEqual(late.command("SUB news last"), "+OK SUB news")
        self.assertEqual(late.event(), "news two")

    def test_a_killed_process_without_a_store_is_a_reset(self):
        serve = self.serve()
        subscriber = self.run_program("sub", "news", "--gateway", GATEWAY, "--format", "text")
        self.publish_until_received_by_gateway("news", subscriber)
        serve.kill()
        self.serve()
        count = len(subscriber.out)
        deadline = Deadline()
        while not any("again" in line for line in subscriber.out[count:]):
            self.assertTrue(deadline.left(), subscriber.transcript())
            pub = self.run_program("pub", "news", "again", "--gateway", GATEWAY)
            self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        self.assertTrue(any(line.startswith("!RESET news") for line in subscriber.out[count:]), subscriber.transcript())

    def publish_until_received_by_gateway(self, topic, process):
        deadline = Deadline()
        while not process.out:
            self.assertTrue(deadline.left(), process.transcript())
            pub = self.run_program("pub", topic, "knock", "--gateway", GATEWAY)
            self.assertEqual(pub.wait_exit(), 0, pub.transcript())


class Configured(ServeTest):
    def run_to_end(self, *arguments):
        process = self.run_program("serve", *arguments)
        return process.wait_exit(), process.out, process.err

    def test_check_and_print(self):
        path = self.config_file("[gateway]\nbrokers = ['host7']\n[[gateway.backplane]]\nname = 'x'\nlisten = ['127.0.0.1:0']\n")
        code, _, errors = self.run_to_end("--config", path, "--check-config")
        self.assertEqual(code, 2)
        self.assertEqual([error.removeprefix(path) for error in errors], [
            ":2 [gateway].brokers: expected no brokers, because the gateway of `backplane serve` uses the broker in its own "
            "process, got \"host7\"",
            ":4 [gateway.backplane].name: expected the name of a [[backplane]], got \"x\""])
        self.assertEqual(self.run_to_end("--check-config"), (0, ["defaults: ok"], []))
        code, printed, _ = self.run_to_end("--print-config", "--listen", "127.0.0.1:7777")
        self.assertEqual(code, 0)
        self.assertIn('listen = ["127.0.0.1:7777"]', printed)
        code, out, errors = self.run_to_end("--config", self.config_file("\n".join(printed)), "--check-config")
        self.assertEqual((code, errors), (0, []), out)

    def test_a_port_that_is_taken_is_exit_code_1(self):
        self.serve()
        code, out, errors = self.run_to_end(*FREE_PORTS, "--raw", "off", "--metrics", "off", "--listen", GATEWAY)
        self.assertEqual((code, out), (1, []), errors)
        self.assertIn(f"cannot listen on {GATEWAY}", errors[-1])
        code, out, errors = self.run_to_end(*OPTIONS[:-2], "--listen", f"{HOST}:0")
        self.assertEqual((code, out), (1, []), errors)
        self.assertIn("cannot listen on tcp://", errors[-1])
        code, _, errors = self.run_to_end("--no-tls-required", "--tls-required")
        self.assertEqual((code, errors), (2, ["backplane serve: expected --tls-required or --no-tls-required, got both"]))

    def test_several_backplanes_have_a_ready_line_each(self):
        path = self.config_file(f"""
[[backplane]]
name = "plant"
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "off"
[[backplane]]
name = "office"
ingress = "tcp://{HOST}:6570"
egress = "tcp://{HOST}:6571"
control = "tcp://{HOST}:6572"
raw = "off"
[metrics]
listen = "{METRICS}"
[gateway]
listen = ["{GATEWAY}"]
[[gateway.backplane]]
name = "office"
listen = ["{HOST}:1602"]
[[gateway.feed]]
listen = "{HOST}:1603"
topics = ["news"]
""")
        serve = self.run_program("serve", "--config", path)
        serve.wait_line(serve.out, f"^ready role=serve name=plant .*listen={GATEWAY},{HOST}:1603 metrics={METRICS}$")
        serve.wait_line(serve.out, f"^ready role=serve name=office .*listen={HOST}:1602 metrics={METRICS}$")
        plant, office, feed = self.client(), LineClient(f"{HOST}:1602"), LineClient(f"{HOST}:1603")
        self.addCleanup(office.close)
        self.addCleanup(feed.close)
        for client in (plant, office):
            client.subscribe("news")
        self.assertEqual(plant.command("PUB news of the plant"), "+OK PUB news")
        self.assertEqual(office.command("PUB news of the office"), "+OK PUB news")
        self.assertEqual((plant.event(), feed.event()), ("news of the plant",) * 2)
        self.assertEqual(office.event(), "news of the office")
        for name in ("plant", "office"):
            published = f'backplane_broker_published_total{{backplane="{name}"}} [1-9]'
            self.wait_until(lambda pattern=published: re.search(pattern, get("/metrics")[1]), "nothing was published")
            self.assertIn(f'backplane_gateway_broker_connected{{backplane="{name}"}} 1', get("/metrics")[1])

    def test_a_reload_applies_what_can_change_and_names_the_rest(self):
        path = self.config_file(f'[[backplane]]\nstats_every = "1h"\n[metrics]\nlisten = "{METRICS}"\n')
        serve = self.run_program("serve", "--config", path, *OPTIONS)
        serve.ready()
        pathlib.Path(path).write_text(f'[log]\nlevel = "debug"\n[[backplane]]\nmax_topics = 7\nstats_every = "200ms"\n'
                                      f'[metrics]\nlisten = "{METRICS}"\n', encoding="utf-8")
        stats = self.live_reader("$SYS.broker.default.stats")
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: default: applied retention")
        serve.wait_line(serve.err, r"reload: applied \[log\].level")
        serve.wait_line(serve.err, "reload: default: needs a restart: max_topics")
        self.assertEqual(stats.receive()[0], "$SYS.broker.default.stats")
        self.assertFalse([line for line in serve.err if "needs a restart: [metrics]" in line], serve.transcript())
        pathlib.Path(path).write_text("[log]\nlevel = 'loud'\n", encoding="utf-8")
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: not applied: .*expected one of debug")


class Secured(ServeTest):
    """With a policy: CURVE for ZeroMQ, tokens and TLS for the gateway's clients, and no key for the hop between them."""

    ROLES = """
[roles.news]
publish = ["news.>"]
subscribe = ["news.>"]
[roles.everything]
publish = [">"]
subscribe = [">"]
admin = true
"""

    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.cleanup)

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("broker", "other"):
            made = self.run_program("keys", "new", name, cwd=folder.name)
            self.assertEqual(made.wait_exit(), 0, made.transcript())
        self.server_key = (self.folder / "broker.pub").read_bytes().strip()
        self.pairs = {"reporter": zmq.curve_keypair(), "operator": zmq.curve_keypair()}
        self.token_hashes = {user: self.hash_of(f"{user}-secret") for user in self.pairs}
        self.write_policy(reporter=["news"], operator=["everything"])

    def hash_of(self, secret):
        hashed = self.run_program("policy", "hash", "--stdin", stdin=subprocess.PIPE)
        hashed.stdin.write(f"{secret}\n")
        hashed.stdin.flush()
        hashed.stdin.close()
        self.assertEqual(hashed.wait_exit(), 0, hashed.transcript())
        return hashed.out[0]

    def write_policy(self, **users):
        text = "".join(f'[users.{name}]\ncurve = "{self.pairs[name][0].decode()}"\ntoken = "{self.token_hashes[name]}"\n'
                       f"roles = {json.dumps(roles)}\n" for name, roles in users.items())
        path = self.folder / "policy.toml"
        fresh = self.folder / "fresh"
        fresh.write_text(text + self.ROLES, encoding="utf-8")
        fresh.chmod(0o600)
        fresh.rename(path)

    def serve_secured(self, *options):
        return self.serve("--policy", "policy.toml", "--key", "broker.key", *options, cwd=str(self.folder))

    def context_of(self, user):
        context = zmq.Context()
        self.addCleanup(context.term)
        context.linger = 0
        context.curve_publickey, context.curve_secretkey = self.pairs[user]
        context.curve_serverkey = self.server_key
        return context

    def signed_in(self, user="reporter"):
        client = self.client()
        self.assertEqual(client.command(f"AUTH {user}:{user}-secret"), f"+OK AUTH {user}")
        return client

    def test_the_gateway_needs_no_key_and_clients_get_what_they_may(self):
        self.serve_secured()
        client, stranger = self.signed_in(), self.client()
        self.assertTrue(stranger.command("SUB news.uk").startswith("-ERR not_"), stranger.lines)
        self.assertTrue(client.command("SUB stock.MSFT").startswith("-ERR not_permitted"), client.lines)
        client.subscribe("news.>")
        self.assertEqual(client.command("PUB news.uk rain"), "+OK PUB news.uk")
        self.assertEqual(client.event(), "news.uk rain")
        self.assertTrue(client.command("PUB stock.MSFT 1").startswith("-ERR not_permitted"), client.lines)
        # The same event for a ZeroMQ user, and the other way round.
        reader = Reader(self.context_of("operator"), "news.")
        self.addCleanup(reader.close)
        reader.wait_live()
        self.assertEqual(client.command("PUB news.uk sun"), "+OK PUB news.uk")
        self.assertEqual(reader.receive()[1].text, "sun")
        self.assertEqual(client.event(), "news.uk sun")
        self.wait_until(lambda: self.figures()["backplane_broker_publish_permitted_total"] > 0, "no event was permitted")
        self.assertEqual(self.figures()["backplane_broker_control_not_permitted_total"], 0)

    def test_strangers_get_nothing_from_the_brokers_ports(self):
        serve = self.serve_secured()
        client = self.signed_in("operator")
        client.subscribe(">")
        for kind, endpoint in ((zmq.XPUB, INGRESS), (zmq.DEALER, CONTROL), (zmq.SUB, EGRESS), (zmq.XPUB, RAW)):
            for keys in (None, zmq.curve_keypair()):
                with self.subTest(endpoint=endpoint, keys=keys is not None), self.context.socket(kind) as stranger:
                    stranger.setsockopt(zmq.LINGER, 0)
                    if keys:
                        stranger.curve_publickey, stranger.curve_secretkey = keys
                        stranger.curve_serverkey = self.server_key
                    stranger.connect(endpoint)
                    if kind == zmq.SUB:
                        stranger.subscribe("")
                    elif kind == zmq.DEALER:
                        request = control_pb2.ControlRequest(version=1, id=7, stats={})
                        stranger.send_multipart([b"", request.SerializeToString()], zmq.DONTWAIT)
                    # A user is served within milliseconds.
                    self.assertFalse(stranger.poll(300), "a stranger was admitted")
        # The names of the inner endpoints mean nothing to other processes, and nothing listens for them.
        self.assertEqual(client.command("PUB any thing"), "+OK PUB any")
        self.assertEqual(client.event(), "any thing")
        self.assertTrue(serve.running())

    def test_a_reload_changes_the_policy_for_both_and_a_wrong_one_for_neither(self):
        serve = self.serve_secured()
        client = self.signed_in()
        client.subscribe("news.>")
        reporter = ControlClient(self.context_of("reporter"))
        self.addCleanup(reporter.close)
        self.assertEqual(reporter.request(topics={"pattern": "news.>"}).WhichOneof("end"), "complete")
        (self.folder / "policy.toml").rename(self.folder / "kept")
        (self.folder / "policy.toml").write_text("[users.x]\nroles = ['nobody']\n", encoding="utf-8")
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: not applied: ")
        self.assertEqual(client.command("PUB news.uk still"), "+OK PUB news.uk")
        self.write_policy(operator=["everything"])
        since = len(serve.err)
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: applied the policy policy.toml", since)
        client.wait_closed()
        self.assertEqual(client.lines[-1], "!BYE revoked")
        self.assertTrue(self.client().command("AUTH reporter:reporter-secret").startswith("-ERR not_authenticated"))
        operator = self.signed_in("operator")
        self.assertEqual(operator.command("PUB stock.MSFT 1"), "+OK PUB stock.MSFT")

    def test_certificates_are_read_again(self):
        names = {suffix: self.folder / f"gw.{suffix}" for suffix in ("pem", "key")}

        def use(name):
            for suffix, path in names.items():
                fresh = self.folder / "fresh"
                fresh.write_bytes(pathlib.Path(self.certificates.file(f"{name}.{suffix}")).read_bytes())
                fresh.chmod(0o600)
                fresh.rename(path)

        def served():
            context = ssl.create_default_context(cafile=self.certificates.file("ca.pem"))
            host, port = GATEWAY.rsplit(":", 1)
            connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT_S, context=context)
            connection.connect()
            serial = connection.sock.getpeercert()["serialNumber"]
            connection.close()
            return serial.lstrip("0")

        use("gw")
        serve = self.serve_secured("--tls-certificate", "gw.pem", "--tls-key", "gw.key")
        self.assertEqual(served(), self.certificates.serial("gw.pem").lstrip("0"))
        use("soon")
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: applied the TLS certificates")
        self.assertEqual(served(), self.certificates.serial("soon.pem").lstrip("0"))
        names["pem"].write_text("no certificate", encoding="utf-8")
        serve.signal(signal.SIGHUP)
        serve.wait_line(serve.err, "reload: not applied: ")
        self.assertEqual(served(), self.certificates.serial("soon.pem").lstrip("0"))

    def test_a_policy_needs_a_key_and_a_key_a_policy(self):
        for options in (["--policy", "policy.toml"], ["--key", "broker.key"]):
            process = self.run_program("serve", *OPTIONS, *options, cwd=str(self.folder))
            self.assertEqual(process.wait_exit(), 2, process.transcript())


if __name__ == "__main__":
    unittest.main()
