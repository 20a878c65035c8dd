"""What a client in any language must do, with real brokers. python_client_test.py and node_client_test.py run these
scenarios through a driver process, which executes commands."""

import json
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time

import zmq
from golden import golden
from harness import CONTROL, EGRESS, HOST, INGRESS, TIMEOUT_S, BackplaneTest, Deadline
from relay import Relay

LONG_S = TIMEOUT_S / 2  # a limit within a driver: shorter than the test's own
SHORT_S = 0.2            # for what must not come
HEARTBEAT_S = 5.0        # what readers once had for ZeroMQ's heartbeats
EVENT_BYTES_MAX = 1 << 20


def unread_bytes(endpoint):
    """Bytes that have arrived in the kernel on connections to an endpoint, and that their program does not read."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    address = f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{int(port):04X}"
    lines = pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(fields[4].split(":")[1], 16) for line in lines if (fields := line.split())[2] == address)


class Driver:
    """A client in a process of its own, which executes commands."""

    def __init__(self, process):
        self._process = process
        self._answered = 0

    def begin(self, *command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def end(self):
        """Waits for the reply to begin(). Returns (value, error, text); value or error is None."""
        line = self._process.wait_line(self._process.out, "", since=self._answered).string
        self._answered += 1
        answer = json.loads(line)
        return answer.get("value"), answer.get("error"), answer.get("text")

    def result(self):
        value, error, text = self.end()
        if error:
            raise AssertionError(f"{error}: {text}\n{self._process.transcript()}")
        return value

    def do(self, *command):
        self.begin(*command)
        return self.result()

    def fails(self, *command):
        """Expects an error. Returns (kind, text, value)."""
        self.begin(*command)
        value, error, text = self.end()
        if not error:
            raise AssertionError(f"expected an error from {command}, got {value}\n{self._process.transcript()}")
        return error, text, value

    def stays_alive(self, seconds):
        deadline = Deadline(seconds)
        while deadline.left():
            if not self._process.running():
                raise AssertionError(f"ended\n{self._process.transcript()}")
            time.sleep(0.05)

    def leave(self):
        """Closes everything and waits until the process exits."""
        self.do("close")
        self._process.stdin.close()
        if self._process.wait_exit() != 0:
            raise AssertionError(self._process.transcript())


class ClientCase:
    """A mixin for a BackplaneTest, with what scenarios need. COMMAND is the driver's command."""

    def driver(self, ingress=INGRESS, egress=EGRESS, control=CONTROL):
        process = self.run_process([*self.COMMAND, ingress, egress, control], stdin=subprocess.PIPE)
        return Driver(process)

    def subscriber(self, *patterns, **endpoints):
        driver = self.driver(**endpoints)
        driver.do("subscribe", patterns, LONG_S)
        return driver

    def publisher(self, source="source@test", event_bytes_max=EVENT_BYTES_MAX, **endpoints):
        driver = self.driver(**endpoints)
        driver.do("open_publisher", source, event_bytes_max)
        return driver

    def relay(self, target, **options):
        relay = Relay(target, **options)
        self.addCleanup(relay.close)
        return relay

    def publish(self, topic, texts):
        """Publishes with the harness's Writer. Returns when the broker has admitted all."""
        writer = self.ready_writer()
        for text in texts:
            writer.send(topic, str(text))
        self.wait_admitted(writer)

    def events(self, topic, offsets, texts=None):
        return [["event", topic, offset, ["text", str(text)]] for offset, text in zip(offsets, texts or offsets)]

    def last_offset(self, topic):
        return self.control_request(topics={"pattern": topic}).topics.topics[0].offset

    def participant(self, name):
        """What the broker has of a program that sends Hello; None: it does not know it."""
        participants = self.control_request(stats={}).stats.participants
        return next((each for each in participants if each.name == name), None)

    def wait_participant(self, name, condition):
        deadline = Deadline()
        while not ((found := self.participant(name)) and condition(found)):
            self.assertTrue(deadline.left(), f"{name} is {found}")


class ClientScenarios(ClientCase):
    """What a client must do. A mixin for a BackplaneTest."""

    # Another program that knows the source and the session.

    def test_forged_events_confirm_nothing_and_lose_nothing(self):
        self.start_broker()
        driver, reader = self.publisher(), self.live_reader("n")
        driver.do("publish", "n", ["text", "first"], {}, "0")
        driver.do("flush", LONG_S)
        forger = self.ready_writer(source="source@test")
        forger.session, forger.sequence = reader.receive()[1].session, 2**63 - 1
        forger.send("forged", "far")
        forger.sequence = 1
        for _ in range(50):
            forger.send("forged", "near")
        self.wait_admitted(forger)
        self.assertEqual(self.counters()["rejected_total.sequence_jump"], 1)
        for number in range(50):  # the same sequences
            driver.do("publish", "m", ["text", str(number)], {}, "0")
        driver.do("flush", LONG_S)
        self.assertEqual([event.text for event in self.history(self.control_client(), "m")],
                         [str(number) for number in range(50)])
        driver.leave()

    # Reading.

    def test_a_reader_at_its_limit_for_received_messages_survives_the_brokers_kill(self):
        """With ZeroMQ's heartbeats, libzmq 4.3.4 would abort the process (`!_io_error`)."""
        broker = self.start_broker()
        driver = self.driver()
        driver.do("limit_received", 100)
        driver.do("subscribe", ["a"], LONG_S)
        self.publish("a", (f"{number:1000}" for number in range(1, 5001)))
        deadline = Deadline()
        while not unread_bytes(EGRESS):
            self.assertTrue(deadline.left(), "the reader's limit was not reached")
        broker.kill()
        driver.stays_alive(2 * HEARTBEAT_S + 2)  # the second one would abort it
        self.start_broker()
        self.publish("a", ["after"])
        items = [driver.do("receive", 1, LONG_S)[0]]
        while items[-1][0] != "reset":
            items.append(driver.do("receive", 1, LONG_S)[0])
        self.assertEqual([int(item[3][1]) for item in items[:-1]], list(range(1, len(items))))
        self.assertGreater(len(items), 100)
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("a", [1], ["after"]))
        driver.leave()

    def test_a_pattern_receives_exactly_the_topics_that_it_matches(self):
        self.start_broker()
        driver = self.subscriber("time", "stock.*", "a.>")
        for topic in ("timezone", "time.zone", "time", "stock", "stock.MSFT.x", "stock.MSFT", "stocks.A", "a", "a.b.c"):
            self.publish(topic, [1])
        self.assertEqual(sorted(driver.do("receive", 3, LONG_S)),
                         sorted(self.events(topic, [1])[0] for topic in ("time", "stock.MSFT", "a.b.c")))
        self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        driver.leave()

    def test_every_payload_arrives_as_it_was_published(self):
        self.start_broker()
        reader, driver = self.live_reader("p."), self.subscriber("p.>")
        driver.do("open_publisher", "me@test", EVENT_BYTES_MAX)
        payloads = [["text", "grüße\n°C"], ["text", ""], ["binary", "00ff0a"], ["quote", "MSFT", 39.81], ["none", ""]]
        time_ns = 946684800_123456789
        for kind, *values in payloads:
            sent = [kind] if kind == "none" else [kind, *values]
            driver.do("publish", "p.x", sent, {"unit": "°C"}, str(time_ns))
        driver.do("flush", LONG_S)
        self.assertEqual(driver.do("receive", len(payloads), LONG_S),
                         [["event", "p.x", offset, payload] for offset, payload in enumerate(payloads, start=1)])
        for sequence in range(1, len(payloads) + 1):
            event = reader.receive()[1]
            self.assertEqual((event.source, event.sequence, event.time.ToNanoseconds(), dict(event.attributes)),
                             ("me@test", sequence, time_ns, {"unit": "°C"}))
        driver.leave()

    def test_last_values_and_history_are_read_page_by_page(self):
        self.start_broker()
        writer = self.ready_writer()
        for number in range(1200):
            writer.send(f"v.{number:04}", str(number))
            writer.send("h", str(number + 1))
        self.wait_admitted(writer)
        driver = self.driver()
        driver.do("open_control")
        self.assertEqual(driver.do("last", "v.*", LONG_S),
                         [self.events(f"v.{number:04}", [1], [number])[0] for number in range(1200)])
        self.assertEqual(driver.do("last", "nobody", LONG_S), [])
        self.assertEqual(driver.do("replay", "h", {"after_offset": 100}, LONG_S), self.events("h", range(101, 1201)))
        self.assertEqual(len(driver.do("replay", ">", {"since_ns": 0}, LONG_S)), 2400)
        driver.leave()

    def test_evicted_history_is_an_error_with_the_first_available_offset(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.publish("h", range(1, 21))
        driver = self.driver()
        driver.do("open_control")
        self.assertEqual(driver.fails("replay", "h", {"after_offset": 3}, LONG_S)[::2], ("gone", 16))
        self.assertEqual(driver.do("replay", "h", {"after_offset": 15}, LONG_S), self.events("h", range(16, 21)))
        driver.leave()

    # Losses.

    def cut_off(self, relay, topics_and_texts):
        relay.cut()
        for topic, texts in topics_and_texts:
            self.publish(topic, texts)
        relay.mend()

    def test_events_published_while_the_connection_is_cut_are_recovered(self):
        self.start_broker()
        relay = self.relay(EGRESS)
        driver = self.subscriber("n.>", egress=relay.endpoint)
        self.publish("n.a", [1, 2, 3])
        self.assertEqual(driver.do("receive", 3, LONG_S), self.events("n.a", [1, 2, 3]))
        # n.b is new to the reader, and no later event of either topic shows the loss.
        self.cut_off(relay, [("n.a", range(4, 1001)), ("n.b", [1, 2])])
        items = driver.do("receive", 999, LONG_S)
        self.assertEqual([item for item in items if item[1] == "n.a"], self.events("n.a", range(4, 1001)))
        self.assertEqual([item for item in items if item[1] == "n.b"], self.events("n.b", [1, 2]))
        self.assertEqual(driver.do("subscriber_status"),
                         {"recovered": 999, "duplicates": 0, "undecodable": 0, "live": True})
        self.publish("n.b", [3])
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("n.b", [3]))
        driver.leave()

    def test_events_that_history_no_longer_has_are_a_gap(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.publish("before", [1])  # reading must not begin at the start of the stream
        relay = self.relay(EGRESS)
        driver = self.subscriber("n.>", egress=relay.endpoint)
        self.publish("n.a", [1, 2, 3])
        self.assertEqual(driver.do("receive", 3, LONG_S), self.events("n.a", [1, 2, 3]))
        self.cut_off(relay, [("n.a", range(4, 24)), ("n.b", range(1, 21))])
        items = driver.do("receive", 12, LONG_S)
        self.assertEqual([item for item in items if item[1] == "n.a"],
                         [["gap", "n.a", 4, 18, "history_gone"], *self.events("n.a", range(19, 24))])
        # If no event of the topic was seen before, its first offset is unknown.
        self.assertEqual([item for item in items if item[1] == "n.b"],
                         [["gap", "n.b", 0, 15, "history_gone"], *self.events("n.b", range(16, 21))])
        driver.leave()

    def test_a_killed_brokers_return_is_a_reset_and_all_events_of_its_new_incarnation_arrive(self):
        broker = self.start_broker()
        driver = self.subscriber("n.>")
        self.publish("n.a", [1, 2, 3])
        self.assertEqual(driver.do("receive", 3, LONG_S), self.events("n.a", [1, 2, 3]))
        for life in range(2):
            old = f"{self.control_request(stats={}).stream:016x}"
            broker.kill()
            driver.begin("receive", 3, LONG_S)
            broker = self.start_broker()
            # Perhaps before the subscriptions are active again.
            self.publish("n.a", [f"{life} one", f"{life} two"])
            reset, *events = driver.result()
            self.assertEqual(reset, ["reset", old, f"{self.control_request(stats={}).stream:016x}"])
            self.assertEqual(events, self.events("n.a", [1, 2], [f"{life} one", f"{life} two"]))
            self.publish("n.new", [1])
            self.assertEqual(driver.do("receive", 1, LONG_S), self.events("n.new", [1]))
        driver.leave()

    def test_everything_that_had_been_received_when_the_broker_was_killed_is_delivered_before_the_reset(self):
        broker = self.start_broker()
        echo, driver = self.live_reader("n"), self.subscriber("n")
        old = f"{self.control_request(stats={}).stream:016x}"
        self.publish("n", range(1, 3001))  # and nobody calls receive()
        for _ in range(3000):
            echo.receive()
        broker.kill()
        self.start_broker()
        self.publish("n", ["one", "two"])
        items = driver.do("receive", 3003, LONG_S)
        self.assertEqual(items[:3000], self.events("n", range(1, 3001)))
        self.assertEqual(items[3000], ["reset", old, f"{self.control_request(stats={}).stream:016x}"])
        self.assertEqual(items[3001:], self.events("n", [1, 2], ["one", "two"]))
        driver.leave()

    def test_a_reader_that_is_behind_survives_cut_connections_and_delivers_everything(self):
        self.start_broker()
        relay = self.relay(EGRESS)
        driver = self.subscriber("n.>", egress=relay.endpoint)
        count, offsets = 0, []
        for _ in range(5):
            self.publish("n.a", [f"{count + number}{'.' * 500}" for number in range(1, 1001)])
            count += 1000
            relay.cut()
            relay.mend()
            # It does not come to the end of what it received.
            offsets += [item[2] for item in driver.do("receive", 20, LONG_S)]
        offsets += [item[2] for item in driver.do("receive", count - 100, LONG_S)]
        self.assertTrue(offsets == list(range(1, count + 1)), "missing, twice or out of order")
        driver.leave()

    def test_a_drained_brokers_last_events_are_delivered(self):
        broker = self.start_broker()
        driver = self.subscriber("n")
        for life in range(3):
            self.publish("n", range(1, 301))
            broker.end()
            broker = self.start_broker()
            items = driver.do("receive", 301, LONG_S)
            self.assertEqual(items[:300], self.events("n", range(1, 301)), life)
            self.assertEqual(items[300][0], "reset")
        driver.leave()

    # Where a subscription begins, and how often it delivers.

    def begin_at(self, since, *patterns, **endpoints):
        driver = self.driver(**endpoints)
        driver.do("subscribe", patterns or ["n.>"], LONG_S, {"since": since})
        return driver

    def test_since_puts_history_before_the_new_events(self):
        self.start_broker()
        self.publish("n.a", range(1, 1001))
        self.publish("n.b", range(1, 11))
        ago = self.begin_at("10m")
        offset = self.begin_at(990, "n.a")
        self.publish("n.a", [1001])
        items = ago.do("receive", 1011, LONG_S)
        self.assertEqual(items, self.events("n.a", range(1, 1001)) + self.events("n.b", range(1, 11))
                         + self.events("n.a", [1001]))
        self.assertEqual(offset.do("receive", 11, LONG_S), self.events("n.a", range(991, 1002)))
        recent = self.begin_at("1ms")
        self.publish("n.a", [1002])
        self.assertEqual(recent.do("receive", 1, LONG_S)[0][0], "event")
        recent.do("open_control")
        self.assertEqual(len(recent.do("replay", "n.a", {"since_ago": 600}, LONG_S)), 1002)
        self.assertEqual(recent.do("replay", "n.a", {"since_ago": 0.000001}, LONG_S), [])
        for each in (ago, offset, recent):
            each.leave()

    def test_since_announces_history_that_is_gone(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.publish("n.a", range(1, 21))
        offset, ago = self.begin_at(3, "n.a"), self.begin_at("10m")
        self.assertEqual(offset.do("receive", 6, LONG_S),
                         [["gap", "n.a", 4, 15, "history_gone"], *self.events("n.a", range(16, 21))])
        self.assertEqual(ago.do("receive", 6, LONG_S),
                         [["gap", "n.>", 0, 0, "history_gone"], *self.events("n.a", range(16, 21))])
        for each in (offset, ago):
            each.leave()

    def test_an_offset_that_has_not_been_reached_is_a_reset(self):
        self.start_broker()
        self.publish("n.a", range(1, 4))
        driver = self.begin_at(1000, "n.a")
        stream = f"{self.control_request(stats={}).stream:016x}"
        self.assertEqual(driver.do("receive", 4, LONG_S), [["reset", stream, stream], *self.events("n.a", [1, 2, 3])])
        driver.leave()

    def test_what_since_and_every_cannot_be_is_an_error_at_once(self):
        driver = self.driver()
        for since in ("", "x", "10 m", "-1", "1.5h", "99999999d", "00c0ffee0000002a", "00c0ffee0000002a:1,",
                      "00c0ffee0000002a:1,00c0ffee0000002a:2"):
            self.assertEqual(driver.fails("subscribe", ["n"], LONG_S, {"since": since})[0], "invalid", since)
        for patterns in (["n.>"], ["n", "m"]):
            self.assertEqual(driver.fails("subscribe", patterns, LONG_S, {"since": 5})[0], "invalid", patterns)
        for every in ("", "x", 0, -1):
            self.assertEqual(driver.fails("subscribe", ["n"], LONG_S, {"every": every})[0], "invalid", every)
        driver.leave()

    def test_every_delivers_the_first_event_at_once_and_then_the_latest_of_each_interval(self):
        self.start_broker()
        driver = self.driver()
        driver.do("subscribe", ["n.>"], LONG_S, {"every": "1s"})
        self.publish("n.a", range(1, 101))
        self.publish("n.b", range(1, 51))
        items = self.receive_until(driver, lambda items: {("n.a", 100), ("n.b", 50)} <= {tuple(item[1:3]) for item in items})
        of_a = [item[2] for item in items if item[1] == "n.a"]
        self.assertEqual(of_a[0], 1)
        self.assertEqual(of_a, sorted(of_a))
        self.assertLess(len(of_a), 20)
        driver.leave()

    def resume_after_every_few_events(self, disturb):
        """Reads with one subscriber after the other, each from the last one's resume token, until all has come."""
        expected = {(topic, str(number)) for topic in ("n.a", "n.b", "n.c") for number in range(1, 201)}
        seen, token, deadline, last = set(), None, Deadline(), {}
        order = []
        while seen != expected:
            self.assertTrue(deadline.left(), sorted(expected - seen)[:5])
            driver = self.driver()
            driver.do("subscribe", ["n.a", "n.*"], LONG_S, {"since": token} if token else {})
            if not token:
                disturb()
            for item in self.some_items(driver, 7 + 3 * len(order)):
                self.assertEqual(item[0], "event", item)
                seen.add((item[1], item[3][1]))
                before = last.get((len(order), item[1]), 0)
                self.assertTrue(before == 0 or item[2] == before + 1, (before, item))
                last[len(order), item[1]] = item[2]
            token = driver.do("resume_token")
            self.assertNotEqual(token, "")
            order.append(token)
            driver.leave()
        return order

    def some_items(self, driver, count):
        items = []
        while len(items) < count and (item := driver.do("receive", 1, 1)[0]):
            items.append(item)
        return items

    def test_a_resume_token_never_passes_an_event_that_was_not_delivered(self):
        self.start_broker()

        def publish_mixed():
            writer = self.ready_writer()
            for number in range(1, 201):
                for topic in ("n.a", "n.b", "n.c"):
                    writer.send(topic, str(number))
            self.wait_admitted(writer)
        self.resume_after_every_few_events(publish_mixed)

    def test_a_resume_token_of_an_earlier_incarnation_begins_with_a_reset(self):
        broker = self.start_broker()
        driver = self.subscriber("n")
        self.publish("n", [1])
        driver.do("receive", 1, LONG_S)
        token, old = driver.do("resume_token"), f"{self.control_request(stats={}).stream:016x}"
        driver.leave()
        broker.kill()
        self.start_broker()
        self.publish("n", ["one"])
        driver = self.begin_at(token, "n")
        self.assertEqual(driver.do("receive", 2, LONG_S),
                         [["reset", old, f"{self.control_request(stats={}).stream:016x}"], *self.events("n", [1], ["one"])])
        driver.leave()

    # Several brokers.

    SECOND = {name: f"tcp://{HOST}:{port}" for name, port in (("ingress", 5670), ("egress", 5671), ("control", 5672))}
    BOTH = {"ingress": f"{INGRESS},{SECOND['ingress']}", "egress": f"{EGRESS},{SECOND['egress']}",
            "control": f"{CONTROL},{SECOND['control']}"}

    def start_second_broker(self):
        second = self.run_program("broker", *(f"--{name}={place}" for name, place in self.SECOND.items()),
                                  "--raw", "off", "--metrics", "off", "--name", "second")
        second.ready()
        return second

    def writer_at_second(self):
        writer = self.writer(source="second@test", endpoint=self.SECOND["ingress"])
        writer.wait_ready()
        return writer

    def receive_until(self, driver, condition):
        """What comes until `condition` holds of all that has come."""
        deadline, items = Deadline(), []
        while not condition(items):
            self.assertTrue(deadline.left(), items[-20:])
            items += [item for item in driver.do("receive", 1, SHORT_S) if item]
        return items

    def test_every_broker_of_the_list_is_read_at_once(self):
        self.start_broker()
        self.start_second_broker()
        driver = self.subscriber("n.>", **self.BOTH)
        second = self.writer_at_second()
        self.publish("n.a", [1, 2])
        for number in (1, 2, 3):
            second.send("n.b", str(number))
        items = driver.do("receive", 5, LONG_S)
        self.assertEqual([item for item in items if item[1] == "n.a"], self.events("n.a", [1, 2]))
        self.assertEqual([item for item in items if item[1] == "n.b"], self.events("n.b", [1, 2, 3]))
        self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        driver.leave()

    def test_a_broker_that_appears_later_is_read_from_the_time_at_which_reading_began(self):
        self.start_second_broker()
        driver = self.subscriber("n.>", **self.BOTH)
        self.start_broker()
        self.publish("n.a", range(1, 101))  # perhaps before the reader has noticed
        self.assertEqual(driver.do("receive", 100, LONG_S), self.events("n.a", range(1, 101)))
        driver.leave()

    def test_a_publisher_moves_when_its_broker_is_gone_and_returns_and_its_readers_miss_nothing(self):
        first = self.start_broker()
        self.start_second_broker()
        reader, driver = self.subscriber("n", **self.BOTH), self.publisher(**self.BOTH)
        driver.do("burst", "n", 100, 1)
        driver.do("flush", LONG_S)
        self.assertEqual(reader.do("receive", 100, LONG_S), self.events("n", range(1, 101)))
        self.assertEqual(self.last_offset("n"), 100)
        old = f"{self.control_request(stats={}).stream:016x}"
        first.kill()
        driver.do("burst", "n", 50, 1)
        driver.do("flush", LONG_S)
        self.assertEqual(reader.do("receive", 50, LONG_S), self.events("n", range(1, 51)))
        self.start_broker()
        [reset] = reader.do("receive", 1, LONG_S)
        self.assertEqual(reset, ["reset", old, f"{self.control_request(stats={}).stream:016x}"])
        deadline, published = Deadline(), 150
        while not self.control_request(topics={"pattern": "n"}).topics.topics:
            self.assertTrue(deadline.left(), "the publisher did not return")
            driver.do("publish", "n", ["text", "x"], {}, "1")
            driver.do("flush", LONG_S)
            published += 1
            reader.do("receive", 1, LONG_S)
        status = driver.do("publisher_status")
        self.assertEqual((status["confirmed"], status["refused"]), (published, 0))
        # Events that were sent before the publisher noticed the end of the first broker may have been published there.
        self.assertIn(status["in_doubt"], range(51))
        for each in (reader, driver):
            each.leave()
        unequal = self.driver(egress=self.BOTH["egress"])
        self.assertEqual(unequal.fails("subscribe", ["n"], SHORT_S)[0], "invalid")

    def test_no_single_broken_path_separates_publishers_from_readers(self):
        self.start_broker()
        self.start_second_broker()
        for path in ("ingress", "egress", "control"):
            relay = self.relay({"ingress": INGRESS, "egress": EGRESS, "control": CONTROL}[path])
            places = {**self.BOTH, path: f"{relay.endpoint},{self.SECOND[path]}"}
            topic = f"n.{path}"
            reader, driver = self.subscriber(topic, **places), self.publisher(**places)
            driver.do("wait_ready", LONG_S)
            relay.cut()
            texts = {str(number) for number in range(300)}
            for text in sorted(texts):
                driver.do("publish", topic, ["text", text], {}, "1")
            driver.do("flush", LONG_S)
            status = driver.do("publisher_status")
            self.assertEqual((status["confirmed"], status["refused"]), (300, 0))
            if path == "egress":
                relay.mend()  # until then, the reader can know nothing of what is at the first broker
            items = self.receive_until(reader, lambda items: texts <= {item[-1][-1] for item in items})
            self.assertEqual([item for item in items if item[0] != "event"], [], path)
            for each in (reader, driver):
                each.leave()

    def test_thousands_of_subscriptions_are_active_again_after_a_restart(self):
        broker = self.start_broker()
        topics = [f"t.{number:04}" for number in range(3000)]
        reader = self.subscriber(*topics)
        broker.kill()
        self.start_broker()
        reader.begin("receive", 1 + len(topics), LONG_S)
        writer = self.ready_writer()
        for topic in topics:
            writer.send(topic, "x")
        self.wait_admitted(writer)
        [reset, *items] = reader.result()
        self.assertEqual(reset[0], "reset")
        self.assertEqual(sorted(item[1] for item in items), topics)
        reader.leave()

    # What is published.

    def test_a_burst_is_admitted_once_and_in_order(self):
        self.start_broker()
        driver = self.subscriber("b")
        driver.do("open_publisher", "burst@test", EVENT_BYTES_MAX)
        driver.do("burst", "b", 10_000, 1)
        driver.do("flush", LONG_S)
        self.assertEqual(driver.do("publisher_status"),
                         {"offered": 10_000, "confirmed": 10_000, "refused": 0, "resent": 0, "in_doubt": 0})
        self.assertEqual(driver.do("receive", 10_000, LONG_S), self.events("b", range(1, 10_001)))
        self.assertEqual([event.sequence for event in self.history(self.control_client(), "b")], list(range(1, 10_001)))
        driver.leave()

    def test_a_burst_over_a_connection_that_is_cut_is_admitted_once_and_in_order(self):
        self.start_broker()
        relay = self.relay(INGRESS, cut_once_after=1 << 20)
        driver = self.publisher(ingress=relay.endpoint)
        driver.do("burst", "b", 10_000, 500)
        driver.do("flush", LONG_S)
        self.assertEqual(relay.cuts, 1)
        status = driver.do("publisher_status")
        self.assertGreater(status.pop("resent"), 0)
        self.assertEqual(status, {"offered": 10_000, "confirmed": 10_000, "refused": 0, "in_doubt": 0})
        self.assertEqual([event.sequence for event in self.history(self.control_client(), "b")], list(range(1, 10_001)))
        driver.leave()

    def test_events_published_without_a_broker_go_to_the_next_one(self):
        broker = self.start_broker()
        driver = self.publisher()
        driver.do("wait_ready", LONG_S)
        driver.do("burst", "b", 100, 1)
        driver.do("flush", LONG_S)
        broker.kill()
        driver.do("burst", "b", 50, 1)
        self.assertEqual(driver.fails("flush", SHORT_S)[0], "timeout")
        self.start_broker()
        driver.do("flush", LONG_S)
        self.assertEqual([event.sequence for event in self.history(self.control_client(), "b")], list(range(101, 151)))
        status = driver.do("publisher_status")
        self.assertEqual((status["confirmed"], status["refused"]), (150, 0))
        driver.leave()

    def test_a_stopped_broker_costs_time_but_no_events(self):
        broker = self.start_broker()
        driver = self.publisher()
        driver.do("wait_ready", LONG_S)
        broker.signal(signal.SIGSTOP)
        self.addCleanup(broker.signal, signal.SIGCONT)
        driver.do("burst", "b", 20_000, 1000)
        self.assertEqual(driver.fails("flush", SHORT_S)[0], "timeout")
        broker.signal(signal.SIGCONT)
        driver.do("flush", LONG_S)
        self.assertEqual(self.last_offset("b"), 20_000)
        driver.leave()

    def test_an_event_above_the_brokers_limit_is_refused_and_does_not_block_the_others(self):
        driver = self.publisher(event_bytes_max=None)
        # Above four times its limit, the broker would close the connection, again and again.
        for size in (2 << 20, 1, 6 << 20, 1, 6 << 20):
            driver.do("burst", "b", 1, size)  # no broker yet: nobody knows the limit
        self.start_broker()
        error, text, _ = driver.fails("flush", LONG_S)
        self.assertEqual(error, "refused")
        self.assertIn("3 events", text)
        self.assertIn("too_large", text)
        driver.do("flush", LONG_S)  # reported once
        self.assertEqual(self.last_offset("b"), 2)
        error, text, _ = driver.fails("burst", "b", 1, 2 << 20)  # now it is known
        self.assertEqual(error, "invalid")
        self.assertIn("1048576", text)
        driver.leave()

    def test_a_larger_limit_of_the_broker_is_used(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nmax_event_bytes = 4194304\n"))
        driver = self.publisher(event_bytes_max=None)
        driver.do("burst", "b", 1, 3 << 20)
        driver.do("flush", LONG_S)
        self.assertEqual(self.last_offset("b"), 1)
        driver.leave()

    # What a publisher tells the broker.

    def test_a_publishers_types_are_registered_again_at_a_broker_that_lost_them(self):
        broker = self.start_broker()
        driver = self.publisher()
        for life in range(2):
            driver.do("publish_quote", "stock.MSFT", "MSFT", 39.81)
            driver.do("flush", LONG_S)
            name = "backplane.events.v1.Quote"
            self.assertFalse(self.control_request(types={"names": [name]}).types.unknown, life)
            broker.kill()
            broker = self.start_broker()
        driver.leave()

    def source(self, name):
        """Whether the broker has the source as up; None: it does not know it."""
        participants = self.control_request(stats={}).stats.participants
        return next((each.up for each in participants if each.name == name), None)

    def wait_source(self, name, up):
        deadline = Deadline()
        while self.source(name) is not up:
            self.assertTrue(deadline.left(), f"{name} is {self.source(name)}")

    def test_a_publisher_is_up_while_it_publishes_nothing_and_down_when_it_is_closed(self):
        self.start_broker()
        states = self.live_reader("$SYS.source.")
        driver = self.publisher("quiet@test")
        self.wait_source("quiet@test", True)
        states.receive()
        # Three missed Hellos are down: it says one without being called.
        deadline = Deadline(5)
        while deadline.left():
            self.assertTrue(self.source("quiet@test"))
            self.assertFalse(states.poll_now())
        driver.do("close_publisher")
        self.assertFalse(self.source("quiet@test"))
        driver.leave()

    def test_nothing_is_published_twice_or_lost_over_graceful_restarts(self):
        broker = self.start_broker()
        reader, driver = self.subscriber("n"), self.publisher()
        number, items = 0, []
        for _ in range(4):
            end = number + 300
            while number < end:
                number += 1
                driver.do("publish", "n", ["text", str(number)], {}, "1")
                if number == end - 150:
                    broker.signal(signal.SIGTERM)  # and goes on publishing
            self.assertEqual(broker.wait_exit(), 0)
            broker = self.start_broker()
            driver.do("flush", LONG_S)
            # A broker without a store takes its events along: before the next restart, the reader must be there and have
            # read everything. The reset shows that it is there.
            done = sum(item[0] == "event" for item in items)
            items += self.receive_until(reader, lambda more, left=number - done: any(
                item[0] == "reset" for item in more) and sum(item[0] == "event" for item in more) >= left)
        items += reader.do("receive", 1, 1)
        texts = [item[3][1] for item in items if item and item[0] == "event"]
        self.assertEqual(texts, [str(each) for each in range(1, number + 1)])
        for each in (reader, driver):
            each.leave()

    # What cannot be.

    def assert_all_calls_end(self, **endpoints):
        driver = self.driver(**endpoints)
        self.assertEqual(driver.fails("subscribe", ["n"], SHORT_S)[0], "timeout")
        self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        driver.do("open_publisher", "p@test", EVENT_BYTES_MAX)
        self.assertEqual(driver.fails("wait_ready", SHORT_S)[0], "timeout")
        driver.do("burst", "n", 3, 1)
        self.assertEqual(driver.fails("flush", SHORT_S)[0], "timeout")
        driver.do("open_control")
        self.assertEqual(driver.fails("last", "n", SHORT_S)[0], "timeout")
        self.assertEqual(driver.fails("replay", "n", {"after_offset": 0}, SHORT_S)[0], "timeout")
        self.assertEqual(driver.fails("flush", SHORT_S)[0], "timeout")

    def test_every_call_has_a_time_limit_without_a_broker(self):
        self.assert_all_calls_end()

    def test_every_call_has_a_time_limit_with_a_server_that_is_no_broker(self):
        with socket.create_server((HOST, 0)) as deaf:  # accepts connections and sends nothing
            endpoint = f"tcp://{HOST}:{deaf.getsockname()[1]}"
            self.assert_all_calls_end(ingress=endpoint, egress=endpoint, control=endpoint)

    def test_messages_that_are_no_events_are_counted_and_ignored(self):
        fake = self.context.socket(zmq.XPUB)
        self.addCleanup(fake.close)
        fake.setsockopt(zmq.LINGER, 0)
        port = fake.bind_to_random_port(f"tcp://{HOST}")
        driver = self.driver(egress=f"tcp://{HOST}:{port}")
        driver.begin("subscribe", ["n"], LONG_S)
        live = b""
        while not live.startswith(b"\x01$SYS.live."):
            self.assertTrue(fake.poll(TIMEOUT_S * 1000))
            live = fake.recv()
        event, stamp = golden("event.hex"), golden("stamp.hex")
        for frames in ([b"n"], [b"n", b"short"], [b"n", b"", event + stamp], [b"n", event],
                       [b"n", b"\xff" + stamp], [live[1:], stamp], [b"n", event + stamp.replace(b"\x19\x07", b"\x19\x08")]):
            fake.send_multipart(frames)
        driver.result()
        self.assertEqual(driver.do("receive", 2, LONG_S),
                         [["gap", "n", 7, 7, "undecodable"], ["event", "n", 8, ["text", "grüße"]]])
        self.assertEqual(driver.do("subscriber_status")["undecodable"], 4)
        driver.leave()

    def test_invalid_requests_and_events_are_errors_at_once(self):
        self.start_broker()
        driver = self.publisher()
        for topic in ("", "a..b", "a b", "*", "$SYS.x", "x" * 256):
            error, text, _ = driver.fails("publish", topic, ["text", "x"], {}, "1")
            self.assertEqual(error, "invalid", topic)
            self.assertNotEqual(text, "")
        self.assertEqual(driver.fails("burst", "b", 1, EVENT_BYTES_MAX + 1)[0], "invalid")
        for pattern in ("", "a..b", "a.>.b", "stock*"):
            self.assertEqual(driver.fails("subscribe", [pattern], LONG_S)[0], "invalid", pattern)
        self.assertEqual(driver.fails("subscribe", [], LONG_S)[0], "invalid")
        driver.do("open_control")
        self.assertEqual(driver.fails("last", "a..b", LONG_S)[0], "invalid")
        self.assertEqual(driver.fails("replay", "a.*", {"after_offset": 0}, LONG_S)[0], "control")
        for name in ("ingress", "egress", "control"):
            other = self.driver(**{name: "nonsense"})
            command = ["open_publisher", "p", 100] if name == "ingress" else ["subscribe", ["n"], LONG_S]
            self.assertEqual(other.fails(*command)[0], "endpoint", name)
        for name in ("publish", "flush"):
            closed = self.publisher()
            closed.do("close")
            arguments = ["n", ["text", "x"], {}, "1"] if name == "publish" else [LONG_S]
            self.assertEqual(closed.fails(name, *arguments)[0], "invalid")
            closed.leave()
        # None of it affects what is valid.
        driver.do("burst", "b", 1, 1)
        driver.do("flush", LONG_S)
        self.assertEqual(self.last_offset("b"), 1)
        driver.leave()

    def test_events_that_were_lost_before_they_reached_the_broker_are_a_gap(self):
        self.start_broker()
        driver = self.subscriber("n.>")
        writer = self.ready_writer()
        writer.send("n.a", "1")
        for lost in (3, 1):  # as a link announces them
            writer.send_frames(b"n.a", writer.event(lost=lost).SerializeToString())
        writer.send("n.a", "6")
        later = writer.event(text="7", after_sequence=writer.sequence)
        later.sequence = writer.sequence = 1000
        writer.send_frames(b"n.a", later.SerializeToString())
        first, last = self.events("n.a", [1]), self.events("n.a", [6, 7])
        self.assertEqual(driver.do("receive", 4, LONG_S), [*first, ["gap", "n.a", 2, 5, "lost_upstream"], *last])
        history = self.begin_at("10m")
        items = history.do("receive", 5, LONG_S)
        gaps = [["gap", "n.a", 2, 4, "lost_upstream"], ["gap", "n.a", 5, 5, "lost_upstream"]]
        self.assertEqual(items, [*first, *gaps, *last])
        for each in (driver, history):
            each.leave()

    def test_what_a_damaged_store_has_lost_is_a_gap(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = self.start_broker("--data", folder)
            self.publish("d", [f"number {number}" for number in range(10, 40)])
            broker.kill()
            log = sorted(pathlib.Path(folder, "default").glob("*.log"))[0]
            content = bytearray(log.read_bytes())
            for text in (b"number 20", b"number 21"):
                content[content.index(text)] ^= 0x40
            log.write_bytes(content)
            broker = self.start_broker("--data", folder)
            driver = self.driver()
            for since in ("1h", 0):
                driver.do("subscribe", ["d"], LONG_S, {"since": since})
                items = driver.do("receive", 29, LONG_S)
                self.assertEqual([item for item in items if item[0] == "gap"], [["gap", "d", 11, 12, "damaged"]])
                self.assertEqual(items.index(["gap", "d", 11, 12, "damaged"]), 10)
                self.assertEqual([item[2] for item in items if item[0] == "event"], [*range(1, 11), *range(13, 31)])
            broker.kill()
