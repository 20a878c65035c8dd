"""A list of two brokers: after kill -9 of the one in use, readers fail over to the other, and report it."""

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

    def test_a_gateways_clients_get_a_reset_and_continue(self):
        gateway = self.run_program("gateway", "--listen", GATEWAY, *BROKERS)
        gateway.ready()
        client = self.client()
        self.assertEqual(client.command("FORMAT text+offset"), "+OK FORMAT text+offset")
        client.subscribe("n.>")
        before = self.writer_at(SECOND)
        for number in range(5):
            before.send("n.a", f"before {number}")  # at a broker that no reader uses
        writer = self.writer_at(FIRST)
        for number in range(1, 101):
            writer.send("n.a", str(number))
        self.assertEqual([client.event() for _ in range(100)], [f"n.a {n} {n}" for n in range(1, 101)])
        self.first.kill()
        self.assertEqual(client.notice(), "!WAIT broker")
        self.assertEqual({client.notice(), client.notice()}, {"!LIVE broker", "!RESET n.a"})
        self.assertEqual(client.command("PUB n.b hello"), "+OK PUB n.b")
        self.assertEqual(client.event(), "n.b 1 hello")
        before.send("n.a", "after")
        self.assertEqual(client.event(), "n.a 6 after")
        # And back to the first one, which has lost its state.
        self.first = self.broker_at(FIRST)
        self.second.kill()
        self.assertEqual(client.notice(), "!WAIT broker")
        told = {client.notice() for _ in range(3)}
        self.assertEqual(told, {"!LIVE broker", "!RESET n.a", "!RESET n.b"})
        self.writer_at(FIRST).send("n.a", "again")
        self.assertEqual(client.event(), "n.a 1 again")
        self.assertTrue(gateway.running())

    def test_sub_reports_the_reset_and_continues(self):
        sub = self.run_program("sub", "n.>", "--format", "text+offset", "--strict", *BROKERS)
        other = self.writer_at(SECOND)
        self.publish_until_received("n.a", sub)
        self.first.kill()
        sub.wait_line(sub.err, f"^backplane sub: connected to the broker at tcp://{SECOND}:5571$")
        other.send("n.a", "from the second")
        sub.wait_line(sub.out, "^n.a 1 from the second$")
        sub.signal(15)
        self.assertEqual(sub.wait_exit(), 3, sub.transcript())  # a reset is a gap of unknown size


if __name__ == "__main__":
    unittest.main()
