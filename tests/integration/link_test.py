"""`backplane link`: events of one backplane reach another, each once and in order, whatever fails."""

import pathlib
import re
import signal
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from backplane import Publisher, Subscriber
from backplane.v1 import event_pb2
from google.protobuf import descriptor_pb2

from harness import GATEWAY, HOST, BackplaneTest, ControlClient, Deadline, Writer
from store_cli_test import crc32c

# No other test uses them: own_host() begins with 127.1 to 127.64.
FIRST, SECOND, THIRD = (f"127.{int(HOST.split('.')[1]) + 64 * number}." + HOST.split(".", 2)[2] for number in range(3))


def endpoint(host, port):
    return f"tcp://{host}:{port}"


class LinkTest(BackplaneTest):
    def broker_at(self, host, *options):
        endpoints = (f"--{name}=tcp://{host}:{port}" for name, port in (("ingress", 5570), ("egress", 5571), ("control", 5572)))
        broker = self.run_program("broker", *endpoints, "--raw", "off", "--metrics", "off", "--identity", f"at-{host}", *options)
        broker.ready()
        return broker

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def stored_broker_at(self, host, folder, *options):
        return self.broker_at(host, "--data", str(pathlib.Path(folder, f"store-{host}")), *options)

    def start_link(self, source, target, *options):
        return self.run_program("link", "--from", source, "--to", target, *options)

    def link(self, source, target, *options):
        link = self.start_link(source, target, *options)
        link.ready()
        return link

    def writer_at(self, host, source=None):
        writer = Writer(self.context, source=source or f"writer@{host}", endpoint=endpoint(host, 5570))
        self.addCleanup(writer.close)
        writer.wait_ready()
        return writer

    def stored(self, host, pattern):
        """The events in a broker's history that match, as (topic, Event), and its losses."""
        control = ControlClient(self.context, control=endpoint(host, 5572))
        try:
            events, lost = [], []
            for reply, _ in control.pages(replay={"pattern": pattern, "since_ns": 0}):
                events += [(each.topic, event_pb2.Event.FromString(each.event)) for each in reply.replay.events]
                lost += [(each.topic, each.first_offset, each.last_offset, each.upstream) for each in reply.replay.destroyed]
            return events, lost
        finally:
            control.close()

    def wait_stored(self, host, pattern, count):
        deadline = Deadline()
        while True:
            events, _ = self.stored(host, pattern)
            if len(events) >= count:
                return events
            if not deadline.left():
                raise AssertionError(f"expected {count} events of {pattern} at {host}, got {len(events)}")
            time.sleep(0.02)

    def wait_admitted_at(self, host, writer):
        control = ControlClient(self.context, control=endpoint(host, 5572))
        self.addCleanup(control.close)
        deadline = Deadline()
        while control.request(admitted={"source": writer.source, "session": writer.session}).admitted.sequence < writer.sequence:
            self.assertTrue(deadline.left(), "not admitted")

    def texts(self, host, pattern):
        return [(topic, event.text) for topic, event in self.stored(host, pattern)[0]]

    def registered(self, host, name):
        control = ControlClient(self.context, control=endpoint(host, 5572))
        try:
            return [file.name for file in control.request(types={"names": [name]}).types.files.file]
        finally:
            control.close()


class WhatIsPassedOn(LinkTest):
    def test_topics_of_several_patterns_are_passed_on_as_they_are_under_another_topic(self):
        self.broker_at(FIRST)
        self.broker_at(SECOND)
        writer = self.writer_at(FIRST, source="thermometer@edge")
        event = writer.event(text="21.5", attributes={"unit": "°C"})
        event.time.seconds = 1234567890
        writer.send_frames(b"sensor.a", event.SerializeToString())
        writer.send("other.a", "not this one")
        self.link(FIRST, SECOND, "sensor.>", "price.*", "sensor.a", "--under", "site7")
        writer.send("price.b", "2")
        writer.send("price.b.c", "nor this one")
        writer.send_frames(b"sensor.clear", writer.event().SerializeToString())
        events = self.wait_stored(SECOND, "site7.>", 3)
        self.assertEqual([topic for topic, _ in events], ["site7.sensor.a", "site7.price.b", "site7.sensor.clear"])
        (_, first), (_, second), (_, third) = events
        self.assertEqual((first.text, first.time.seconds, first.attributes["unit"]), ("21.5", 1234567890, "°C"))
        self.assertEqual(first.attributes["origin_source"], "thermometer@edge")
        self.assertRegex(first.attributes["origin"], "^[0-9a-f]{16}:1$")
        self.assertEqual(second.text, "2")
        self.assertFalse(second.HasField("time"))
        self.assertIsNone(third.WhichOneof("payload"))
        # The place in the source's stream.
        self.assertEqual([event.sequence for _, event in events], [2, 6, 10])
        self.assertEqual(self.stored(SECOND, "*")[0], [])

    def test_types_that_only_the_source_knows_are_registered_at_the_target(self):
        self.broker_at(FIRST)
        self.broker_at(SECOND)
        file = descriptor_pb2.FileDescriptorProto(name="acme/thing.proto", package="acme", syntax="proto3")
        file.message_type.add(name="Thing")
        control = ControlClient(self.context, control=endpoint(FIRST, 5572))
        self.addCleanup(control.close)
        files = descriptor_pb2.FileDescriptorSet(file=[file])
        self.assertEqual(control.request(types={"register_files": files}).WhichOneof("end"), "complete")
        writer = self.writer_at(FIRST)
        event = writer.event()
        event.message.type_url = "type.googleapis.com/acme.Thing"
        writer.send_frames(b"n.thing", event.SerializeToString())
        self.link(FIRST, SECOND, "n.>")
        self.wait_stored(SECOND, "n.>", 1)
        self.assertEqual(self.registered(SECOND, "acme.Thing"), ["acme/thing.proto"])

    def test_last_values_that_history_no_longer_has_are_passed_on(self):
        self.broker_at(FIRST, "--config", self.config_file("[[backplane]]\nhistory_events = 2\n"))
        self.broker_at(SECOND)
        writer = self.writer_at(FIRST)
        writer.send("config.cleared", "1")
        writer.send_frames(b"config.cleared", writer.event().SerializeToString())
        for number in range(1, 11):
            writer.send("config.a", f"a {number}")
        writer.send("config.b", "b")
        self.link(FIRST, SECOND, "config.>")
        events = self.wait_stored(SECOND, "config.b", 1)
        self.assertEqual([event.text for _, event in events], ["b"])
        self.assertEqual(self.texts(SECOND, "config.a")[-1], ("config.a", "a 10"))
        self.assertEqual(self.stored(SECOND, "config.>")[1], [])  # a new link has promised nothing

    def test_an_event_above_the_targets_limit_is_announced_as_lost(self):
        self.broker_at(FIRST)
        self.broker_at(SECOND, "--config", self.config_file('[[backplane]]\nmax_event_bytes = "1KiB"\n'))
        writer = self.writer_at(FIRST)
        for text in ("1", "2" * 2000, "3"):
            writer.send("n.a", text)
        self.link(FIRST, SECOND, "n.>")
        self.wait_stored(SECOND, "n.a", 2)
        self.assertEqual(self.texts(SECOND, "n.a"), [("n.a", "1"), ("n.a", "3")])
        self.assertEqual(self.stored(SECOND, "n.a")[1], [("n.a", 2, 2, True)])


class Topologies(LinkTest):
    def test_links_in_both_directions_send_nothing_back(self):
        self.broker_at(FIRST)
        self.broker_at(SECOND)
        links = [self.link(FIRST, SECOND, "n.>"), self.link(SECOND, FIRST, "n.>")]
        writers = {host: self.writer_at(host) for host in (FIRST, SECOND)}
        for number in range(100):
            for host, writer in writers.items():
                writer.send(f"n.{host.replace('.', '-')}", str(number))
        for host in (FIRST, SECOND):
            self.wait_stored(host, "n.>", 200)
        for host, writer in writers.items():
            writer.send("n.end", host)
        for host in (FIRST, SECOND):
            self.wait_stored(host, "n.end", 2)
            for other in (FIRST, SECOND):
                topic = f"n.{other.replace('.', '-')}"
                self.assertEqual(self.texts(host, topic), [(topic, str(number)) for number in range(100)])
            self.assertEqual(len(self.stored(host, "n.>")[0]), 202)
        self.assertTrue(all(link.running() for link in links))

    def test_a_chain_of_three_keeps_the_way(self):
        for host in (FIRST, SECOND, THIRD):
            self.broker_at(host)
        self.link(FIRST, SECOND, "n.>")
        self.link(SECOND, THIRD, "n.>", "--under", "far")
        self.link(SECOND, THIRD, "n.>", "--under", "near", "--hops", "1")
        self.writer_at(FIRST, source="origin@first").send("n.a", "1")
        self.writer_at(SECOND, source="origin@second").send("n.b", "2")
        events = {topic: event for topic, event in self.wait_stored(THIRD, ">", 3)}
        self.assertEqual(sorted(events), ["far.n.a", "far.n.b", "near.n.b"])
        self.assertEqual(len(events["far.n.a"].attributes["origin"].split(",")), 2)
        self.assertEqual(events["far.n.a"].attributes["origin_source"], "origin@first")
        self.assertEqual(events["far.n.b"].attributes["origin_source"], "origin@second")

    def test_a_ring_of_three_has_no_loop(self):
        hosts = [FIRST, SECOND, THIRD]
        for host in hosts:
            self.broker_at(host)
        for source, target in zip(hosts, hosts[1:] + hosts[:1]):
            self.link(source, target, "n.>")
        for host in hosts:
            writer = self.writer_at(host)
            for number in range(50):
                writer.send(f"n.{host.replace('.', '-')}", str(number))
        for host in hosts:
            self.wait_stored(host, "n.>", 150)
        self.writer_at(FIRST, source="end@first").send("n.end", "1")
        for host in hosts:
            self.wait_stored(host, "n.end", 1)
        for host in hosts:
            self.assertEqual(len(self.stored(host, "n.>")[0]), 151)

    def test_a_backplane_is_not_linked_to_itself(self):
        self.broker_at(FIRST)
        link = self.run_program("link", "--from", FIRST, "--to-ingress", endpoint(FIRST, 5570), "--to-control",
                                f"tcp://{FIRST.removesuffix('.')}:5572", "n.>")
        self.assertEqual(link.wait_exit(), 2)


class Failures(LinkTest):
    RATE, TOPICS = 2000, 5

    def publish(self, stop, counts):
        """Publishes on some topics until `stop`; the library loses nothing if the broker keeps its state."""
        with Publisher("numbers@test", ingress=endpoint(FIRST, 5570), control=endpoint(FIRST, 5572)) as publisher:
            begun, sent = time.monotonic(), 0
            while not stop.is_set():
                while sent < (time.monotonic() - begun) * self.RATE:
                    topic = sent % self.TOPICS
                    counts[topic] += 1
                    publisher.publish(f"n.{topic}", str(counts[topic]))
                    sent += 1
                stop.wait(0.005)

    def survives(self, kill_and_restart):
        """Each event is at the target exactly once, in the order of its topic, after all this."""
        stop, counts = threading.Event(), [0] * self.TOPICS
        publisher = threading.Thread(target=self.publish, args=(stop, counts))
        publisher.start()
        try:
            for _ in range(3):
                self.wait_stored(SECOND, "n.0", len(self.stored(SECOND, "n.0")[0]) + 100)
                kill_and_restart()
            self.wait_stored(SECOND, "n.0", len(self.stored(SECOND, "n.0")[0]) + 100)
        finally:
            stop.set()
            publisher.join()
        for topic in range(self.TOPICS):
            events = self.wait_stored(SECOND, f"n.{topic}", counts[topic])
            self.assertEqual([event.text for _, event in events], [str(n + 1) for n in range(counts[topic])])
            self.assertEqual(self.stored(SECOND, f"n.{topic}")[1], [])

    def test_kill_9_of_the_link(self):
        self.broker_at(FIRST)
        self.broker_at(SECOND)
        link = [self.link(FIRST, SECOND, "n.>")]

        def restart():
            link[0].kill()
            link[0] = self.link(FIRST, SECOND, "n.>")

        self.survives(restart)

    def test_kill_9_of_the_target(self):
        folder = self.folder()
        self.broker_at(FIRST)
        target = [self.stored_broker_at(SECOND, folder)]
        self.link(FIRST, SECOND, "n.>")

        def restart():
            target[0].kill()
            target[0] = self.stored_broker_at(SECOND, folder)

        self.survives(restart)

    def test_kill_9_of_the_source(self):
        folder = self.folder()
        source = [self.stored_broker_at(FIRST, folder)]
        self.broker_at(SECOND)
        self.link(FIRST, SECOND, "n.>", "--state", folder)

        def restart():
            source[0].kill()
            source[0] = self.stored_broker_at(FIRST, folder)

        self.survives(restart)

    def test_a_target_that_was_away_gets_everything(self):
        self.broker_at(FIRST)
        link = self.start_link(FIRST, SECOND, "n.>")
        writer = self.writer_at(FIRST)
        for number in range(1000):
            writer.send("n.a", str(number))
        link.wait_line(link.err, f"waiting for the target: cannot connect to tcp://{SECOND}:5570")
        self.broker_at(SECOND)
        events = self.wait_stored(SECOND, "n.a", 1000)
        self.assertEqual([event.text for _, event in events], [str(number) for number in range(1000)])
        link.ready()

    def test_a_list_of_targets_is_used_in_its_order(self):
        self.broker_at(FIRST)
        second = self.broker_at(SECOND)
        self.broker_at(THIRD)
        self.link(FIRST, f"{SECOND},{THIRD}", "n.>")
        writer = self.writer_at(FIRST)
        for number in range(10):
            writer.send("n.a", str(number))
        self.wait_stored(SECOND, "n.a", 10)
        second.kill()
        for number in range(10, 20):
            writer.send("n.a", str(number))
        events = self.wait_stored(THIRD, "n.a", 10)
        # What the first target had confirmed is not sent again; what it had not may be.
        numbers = [int(event.text) for _, event in events]
        self.assertEqual(numbers, list(range(numbers[0], 20)))

    def test_a_source_that_comes_back_without_its_history_is_passed_on_from_its_beginning(self):
        source = self.broker_at(FIRST)
        self.broker_at(SECOND)
        link = self.link(FIRST, SECOND, "n.>", "--state", self.folder())
        self.writer_at(FIRST).send("n.a", "before")
        self.wait_stored(SECOND, "n.a", 1)
        source.kill()
        self.broker_at(FIRST)
        self.writer_at(FIRST).send("n.a", "after")
        self.assertEqual([event.text for _, event in self.wait_stored(SECOND, "n.a", 2)], ["before", "after"])
        link.wait_line(link.err, "came back without its history")

    def test_what_a_target_has_confirmed_is_not_sent_again_to_one_that_has_lost_its_state(self):
        self.broker_at(FIRST)
        target = self.broker_at(SECOND)
        folder = self.folder()
        link = self.link(FIRST, SECOND, "n.>", "--state", folder)
        writer = self.writer_at(FIRST)
        writer.send("n.a", "1")
        self.wait_stored(SECOND, "n.a", 1)
        deadline = Deadline()
        while not any("position 1 " in file.read_text() for file in pathlib.Path(folder).glob("*.link")):
            self.assertTrue(deadline.left(), "the state was not saved")
            time.sleep(0.05)
        link.end()
        target.kill()
        self.broker_at(SECOND)
        self.link(FIRST, SECOND, "n.>", "--state", folder)
        writer.send("n.a", "2")
        self.assertEqual([event.text for _, event in self.wait_stored(SECOND, "n.a", 1)], ["2"])


class Gaps(LinkTest):
    def test_what_the_source_has_lost_is_announced_at_the_target(self):
        folder = self.folder()
        self.broker_at(FIRST, "--config", self.config_file("[[backplane]]\nhistory_events = 50\n"))
        target = self.stored_broker_at(SECOND, folder)
        self.link(FIRST, SECOND, "n.>")
        writer = self.writer_at(FIRST)
        for number in range(1, 11):
            writer.send("n.a", str(number))
        writer.send("n.b", "1")
        self.wait_stored(SECOND, "n.>", 11)
        sub = self.run_program("sub", "n.>", "--since", "1h", "--format", "text+offset", "--broker", SECOND)
        sub.wait_line(sub.out, "^n.b 1 1$")
        target.kill()
        for number in range(11, 211):
            writer.send("n.a", str(number))
        writer.send("n.b", "2")
        writer.send("n.a", "211")
        self.wait_admitted_at(FIRST, writer)
        target = self.stored_broker_at(SECOND, folder)
        # 50 are left: 162 to 211.
        sub.wait_line(sub.out, "^n.a 211 211$")
        of_a = [line for line in sub.out if re.match("!?[A-Z ]*n.a ", line)]
        self.assertEqual(of_a, [f"n.a {n} {n}" for n in range(1, 11)] + ["!GAP n.a 11 161 lost_upstream"] +
                         [f"n.a {n} {n}" for n in range(162, 212)])
        self.assertEqual([line for line in sub.out if "n.b" in line], ["n.b 1 1", "n.b 2 2"])
        # A reader that comes later sees the same, also after the next start of the broker.
        for _ in range(2):
            events, lost = self.stored(SECOND, "n.a")
            self.assertEqual([event.text for _, event in events], [str(n) for n in [*range(1, 11), *range(162, 212)]])
            self.assertEqual(lost, [("n.a", 11, 161, True)])
            audit = self.run_program("audit", "--broker", SECOND)
            self.assertEqual(audit.wait_exit(), 0, audit.transcript())
            target.kill()
            target = self.stored_broker_at(SECOND, folder)

    def test_clients_of_a_gateway_and_python_readers_are_told(self):
        self.broker_at(FIRST, "--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.broker_at(SECOND)
        link = self.link(FIRST, SECOND, "n.>")
        self.run_program("gateway", "--listen", GATEWAY, "--broker", SECOND).ready()
        client = self.client()
        self.assertEqual(client.command("FORMAT text+offset"), "+OK FORMAT text+offset")
        client.subscribe("n.>")
        subscriber = Subscriber("n.>", egress=endpoint(SECOND, 5571), control=endpoint(SECOND, 5572))
        self.addCleanup(subscriber.close)
        subscriber.wait_live()
        writer = self.writer_at(FIRST)
        writer.send("n.a", "1")
        self.assertEqual(client.event(), "n.a 1 1")
        link.signal(signal.SIGSTOP)
        for number in range(2, 22):
            writer.send("n.a", str(number))
        self.wait_admitted_at(FIRST, writer)
        link.signal(signal.SIGCONT)
        self.assertEqual([client.event() for _ in range(5)], [f"n.a {n} {n}" for n in range(17, 22)])
        self.assertEqual(client.notice(), "!GAP n.a 2 16 lost_upstream")
        self.assertIn(["!GAP n.a 2 16 lost_upstream", "n.a 17 17"], [client.seen[at:at + 2] for at in range(len(client.seen))])
        items = [subscriber.receive(timeout=60) for _ in range(7)]
        self.assertEqual([item.stamp.offset if hasattr(item, "stamp") else None for item in items], [1, None, 17, 18, 19, 20, 21])
        self.assertEqual((items[1].first, items[1].last, items[1].reason), (2, 16, "lost_upstream"))

    def test_a_gap_is_passed_on_along_a_chain_with_the_last_values(self):
        self.broker_at(FIRST, "--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.broker_at(SECOND)
        self.broker_at(THIRD)
        link = self.link(FIRST, SECOND, "n.>")
        self.link(SECOND, THIRD, "n.>")
        writer = self.writer_at(FIRST)
        writer.send("n.slow", "1")
        writer.send("n.fast", "1")
        self.wait_stored(THIRD, "n.>", 2)
        link.signal(signal.SIGSTOP)
        for number in range(2, 102):
            writer.send("n.fast", str(number))
            if number < 5:
                writer.send("n.slow", str(number))
        self.wait_admitted_at(FIRST, writer)
        link.signal(signal.SIGCONT)
        events = self.wait_stored(THIRD, "n.fast", 6)
        self.assertEqual([event.text for _, event in events], ["1", "97", "98", "99", "100", "101"])
        self.assertEqual(self.stored(THIRD, "n.fast")[1], [("n.fast", 2, 96, True)])
        # Nothing of a topic that has lost nothing is left out.
        self.assertEqual(self.texts(THIRD, "n.slow"), [("n.slow", str(number)) for number in range(1, 5)])
        self.assertEqual(self.stored(THIRD, "n.slow")[1], [])


class Stores(LinkTest):
    """Sources with their history on disk."""

    def test_what_is_left_of_each_topic_is_passed_on(self):
        folder = self.folder()
        limits = "[[backplane]]\n[[backplane.retention]]\npattern = \"n.fast\"\nhistory_events = 5\n"
        options = ("--config", self.config_file(limits))
        source = self.stored_broker_at(FIRST, folder, *options)
        target = self.stored_broker_at(SECOND, folder)
        link = self.link(FIRST, SECOND, "n.>")
        writer = self.writer_at(FIRST)
        writer.send("n.slow", "1")
        writer.send("n.fast", "1")
        self.wait_stored(SECOND, "n.>", 2)
        link.kill()
        for number in range(2, 102):
            writer.send("n.fast", str(number))
            if number % 10 == 0:
                writer.send("n.slow", str(number))
        self.wait_admitted_at(FIRST, writer)
        for broker in (source, target):
            broker.kill()
        self.stored_broker_at(FIRST, folder, *options)
        target = self.stored_broker_at(SECOND, folder)
        self.link(FIRST, SECOND, "n.>")
        self.wait_stored(SECOND, "n.fast", 6)
        slow = [str(number) for number in [1, *range(10, 101, 10)]]
        for _ in range(2):  # also after the next start of the target
            self.assertEqual(self.texts(SECOND, "n.fast"), [("n.fast", text) for text in ("1", "97", "98", "99", "100", "101")])
            self.assertEqual(self.texts(SECOND, "n.slow"), [("n.slow", text) for text in slow])
            self.assertEqual(self.stored(SECOND, "n.slow")[1], [])
            # A link that has not seen the topic before does not know how many are lost.
            ((topic, first, last, upstream),) = self.stored(SECOND, "n.fast")[1]
            self.assertEqual((topic, first, upstream), ("n.fast", 2, True))
            audit = self.run_program("audit", "--broker", SECOND)
            self.assertEqual(audit.wait_exit(), 0, audit.transcript())
            target.kill()
            target = self.stored_broker_at(SECOND, folder)

    def test_what_damage_has_destroyed_at_the_source_is_lost_at_the_target(self):
        folder = self.folder()
        source = self.stored_broker_at(FIRST, folder)
        self.broker_at(SECOND)
        writer = self.writer_at(FIRST)
        for number in range(10, 40):
            writer.send("n.a", f"number {number}")
        self.wait_admitted_at(FIRST, writer)
        source.kill()
        log = sorted(pathlib.Path(folder, f"store-{FIRST}", "default").glob("*.log"))[0]
        content = bytearray(log.read_bytes())
        for text in (b"number 20", b"number 21"):
            content[content.index(text)] ^= 0x40
        log.write_bytes(content)
        self.stored_broker_at(FIRST, folder)
        self.link(FIRST, SECOND, "n.>")
        events = self.wait_stored(SECOND, "n.a", 28)
        self.assertEqual([event.text for _, event in events], [f"number {n}" for n in [*range(10, 20), *range(22, 40)]])
        self.assertEqual(self.stored(SECOND, "n.a")[1], [("n.a", 11, 12, True)])

    def test_the_rest_of_an_earlier_incarnation_comes_first_also_if_its_beginning_is_gone(self):
        folder = self.folder()
        options = ("--config", self.config_file("[[backplane]]\nhistory_events = 20\nstore_sync = \"1h\"\n"))
        source = self.stored_broker_at(FIRST, folder, *options)
        self.broker_at(SECOND)
        link = self.link(FIRST, SECOND, "n.>", "--state", folder)
        writer = self.writer_at(FIRST)
        for number in range(1, 11):
            writer.send("n.a", str(number))
        self.wait_stored(SECOND, "n.a", 10)
        link.end()  # it has saved its state
        for number in range(11, 101):
            writer.send("n.a", str(number))
        self.wait_admitted_at(FIRST, writer)
        source.kill()
        # As if the machine had gone down, and nothing that was written were lost.
        mark = pathlib.Path(folder, f"store-{FIRST}", "default", "store")
        lines = mark.read_text().splitlines(keepends=True)[:-1]
        text = "".join("boot another\n" if line.startswith("boot ") else line for line in lines)
        mark.write_text(f"{text}crc {crc32c(text.encode()):08x}\n")
        self.stored_broker_at(FIRST, folder, *options)
        writer = self.writer_at(FIRST)
        writer.send("n.a", "of the new one")
        link = self.link(FIRST, SECOND, "n.>", "--state", folder)
        events = self.wait_stored(SECOND, "n.a", 32)
        # The new incarnation begins with the last values.
        self.assertEqual([event.text for _, event in events],
                         [str(number) for number in [*range(1, 11), *range(81, 101), 100]] + ["of the new one"])
        self.assertEqual(self.stored(SECOND, "n.a")[1][0][:2], ("n.a", 11))


class Operating(LinkTest):
    def test_keys_for_each_side(self):
        folder = pathlib.Path(self.folder())
        brokers = {}
        for host, names in ((FIRST, ("first", "reader", "writer")), (SECOND, ("second", "sender", "watcher"))):
            for name in names:
                made = self.run_program("keys", "new", name, cwd=folder)
                self.assertEqual(made.wait_exit(), 0, made.transcript())
            public = {name: (folder / f"{name}.pub").read_text().strip() for name in names}
            roles = ('[roles.reads]\nsubscribe = ["n.>"]\n[roles.writes]\npublish = ["n.>", "x.n.>"]\n'
                     '[roles.watches]\nsubscribe = [">"]\npublish = [">"]\nadmin = true\n')
            users = "".join(f'[users.{name}]\ncurve = "{public[name]}"\nroles = ["{role}"]\n'
                            for name, role in zip(names[1:], ("reads", "watches") if host == FIRST else ("writes", "watches")))
            policy = folder / f"{names[0]}.toml"
            policy.write_text(roles + users, encoding="utf-8")
            brokers[host] = self.broker_at(host, "--policy", str(policy), "--key", str(folder / f"{names[0]}.key"))
        wrong = self.start_link(FIRST, SECOND, "n.>", "--under", "x", "--from-key", str(folder / "reader.key"),
                                "--from-server-key", str(folder / "first.pub"), "--to-key", str(folder / "reader.key"),
                                "--to-server-key", str(folder / "second.pub"))
        wrong.wait_line(wrong.err, "waiting for the target: .*key")
        wrong.end()
        link = self.start_link(FIRST, SECOND, "n.>", "--under", "x", "--from-key", str(folder / "reader.key"), "--from-server-key",
                         str(folder / "first.pub"), "--to-key", str(folder / "sender.key"), "--to-server-key",
                         str(folder / "second.pub"))
        # With keys, the names differ by user, as those of other programs.
        name = link.ready()["name"]
        self.assertRegex(name, "^link-[0-9a-f]{8}-[0-9a-f]{8}$")
        for host, key, server in ((FIRST, "writer", "first"), (SECOND, "watcher", "second")):
            top = self.run_program("top", "--once", "--broker", host, "--key", str(folder / f"{key}.key"), "--server-key",
                                   str(folder / f"{server}.pub"))
            self.assertEqual(top.wait_exit(), 0, top.transcript())
            row = next(line for line in top.out if line.startswith(name[:13]))  # those that are up come first
            self.assertRegex(row, " (in|out) .* up$")
        pub = self.run_program("pub", "n.a", "hello", "--broker", FIRST, "--key", str(folder / "writer.key"), "--server-key",
                               str(folder / "first.pub"))
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        sub = self.run_program("sub", "x.>", "--since", "1h", "--count", "1", "--broker", SECOND, "--key",
                               str(folder / "watcher.key"), "--server-key", str(folder / "second.pub"))
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual(sub.out, ["x.n.a hello"])

    def test_wrong_flags(self):
        for arguments, text in ((["n.>"], "--from: expected a host, got none"),
                                (["--from", "a", "n.>"], "--to: expected a host, got none"),
                                (["--from", "a", "--to", "b"], "PATTERN: expected at least one, got none"),
                                (["--from", "a", "--to", "a", "n.>"], "--to: expected other brokers than in --from"),
                                (["--from", "a", "--to", "b", "n..a"], "PATTERN: a token is empty"),
                                (["--from", "a", "--to", "b", "$SYS.>"], r"PATTERN: expected topics outside \$SYS\."),
                                (["--from", "a", "--to", "b", "n.>", "--under", "x.*"], "--under: "),
                                (["--from", "a", "--to", "b", "n.>", "--hops", "0"], "--hops: expected 1..64"),
                                (["--from", "a", "--to", "b", "n.>", "--since", "17"], "--since: expected a duration"),
                                (["--from", "a", "--to", "b", "n.>", "--name", "a/b"], "--name: "),
                                (["--from", "a,b", "--from-control", "tcp://c:1", "--to", "d", "n.>"], "expected a single host in --from")):
            link = self.run_program("link", *arguments)
            self.assertEqual(link.wait_exit(), 2, link.transcript())
            self.assertRegex("\n".join(link.err), text)

    def test_a_state_folder_serves_one_process(self):
        folder = self.folder()
        self.broker_at(FIRST)
        self.broker_at(SECOND)
        self.link(FIRST, SECOND, "n.>", "--state", folder)
        second = self.start_link(FIRST, SECOND, "n.>", "--state", folder)
        self.assertEqual(second.wait_exit(), 2)
        self.assertRegex("\n".join(second.err), "another process has this state file open")

    def test_a_configuration_file_metrics_and_readiness(self):
        self.broker_at(FIRST)
        config = self.config_file(f'[link]\nfrom = "{FIRST}"\nto = ["{SECOND}"]\npatterns = ["n.>"]\nunder = "x"\n'
                                  f'name = "link-test"\nmetrics = "{HOST}:9572"\n')
        link = self.run_program("link", "--config", config)
        link.wait_line(link.err, "waiting for the target")
        with self.assertRaises(urllib.error.HTTPError) as not_ready:
            urllib.request.urlopen(f"http://{HOST}:9572/readyz")
        self.assertEqual(not_ready.exception.code, 503)
        self.assertIn("waiting for the target", not_ready.exception.read().decode())
        not_ready.exception.close()
        self.broker_at(SECOND)
        self.assertEqual(link.ready()["name"], "link-test")
        writer = self.writer_at(FIRST)
        for _ in range(10):
            writer.send("n.a", "1")
        self.wait_stored(SECOND, "x.n.a", 10)
        deadline = Deadline()
        while True:
            with urllib.request.urlopen(f"http://{HOST}:9572/metrics") as page:
                lines = page.read().decode().splitlines()
            if 'backplane_link_passed_total{link="link-test"} 10' in lines and 'backplane_link_unconfirmed{link="link-test"} 0' in lines:
                break
            self.assertTrue(deadline.left(), lines)
        control = ControlClient(self.context, control=endpoint(SECOND, 5572))
        self.addCleanup(control.close)
        names = [each.name for each in control.request(stats={}).stats.participants]
        self.assertIn("link-test", names)
        link.signal(signal.SIGTERM)
        self.assertEqual(link.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
