"""Keys for connections to brokers, of every command: right, wrong and missing."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import zmq
from harness import CONTROL, EGRESS, ENDPOINTS, HOST, INGRESS, GATEWAY, METRICS, PROGRAM, TIMEOUT_S, BackplaneTest

SANITIZED = bool(os.environ["SANITIZED"])
GATEWAY_METRICS = f"{HOST}:9571"

# The commands that end without a broker, whichever of its endpoints they use.
ONE_SHOT = {
    "pub": ["pub", "a", "1"],
    "pub with a type of the broker": ["pub", "a", "--json", "no.Such", "{}"],
    "get": ["get", "a"],
    "topics": ["topics", "--once"],
    "top": ["top", "--once"],
    "audit": ["audit"],
    "drain": ["broker", "drain"],
    "replay to a file": ["replay", ">", "--to", "-"],
    "replay from a file": ["replay", "--from", os.devnull],
    "sub with a timeout": ["sub", "a", "--timeout", "1s"],
}
REQUIRED = r"the broker requires keys \(--key, --server-key\)"
NOT_USED = r"the broker uses no keys; connect without them"
NOT_ADMITTED = r"the broker does not admit the key in \S*me\.key: its policy has no user with it"
WRONG_SERVER = r"the broker's key is not the one in \S*other\.pub"


class Endpoints:
    """The sockets of a broker that does nothing, with CURVE or without. All keys are admitted or refused."""

    def __init__(self, secret_key=None, status=b"200"):
        self._context = zmq.Context()
        self._ending = threading.Event()
        self._status = status
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind("inproc://zeromq.zap.01")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._sockets = []
        for kind, endpoint in ((zmq.XSUB, INGRESS), (zmq.XPUB, EGRESS), (zmq.ROUTER, CONTROL)):
            socket = self._context.socket(kind)
            socket.linger = 0
            if secret_key:
                socket.curve_server = True
                socket.curve_secretkey = secret_key
            else:
                socket.zap_domain = b"backplane"
            socket.bind(endpoint)
            self._sockets.append(socket)

    def _run(self):
        while not self._ending.is_set():
            if self._zap.poll(10):
                number = self._zap.recv_multipart()[1]
                self._zap.send_multipart([b"1.0", number, self._status, b"", b"somebody", b""])
        self._zap.close(0)

    def close(self):
        self._ending.set()
        self._thread.join()
        for socket in self._sockets:
            socket.close(0)
        self._context.term()


class Keys(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("me", "broker", "other"):
            self.new_keys(name)

    def new_keys(self, name):
        subprocess.run([PROGRAM, "keys", "new", self.folder / name], check=True, capture_output=True)

    def path(self, name):
        return str(self.folder / name)

    def keys(self, key="me.key", server_key="broker.pub"):
        return ["--key", self.path(key), "--server-key", self.path(server_key)]

    def fails(self, command, expected, code=1, **options):
        begun = time.monotonic()
        done = subprocess.run([PROGRAM, *command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                              stdin=subprocess.DEVNULL, **options)
        self.assertEqual(done.returncode, code, done)
        self.assertRegex(done.stderr, expected)
        self.assertNotIn((self.folder / "me.key").read_text().strip(), done.stderr + done.stdout)
        return time.monotonic() - begun

    def until(self, check):
        """Repeats a check until it succeeds."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


    def readyz(self, address=METRICS):
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=TIMEOUT_S) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except urllib.error.URLError as error:
            return str(error)


class WithoutABroker(Keys):
    def serve(self, curve=True, status=b"200"):
        secret = (self.folder / "broker.key").read_text().strip().encode() if curve else None
        endpoints = Endpoints(secret, status)
        self.addCleanup(endpoints.close)
        return endpoints

    def every_command_fails(self, flags, expected):
        for name, command in ONE_SHOT.items():
            with self.subTest(name):
                took = self.fails([*command, *ENDPOINTS, *flags], expected)
                self.assertLess(took, TIMEOUT_S if SANITIZED else 4, "2 s, and some for a busy machine")

    def every_daemon_says(self, flags, expected):
        """Once, and keeps running."""
        commands = {
            "sub": ["sub", "a", *ENDPOINTS],
            "publish": ["publish", "clock", *ENDPOINTS],
            "gateway": ["gateway", "--listen", GATEWAY, *ENDPOINTS],
        }
        for name, command in commands.items():
            with self.subTest(name):
                process = self.run_process([PROGRAM, *command, *flags])
                process.wait_line(process.err, expected)
                self.assertTrue(process.running())
                process.end()
                self.assertEqual(sum("broker" in line for line in process.err), 1, process.err)

    def test_a_command_without_keys(self):
        self.serve()
        self.every_command_fails([], REQUIRED)
        self.every_daemon_says([], REQUIRED)

    def test_a_key_that_the_broker_does_not_admit(self):
        self.serve(status=b"400")
        self.every_command_fails(self.keys(), NOT_ADMITTED)
        self.every_daemon_says(self.keys(), NOT_ADMITTED)

    def test_another_server_key(self):
        self.serve()
        self.every_command_fails(self.keys(server_key="other.pub"), WRONG_SERVER)
        self.every_daemon_says(self.keys(server_key="other.pub"), WRONG_SERVER)

    def test_keys_for_a_broker_without(self):
        self.serve(curve=False)
        self.every_command_fails(self.keys(), NOT_USED)
        self.every_daemon_says(self.keys(), NOT_USED)

    def test_keys_of_the_environment(self):
        self.serve(status=b"400")
        environment = {**os.environ, "BACKPLANE_KEY_FILE": self.path("me.key"),
                       "BACKPLANE_SERVER_KEY_FILE": self.path("broker.pub")}
        self.fails(["topics", "--once", *ENDPOINTS], NOT_ADMITTED, env=environment)
        self.fails(["pub", "a", "1", *ENDPOINTS], NOT_ADMITTED, env=environment)
        self.fails(["sub", "a", "--timeout", "1s", *ENDPOINTS], NOT_ADMITTED, env=environment)

    def test_one_key_without_the_other(self):
        for command in [*ONE_SHOT.values(), ["publish", "clock"], ["gateway"]]:
            with self.subTest(command):
                self.fails([*command, "--key", self.path("me.key")], "key: expected a server key with it", code=2)
                self.fails([*command, "--server-key", self.path("broker.pub")], "key: expected a key with it", code=2)

    def test_unreadable_keys(self):
        (self.folder / "me.key").chmod(0o644)
        self.fails(["get", "a", *self.keys()], "--key: .*me.key: expected a file that other users can neither read nor write",
                   code=2)
        self.fails(["gateway", *self.keys()], "--key: .*me.key: expected a file", code=2)
        self.fails(["get", "a", *self.keys(key="none.key")], "--key: cannot read .*none.key: no such file", code=1)

    def test_a_gateway_command_takes_no_broker_keys(self):
        for command in (["pub", "a", "1"], ["sub", "a"]):
            self.fails([*command, "--gateway", GATEWAY, *self.keys()],
                       "--gateway: cannot be combined with the addresses or keys of a broker", code=2)

    def test_a_gateway_that_is_not_admitted_is_not_ready(self):
        self.serve(status=b"400")
        self.run_process([PROGRAM, "gateway", "--listen", GATEWAY, "--metrics", METRICS, *ENDPOINTS, *self.keys()])
        expected = "no broker is connected: .*" + NOT_ADMITTED
        self.until(lambda: self.assertRegex(self.readyz(), expected))

    def test_the_configuration_of_a_gateway_has_keys(self):
        self.serve(status=b"400")
        config = self.folder / "backplane.toml"
        config.write_text(f'key = "{self.path("me.key")}"\nserver_key = "{self.path("broker.pub")}"\n')
        gateway = self.run_process([PROGRAM, "gateway", "--config", str(config), "--listen", GATEWAY, *ENDPOINTS])
        gateway.wait_line(gateway.err, NOT_ADMITTED)
        config.write_text(f'key = "{self.path("me.key")}"\n')
        self.fails(["gateway", "--config", str(config)], "backplane.toml:1 key: expected a server key with it", code=2)
        secret = (self.folder / "me.key").read_text().strip()
        printed = subprocess.run([PROGRAM, "gateway", "--config", str(config), "--print-config"], capture_output=True,
                                 text=True, check=True).stdout
        self.assertIn(self.path("me.key"), printed)
        self.assertNotIn(secret, printed)


POLICY = """
[users.me]
curve = "{me}"
roles = ["everything"]
[users.reader]
curve = "{reader}"
roles = ["readers"]
[users.broker]
curve = "{broker}"
roles = ["everything"]
[users.anonymous]
roles = ["readers"]
[roles.everything]
publish = [">"]
subscribe = [">", "$SYS.>"]
admin = true
[roles.readers]
subscribe = ["news.>", "clock"]
"""


class WithABroker(Keys):
    def setUp(self):
        super().setUp()
        self.new_keys("reader")
        keys = {name: (self.folder / f"{name}.pub").read_text().strip() for name in ("me", "reader", "broker")}
        self.policy = self.folder / "policy.toml"
        self.policy.write_text(POLICY.format(**keys))

    def start(self):
        return self.start_broker("--policy", str(self.policy), "--key", self.path("broker.key"))

    def succeeds(self, *command, keys=None, text=None):
        done = subprocess.run([PROGRAM, *command, *ENDPOINTS, *(keys or self.keys())], capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False, input=text)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def test_every_command(self):
        self.start()
        self.succeeds("pub", "news.uk", "rain")
        self.assertEqual(self.succeeds("get", "news.uk"), "rain\n")
        self.assertRegex(self.succeeds("sub", "news.>", "--last", "--count", "1"), "news.uk.*rain")
        file = self.path("all.events")
        self.succeeds("replay", "news.>", "--to", file)
        self.succeeds("replay", "--from", file, "--under", "again")
        self.assertEqual(self.succeeds("get", "again.news.uk"), "rain\n")
        self.assertRegex(self.succeeds("topics", "--once"), "again.news.uk")
        top = self.succeeds("top", "--once")
        self.assertRegex(top, "again.news.uk")
        self.assertNotIn("insecure", top)
        self.succeeds("audit")
        self.succeeds("publish", "lines", "--topic", "news.lines", text="sun\n")
        self.assertEqual(self.succeeds("get", "news.lines"), "sun\n")
        self.succeeds("broker", "drain")

    def test_two_users_run_the_same_command_on_one_machine(self):
        self.start()
        names = []
        for user in ("me", "broker"):
            source = self.run_process([PROGRAM, "publish", "clock", *ENDPOINTS, *self.keys(key=f"{user}.key")])
            names.append(source.ready()["source"])
            self.assertRegex(names[-1], "^clock@.+-[0-9a-f]{8}$")
        self.assertNotEqual(*names)
        lasting = self.run_process([PROGRAM, "pub", "news.uk", "rain", "--count", "10000", "--every", "50ms", *ENDPOINTS,
                                    *self.keys()])
        self.succeeds("sub", "news.uk", "--last", "--count", "1")
        self.succeeds("pub", "news.uk", "sun", keys=self.keys(key="broker.key"))
        self.assertTrue(lasting.running(), lasting.transcript())

    def test_a_gateway(self):
        self.start()
        self.run_process([PROGRAM, "gateway", "--listen", GATEWAY, *ENDPOINTS, *self.keys()]).ready()
        reader = self.run_process([PROGRAM, "sub", "news.>", "--count", "1", "--last", "--gateway", GATEWAY])
        done = subprocess.run([PROGRAM, "pub", "news.uk", "rain", "--gateway", GATEWAY], capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done)
        reader.wait_line(reader.out, "news.uk.*rain")

    def test_up(self):
        config = self.folder / "up.toml"
        config.write_text(f'''
policy = "{self.policy}"
key = "{self.path("broker.key")}"
server_key = "{self.path("broker.pub")}"
[metrics]
listen = "{METRICS}"
[[backplane]]
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "off"
[gateway]
listen = ["{GATEWAY}"]
[[publish]]
source = "clock"
arguments = ["--every", "20ms"]
''')
        up = self.run_process([PROGRAM, "up", "--config", str(config)])
        up.wait_line(up.out, "Ctrl-C|sub")
        self.assertRegex(self.succeeds("sub", "clock", "--count", "2"), "clock")
        done = subprocess.run([PROGRAM, "sub", "clock", "--count", "2", "--timeout", "30s", "--gateway", GATEWAY],
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done)

    def test_what_is_stored_is_read_by_users_who_may_not_connect_to_egress(self):
        self.start()
        for topic in ("news.uk", "stock.MSFT"):
            self.succeeds("pub", topic, "rain")
        reader = self.keys(key="reader.key")
        self.fails(["sub", "news.uk", "--timeout", "1s", *ENDPOINTS, *reader], "the user may not connect to this endpoint")
        self.assertEqual(self.succeeds("get", "news.uk", keys=reader), "rain\n")
        self.assertEqual(self.succeeds("get", ">", "--format", "text", keys=reader), "news.uk rain\n")
        self.assertEqual(self.succeeds("replay", ">", "--to", "-", "--format", "text", keys=reader), "news.uk rain\n")
        self.fails(["get", "stock.MSFT", *ENDPOINTS, *reader], 'reader may not read "stock.MSFT".*not_permitted')
        self.fails(["replay", "stock.>", "--to", "-", *ENDPOINTS, *reader], 'reader may not read "stock.>".*not_permitted')

    def up(self, *options, more="", **process):
        config = self.folder / "up.toml"
        config.write_text(f"""{more}
[metrics]
listen = "{METRICS}"
[[backplane]]
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "off"
[gateway]
listen = ["{GATEWAY}"]
[[publish]]
source = "clock"
arguments = ["--every", "20ms"]
""")
        return self.run_process([PROGRAM, "up", "--config", str(config), *options], **process)

    def test_up_with_the_options_of_a_broker(self):
        up = self.up("--policy", str(self.policy), "--key", self.path("broker.key"))
        up.wait_line(up.out, f"sub clock .* --key {self.path('broker.key')} --server-key {self.path('broker.pub')}$")
        self.assertRegex(self.succeeds("sub", "clock", "--count", "2", keys=self.keys(key="broker.key")), "clock")
        done = subprocess.run([PROGRAM, "sub", "clock", "--count", "2", "--timeout", "30s", "--gateway", GATEWAY],
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done)
        up.wait_line(up.out, r"events in [1-9]")
        self.fails(["sub", "clock", "--timeout", "1s", *ENDPOINTS], REQUIRED)

    def test_up_without_a_policy_ignores_the_keys_of_the_environment(self):
        environment = {"BACKPLANE_KEY_FILE": self.path("me.key"), "BACKPLANE_SERVER_KEY_FILE": self.path("other.pub")}
        os.environ.update(environment)
        self.addCleanup(lambda: [os.environ.pop(name) for name in environment])
        up = self.up()
        up.wait_line(up.out, r"events in [1-9]")

    def test_up_says_what_its_programs_could_not_do(self):
        def fails(expected, policy=None, key="broker.key", more=""):
            if policy is not None:
                self.policy.write_text(policy)
            up = self.up("--policy", str(self.policy), "--key", self.path(key), more=more)
            self.assertEqual((up.wait_exit(), up.out), (2, []), up.transcript())
            self.assertEqual(len(up.err), 1, up.err)
            self.assertRegex(up.err[0], expected)

        whole = self.policy.read_text()
        broker = (self.folder / "broker.pub").read_text().strip()
        fails("up: --policy: expected a user with the public key of .*other.key, with which the gateway and the publishers "
              f"of `up` connect .curve = \"{re.escape((self.folder / 'other.pub').read_text().strip())}\".", key="other.key")
        fails('up: --policy: expected a role of user broker, .* with subscribe = .">".',
              whole.replace(f'"{broker}"\nroles = ["everything"]', f'"{broker}"\nroles = ["readers"]'))
        fails("up: --policy: expected a role of user broker, .* with admin = true", whole.replace("admin = true", ""))
        self.policy.write_text(whole)
        fails("up: .*up.toml:1 server_key: expected the public key of .*broker.key", more=f'server_key = "{self.path("me.pub")}"')
        (self.folder / "broker.pub").unlink()
        fails("up: --key: cannot read .*broker.pub: no such file")
        up = self.up("--key", self.path("broker.key"))
        self.assertEqual(up.wait_exit(), 2)
        self.assertRegex(up.err[0], "key: expected a policy beside it")

    def public(self, name):
        return (self.folder / f"{name}.pub").read_text().strip()

    def test_what_a_user_may_not_do_is_said(self):
        self.start()
        self.succeeds("pub", "news.uk", "rain")
        reader = self.keys(key="reader.key")
        self.fails(["pub", "news.uk", "sun", *ENDPOINTS, *reader],
                   "refused 1 of 1 events: .*not_permitted: this user may not publish to the event's topic")
        self.fails(["broker", "drain", *ENDPOINTS, *reader], "reader may not drain the broker.*not_permitted")
        self.fails(["top", "--once", *ENDPOINTS, *reader], "reader may not read statistics.*not_permitted")
        self.fails(["topics", "stock.>", "--once", *ENDPOINTS, *reader], 'reader may not read "stock.>".*not_permitted')
        self.assertRegex(self.succeeds("topics", "--once", keys=reader), "news.uk")

    def test_a_user_who_is_added_later_is_admitted(self):
        broker = self.start()
        text = self.policy.read_text()
        self.policy.write_text(text.replace("[users.me]", "[users.other]").replace(
            (self.folder / "me.pub").read_text().strip(), (self.folder / "other.pub").read_text().strip()))
        broker.signal(signal.SIGHUP)
        self.until(lambda: self.fails(["topics", "--once", *ENDPOINTS, *self.keys()], NOT_ADMITTED))
        reader = self.run_process([PROGRAM, "sub", "news.>", "--last", *ENDPOINTS, *self.keys()])
        reader.wait_line(reader.err, NOT_ADMITTED)
        self.policy.write_text(text)
        broker.signal(signal.SIGHUP)
        reader.wait_line(reader.err, "connected to the broker")

    def test_long_running_programs_get_in_when_their_key_is_added_and_after_it_was_removed(self):
        broker = self.start()
        text = self.policy.read_text()
        without = text.replace(self.public("me"), self.public("other"))

        def reload(policy):
            since = len(broker.err)
            self.policy.write_text(policy)
            broker.signal(signal.SIGHUP)
            broker.wait_line(broker.err, "reload: applied the policy", since=since)

        reload(without)
        self.run_process([PROGRAM, "gateway", "--listen", GATEWAY, "--metrics", GATEWAY_METRICS, *ENDPOINTS, *self.keys()])
        source = self.run_process([PROGRAM, "publish", "clock", "--every", "20ms", *ENDPOINTS, *self.keys()])
        reader = self.run_process([PROGRAM, "sub", "clock", *ENDPOINTS, *self.keys()])
        printed = {source: 0, reader: 0}
        for _ in range(2):
            for each, since in printed.items():
                each.wait_line(each.err, NOT_ADMITTED, since=since)
                printed[each] = len(each.err)
            self.until(lambda: self.assertRegex(self.readyz(GATEWAY_METRICS), NOT_ADMITTED))
            read = len(reader.out)
            reload(text)
            client = self.client()
            client.subscribe("clock")
            client.event_like("^clock ")
            self.assertEqual(client.command("PUB news.uk rain"), "+OK PUB news.uk")
            client.close()
            reader.wait_line(reader.out, "^clock ", since=read)
            reload(without)


if __name__ == "__main__":
    unittest.main()
