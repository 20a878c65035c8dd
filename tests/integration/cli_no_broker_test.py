"""What commands do if there is no broker."""

import pathlib
import socket
import subprocess
import tempfile
import time
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, PROGRAM, BackplaneTest

# Far below the time for which a command waits for a reply (5 s), and far above what a busy machine needs.
AT_ONCE_S = 3


class NoBroker(BackplaneTest):
    def run_at_once(self, *arguments, code=1):
        began = time.monotonic()
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        self.assertLess(time.monotonic() - began, AT_ONCE_S, arguments)
        self.assertEqual(done.returncode, code, done)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_a_refused_connection_is_reported_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            recorded = pathlib.Path(folder, "none.events")
            recorded.write_bytes(b"")
            for command, endpoint in ((["get", "n"], CONTROL), (["get", "n.>"], CONTROL), (["topics", "--once"], CONTROL),
                                      (["topics", "--json"], CONTROL), (["top", "--once"], CONTROL), (["audit"], CONTROL),
                                      (["broker", "drain"], CONTROL),
                                      (["replay", ">", "--to", str(pathlib.Path(folder, "to"))], CONTROL),
                                      (["replay", "--from", str(recorded)], INGRESS),
                                      (["pub", "n", "x"], INGRESS), (["pub", "n", "--clear"], INGRESS),
                                      (["pub", "n", "x", "--count", "60", "--every", "1s"], INGRESS)):
                with self.subTest(command):
                    name = "broker drain" if command[0] == "broker" else command[0]
                    self.assertEqual(self.run_at_once(*command, *ENDPOINTS),
                                     f"backplane {name}: cannot reach a broker at {endpoint}: nothing listens there\n")

    def test_a_host_that_does_not_exist_is_reported(self):
        for command in (["get", "n"], ["pub", "n", "x"], ["audit"]):
            done = subprocess.run([PROGRAM, *command, "--broker", "no-such-host.invalid"], capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, 'cannot reach a broker at tcp://no-such-host.invalid:557[02].*cannot resolve '
                                          '"no-such-host.invalid": .*\n$')

    def test_every_broker_of_a_list_is_named(self):
        error = self.run_at_once("get", "n", "--broker", f"{HOST},127.99.99.99")
        self.assertEqual(error, f"backplane get: cannot reach a broker at {CONTROL}, tcp://127.99.99.99:5572: "
                                "nothing listens there\n")

    def test_sub_with_a_timeout_and_no_broker_fails(self):
        for options in ([], ["--count", "1"], ["--last"], ["--strict"], ["--since", "1m"]):
            with self.subTest(options):
                error = self.run_at_once("sub", "n", "--timeout", "1s", *options, *ENDPOINTS)
                self.assertEqual(error, f"backplane sub: waiting for a broker at {EGRESS}: nothing listens there\n"
                                        f"backplane sub: cannot reach a broker at {EGRESS}: nothing listens there\n")

    def test_sub_with_a_timeout_and_no_gateway_fails(self):
        error = self.run_at_once("sub", "n", "--timeout", "1s", "--gateway", GATEWAY)
        self.assertEqual(error, f"backplane sub: cannot reach a gateway at {GATEWAY}: nothing listens there; reconnecting\n"
                                f"backplane sub: cannot reach a gateway at {GATEWAY}: nothing listens there\n")

    def test_sub_with_a_timeout_fails_if_what_listens_never_replies(self):
        with socket.create_server((HOST, 5571)):
            done = subprocess.run([PROGRAM, "sub", "n", "--timeout", "1s", *ENDPOINTS], capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn("the listener there sends nothing", done.stderr)

    def test_sub_with_a_timeout_and_a_broker_succeeds(self):
        self.start_broker()
        sub = self.run_program("sub", "n", "--timeout", "1s", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual(sub.err, [])

    def test_sub_with_a_timeout_that_is_too_short_fails(self):
        self.start_broker()
        sub = self.run_program("sub", "n", "--timeout", "0s", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 1, sub.transcript())
        self.assertEqual(sub.err, ["backplane sub: no connection to a broker within 0s"])

    def test_sub_without_a_timeout_waits_for_the_broker(self):
        sub = self.run_program("sub", "n", "--count", "1", *ENDPOINTS)
        sub.wait_line(sub.err, f"^backplane sub: waiting for a broker at {EGRESS}: nothing listens there$")
        self.start_broker()
        sub.wait_line(sub.err, "connected to the broker")
        self.publish_until_received("n", sub)
        self.assertEqual(sub.wait_exit(), 0)

    def test_publish_says_at_once_that_it_waits(self):
        source = self.run_program("publish", "clock", *ENDPOINTS)
        source.wait_line(source.err, "waiting for a broker at", timeout=AT_ONCE_S)

    def test_a_port_that_cannot_be_is_explained(self):
        for command in (["get", "n"], ["pub", "n", "x"], ["sub", "n"], ["top"], ["gateway"], ["publish", "clock"], ["doctor"],
                        ["bench", "pub"]):
            with self.subTest(command):
                error = self.run_at_once(*command, "--broker", f"{HOST}:70000", code=2)
                self.assertIn("--broker: expected a port of 1..65533 (of ingress; egress and control have the next two), got "
                              f'"{HOST}:70000"', error)

    def test_sub_with_a_timeout_does_not_wait_longer_for_its_first_connection(self):
        # It accepts connections, and says nothing.
        with socket.create_server((HOST, 1601)):
            for timeout, waited in (("500ms", "1 s"), ("1s", "1 s")):
                with self.subTest(timeout):
                    error = self.run_at_once("sub", "n", "--timeout", timeout, "--gateway", GATEWAY)
                    self.assertEqual(error, f"backplane sub: the server at {GATEWAY} did not reply within {waited}: is it a "
                                            "gateway?\n")

    def test_the_default_ports_are_accepted_in_broker(self):
        self.start_broker()
        for port in (5570, 5571, 5572):
            self.assertEqual(self.run_program("pub", "n", "x", "--broker", f"{HOST}:{port}").wait_exit(), 0)
        gateway = self.run_program("gateway", "--listen", GATEWAY, "--broker", f"{HOST}:5570")
        gateway.ready()
        self.assertEqual(self.run_program("pub", "n", "x", "--gateway", GATEWAY).wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
