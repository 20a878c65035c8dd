"""A broker with a policy: who can connect to which endpoint, by which key, and what a reload changes. pyzmq's sockets are
the clients."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import unittest
import unittest.mock
import urllib.request

import zmq
from backplane.v1 import control_pb2, event_pb2
from harness import (CONTROL, EGRESS, ENDPOINTS, HOST, INGRESS, METRICS, RAW, TIMEOUT_S, BackplaneTest, ControlClient, Deadline, Reader,
                     Writer)
from publisher_library_test import Driver
from zmq.utils.monitor import recv_monitor_message

LIMITED = f"tcp://{HOST}:5581"
CONFIGURATION = f"""
policy = "policy.toml"
key = "broker.key"
[log]
level = "debug"
[metrics]
listen = "{METRICS}"
[[backplane]]
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "{RAW}"
[[backplane.limited_egress]]
endpoint = "{LIMITED}"
topics = ["sensor.>"]
"""
ROLES = {"all": 'publish = [">"]\nsubscribe = [">"]\nadmin = true', "system": 'subscribe = [">", "$SYS.>"]',
         "sensors": 'publish = ["sensor.>"]', "readers": 'subscribe = ["sensor.>"]'}
CONNECTED = zmq.EVENT_HANDSHAKE_SUCCEEDED
REFUSED = (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)


class Watched:
    """The events of a socket's connection."""

    def __init__(self, connected_socket):
        self._monitor = connected_socket.get_monitor_socket()
        self.socket = connected_socket

    def next_event(self, *wanted):
        deadline = Deadline()
        while self._monitor.poll(deadline.left_ms()):
            event = recv_monitor_message(self._monitor)
            if event["event"] in wanted:
                return event
        raise AssertionError(f"no event of {wanted}")

    def has(self, event):
        """Whether this event has happened and was not read yet."""
        while self._monitor.poll(0):
            if recv_monitor_message(self._monitor)["event"] == event:
                return True
        return False

    def close(self):
        self.socket.disable_monitor()
        self._monitor.close()


class SecuredBroker(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        made = self.run_program("keys", "new", "broker", cwd=folder.name)
        self.assertEqual(made.wait_exit(), 0, made.transcript())
        self.server_key = (self.folder / "broker.pub").read_bytes().strip()
        self.keys = {}
        self.users = {"full": ["all"], "other": ["all"], "sensor": ["sensors"], "partial": ["readers"], "operator": ["system"]}
        self.write_policy()
        (self.folder / "b.toml").write_text(CONFIGURATION, encoding="utf-8")

    def pair_of(self, user):
        """The user's (public, secret) keys."""
        if user not in self.keys:
            self.keys[user] = zmq.curve_keypair()
        return self.keys[user]

    def write_policy(self, **keys):
        """Writes self.users; `keys` replaces public keys."""
        users = "".join(f'[users.{user}]\ncurve = "{keys.get(user, self.pair_of(user)[0]).decode()}"\nroles = {roles}\n'
                        for user, roles in self.users.items())
        self.write_file("policy.toml", users + "".join(f"[roles.{name}]\n{text}\n" for name, text in ROLES.items()))

    def write_file(self, name, text):
        """Replaces it as a whole, as an editor does."""
        fresh = self.folder / "new"
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.rename(self.folder / name)

    def broker(self, *options):
        broker = self.run_program("broker", "--config", "b.toml", *options, cwd=str(self.folder))
        broker.ready()
        return broker

    def reload(self, broker, expected="reload: applied the policy"):
        since = len(broker.err)
        broker.signal(signal.SIGHUP)
        broker.wait_line(broker.err, expected, since=since)

    def context_of(self, user=None, server_key=None, pair=None):
        """A context whose sockets have the keys of the user."""
        context = zmq.Context()
        self.addCleanup(context.term)
        context.linger = 0
        context.reconnect_ivl = 50
        if user or pair:
            context.curve_publickey, context.curve_secretkey = pair or self.pair_of(user)
            context.curve_serverkey = server_key or self.server_key
        return context

    def watched(self, made):
        """A harness' client, with the events of its connection."""
        watch = Watched(made._socket)
        self.addCleanup(made.close)
        self.addCleanup(watch.close)
        return watch

    def outcome(self, context, kind, endpoint):
        """Whether a socket of the context is connected; else the event that says why not."""
        with context.socket(kind) as made:
            watch = Watched(made)
            made.connect(endpoint)
            event = watch.next_event(CONNECTED, *REFUSED, zmq.EVENT_DISCONNECTED)
            watch.close()
        return True if event["event"] == CONNECTED else event

    def reader_of(self, user, *prefixes, egress=EGRESS):
        reader = Reader(self.context_of(user), *prefixes, egress=egress)
        watch = self.watched(reader)
        reader.wait_live()
        return reader, watch

    def topics(self, reader, count):
        """The next topics, without those of live replies to others."""
        topics = []
        while len(topics) < count:
            topics += [topic for topic in [reader.receive()[0]] if not topic.startswith("$SYS.live.")]
        return topics

    def writer_of(self, user, **options):
        writer = Writer(self.context_of(user), **options)
        watch = self.watched(writer)
        writer.wait_ready()
        return writer, watch

    def control_of(self, user):
        control = ControlClient(self.context_of(user))
        self.addCleanup(control.close)
        return control

    def metric(self, name):
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=10) as response:
            page = response.read().decode()
        return int(float(re.search(rf"^backplane_broker_{name}({{[^}}]*}})? (\S+)$", page, re.M)[2]))

    def wait_metric(self, name, least):
        deadline = Deadline()
        while (value := self.metric(name)) < least:
            self.assertTrue(deadline.left(), f"{name} is {value}, expected {least}")
        return value


ENDPOINTS_AND_KINDS = ((INGRESS, zmq.XPUB), (RAW, zmq.PUB), (CONTROL, zmq.DEALER), (EGRESS, zmq.SUB), (LIMITED, zmq.SUB))


class Admission(SecuredBroker):
    def test_the_right_key_serves_every_endpoint(self):
        broker = self.broker()
        ready = broker.ready()
        self.assertEqual(ready["limited_egress"], LIMITED)
        reader, _ = self.reader_of("full", "sensor.", "news.")
        writer, _ = self.writer_of("full")
        writer.send("sensor.a", "hello")
        self.assertEqual(reader.receive()[0], "sensor.a")
        control = ControlClient(self.context_of("full"))
        self.addCleanup(control.close)
        self.assertEqual(control.request(stats=control_pb2.StatsRequest()).WhichOneof("end"), "complete")
        with self.context_of("full").socket(zmq.XPUB) as raw:
            raw.connect(RAW)
            self.assertTrue(raw.poll(20_000))
            raw.send_multipart([b"news.raw", b"bytes"])
            self.assertEqual(reader.receive()[0], "news.raw")

    def test_other_keys_and_none_are_refused_at_every_endpoint(self):
        broker = self.broker()
        for endpoint, kind in ENDPOINTS_AND_KINDS:
            with self.subTest(endpoint):
                self.assertIs(self.outcome(self.context_of("full"), kind, endpoint), True)
                stranger = self.context_of(pair=zmq.curve_keypair())
                refused = self.outcome(stranger, kind, endpoint)
                self.assertEqual((refused["event"], refused["value"]), (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400))
                self.assertIsNot(self.outcome(self.context_of(), kind, endpoint), True)
                wrong_server = self.context_of("full", server_key=zmq.curve_keypair()[0])
                self.assertIsNot(self.outcome(wrong_server, kind, endpoint), True)
        self.assertEqual(self.wait_metric("connections_unknown_key_total", len(ENDPOINTS_AND_KINDS)), len(ENDPOINTS_AND_KINDS))
        self.wait_metric("connections_admitted_total", len(ENDPOINTS_AND_KINDS))
        broker.wait_line(broker.err, rf"default: ingress: refused a connection from {re.escape(HOST)}|from 127\.0\.0\.1: no user "
                                     r"has the key \S{40}")
        self.assertEqual(self.metric("policy_users"), 5)
        self.assertEqual(self.metric("insecure"), 0)

    def test_a_reader_connects_where_it_may_read_everything(self):
        broker = self.broker()
        refused = self.outcome(self.context_of("partial"), zmq.SUB, EGRESS)
        self.assertEqual((refused["event"], refused["value"]), (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400))
        broker.wait_line(broker.err, 'default: egress: refused a connection from .*: user partial may not read all of ">"')
        self.assertIsNot(self.outcome(self.context_of("sensor"), zmq.SUB, LIMITED), True)
        self.assertEqual(self.wait_metric("connections_not_permitted_total", 2), 2)
        # It subscribes to everything, and receives what it may read.
        reader, _ = self.reader_of("partial", "", egress=LIMITED)
        everything, _ = self.reader_of("full", "")
        writer, _ = self.writer_of("full")
        for topic in ("news.uk", "sensor.a", "sensors", "sensor.b.c"):
            writer.send(topic, "text")
        self.assertEqual(self.topics(reader, 2), ["sensor.a", "sensor.b.c"])
        self.assertEqual(self.topics(everything, 4), ["news.uk", "sensor.a", "sensors", "sensor.b.c"])

    def test_system_topics_are_published_where_the_configuration_says_so(self):
        text = CONFIGURATION.replace("raw =", "stats_every = '100ms'\nraw =")
        (self.folder / "b.toml").write_text(text, encoding="utf-8")
        broker = self.broker()
        reader, _ = self.reader_of("full", "$SYS.", "end")
        self.wait_metric("system_published_total", 3)
        self.writer_of("full")[0].send("end", "text")
        self.assertEqual(reader.receive()[0], "end")
        broker.end()
        (self.folder / "b.toml").write_text(text.replace("raw =", "egress_topics = ['>', '$SYS.>']\nraw ="), encoding="utf-8")
        self.broker()
        reader, _ = self.reader_of("operator", "$SYS.broker.")
        self.assertEqual(reader.receive()[0], "$SYS.broker.default.stats")
        self.assertIsNot(self.outcome(self.context_of("full"), zmq.SUB, EGRESS), True)

    def test_peers_that_do_not_speak_curve_publish_nothing(self):
        broker = self.broker()
        reader, _ = self.reader_of("full", "")
        event = event_pb2.Event(source="stranger@test", text="forged").SerializeToString()
        frames = b"".join(bytes([len(part) + 1, more]) + part for part, more in ((b"news.uk", 1), (event, 0)))
        # ZMTP 1.0 has no security; 2.0 neither; 3.0 with the mechanism NULL.
        greeting = b"\xff" + bytes(8) + b"\x7f"
        for hello in (b"\x01\x00" + frames, greeting + b"\x01\x01\x00\x00" + frames,
                      greeting + b"\x03\x00NULL" + bytes(48) + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB" + frames):
            for endpoint in (INGRESS, RAW):
                host, port = endpoint.removeprefix("tcp://").split(":")
                with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as peer:
                    peer.sendall(hello)
                    with contextlib.suppress(ConnectionResetError):
                        while peer.recv(4096):  # the broker closes it
                            pass
        self.writer_of("full")[0].send("end", "text")
        self.assertEqual(self.topics(reader, 1), ["end"])
        self.assertEqual(self.wait_metric("received_total", 1), 1)
        broker.wait_line(broker.err, "closed .* connections that did not complete the CURVE handshake")

    def test_ipc_endpoints_require_a_key_as_well(self):
        endpoint = f"ipc://{self.folder}/raw"
        broker = self.broker("--raw", endpoint)
        self.assertIs(self.outcome(self.context_of("full"), zmq.PUB, endpoint), True)
        self.assertIsNot(self.outcome(self.context_of(pair=zmq.curve_keypair()), zmq.PUB, endpoint), True)
        self.assertIsNot(self.outcome(self.context_of(), zmq.PUB, endpoint), True)
        broker.wait_line(broker.err, "default: raw: refused a connection from localhost:.*: no user has the key")

    def test_strangers_do_not_delay_users(self):
        self.broker()
        stranger = self.context_of(pair=zmq.curve_keypair())
        stranger.max_sockets = 1000
        flood = []
        for _ in range(300):
            made = stranger.socket(zmq.SUB)
            self.addCleanup(made.close)
            made.connect(EGRESS)
            flood.append(made)
        deadline = Deadline(TIMEOUT_S if os.environ["SANITIZED"] else 20)
        reader, _ = self.reader_of("full", "a")
        writer, _ = self.writer_of("full")
        writer.send("a", "text")
        self.assertEqual(reader.receive()[0], "a")
        self.assertTrue(deadline.left())


class Permission(SecuredBroker):
    def test_events_and_requests_are_decided_by_the_user_of_the_key(self):
        broker = self.broker()
        reader, _ = self.reader_of("full", "")
        writer, _ = self.writer_of("sensor")
        raw, _ = self.writer_of("sensor", endpoint=RAW)
        for topic in ("sensor.a", "news.uk"):
            writer.send(topic, "text")
        for topic in ("news.raw", "sensor.raw"):
            raw.send_frames(topic.encode(), b"bytes")
        self.assertEqual(sorted(self.topics(reader, 2)), ["sensor.a", "sensor.raw"])
        self.writer_of("full")[0].send("news.uk", "text")
        self.assertEqual(self.topics(reader, 1), ["news.uk"])
        broker.wait_line(broker.err, "refused an event of sensor from .* on .news.*: not_permitted")

        partial, full = self.control_of("partial"), self.control_of("full")
        listed = {user: [topic.name for topic in client.request(topics=control_pb2.TopicsRequest(pattern=">")).topics.topics]
                  for user, client in (("partial", partial), ("full", full))}
        self.assertEqual(listed, {"partial": ["sensor.a", "sensor.raw"], "full": ["news.uk", "sensor.a", "sensor.raw"]})
        self.assertEqual(partial.request(stats=control_pb2.StatsRequest()).error.code, "not_permitted")
        self.assertEqual(partial.request(drain=control_pb2.DrainRequest()).error.code, "not_permitted")

    def test_a_reload_changes_what_a_connected_user_may_do(self):
        broker = self.broker()
        reader, _ = self.reader_of("full", "")
        writer, watch = self.writer_of("sensor")
        control = self.control_of("partial")
        self.assertEqual(control.request(stats=control_pb2.StatsRequest()).error.code, "not_permitted")
        writer.send("news.uk", "before")
        self.users["sensor"], self.users["partial"] = ["all"], ["all"]
        self.wait_metric(r'rejected_total\{backplane="default",reason="not_permitted"\}', 1)
        self.write_policy()
        self.reload(broker)
        self.assertTrue(control.request(stats=control_pb2.StatsRequest()).stats.counters)
        writer.send("news.uk", "after")
        topic, event = reader.receive()
        self.assertEqual((topic, event.text), ("news.uk", "after"))
        self.assertFalse(watch.has(zmq.EVENT_DISCONNECTED))


    def key_options(self, user):
        """The options of a command that connects as this user."""
        path = self.folder / f"{user}.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(self.pair_of(user)[1].decode() + "\n", encoding="utf-8")
        return ["--key", str(path), "--server-key", str(self.folder / "broker.pub")]

    def publish_order(self, user):
        """Publishes an event of a type that nobody was built with, with the C++ library. Returns the last problem."""
        _, key, _, server_key = self.key_options(user)
        keys = {"BACKPLANE_KEY_FILE": key, "BACKPLANE_SERVER_KEY_FILE": server_key}
        with unittest.mock.patch.dict(os.environ, keys):
            driver = Driver(self, INGRESS, CONTROL)
        self.assertEqual(driver.command("order sensor.orders 1"), "offered 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        problem = driver.status()[1]
        driver.process.stdin.close()
        self.assertEqual(driver.process.wait_exit(), 0, driver.process.transcript())
        return problem

    def order_as_shown(self):
        get = self.run_program("get", "sensor.orders", *ENDPOINTS, *self.key_options("partial"))
        self.assertEqual(get.wait_exit(), 0, get.transcript())
        return json.loads("".join(get.out))

    def test_types_are_shown_when_an_admin_has_registered_them(self):
        self.broker()
        self.assertRegex(self.publish_order("sensor"), "refused types: .*sensor may not register types that the broker does not "
                                                       "know: no role of this user has admin = true")
        self.assertEqual(self.order_as_shown().keys(), {"@type", "value"})
        self.assertEqual(self.publish_order("full"), "")
        self.assertEqual(self.order_as_shown()["item"], "tea")
        self.assertEqual(self.publish_order("sensor"), "", "the types are known")


class Restart(SecuredBroker):
    def check_session_after(self, end):
        """A session with three events belongs to `full`, also after the broker has ended and come back."""
        data = str(self.folder / "data")
        broker = self.broker("--data", data)
        writer, _ = self.writer_of("full")
        for text in ("1", "2", "3"):
            writer.send("sensor.a", text)
        session = {"source": writer.source, "session": writer.session}
        deadline = Deadline()
        while self.control_of("full").request(admitted=session).admitted.sequence < 3:
            self.assertTrue(deadline.left())
        end(broker)

        broker = self.broker("--data", data)
        reader, _ = self.reader_of("full", "sensor.")
        forger, _ = self.writer_of("other", source=writer.source)
        forger.session, forger.sequence = writer.session, 3
        forger.send("sensor.a", "forged")
        self.wait_metric(r'rejected_total\{backplane="default",reason="wrong_user"\}', 1)
        self.assertEqual(self.control_of("other").request(admitted=session).error.code, "not_permitted")
        again, _ = self.writer_of("full", source=writer.source)
        again.session, again.sequence = writer.session, 3
        again.send("sensor.a", "4")
        topic, event = reader.receive()
        self.assertEqual((topic, event.text, event.sequence), ("sensor.a", "4", 4))
        admitted = self.control_of("full").request(admitted=session).admitted
        self.assertEqual((admitted.sequence, admitted.refused), (4, 0))
        broker.wait_line(broker.err, "refused an event of other from .* wrong_user")

    def test_a_session_stays_with_its_user_after_a_restart(self):
        self.check_session_after(lambda broker: broker.end())

    def test_a_session_stays_with_its_user_after_kill_9(self):
        self.check_session_after(lambda broker: broker.kill())


class Reload(SecuredBroker):
    def test_a_revoked_user_is_disconnected_and_others_are_not(self):
        broker = self.broker()
        kept, kept_watch = self.reader_of("other", "a")
        lost, lost_watch = self.reader_of("full", "a")  # the same prefix: it is not the first subscriber
        idle, idle_watch = self.reader_of("full")
        kept_writer, kept_writer_watch = self.writer_of("other")
        lost_writer, lost_writer_watch = self.writer_of("full")
        control = ControlClient(self.context_of("full"))
        control_watch = self.watched(control)
        control.request(stats=control_pb2.StatsRequest())
        for each in (kept_writer, lost_writer):
            each.send("a", "text")
        for each in (kept, kept, lost, lost):
            each.receive()
        for each in (kept_watch, kept_writer_watch, lost_watch, lost_writer_watch, control_watch):
            self.assertFalse(each.has(zmq.EVENT_DISCONNECTED))

        del self.users["full"]
        self.write_policy()
        self.reload(broker)
        for each in (lost_watch, lost_writer_watch, control_watch, idle_watch):
            each.next_event(zmq.EVENT_DISCONNECTED)
        for each in (lost_watch, lost_writer_watch, control_watch):  # they connect again, and are refused
            self.assertEqual(each.next_event(*REFUSED, CONNECTED)["value"], 400)
        for number in range(100):
            kept_writer.send("a", str(number))
        self.assertEqual([kept.receive()[1].text for _ in range(100)], [str(number) for number in range(100)])
        self.assertFalse(lost.poll_now() or idle.poll_now())
        self.assertFalse(kept_watch.has(zmq.EVENT_DISCONNECTED) or kept_writer_watch.has(zmq.EVENT_DISCONNECTED))
        self.wait_metric("connections_revoked_total", 4)
        self.assertEqual(self.wait_metric("policy_users", 4), 4)
        broker.wait_line(broker.err, "default: 1 users may no longer connect, or not everywhere, or have lost a key: full")
        self.assertIsNot(self.outcome(self.context_of("full"), zmq.SUB, EGRESS), True)

    def test_a_user_who_may_read_less_loses_the_endpoints_that_publish_more(self):
        broker = self.broker()
        _, egress_watch = self.reader_of("full", "a")
        limited, limited_watch = self.reader_of("full", "sensor", egress=LIMITED)
        writer, writer_watch = self.writer_of("full")
        self.users["full"] = ["sensors", "readers"]
        self.write_policy()
        self.reload(broker)
        egress_watch.next_event(zmq.EVENT_DISCONNECTED)
        self.assertEqual(egress_watch.next_event(*REFUSED, CONNECTED)["value"], 400)
        writer.send("sensor.a", "text")
        self.assertEqual(limited.receive()[0], "sensor.a")
        self.assertFalse(limited_watch.has(zmq.EVENT_DISCONNECTED) or writer_watch.has(zmq.EVENT_DISCONNECTED))

    def test_a_key_that_is_replaced_no_longer_serves(self):
        broker = self.broker()
        reader, watch = self.reader_of("full", "a")
        fresh = zmq.curve_keypair()
        self.write_policy(full=fresh[0])
        self.reload(broker)
        watch.next_event(zmq.EVENT_DISCONNECTED)
        self.assertEqual(watch.next_event(*REFUSED, CONNECTED)["value"], 400)
        self.assertIs(self.outcome(self.context_of(pair=fresh), zmq.SUB, EGRESS), True)

    def test_a_new_user_can_connect_after_a_reload(self):
        broker = self.broker()
        self.pair_of("new")
        self.assertIsNot(self.outcome(self.context_of("new"), zmq.SUB, EGRESS), True)
        self.users["new"] = ["all"]
        self.write_policy()
        self.reload(broker)
        self.assertIs(self.outcome(self.context_of("new"), zmq.SUB, EGRESS), True)

    def test_an_invalid_reload_changes_nothing(self):
        broker = self.broker()
        reader, watch = self.reader_of("full", "a")
        good = (self.folder / "policy.toml").read_text(encoding="utf-8")
        without_full = re.sub(r"\[users\.full\]\n.*\n.*\n", "", good)
        for wrong, error in ((without_full + "[users.x]\nroles = ['nobody']\n", r"policy\.toml:\d+ \[users\.x\]"),
                             ("[users", r"policy\.toml:1"), (None, r"policy\.toml")):
            if wrong is None:
                (self.folder / "policy.toml").unlink()
            else:
                self.write_file("policy.toml", wrong)
            self.reload(broker, rf"reload: not applied: .*{error}")
        self.write_file("policy.toml", without_full)
        (self.folder / "b.toml").write_text(CONFIGURATION + "colour = 1\n", encoding="utf-8")
        self.reload(broker, "reload: not applied: b.toml:.*unknown key")
        self.assertIs(self.outcome(self.context_of("full"), zmq.SUB, EGRESS), True)
        self.assertFalse(watch.has(zmq.EVENT_DISCONNECTED))
        writer, _ = self.writer_of("full")
        writer.send("a", "text")
        self.assertEqual(reader.receive()[0], "a")
        (self.folder / "b.toml").write_text(CONFIGURATION.replace('policy = "policy.toml"\nkey = "broker.key"', "").split(
            "[[backplane.limited")[0], encoding="utf-8")
        self.reload(broker, r"reload: needs a restart: policy and key \(stay policy.toml and broker.key\)")
        self.assertIsNot(self.outcome(self.context_of(), zmq.SUB, EGRESS), True)
        self.assertIs(self.outcome(self.context_of("full"), zmq.SUB, EGRESS), True)

    def test_a_revocation_while_events_flow(self):
        broker = self.broker()
        kept, kept_watch = self.reader_of("other", "a")
        lost, lost_watch = self.reader_of("full", "a")
        writer, _ = self.writer_of("other")
        del self.users["full"]
        self.write_policy()
        for number in range(20_000):
            if number == 5_000:
                broker.signal(signal.SIGHUP)
            writer.send("a", str(number))
        lost_watch.next_event(zmq.EVENT_DISCONNECTED)
        self.assertEqual(lost_watch.next_event(*REFUSED, CONNECTED)["value"], 400)
        writer.send("a", "end")
        received = [kept.receive()[1].text for _ in range(20_001)]
        self.assertEqual(received, [*map(str, range(20_000)), "end"])
        self.assertFalse(kept_watch.has(zmq.EVENT_DISCONNECTED))
        texts = []
        while lost.poll_now():
            texts.append(lost.receive()[1].text)
        self.assertNotIn("end", texts)


class Configuration(SecuredBroker):
    def check(self, *options, text=None):
        if text is not None:
            (self.folder / "c.toml").write_text(text, encoding="utf-8")
            options = ("--config", "c.toml", *options)
        process = self.run_program("broker", "--check-config", *options, cwd=str(self.folder))
        return process.wait_exit(), process.err

    def test_other_addresses_are_permitted_with_a_policy_and_a_key(self):
        secured = ("--policy", "policy.toml", "--key", "broker.key")
        for flag in ("--ingress", "--egress", "--control", "--raw"):
            self.assertEqual(self.check(flag, "tcp://0.0.0.0:7000", *secured), (0, []))
            code, errors = self.check(flag, "tcp://0.0.0.0:7000")
            self.assertEqual((code, errors), (2, [
                f'{flag}: expected a loopback address, because clients are not authenticated, got "tcp://0.0.0.0:7000"; let only '
                "known users connect (--policy and --key, see docs/security.md), or give --insecure if you trust everybody who "
                "can reach this address"]))
        code, errors = self.check("--metrics", "0.0.0.0:7000", *secured)
        self.assertEqual((code, len(errors)), (2, 1))
        broker = self.broker("--raw", "tcp://0.0.0.0:0")
        self.assertEqual(self.outcome(self.context_of("full"), zmq.PUB, broker.ready()["raw"].replace("0.0.0.0", HOST)), True)
        self.assertFalse([line for line in broker.err if "insecure" in line or "without authentication" in line])
        with urllib.request.urlopen(f"http://{METRICS}/readyz", timeout=10) as response:
            self.assertEqual(response.read().decode().splitlines(), ["ready"])

    def test_both_files_or_neither(self):
        self.assertEqual(self.check("--policy", "policy.toml"), (2, [
            "--policy: expected a key beside it (--key, or key in the configuration), got none"]))
        self.assertEqual(self.check("--key", "broker.key"), (2, [
            "--key: expected a policy beside it (--policy, or policy in the configuration), got none"]))
        self.assertEqual(self.check(text='policy = "policy.toml"\n')[1], [
            "c.toml:1 policy: expected a key beside it (--key, or key in the configuration), got none"])

    def test_wrong_files_are_errors(self):
        text = 'policy = "policy.toml"\nkey = "broker.key"\n'
        self.assertEqual(self.check(text=text), (0, []))
        self.write_file("policy.toml", "[users.a]\nroles = ['r']\n[users.b]\ncolour = 1\n")
        code, errors = self.check(text=text)
        self.assertEqual(code, 2)
        self.assertTrue(all(line.startswith("c.toml:1 policy: policy.toml:") for line in errors) and len(errors) >= 3, errors)
        self.write_policy()
        (self.folder / "broker.key").chmod(0o644)
        code, errors = self.check(text=text)
        self.assertEqual((code, len(errors)), (2, 1))
        self.assertRegex(errors[0], "^c.toml:2 key: broker.key: expected a file that other users can neither read nor write")
        (self.folder / "policy.toml").chmod(0o666)
        code, errors = self.check(text=text)
        self.assertEqual((code, len(errors)), (2, 2))
        checked = self.run_program("config", "check", "c.toml", cwd=str(self.folder))
        self.assertEqual((checked.wait_exit(), checked.err), (2, errors))

    def test_no_secret_is_shown(self):
        broker = self.broker("--log-level", "debug")
        self.reader_of("full", "a")
        for endpoint, kind in ENDPOINTS_AND_KINDS:
            self.outcome(self.context_of(pair=self.pair_of("stranger")), kind, endpoint)
        self.reload(broker)
        self.users.clear()
        self.write_policy()
        self.reload(broker)
        self.wait_metric("connections_unknown_key_total", 5)
        printed = self.run_program("broker", "--config", "b.toml", "--print-config", cwd=str(self.folder))
        self.assertEqual(printed.wait_exit(), 0)
        self.assertIn('key = "broker.key"', printed.out)
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=10) as response:
            metrics = response.read().decode()
        seen = "\n".join([*broker.out, *broker.err, *printed.out, *printed.err, metrics,
                          *(pathlib.Path(f"/proc/{broker.pid}/{name}").read_bytes().decode(errors="replace")
                            for name in ("cmdline", "environ"))])
        secrets = [(self.folder / "broker.key").read_text(encoding="utf-8").strip(),
                   *(secret.decode() for _, secret in self.keys.values())]
        self.assertEqual([secret for secret in secrets if secret in seen], [])
        self.assertTrue(self.server_key.decode() in seen)  # the public one is shown


if __name__ == "__main__":
    unittest.main()
