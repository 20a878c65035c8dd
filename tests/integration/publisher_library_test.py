"""A program on the C++ publisher library, with real brokers: what it offers arrives complete, once and in order, even if
connections are cut and brokers die. If that cannot be known, it says so."""

import json
import os
import re
import signal
import subprocess
import unittest

from backplane.v1 import event_pb2
from harness import CONTROL, EGRESS, HOST, INGRESS, TIMEOUT_S, ControlClient, BackplaneTest, Deadline
from relay import Relay

DRIVER = os.environ["PUBLISHER_DRIVER"]
# Under a sanitizer, everything takes ten times as long.
BURST = 100_000 if os.environ["SANITIZED"] else 1_000_000
SECOND = {"ingress": f"tcp://{HOST}:5670", "egress": f"tcp://{HOST}:5671", "control": f"tcp://{HOST}:5672"}
# Bursts are read from history: a reader on the egress may miss events.
REMEMBERS_ALL = """
[[backplane]]
history_bytes_max = "1GiB"
history_events = 1100000
history_bytes = "1GiB"
"""


class Driver:
    """The publisher's process. A command is one line, and so is the reply."""

    def __init__(self, test, *brokers):
        self.process = test.run_process([DRIVER, "driver@test", *brokers], stdin=subprocess.PIPE)
        self._replies = 0

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def reply(self, timeout=2 * TIMEOUT_S):
        line = self.process.wait_line(self.process.out, ".*", since=self._replies, timeout=timeout)[0]
        self._replies += 1
        return line

    def command(self, text):
        self.send(text)
        return self.reply()

    def status(self):
        """Returns its counters and its last problem."""
        line, problem = re.match(r"status (.*) problem=(.*)", self.command("status")).groups()
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}, problem

    def wait_problem(self, pattern):
        deadline = Deadline()
        while not re.search(pattern, problem := self.status()[1]):
            if not deadline.left():
                raise AssertionError(f"no problem like {pattern!r}, but {problem!r}\n{self.process.transcript()}")


class PublisherLibrary(BackplaneTest):
    def driver(self, *brokers):
        return Driver(self, *(brokers or (INGRESS, CONTROL)))

    def relay(self, target, **options):
        relay = Relay(target, **options)
        self.addCleanup(relay.close)
        return relay

    def start_second(self):
        broker = self.run_program("broker", *(word for name, endpoint in SECOND.items() for word in
                                              (f"--{name}", endpoint)), "--raw", f"tcp://{HOST}:5674", "--metrics",
                                  f"{HOST}:9670")
        broker.ready()
        return broker

    def history(self, topic, control=CONTROL):
        """The texts that the broker has admitted, in order."""
        control_client = ControlClient(self.context, control=control)
        try:
            return [event_pb2.Event.FromString(stored.event).text
                    for reply, _ in control_client.pages(replay={"pattern": topic, "since_ns": 1})
                    for stored in reply.replay.events]
        finally:
            control_client.close()

    @staticmethod
    def texts(count):
        return [str(number) for number in range(1, count + 1)]

    # ── types ───────────────────────────────────────────────────────────────────────────────────────────────

    def assert_orders_become_json(self, driver, client, cents=100):
        """Publishes until the type is known: the gateway shows the first events without it, and fetches it meanwhile."""
        deadline = Deadline()
        while True:
            driver.command(f"order orders {cents}")
            topic, payload = client.event().split(" ", 1)
            order = json.loads(payload)
            if "@type" not in order:
                break
            self.assertTrue(deadline.left(), payload)
            cents += 1
        self.assertEqual(order.pop("rate")["symbol"], "EURUSD")
        self.assertEqual((topic, order), ("orders", {
            "item": "tea", "price": {"currency": "EUR", "cents": str(cents)}, "due": "1970-01-01T00:00:00Z"}))

    def test_a_type_that_readers_were_not_built_with_becomes_json(self):
        self.start_broker()
        self.start_gateway()
        client = self.client()
        client.subscribe("orders")
        self.assert_orders_become_json(self.driver(), client)

    def test_the_broker_has_the_type_before_its_first_event(self):
        self.start_broker()
        reader, control_client = self.live_reader("orders"), self.control_client()
        self.driver().command("order orders 1")
        reader.receive()
        types = control_client.request(types={"names": ["shop.Order"]}).types
        self.assertEqual(list(types.unknown), [])
        self.assertLessEqual({"shop/money.proto", "shop/order.proto"}, {file.name for file in types.files.file})

    def test_a_broker_that_lost_its_state_gets_the_types_again(self):
        broker = self.start_broker()
        driver = self.driver()
        driver.command("order orders 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        broker.kill()
        self.start_broker()
        self.assertEqual(driver.command("wait_broker 1"), "reconnected")
        self.start_gateway()
        client = self.client()
        client.subscribe("orders")
        self.assert_orders_become_json(driver, client)

    def test_another_broker_gets_the_types_too(self):
        first = self.start_broker()
        self.start_second()
        driver = self.driver(INGRESS, CONTROL, SECOND["ingress"], SECOND["control"])
        driver.command("order orders 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        first.kill()
        driver.command("order orders 2")
        self.assertEqual(driver.command("flush"), "flushed true")
        control_client = ControlClient(self.context, control=SECOND["control"])
        self.addCleanup(control_client.close)
        files = control_client.request(types={"names": ["shop.Order"]}).types.files
        self.assertIn("shop/order.proto", [file.name for file in files.file])

    def test_types_that_a_broker_refuses_are_reported_and_their_events_arrive(self):
        self.start_broker()
        other = {"name": "shop/order.proto", "package": "shop", "message_type": [{"name": "Order"}]}
        self.assertEqual(self.control_request(types={"register_files": {"file": [other]}}).WhichOneof("end"), "complete")
        driver = self.driver()
        driver.command("order orders 1")
        self.assertEqual(driver.command("flush"), "flushed true")
        driver.wait_problem("refused types: conflict: .*shop/order.proto")

    # ── bursts ──────────────────────────────────────────────────────────────────────────────────────────────

    def burst(self, ingress):
        self.start_broker("--config", self.config_file(REMEMBERS_ALL))
        driver = self.driver(ingress, CONTROL)
        self.assertEqual(driver.command(f"burst burst {BURST}"), f"offered {BURST}")
        self.assertEqual(driver.command("flush"), "flushed true")
        reader = self.run_process([DRIVER, "read", EGRESS, CONTROL, "burst", str(BURST)])
        self.assertEqual(reader.wait_exit(2 * TIMEOUT_S), 0, reader.transcript())
        self.assertEqual(reader.out[-1], f"read {BURST} of {BURST} in order")
        topic, = self.control_request(topics={"pattern": "burst"}).topics.topics
        self.assertEqual(topic.offset, BURST)
        status, _ = driver.status()
        self.assertEqual((status["confirmed"], status["refused"], status["in_doubt"]), (BURST, 0, 0))
        return status

    def test_a_burst_arrives_complete_once_and_in_order(self):
        self.assertEqual(self.burst(INGRESS)["resent"], 0)

    def test_a_burst_whose_connection_is_cut_arrives_complete_once_and_in_order(self):
        relay = self.relay(INGRESS, cut_once_after=30 * BURST)  # an event has about 60 bytes
        status = self.burst(relay.endpoint)
        self.assertEqual(relay.cuts, 1)
        self.assertEqual(status["reconnects"], 1)
        self.assertGreater(status["resent"], 0)

    # ── many, short ─────────────────────────────────────────────────────────────────────────────────────────

    def test_one_event_from_each_of_a_thousand_publishers_arrives(self):
        self.start_broker()
        self.assertEqual(self.driver().command("oneshots n 1000"), "arrived 1000")
        self.assertEqual(sorted(self.history("n"), key=int), self.texts(1000))

    # ── brokers that die ────────────────────────────────────────────────────────────────────────────────────

    def test_events_that_a_dead_broker_had_not_confirmed_are_resent_and_in_doubt(self):
        broker = self.start_broker()
        control = self.relay(CONTROL)
        driver = self.driver(INGRESS, control.endpoint)
        driver.command("burst sure 1000")
        self.assertEqual(driver.command("flush"), "flushed true")
        control.cut()  # from now on, nothing is confirmed
        driver.command("burst unsure 1000")
        deadline = Deadline()
        while len(self.history("unsure")) < 1000:
            self.assertTrue(deadline.left())
        broker.kill()
        self.start_broker()
        control.mend()
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("unsure"), self.texts(1000), "all again, though the first life had them")
        self.assertEqual(self.history("sure"), [])
        status, _ = driver.status()
        self.assertEqual((status["in_doubt"], status["resent"], status["confirmed"]), (1000, 1000, 2000))
        driver.command("burst unsure 10")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(driver.status()[0]["in_doubt"], 1000, "and then there is no more doubt")

    def test_the_publisher_fails_over_and_the_next_broker_gets_the_unconfirmed_events(self):
        first = self.start_broker()
        self.start_second()
        driver = self.driver(INGRESS, CONTROL, SECOND["ingress"], SECOND["control"])
        driver.command("burst before 1000")
        self.assertEqual(driver.command("flush"), "flushed true")
        first.signal(signal.SIGSTOP)  # it reads nothing more, but its kernel does
        driver.command("burst after 1000")
        first.kill()
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("after", SECOND["control"]), self.texts(1000))
        self.assertEqual(self.history("before", SECOND["control"]), [])
        status, _ = driver.status()
        self.assertEqual(status["resent"], status["in_doubt"])
        self.assertLessEqual(status["in_doubt"], 1000)
        self.assertEqual(status["reconnects"], 1)

    def test_a_cut_path_moves_it_to_the_next_broker_and_back_to_the_first(self):
        """In turn, the path to the first broker's ingress and to its control."""
        self.start_broker()
        self.start_second()
        for topic, name in (("i", "ingress"), ("c", "control")):
            with self.subTest(name):
                first = {"ingress": INGRESS, "control": CONTROL}
                relay = self.relay(first[name])
                first[name] = relay.endpoint
                driver = self.driver(first["ingress"], first["control"], SECOND["ingress"], SECOND["control"])
                for number, step in enumerate(("before", "during", "after")):
                    if step == "during":
                        relay.cut()
                        self.assertEqual(driver.command("wait_broker 1"), "reconnected")
                    if step == "after":
                        relay.mend()
                        self.assertEqual(driver.command("wait_broker 2"), "reconnected")
                    self.assertEqual(driver.command(f"burst {topic}.{step} 100"), f"offered {100 * (number + 1)}")
                    self.assertEqual(driver.command("flush"), "flushed true")
                for step, control in (("before", CONTROL), ("during", SECOND["control"]), ("after", CONTROL)):
                    other = CONTROL if control != CONTROL else SECOND["control"]
                    self.assertEqual(self.history(f"{topic}.{step}", control), self.texts(100))
                    self.assertEqual(self.history(f"{topic}.{step}", other), [])
                status, _ = driver.status()
                self.assertEqual((status["in_doubt"], status["resent"], status["refused"]), (0, 0, 0))

    def test_a_single_reset_connection_does_not_move_it(self):
        self.start_broker()
        self.start_second()
        relay = self.relay(INGRESS, cut_once_after=3_000)
        driver = self.driver(relay.endpoint, CONTROL, SECOND["ingress"], SECOND["control"])
        driver.command("burst n 1000")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("n"), self.texts(1000))
        self.assertEqual(self.history("n", SECOND["control"]), [])

    def test_a_paused_broker_is_left_and_taken_again(self):
        first = self.start_broker()
        self.start_second()
        driver = self.driver(INGRESS, CONTROL, SECOND["ingress"], SECOND["control"])
        driver.command("burst n 100")
        self.assertEqual(driver.command("flush"), "flushed true")
        first.signal(signal.SIGSTOP)
        self.assertEqual(driver.command("wait_broker 1"), "reconnected")
        driver.command("burst m 100")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("m", SECOND["control"]), self.texts(100))
        first.signal(signal.SIGCONT)
        self.assertEqual(driver.command("wait_broker 2"), "reconnected")
        driver.command("burst n 100")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("n"), self.texts(100) * 2)

    # ── another program with the same source and session ────────────────────────────────────────────────────

    def forger(self, driver):
        """A writer that has read an event of the driver's session."""
        reader, forger = self.live_reader("n"), self.ready_writer(source="driver@test")
        driver.command("burst n 10")
        self.assertEqual(driver.command("flush"), "flushed true")
        forger.session = reader.receive()[1].session
        return forger

    def test_a_sequence_far_ahead_is_refused_while_the_publisher_is_connected(self):
        self.start_broker()
        driver = self.driver()
        forger = self.forger(driver)
        for sequence in (2**63, 2**33, 2000):
            forger.sequence = sequence - 1
            forger.send("forged", "x")
        deadline = Deadline()
        while self.counters().get("rejected_total.sequence_jump", 0) < 3:
            self.assertTrue(deadline.left(), "not refused")
        driver.command("burst m 100")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("m"), self.texts(100))
        self.assertEqual(driver.status()[0]["in_doubt"], 0)
        self.assertEqual(self.history("forged"), [])

    def test_forged_events_confirm_nothing_and_lose_nothing(self):
        self.start_broker()
        driver = self.driver()
        forger = self.forger(driver)
        forger.sequence = 10
        for _ in range(50):
            forger.send("forged", "x")
        self.wait_admitted(forger)
        driver.command("burst m 50")  # the same sequences
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("m"), self.texts(50))
        status, problem = driver.status()
        self.assertGreaterEqual(status["in_doubt"], 1)
        self.assertRegex(problem, "another program publishes as driver@test in our session")

    def test_the_publisher_moves_from_a_draining_broker_to_the_next(self):
        first = self.start_broker("--config", self.config_file('[[backplane]]\ndrain_limit = "60s"\n'))
        self.start_second()
        driver = self.driver(INGRESS, CONTROL, SECOND["ingress"], SECOND["control"])
        driver.command("burst n 1000")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("n"), self.texts(1000))
        other, control_client = self.ready_writer(), self.control_client()
        first.signal(signal.SIGTERM)
        driver.send("wait_broker 1")
        while len(driver.process.out) < 3:  # a publisher that does not stop keeps the first broker running
            other.send("other", "x")
            control_client.request(hello={"name": "other@test"})
        self.assertEqual(driver.reply(), "reconnected")
        self.assertEqual(driver.command("burst n 1000"), "offered 2000")
        self.assertEqual(driver.command("flush"), "flushed true")
        self.assertEqual(self.history("n", SECOND["control"]), self.texts(1000))
        status, _ = driver.status()
        self.assertEqual((status["in_doubt"], status["resent"], status["refused"]), (0, 0, 0))


if __name__ == "__main__":
    unittest.main()
