"""Names, IPv4 and IPv6: what the processes listen on, and which addresses of a name they connect to."""

import pathlib
import re
import socket
import sys
import unittest

from harness import HOST, BackplaneTest, node
from own_namespaces import enter_own_namespaces

TOP = pathlib.Path(__file__).resolve().parents[2]
NAMES = f"127.0.0.1 localhost\n::1 six.test\n127.0.0.1 four.test\n::1 both.test\n127.0.0.1 both.test\n{HOST} own.test\n"


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def endpoints(host, ports=(5570, 5571, 5572)):
    return [word for name, port in zip(("ingress", "egress", "control"), ports) for word in (f"--{name}", f"tcp://{host}:{port}")]


class Addresses(BackplaneTest):
    def setUp(self):
        super().setUp()
        if not has_ipv6():
            self.skipTest("this machine has no IPv6")

    def broker_at(self, host):
        broker = self.run_program("broker", *endpoints(host), "--raw", f"tcp://{host}:5574", "--metrics", f"{host}:9570")
        broker.ready()
        return broker

    def accepts(self, host, port):
        with socket.create_connection((host, port), timeout=10):
            pass

    def check_commands(self, host):
        """Publishes to the broker at `host`, and reads from it, with every command."""
        for command in (["pub", "n", "x"], ["get", "n"], ["sub", "n", "--last", "--count", "1", "--timeout", "30s"],
                        ["topics", "--once"], ["audit"], ["replay", "n", "--to", "-", "--format", "text"]):
            process = self.run_program(*command, "--broker", host)
            self.assertEqual(process.wait_exit(), 0, process.transcript())
            self.assertEqual(process.err, [] if command[0] != "replay" else process.err)

    def test_by_default_everything_listens_on_both_loopback_addresses(self):
        broker = self.run_program("broker")
        ready = broker.ready()
        self.assertEqual((ready["ingress"], ready["metrics"]), ("tcp://127.0.0.1:5570", "127.0.0.1:9570"))
        gateway = self.run_program("gateway")
        self.assertEqual(gateway.ready()["listen"], "127.0.0.1:1601")
        for port in (5570, 5571, 5572, 5574, 9570, 1601):
            for host in ("127.0.0.1", "::1"):
                with self.subTest(f"{host} {port}"):
                    self.accepts(host, port)
        for host in ("127.0.0.1", "::1", "[::1]", "localhost", "six.test", "both.test"):
            with self.subTest(host):
                self.check_commands(host)
        for place in ("127.0.0.1:1601", "[::1]:1601", "localhost:1601", "six.test:1601", "both.test:1601"):
            with self.subTest(place):
                pub = self.run_program("pub", "n", "x", "--gateway", place)
                self.assertEqual(pub.wait_exit(), 0, pub.transcript())
                sub = self.run_program("sub", "n", "--last", "--count", "1", "--gateway", place)
                self.assertEqual(sub.wait_exit(), 0, sub.transcript())

    def test_a_free_port_is_free_on_both_addresses(self):
        broker = self.run_program("broker", *endpoints("localhost", (0, 0, 0)), "--raw", "off", "--metrics", "localhost:0")
        broker.ready()
        ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", broker.out[0])]
        self.assertEqual(len(ports), 4)
        for port in ports:
            self.accepts("127.0.0.1", port)
            self.accepts("::1", port)

    def test_a_broker_at_one_address_of_a_name_is_found(self):
        for place, names in (("[::1]", ("six.test", "both.test", "localhost")), ("127.0.0.1", ("four.test", "both.test", "localhost"))):
            broker = self.broker_at(place)
            for name in names:
                with self.subTest(f"{name} at {place}"):
                    self.check_commands(name)
            broker.end()

    def test_readers_and_publishers_find_a_broker_that_moves_to_the_other_address(self):
        sub = self.run_program("sub", "n", *endpoints("both.test"))
        source = self.run_program("publish", "clock", "--topic", "n", "--every", "20ms", *endpoints("localhost"))
        for place in ("127.0.0.1", "[::1]", "127.0.0.1"):
            broker = self.broker_at(place)
            seen = len(sub.out)
            sub.wait_line(sub.out, "^n ", since=seen)
            broker.end()
        self.assertTrue(source.running())

    def test_a_gateway_finds_its_broker_by_name(self):
        self.broker_at("[::1]")
        gateway = self.run_program("gateway", "--listen", "localhost:1601", "--broker", "both.test")
        gateway.ready()
        pub = self.run_program("pub", "n", "x", "--gateway", "localhost:1601")
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())

    def test_messages_say_what_was_tried(self):
        for host, tried in (("localhost", "127.0.0.1, ::1"), ("both.test", "(127.0.0.1, ::1|::1, 127.0.0.1)")):
            get = self.run_program("get", "n", "--broker", host)
            self.assertEqual(get.wait_exit(), 1)
            self.assertRegex(get.err[0], f"^backplane get: cannot reach a broker at tcp://{host}:5572: nothing listens there "
                                         rf"\(tried {tried}\)$")
        get = self.run_program("get", "n", "--broker", "six.test")
        self.assertEqual(get.wait_exit(), 1)
        self.assertEqual(get.err[0], "backplane get: cannot reach a broker at tcp://six.test:5572: nothing listens there")

    def test_a_port_that_is_taken_on_one_address_is_an_error(self):
        with socket.create_server(("::1", 5571), family=socket.AF_INET6):
            broker = self.run_program("broker")
            self.assertEqual(broker.wait_exit(), 1)
            self.assertIn("cannot listen on tcp://[::1]:5571: Address already in use", broker.err[-1])
        with socket.create_server(("::1", 1601), family=socket.AF_INET6):
            gateway = self.run_program("gateway")
            self.assertEqual(gateway.wait_exit(), 1)
            self.assertIn("cannot listen on [::1]:1601: Address already in use", gateway.err[-1])

    def test_endpoints_that_overlap_with_localhost_are_errors(self):
        for other in ("127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "0.0.0.0", "*", "[::]", "LOCALHOST"):
            with self.subTest(other):
                check = self.run_program("broker", "--check-config", "--insecure", "--ingress", "tcp://localhost:7000", "--egress", f"tcp://{other}:7000")
                self.assertEqual(check.wait_exit(), 2, check.transcript())
                self.assertIn("is taken", check.err[0])
        check = self.run_program("broker", "--check-config", "--ingress", "tcp://localhost:7000", "--egress", "tcp://127.0.0.2:7000")
        self.assertEqual(check.wait_exit(), 0, check.transcript())

    def test_without_ipv6_there_is_only_the_other_address(self):
        pathlib.Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1", encoding="ascii")
        self.addCleanup(pathlib.Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text, "0", encoding="ascii")
        self.assertFalse(has_ipv6())
        broker = self.run_program("broker")
        broker.ready()
        gateway = self.run_program("gateway")
        gateway.ready()
        self.check_commands("localhost")
        self.check_commands("127.0.0.1")
        pub = self.run_program("pub", "n", "x", "--gateway", "localhost:1601")
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())

    PYTHON = """if True:
        import sys
        from backplane import Publisher, Subscriber
        host = sys.argv[1]
        with Publisher("py@test", ingress=f"tcp://{host}:5570", control=f"tcp://{host}:5572") as publisher:
            with Subscriber("n", egress=f"tcp://{host}:5571", control=f"tcp://{host}:5572") as subscriber:
                subscriber.wait_live(timeout=60)
                publisher.publish("n", "hello")
                publisher.flush(timeout=60)
                print(subscriber.receive(timeout=60).text, flush=True)
        """

    NODE = """
        import { Publisher, Subscriber } from "./index.js";
        const host = process.argv[2];
        const control = `tcp://${host}:5572`;
        const publisher = new Publisher("node@test", { ingress: `tcp://${host}:5570`, control });
        const subscriber = new Subscriber(["n"], { egress: `tcp://${host}:5571`, control });
        await subscriber.waitLive();
        publisher.publish("n", "hello");
        await publisher.flush();
        console.log((await subscriber.receive({ timeout: 60_000 })).text);
        subscriber.close();
        await publisher.close();
        """

    def test_the_python_and_node_clients_find_a_broker_at_one_address_of_a_name(self):
        for place, names in (("[::1]", ("six.test", "both.test", "localhost")), ("127.0.0.1", ("both.test", "localhost"))):
            broker = self.broker_at(place)
            for name in names:
                for command, options in ((["/usr/bin/python3", "-B", "-W", "error", "-c", self.PYTHON, name], {}),
                                         (node(self.NODE, name), {"cwd": TOP / "clients/node"})):
                    with self.subTest(f"{name} at {place}", command=command[0]):
                        client = self.run_process(command, **options)
                        self.assertEqual(client.wait_exit(), 0, client.transcript())
                        self.assertEqual(client.out, ["hello"])
            broker.end()


if __name__ == "__main__":
    if not enter_own_namespaces(NAMES):
        print("skipped: cannot enter namespaces of its own")
        sys.exit(0)
    unittest.main()
