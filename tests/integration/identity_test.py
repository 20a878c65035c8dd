"""A broker that comes back under another name, as a recreated container does: its readers get a reset, then everything
that the new incarnation has."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import harness
from harness import CONTROL, EGRESS, ENDPOINTS, INGRESS, BackplaneTest

FOLDER = pathlib.Path(__file__).parent
PYTHON = ["/usr/bin/python3", "-B", "-W", "error", str(FOLDER / "python_driver.py")]
NODE = [os.environ["NODE"], str(FOLDER / "node_driver.mjs")]


class Identity(BackplaneTest):
    def come_back(self, broker, identity, events=5):
        """Ends the broker, and starts another one that has events before any reader is back."""
        broker.kill()
        with_events = self.start_broker("--identity", identity)
        writer = self.ready_writer(source="other@test")
        for number in range(events):
            writer.send("n", str(number))
        self.wait_admitted(writer)
        return with_events

    def upper_half(self):
        return self.control_request(stats={}).stream >> 32

    def test_the_identity_decides_which_broker_a_stream_belongs_to(self):
        streams = []
        for options in (["--identity", "a"], ["--identity", "a"], ["--identity", "b"], []):
            broker = self.start_broker(*options)
            streams.append(self.upper_half())
            broker.end()
        self.assertEqual(streams[0], streams[1])
        self.assertEqual(len(set(streams)), 3)

    def test_the_identity_does_not_depend_on_the_endpoint(self):
        first = self.start_broker("--identity", "a")
        expected = self.upper_half()
        first.end()
        port = INGRESS.rsplit(":", 1)[0] + ":5580"
        self.run_program("broker", "--ingress", port, "--egress", EGRESS, "--control", CONTROL, "--raw", "off",
                         "--metrics", "off", "--identity", "a").ready()
        self.assertEqual(self.upper_half(), expected)

    def test_an_identity_with_a_space_is_an_error(self):
        broker = self.run_program("broker", *ENDPOINTS, "--identity", "a b")
        self.assertEqual(broker.wait_exit(), 2)
        self.assertRegex(" ".join(broker.err), r"--identity: expected .* printable ASCII characters .*\"a b\"")

    def test_sub_gets_a_reset_and_then_everything(self):
        broker = self.start_broker("--identity", "one")
        sub = self.run_program("sub", "n", "--format", "text+offset", *ENDPOINTS)
        self.publish_until_received("n", sub)
        self.come_back(broker, "two")
        sub.wait_line(sub.out, r"^n 5 4$")
        reset = sub.out.index("!RESET n")
        self.assertEqual(sub.out[reset + 1:], [f"n {number + 1} {number}" for number in range(5)])

    def test_a_gateways_clients_get_a_reset_and_then_everything(self):
        broker = self.start_broker("--identity", "one")
        self.start_gateway()
        client = self.client()
        client.command("FORMAT text+offset")
        client.subscribe("n")
        client.command("PUB n first")
        self.assertEqual(client.event(), "n 1 first")
        self.come_back(broker, "two")
        events = [client.event() for _ in range(5)]
        self.assertEqual(events, [f"n {number + 1} {number}" for number in range(5)])
        self.assertLess(client.lines.index("!RESET n"), client.lines.index(events[0]))

    def test_a_token_of_the_only_broker_is_one_of_its_earlier_name(self):
        broker = self.start_broker("--identity", "one")
        writer = self.ready_writer()
        writer.send("n", "first")
        self.wait_admitted(writer)
        stream = self.control_request(stats={}).stream
        self.come_back(broker, "two")
        sub = self.run_program("sub", "n", "--since", f"{stream:016x}:1", "--format", "text+offset", "--count", "5",
                               *ENDPOINTS)
        sub.wait_exit()
        self.assertEqual(sub.out, ["!RESET n", *[f"n {number + 1} {number}" for number in range(5)]])

    def test_the_clients_of_python_and_node_get_a_reset_and_then_everything(self):
        for command in (PYTHON, NODE):
            with self.subTest(command[0]):
                broker = self.start_broker("--identity", "one")
                process = self.run_process([*command, INGRESS, EGRESS, CONTROL], stdin=subprocess.PIPE)

                def do(*request, process=process):
                    seen = len(process.out)
                    process.stdin.write(json.dumps(request) + "\n")
                    process.stdin.flush()
                    return json.loads(process.wait_line(process.out, "", since=seen).string)["value"]
                do("subscribe", ["n"], harness.TIMEOUT_S / 2)
                writer = self.ready_writer()
                writer.send("n", "first")
                self.assertEqual(do("receive", 1, harness.TIMEOUT_S / 2)[0][:3], ["event", "n", 1])
                other = self.come_back(broker, "two")
                items = do("receive", 6, harness.TIMEOUT_S / 2)
                self.assertEqual(items[0][0], "reset")
                self.assertEqual([item[:3] for item in items[1:]], [["event", "n", number] for number in range(1, 6)])
                do("close")
                other.end()


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
