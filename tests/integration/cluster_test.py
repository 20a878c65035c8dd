"""Brokers that share a log in JetStream have the same stream."""

import json
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from backplane.v1 import control_pb2, event_pb2, system_pb2
from google.protobuf import descriptor_pb2
from harness import (CONTROL, EGRESS, GATEWAY, HOST, INGRESS, METRICS, PROGRAM, TIMEOUT_S, BackplaneTest, ControlClient, Deadline,
                     Reader, Writer, position_and_offset)
from nats_servers import NatsServers, is_installed

FIRST = HOST
# No other test uses it: own_host() begins with 127.1 to 127.64.
SECOND = f"127.{int(HOST.split('.')[1]) + 64}." + HOST.split(".", 2)[2]
SMALL_LOG = "log_bytes_max = \"64MiB\"\n"


@unittest.skipUnless(is_installed(), "nats-server is not installed: ./dev setup")
class ClusterTest(BackplaneTest):
    def servers(self, *arguments, **options):
        servers = NatsServers(*arguments, **options)
        self.addCleanup(servers.close)
        servers.start_all()
        return servers

    def broker_command(self, servers, host=FIRST, text="", options=()):
        endpoints = (f"--{name}=tcp://{host}:{port}" for name, port in
                     (("ingress", 5570), ("egress", 5571), ("control", 5572), ("raw", 5574)))
        config = self.config_file("[[backplane]]\n" + SMALL_LOG + text)
        return ["broker", "--config", config, *endpoints, "--metrics", f"{host}:9570", "--log", "jetstream",
                "--jetstream", servers if isinstance(servers, str) else servers.urls(), *options]

    def broker(self, servers, host=FIRST, **options):
        broker = self.run_program(*self.broker_command(servers, host, **options))
        fields = broker.ready()
        self.assertEqual(fields["log"], "jetstream")
        return broker

    def writer_at(self, host, source="writer@test"):
        writer = Writer(self.context, source=source, endpoint=f"tcp://{host}:5570")
        self.addCleanup(writer.close)
        writer.wait_ready()
        return writer

    def control_at(self, host):
        control = ControlClient(self.context, control=f"tcp://{host}:5572")
        self.addCleanup(control.close)
        return control

    def reader_at(self, host, *prefixes):
        reader = Reader(self.context, *prefixes, egress=f"tcp://{host}:5571")
        self.addCleanup(reader.close)
        reader.wait_live()
        return reader

    def wait_admitted_at(self, host, writer):
        """Until all events of `writer` are confirmed at this broker."""
        control, deadline = self.control_at(host), Deadline()
        request = control_pb2.AdmittedRequest(source=writer.source, session=writer.session)
        while (sequence := control.request(admitted=request).admitted.sequence) < writer.sequence:
            self.assertTrue(deadline.left(), f"expected {writer.sequence} events, got {sequence}")

    def replay(self, host, pattern):
        """The frames of all events in history, as this broker sends them."""
        return [(stored.topic, stored.event) for reply, _ in
                self.control_at(host).pages(replay={"pattern": pattern, "since_ns": 1})
                for stored in reply.replay.events]

    def wait_replay(self, host, pattern, count):
        deadline = Deadline()
        while len(events := self.replay(host, pattern)) < count:
            self.assertTrue(deadline.left(), f"expected {count} events, got {len(events)}")
        return events

    def readiness(self, host=FIRST):
        try:
            with urllib.request.urlopen(f"http://{host}:9570/readyz", timeout=TIMEOUT_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_readiness(self, status, text=""):
        deadline = Deadline()
        while True:
            now = self.readiness()
            if now[0] == status and text in now[1]:
                return
            self.assertTrue(deadline.left(), f"expected {status} {text!r}, got {now}")


class OneBroker(ClusterTest):
    def test_events_come_back_from_the_log_numbered_and_confirmed(self):
        self.broker(self.servers())
        reader, writer = self.reader_at(FIRST, "n."), self.writer_at(FIRST)
        for number in range(1, 101):
            writer.send("n.a", str(number))
        events = [reader.receive_frames() for _ in range(100)]
        self.assertEqual([event_pb2.Event.FromString(event).text for _, event in events], [str(n) for n in range(1, 101)])
        self.assertEqual([position_and_offset(event)[1] for _, event in events], list(range(1, 101)))
        self.wait_admitted_at(FIRST, writer)
        self.assertEqual(self.replay(FIRST, "n.>"), [(topic.decode(), event) for topic, event in events])
        self.wait_readiness(200)

    def test_a_broker_that_was_killed_continues_the_stream_from_the_log(self):
        servers = self.servers()
        broker, writer = self.broker(servers), self.writer_at(FIRST)
        for number in range(100):
            writer.send(f"n.{number % 7}", str(number))
        self.wait_admitted_at(FIRST, writer)
        before = self.replay(FIRST, ">")
        broker.kill()
        self.broker(servers)
        self.assertEqual(self.replay(FIRST, ">"), before)
        # A publisher that was not confirmed sends again: the session is known.
        again = self.writer_at(FIRST)
        again.session, again.sequence = writer.session, writer.sequence - 1
        again.send("n.0", "99 again")
        again.send("n.0", "100")
        self.wait_admitted_at(FIRST, again)
        after = self.replay(FIRST, ">")
        self.assertEqual(after[:-1], before)
        self.assertEqual(event_pb2.Event.FromString(after[-1][1]).text, "100")

    def test_a_broker_that_drains_has_published_what_it_took(self):
        servers = self.servers()
        broker, writer = self.broker(servers), self.writer_at(FIRST)
        reader = self.reader_at(FIRST, "n.", "$SYS.drain")
        for number in range(1000):
            writer.send("n.a", str(number))
        broker.signal(15)
        self.assertEqual(broker.wait_exit(), 0, broker.transcript())
        topics = [reader.receive_frames()[0] for _ in range(1001)]
        self.assertEqual(topics, [b"n.a"] * 1000 + [b"$SYS.drain"])

    def test_without_its_servers_it_confirms_nothing_and_goes_on_when_they_are_back(self):
        servers = self.servers()
        self.broker(servers)
        writer = self.writer_at(FIRST)
        writer.send("n.a", "before")
        self.wait_admitted_at(FIRST, writer)
        servers.kill()
        self.wait_readiness(503, "the log of backplane")
        writer.send("n.a", "meanwhile")
        pub = subprocess.run([PROGRAM, "pub", "n.b", "hello", "--ingress", INGRESS, "--egress", EGRESS,
                              "--control", CONTROL], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        self.assertNotEqual(pub.returncode, 0, pub)
        self.assertEqual(len(self.replay(FIRST, "n.>")), 1, "history is served")
        servers.start()
        self.wait_readiness(200)
        self.wait_admitted_at(FIRST, writer)
        self.assertEqual([event_pb2.Event.FromString(event).text for _, event in self.replay(FIRST, "n.a")],
                         ["before", "meanwhile"])


class Start(ClusterTest):
    def refused(self, command, pattern):
        broker = self.run_program(*command)
        broker.wait_line(broker.err, pattern)
        self.assertIn(broker.wait_exit(), (1, 2), broker.transcript())

    def test_combinations_that_do_not_work_are_refused(self):
        url = "nats://127.0.0.1:1"
        for options, pattern in (
                (["--log", "jetstream"], "--log: expected the URLs of nats-servers"),
                (["--jetstream", url], "--jetstream: expected log = \"jetstream\""),
                (["--log", "jetstream", "--jetstream", "h1:4222"], "--jetstream: expected a URL such as nats://h1:4222, got \"h1:4222\""),
                (["--log", "kafka"], "--log: expected .*jetstream")):
            with self.subTest(options=options):
                self.refused(["broker", *options], pattern)

    def test_servers_that_cannot_be_used_are_named(self):
        self.refused(self.broker_command(f"nats://user:secret@{HOST}:4222"), f"cannot open the log at nats://{HOST}:4222")
        self.refused(self.broker_command(self.servers(jetstream=False)), "has no JetStream")

    def test_wrong_credentials_are_reported_without_showing_them(self):
        self.servers(authorization="user: backplane, password: right")
        command = self.broker_command(f"nats://backplane:wrong@{HOST}:4222")
        broker = self.run_program(*command)
        broker.wait_line(broker.err, f"cannot open the log at nats://{HOST}:4222: .*[Aa]uthorization")
        self.assertEqual(broker.wait_exit(), 1)
        self.assertFalse([line for line in broker.err if "wrong" in line], broker.transcript())
        self.broker(f"nats://backplane:right@{HOST}:4222")

    def test_a_stream_with_other_settings_is_refused(self):
        servers = self.servers()
        name = "backplane-default-log"
        for settings, pattern in (({"storage": "memory"}, "storage: expected file, got memory"),
                                  ({"max_age": 10 ** 12}, "max_age: expected no limit, got"),
                                  ({"subjects": ["other"]}, f"subjects: expected {name}.batches, got other")):
            with self.subTest(settings=settings):
                stream = {"name": name, "subjects": [f"{name}.batches"], "storage": "file", "retention": "limits",
                          "discard": "new", "num_replicas": 1, "max_msgs_per_subject": -1, **settings}
                self.assertNotIn("error", servers.request(f"STREAM.CREATE.{name}", json.dumps(stream).encode()))
                self.refused(self.broker_command(servers), f"stream {name}: {pattern}")
                self.assertTrue(servers.request(f"STREAM.DELETE.{name}")["success"])

    def test_servers_without_room_for_the_log_are_refused(self):
        self.refused(self.broker_command(self.servers(max_file_store="32MB")),
                     "cannot open the log at .*stream backplane-default-log: .*storage")

    def test_an_event_that_does_not_fit_into_a_message_is_found_at_start(self):
        self.refused(self.broker_command(self.servers(max_payload="1MB")), "max_event_bytes: expected at most .*max_payload")

    def test_another_max_topics_than_in_the_log_is_refused(self):
        servers = self.servers()
        self.broker(servers).end()
        self.refused(self.broker_command(servers, text="max_topics = 500\n"), "max_topics: expected 1000000, as in the log")

    def test_another_backplane_has_its_own_log_on_the_same_servers(self):
        servers = self.servers()
        self.broker(servers).end()
        self.broker(servers, options=["--name", "other"]).end()


class Faults(ClusterTest):
    """What goes wrong with the log while a broker runs is named, and nothing is confirmed meanwhile."""

    STREAM = "backplane-default-log"

    def setUp(self):
        super().setUp()
        self.nats = self.servers()
        self.first = self.broker(self.nats)
        self.writer = self.writer_at(FIRST)
        self.writer.send("n.a", "before")
        self.wait_admitted_at(FIRST, self.writer)

    def assert_not_confirmed(self):
        pub = self.run_program("pub", "n.b", "hello", "--ingress", INGRESS, "--egress", EGRESS, "--control", CONTROL)
        self.assertNotEqual(pub.wait_exit(), 0, pub.transcript())
        self.assertEqual(len(self.replay(FIRST, "n.>")), 1, "history is served")

    def test_while_the_log_has_no_room_publishers_wait(self):
        config = self.nats.request(f"STREAM.INFO.{self.STREAM}")["config"]
        full = {**config, "max_bytes": 100}
        self.assertNotIn("error", self.nats.request(f"STREAM.UPDATE.{self.STREAM}", json.dumps(full).encode()))
        self.writer.send("n.a", "meanwhile")
        self.wait_readiness(503, "maximum bytes exceeded")
        self.first.wait_line(self.first.err, "the log accepts no events: .*maximum bytes exceeded")
        self.assert_not_confirmed()
        self.assertNotIn("error", self.nats.request(f"STREAM.UPDATE.{self.STREAM}", json.dumps(config).encode()))
        self.wait_readiness(200)
        self.wait_admitted_at(FIRST, self.writer)

    def test_a_log_that_was_deleted_by_hand_stops_the_events_and_not_the_history(self):
        self.assertTrue(self.nats.request(f"STREAM.DELETE.{self.STREAM}")["success"])
        self.wait_readiness(503, "the log of backplane")
        self.assert_not_confirmed()

    def test_a_broker_cannot_join_a_log_that_was_purged_by_hand(self):
        self.assertTrue(self.nats.request(f"STREAM.PURGE.{self.STREAM}")["success"])
        second = self.run_program(*self.broker_command(self.nats, SECOND))
        second.wait_line(second.err, "the log begins at index [0-9]+, but only 0 has been read: it was purged or trimmed")
        self.assertNotEqual(second.wait_exit(), 0)
        # The one that had read it goes on.
        self.writer.send("n.a", "after")
        self.wait_admitted_at(FIRST, self.writer)

    def test_two_brokers_with_one_name_do_not_both_run(self):
        second = self.broker(self.nats, SECOND, text="identity = \"same\"\n")
        third = f"127.{int(HOST.split('.')[1]) + 128}." + HOST.split(".", 2)[2]
        self.broker(self.nats, third, text="identity = \"same\"\n")
        second.wait_line(second.err, "another broker has joined the log as \"same\"")
        self.assertNotEqual(second.wait_exit(), 0)


class FileStore(ClusterTest):
    """A broker that keeps its history in files and takes its place in the log from them."""

    def setUp(self):
        super().setUp()
        self.nats = self.servers()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = folder.name

    def stored_broker(self, host=FIRST, data=None, **options):
        return self.broker(self.nats, host, options=["--data", data or self.data], **options)

    def test_a_broker_that_was_killed_has_its_history_and_continues_after_it(self):
        broker, writer = self.stored_broker(), self.writer_at(FIRST)
        for number in range(100):
            writer.send(f"n.{number % 7}", str(number))
        self.wait_admitted_at(FIRST, writer)
        before = self.replay(FIRST, ">")
        broker.kill()
        other = self.broker(self.nats, SECOND)
        meanwhile = self.writer_at(SECOND, "meanwhile@test")
        for number in range(50):
            meanwhile.send(f"n.{number % 7}", str(number))
        self.wait_admitted_at(SECOND, meanwhile)
        self.stored_broker()
        after = self.wait_replay(FIRST, ">", 150)
        self.assertEqual(after[:100], before)
        self.assertEqual(after, self.replay(SECOND, ">"), "byte by byte what a broker has that was there all the time")
        writer = self.writer_at(FIRST)
        writer.send("n.0", "live")
        self.wait_admitted_at(FIRST, writer)
        self.assertEqual(self.wait_replay(SECOND, ">", 151), self.wait_replay(FIRST, ">", 151))
        self.assertTrue(other.running())

    def test_a_store_of_a_broker_without_a_log_is_refused(self):
        local = self.start_broker("--data", self.data)
        pub = self.run_program("pub", "n.a", "hello", "--broker", FIRST)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        local.end()
        self.broker(self.nats, SECOND)
        command = self.broker_command(self.nats, options=["--data", self.data])
        broker = self.run_program(*command)
        broker.wait_line(broker.err, "cannot open store .*: expected one of stream .*which the log has")
        self.assertNotEqual(broker.wait_exit(), 0)

    def test_a_log_that_has_lost_events_is_noticed(self):
        broker, writer = self.stored_broker(), self.writer_at(FIRST)
        for number in range(10):
            writer.send("n.a", str(number))
        self.wait_admitted_at(FIRST, writer)
        broker.kill()
        self.assertTrue(self.nats.request("STREAM.DELETE.backplane-default-log")["success"])
        broker = self.run_program(*self.broker_command(self.nats, options=["--data", self.data]))
        broker.wait_line(broker.err, "the log ends at position 0, and the store has events up to 10")
        self.assertNotEqual(broker.wait_exit(), 0)


class TwoBrokers(ClusterTest):
    def setUp(self):
        super().setUp()
        self.nats = self.servers(3)
        self.first, self.second = (self.broker(self.nats, host) for host in (FIRST, SECOND))

    def test_both_have_the_same_stream_byte_by_byte(self):
        writers = [self.writer_at(host, f"writer@{host}") for host in (FIRST, SECOND)]
        readers = [self.reader_at(host, "n.") for host in (FIRST, SECOND)]
        for number in range(500):
            for writer in writers:
                writer.send(f"n.{number % 9}", f"{writer.source} {number}")
        for host, writer in zip((SECOND, FIRST), writers):
            self.wait_admitted_at(host, writer)  # also at the other one
        seen = [[tuple(reader.receive_frames()) for _ in range(1000)] for reader in readers]
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(self.replay(FIRST, "n.>"), self.replay(SECOND, "n.>"))
        for writer in writers:
            texts = [event_pb2.Event.FromString(event).text for _, event in seen[0]]
            self.assertEqual([text for text in texts if text.startswith(writer.source)],
                             [f"{writer.source} {number}" for number in range(500)])

    def test_what_a_killed_broker_has_confirmed_is_at_the_other_one(self):
        for number in range(20):
            pub = self.run_program("pub", "n.a", str(number), "--broker", f"{FIRST},{SECOND}")
            if number == 10:
                self.first.kill()
            self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        events = self.replay(SECOND, "n.a")
        self.assertEqual([event_pb2.Event.FromString(event).text for _, event in events], [str(n) for n in range(20)])
        # The first one comes back empty, and reads the log.
        self.first = self.broker(self.nats, FIRST)
        self.assertEqual(self.wait_replay(FIRST, "n.a", 20), events)

    def test_nats_servers_that_are_killed_in_turn_cost_no_event(self):
        writer = self.writer_at(FIRST)
        for number in range(3):
            self.nats.kill(number)
            for _ in range(100):
                writer.send("n.a", str(writer.sequence))
            self.wait_admitted_at(SECOND, writer)
            self.nats.start(number)
        events = self.wait_replay(FIRST, "n.a", 300)
        self.assertEqual([event_pb2.Event.FromString(event).text for _, event in events], [str(n) for n in range(300)])
        self.assertEqual(self.wait_replay(SECOND, "n.a", 300), events)
        for broker in (self.first, self.second):
            self.assertTrue(broker.running())

    def test_types_that_are_registered_at_one_broker_are_known_at_the_other(self):
        files = descriptor_pb2.FileDescriptorSet()
        files.file.add(name="acme/air.proto", package="acme", syntax="proto3").message_type.add(name="Reading")
        reply = self.control_at(FIRST).request(types={"register_files": files})
        self.assertEqual(reply.WhichOneof("end"), "complete", reply)
        second, deadline = self.control_at(SECOND), Deadline()
        while not (found := second.request(types={"names": ["acme.Reading"]}).types.files.file):
            self.assertTrue(deadline.left(), "not known at the second broker")
        self.assertEqual(found[0].name, "acme/air.proto")
        files.file[0].message_type[0].field.add(name="ppm", number=1, type="TYPE_DOUBLE", label="LABEL_OPTIONAL")
        self.assertEqual(second.request(types={"register_files": files}).error.code, "conflict")
        self.first.kill()
        self.first = self.broker(self.nats, FIRST)
        self.assertEqual(self.control_at(FIRST).request(types={"names": ["acme.Reading"]}).types.files.file, found)

    def test_the_status_shows_members_servers_and_how_far_each_is(self):
        def status():
            shown = self.run_program("cluster", "status", "--json", "--broker", f"{FIRST},{SECOND}")
            self.assertEqual(shown.wait_exit(), 0, shown.transcript())
            return json.loads(shown.out[0])

        def states(kind):
            # A nats-server may report for minutes that another one is behind.
            return sorted(each["state"].replace("behind", "current") for each in status()[kind])

        def wait_states(kind, expected):
            deadline = Deadline()
            while states(kind) != expected:
                self.assertTrue(deadline.left(), status())
        wait_states("members", ["up", "up"])
        wait_states("servers", ["current", "current", "leader"])
        found = status()
        self.assertTrue(found["quorum"])
        self.assertEqual(found["fault"], "")
        for member in found["members"]:
            self.assertLess(member["lag"], 100)
        self.second.kill()
        wait_states("members", ["gone", "up"])
        self.second = self.broker(self.nats, SECOND)
        wait_states("members", ["up", "up"])
        self.nats.kill(2)
        wait_states("servers", ["current", "leader", "offline"])
        text = self.run_program("cluster", "status", "--broker", FIRST)
        self.assertEqual(text.wait_exit(), 0, text.transcript())
        self.assertTrue(any(line.startswith("MEMBER") for line in text.out), text.transcript())
        with urllib.request.urlopen(f"http://{FIRST}:9570/metrics", timeout=TIMEOUT_S) as reply:
            metrics = reply.read().decode()
        self.assertIn('backplane_broker_cluster_members{backplane="default"} 2', metrics)

    def test_the_publishers_of_a_killed_broker_are_announced_down_by_the_other(self):
        reader = self.reader_at(SECOND, "$SYS.source.")
        self.run_program("publish", "clock", "--every", "20ms", "--broker", FIRST)

        def status():
            status = system_pb2.SourceStatus()
            self.assertTrue(reader.receive()[1].message.Unpack(status))
            return status.up, status.reason
        self.assertEqual(status(), (True, ""))
        self.first.kill()
        self.assertEqual(status(), (False, "silent"))


class Readers(ClusterTest):
    """Readers whose list has two brokers of one cluster read the one stream once."""

    def setUp(self):
        super().setUp()
        self.nats = self.servers()
        self.brokers = {host: self.broker(self.nats, host) for host in (FIRST, SECOND)}
        self.list = ["--broker", f"{FIRST},{SECOND}"]

    def publish(self, first, last):
        """At whichever broker is there."""
        host = next(host for host, broker in self.brokers.items() if broker.running())
        writer = self.writer_at(host, f"writer{first}@test")
        for number in range(first, last + 1):
            writer.send("n.a", str(number))
        self.wait_admitted_at(host, writer)

    def kill_each_in_turn(self, publish):
        """Events before, between and after; each broker is killed once, and comes back."""
        last = 100
        publish(1, last)
        for host in (FIRST, SECOND):
            self.brokers[host].kill()
            publish(last + 1, last + 50)
            self.brokers[host] = self.broker(self.nats, host)
            publish(last + 51, last + 100)
            last += 100
        return last

    def test_sub_prints_each_event_once_while_brokers_are_killed_in_turn(self):
        sub = self.run_program("sub", "n.>", "--format", "text+offset", *self.list)
        self.publish_at_first_until_received(sub)
        before = len(sub.out)
        last = self.kill_each_in_turn(self.publish)
        sub.wait_line(sub.out, f"^n.a [0-9]+ {last}$")
        events = [line.split() for line in sub.out[before:] if line.startswith("n.a ")]
        numbers = [int(text) for _, _, text in events if text != "knock"]
        self.assertEqual(numbers, list(range(1, last + 1)), sub.transcript())
        offsets = [int(offset) for _, offset, _ in events]
        self.assertEqual(offsets, list(range(offsets[0], offsets[0] + len(offsets))))
        self.assertNotIn("!", "".join(line[:1] for line in sub.out + sub.err), sub.transcript())

    def publish_at_first_until_received(self, sub):
        echo, writer, deadline = self.reader_at(FIRST, "n."), self.writer_at(FIRST, "knock@test"), Deadline()
        while not sub.out:
            self.assertTrue(deadline.left(), sub.transcript())
            writer.send("n.a", "knock")
            echo.receive()
        self.wait_admitted_at(FIRST, writer)
        sub.wait_line(sub.out, f"^n.a {writer.sequence} knock")

    def test_a_gateways_clients_do_not_notice_that_brokers_are_killed_in_turn(self):
        gateway = self.run_program("gateway", "--listen", GATEWAY, *self.list)
        gateway.ready()
        client = self.client()
        client.subscribe("n.>")
        last = self.kill_each_in_turn(self.publish)
        self.assertEqual([client.event() for _ in range(last)], [f"n.a {number}" for number in range(1, last + 1)])
        since = self.client()
        self.assertEqual(since.command("SUB n.> since=1h"), "+OK SUB n.>")
        self.assertEqual([since.event() for _ in range(last)], [f"n.a {number}" for number in range(1, last + 1)])
        self.assertTrue(gateway.running())

    def test_a_publisher_and_a_reader_with_the_same_list_survive_any_broker(self):
        sub = self.run_program("sub", "clock", *self.list)
        clock = self.run_program("publish", "clock", "--every", "5ms", *self.list)
        sub.wait_line(sub.out, "clock")
        for host in (FIRST, SECOND):
            self.brokers[host].kill()
            count = len(sub.out)
            deadline = Deadline()
            while len(sub.out) < count + 100:
                self.assertTrue(deadline.left(), sub.transcript())
                sub.wait_line(sub.out, "clock", since=len(sub.out))
            self.brokers[host] = self.broker(self.nats, host)
        clock.end()
        ticks = [int(self.tick(line).get("tick", 0)) for line in sub.out if line.startswith("clock ")]
        self.assertEqual(ticks, list(range(ticks[0], ticks[0] + len(ticks))), "each once, in order")


if __name__ == "__main__":
    unittest.main()
