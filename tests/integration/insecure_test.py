"""Which addresses the programs listen on, and how --insecure is reported."""

import pathlib
import re
import socket
import tempfile
import unittest
import urllib.request

from harness import ENDPOINTS, GATEWAY, HOST, BackplaneTest, Deadline

SENTENCE = ('{}: expected a loopback address, because clients are not authenticated, got "{}"; serve other machines through '
            "a tunnel or a proxy that authenticates, or give --insecure if you trust everybody who can reach this address")
BROKER_SENTENCE = ('{}: expected a loopback address, because clients are not authenticated, got "{}"; let only known users connect '
                   "(--policy and --key, see docs/security.md), or give --insecure if you trust everybody who can reach this address")
NOTE = "insecure: clients of every address are served without authentication"
PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")

HOSTS = ["0.0.0.0", "[::]", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]", "0"]
NAMES = ["example.org", "127.example.org", "localhost.example.org"]
LOOPBACK_HOSTS = ["localhost", "LOCALHOST", "127.0.0.1", HOST, "127.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"]


def other_interfaces():
    """Network interfaces besides the loopback; their names are addresses for ZeroMQ."""
    return [name for _, name in socket.if_nameindex() if name != "lo"]


class Refused(BackplaneTest):
    def check(self, program, *options, error=None):
        check = self.run_program(program, "--check-config", *options)
        self.assertEqual((check.wait_exit(), check.err), (0, []) if error is None else (2, [error]), check.transcript())

    def test_endpoints_of_a_broker(self):
        for flag in ("--ingress", "--egress", "--control", "--raw"):
            for host in [*HOSTS, "*", *other_interfaces()]:
                with self.subTest(f"{flag} {host}"):
                    endpoint = f"tcp://{host}:7000"
                    self.check("broker", flag, endpoint, error=BROKER_SENTENCE.format(flag, endpoint))
                    self.check("broker", "--insecure", flag, endpoint)
            for host in [*LOOPBACK_HOSTS, "lo"]:
                self.check("broker", flag, f"tcp://{host}:7000")
            self.check("broker", flag, "ipc:///tmp/backplane")
            for name in NAMES:  # an endpoint to bind to is never a name
                check = self.run_program("broker", "--check-config", flag, f"tcp://{name}:7000")
                self.assertEqual(check.wait_exit(), 2)
                self.assertIn(f'{flag}: expected an address or a network interface of this machine', check.err[0])

    def test_addresses_of_metrics_and_gateways(self):
        for program, flag in (("broker", "--metrics"), ("gateway", "--metrics"), ("gateway", "--listen")):
            for host in [*HOSTS, *NAMES, "*", "lo"]:
                with self.subTest(f"{program} {flag} {host}"):
                    self.check(program, flag, f"{host}:7000", error=SENTENCE.format(flag, f"{host}:7000"))
                    self.check(program, "--insecure", flag, f"{host}:7000")
            for host in LOOPBACK_HOSTS:
                self.check(program, flag, f"{host}:7000")
        self.check("gateway", "--listen", "localhost:7000", "--listen", "0.0.0.0:7001",
                   error=SENTENCE.format("--listen", "0.0.0.0:7001"))

    def configured(self, text, *command):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pathlib.Path(folder.name, "b.toml").write_text(text, encoding="utf-8")
        process = self.run_program(*command, "b.toml", cwd=folder.name)
        return process.wait_exit(), process.err

    def test_every_listener_of_a_file(self):
        text = ('[[backplane]]\ningress = "tcp://0.0.0.0:1"\negress = "tcp://*:2"\ncontrol = "tcp://[::]:3"\n'
                'raw = "tcp://192.0.2.1:4"\n[metrics]\nlisten = "0.0.0.0:5"\n[gateway]\nlisten = ["localhost:6", "[::]:7"]\n'
                'metrics = "example.org:8"\n[[gateway.backplane]]\nname = "b"\nlisten = ["0.0.0.0:9"]\n'
                '[[gateway.feed]]\nlisten = "0.0.0.0:10"\ntopics = ["a"]\n')
        expected = [BROKER_SENTENCE.format(f"b.toml:{place}", address) for place, address in (
            ("2 [backplane].ingress", "tcp://0.0.0.0:1"), ("3 [backplane].egress", "tcp://*:2"),
            ("4 [backplane].control", "tcp://[::]:3"), ("5 [backplane].raw", "tcp://192.0.2.1:4"))]
        expected += [SENTENCE.format(f"b.toml:{place}", address) for place, address in (
            ("7 [metrics].listen", "0.0.0.0:5"), ("9 [gateway].listen", "[::]:7"), ("10 [gateway].metrics", "example.org:8"),
            ("13 [gateway.backplane].listen", "0.0.0.0:9"), ("15 [gateway.feed].listen", "0.0.0.0:10"))]
        for command in (("config", "check"), ("broker", "--config"), ("gateway", "--config"), ("up", "--config")):
            self.assertEqual(self.configured(text, *command), (2, expected))
        self.assertEqual(self.configured("insecure = true\n" + text, "config", "check"), (0, []))
        self.assertEqual(self.configured("insecure = false\n" + text, "config", "check")[0], 2)

    def test_a_refused_program_has_not_listened(self):
        for arguments in (("broker", *ENDPOINTS, "--raw", "tcp://0.0.0.0:0"),
                          ("gateway", "--listen", GATEWAY, "--listen", "0.0.0.0:0", *ENDPOINTS)):
            process = self.run_program(*arguments)
            self.assertEqual((process.wait_exit(), process.out, len(process.err)), (2, [], 1), process.transcript())

    def test_the_example_of_the_page(self):
        command, expected = re.search(r"\$ backplane (gateway --listen .*)\n(.*)\n", PAGE).groups()
        gateway = self.run_program(*command.split())
        self.assertEqual((gateway.wait_exit(), gateway.err), (2, [expected]))

    def test_the_configuration_shows_it(self):
        for options, value in (([], "false"), (["--insecure"], "true")):
            shown = self.run_program("broker", "--print-config", *options)
            self.assertEqual(shown.wait_exit(), 0)
            self.assertIn(f"insecure = {value}", shown.out)


class Insecure(BackplaneTest):
    def page(self, address):
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as response:
            return response.read().decode().splitlines()

    def test_it_is_reported_at_the_start_on_readyz_and_in_top(self):
        broker = self.run_program("broker", "--insecure", *ENDPOINTS, "--raw", "tcp://0.0.0.0:0", "--metrics", f"{HOST}:0",
                                  "--log-level", "warning")
        metrics = self.metrics_of(broker)
        gateway = self.run_program("gateway", "--insecure", "--listen", "0.0.0.0:0", "--metrics", f"{HOST}:0", *ENDPOINTS)
        port = gateway.ready()["listen"].rpartition(":")[2]
        for process in (broker, gateway):
            process.wait_line(process.err, NOTE)
        broker.wait_line(broker.err, r"default: tcp://0\.0\.0\.0:0 is reachable from other machines without authentication")
        gateway.wait_line(gateway.err, r"0\.0\.0\.0:\d+ is reachable from other machines, without authentication")
        self.assertEqual(self.page(metrics), ["ready", NOTE])
        deadline = Deadline(60)
        top = []
        while f"{NOTE}: default, gateway@" not in "\n".join(top) and deadline.left():  # a gateway reports once a second
            process = self.run_program("top", "--once", "--every", "100ms", *ENDPOINTS)
            self.assertEqual(process.wait_exit(), 0)
            top = process.out
        self.assertTrue(top[1].startswith(f"{NOTE}: default, gateway@"), top)
        self.assertEqual(self.page(f"127.0.0.1:{port}"), ["ready", NOTE])
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
            self.assertIn('backplane_broker_insecure{backplane="default"} 1', response.read().decode())

    def metrics_of(self, broker):
        return broker.ready()["metrics"]

    def test_without_it_nothing_is_reported(self):
        broker = self.run_program("broker", *ENDPOINTS, "--raw", "off", "--metrics", f"{HOST}:0")
        self.assertEqual(self.page(self.metrics_of(broker)), ["ready"])
        top = self.run_program("top", "--once", "--every", "100ms", *ENDPOINTS)
        self.assertEqual(top.wait_exit(), 0)
        self.assertNotIn("insecure", "\n".join(top.out + broker.err))

    def test_up_passes_it_on(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        config = pathlib.Path(folder.name, "b.toml")
        endpoints = "".join(f'{key} = "tcp://{HOST}:0"\n' for key in ("ingress", "egress", "control"))
        config.write_text(f'[[backplane]]\n{endpoints}raw = "tcp://0.0.0.0:0"\n[metrics]\nlisten = "off"\n'
                          f'[gateway]\nlisten = ["{HOST}:0", "0.0.0.0:0"]\n', encoding="utf-8")
        up = self.run_program("up", "--no-demo", "--insecure", "--config", str(config))
        up.wait_line(up.out, "nc ")
        for program in ("broker", "gateway"):
            up.wait_line(up.err, f"{program}.*{NOTE}")


if __name__ == "__main__":
    unittest.main()
