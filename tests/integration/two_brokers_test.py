"""A list of two brokers: readers follow both at once, also while one of them is gone."""

import re
import time
import unittest

from harness import GATEWAY, HOST, BackplaneTest, Writer

FIRST = HOST
# No other test uses it: own_host() begins with 127.1 to 127.64.
SECOND = f"127.{int(HOST.split('.')[1]) + 64}." + HOST.split(".", 2)[2]
BROKERS = ["--broker", f"{FIRST},{SECOND}"]


class TwoBrokers(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.first, self.second = self.broker_at(FIRST), self.broker_at(SECOND)

    def broker_at(self, host):
        endpoints = (f"--{name}=tcp://{host}:{port}" for name, port in (("ingress", 5570), ("egress", 5571), ("control", 5572)))
        broker = self.run_program("broker", *endpoints, "--raw", "off", "--metrics", "off", "--name", f"at-{host.replace('.', '-')}")
        broker.ready()
        return broker

    def writer_at(self, host):
        writer = Writer(self.context, source=f"writer@{host}", endpoint=f"tcp://{host}:5570")
        self.addCleanup(writer.close)
        writer.wait_ready()
        return writer

    def test_a_gateways_clients_get_the_events_of_both(self):
        gateway = self.run_program("gateway", "--listen", GATEWAY, *BROKERS)
        gateway.ready()
        client = self.client()
        self.assertEqual(client.command("FORMAT text+offset"), "+OK FORMAT text+offset")
        client.subscribe("n.>")
        writers = [self.writer_at(host) for host in (FIRST, SECOND)]
        for number in range(1, 101):
            for writer, text in zip(writers, ("first", "second")):
                writer.send("n.a", f"{text} {number}")
        events = [client.event() for _ in range(200)]
        for text in ("first", "second"):
            self.assertEqual([event for event in events if text in event],
                             [f"n.a {n} {text} {n}" for n in range(1, 101)])
        self.first.kill()
        writers[1].send("n.a", "without the first")
        self.assertEqual(client.event(), "n.a 101 without the first")
        self.assertEqual(client.command("PUB n.b hello"), "+OK PUB n.b")
        self.assertEqual(client.event(), "n.b 1 hello")
        # The first one comes back without its state.
        self.first = self.broker_at(FIRST)
        self.assertEqual(client.notice(), "!RESET n.a")
        self.writer_at(FIRST).send("n.a", "again")
        self.assertEqual(client.event(), "n.a 1 again")
        self.assertTrue(gateway.running())

    def test_sub_reports_a_reset_of_topics_that_the_other_broker_has_too(self):
        sub = self.run_program("sub", "n.>", "--format", "text+offset", *BROKERS)
        first, second = (self.writer_at(host) for host in (FIRST, SECOND))
        probes = 0
        while not {"n.probe first", "n.probe second"} <= {re.sub(r" \d+ ", " ", line) for line in sub.out}:
            probes += 1
            self.assertLess(probes, 600, sub.transcript())
            first.send("n.probe", "first")
            second.send("n.probe", "second")
            time.sleep(0.05)
        self.first.kill()
        second.send("n.probe", "without the first")
        sub.wait_line(sub.out, "without the first$")
        self.first = self.broker_at(FIRST)
        self.writer_at(FIRST).send("n.probe", "again")
        sub.wait_line(sub.out, "^n.probe 1 again$")
        self.assertEqual([line for line in sub.out if line.startswith("!")], ["!RESET n.probe"])

    def test_ids_of_server_sent_events_name_both_streams(self):
        gateway = self.run_program("gateway", "--listen", GATEWAY, *BROKERS)
        gateway.ready()

        def listen(last_id=None):
            header = ["-H", f"Last-Event-ID: {last_id}"] if last_id else []
            curl = self.run_process(["curl", "-sN", *header, f"http://{GATEWAY}/v1/events?topic=n.a"])
            curl.wait_line(curl.out, "^id: ")
            return curl

        curl = listen()
        writers = [self.writer_at(host) for host in (FIRST, SECOND)]
        for number in (1, 2):
            for writer in writers:
                writer.send("n.a", f"{writer.source} {number}")
        for writer in writers:
            curl.wait_line(curl.out, f'"{writer.source} 2"')
        ids = [line.removeprefix("id: ") for line in curl.out if line.startswith("id: ")]
        self.assertEqual(len(ids[-1].split(",")), 2, ids)
        for writer in writers:
            writer.send("n.a", f"{writer.source} missed")
        resumed = self.run_process(["curl", "-sN", "-H", f"Last-Event-ID: {ids[-1]}",
                                    f"http://{GATEWAY}/v1/events?topic=n.a"])
        for writer in writers:
            resumed.wait_line(resumed.out, f'"{writer.source} missed"')
        self.assertFalse([line for line in resumed.out if ' 1"' in line or ' 2"' in line], "delivered before")
        for process in (curl, resumed):
            process.signal(9)
            process.wait_exit()

    def test_sub_prints_the_events_of_both(self):
        sub = self.run_program("sub", "n.>", "--format", "text+offset", "--strict", *BROKERS)
        writers = [self.writer_at(host) for host in (FIRST, SECOND)]
        self.publish_until_received("n.a", sub)
        self.first.kill()
        writers[1].send("n.b", "from the second")
        sub.wait_line(sub.out, "^n.b 1 from the second$")
        sub.signal(15)
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())


if __name__ == "__main__":
    unittest.main()
