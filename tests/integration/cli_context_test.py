"""How commands find their broker and gateway: options, the environment, contexts."""

import json
import os
import pathlib
import stat
import subprocess
import tempfile
import time
import unittest

from harness import ENDPOINTS, GATEWAY, HOST, PROGRAM, TIMEOUT_S, BackplaneTest

# Not the default ports: nothing finds this broker by chance.
BROKER = f"{HOST}:7000"
PORTS = [f"--{name}=tcp://{HOST}:{port}" for name, port in (("ingress", 7000), ("egress", 7001), ("control", 7002))]


class Named(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.file = self.home / ".config" / "backplane" / "config.toml"

    def start_other_broker(self):
        broker = self.run_program("broker", *PORTS, "--raw", "off", "--metrics", "off")
        broker.ready()
        return broker

    def environment(self, **variables):
        rest = {name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"}
        return {**rest, "HOME": str(self.home), **variables}

    def run_to_end(self, *arguments, code=0, text="", cwd=None, **variables):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, input=text,
                              env=self.environment(**variables), cwd=cwd)
        self.assertEqual(done.returncode, code, done)
        return done

    def test_every_command_uses_the_broker_of_the_environment(self):
        broker = self.start_other_broker()
        for command, text in ((["pub", "n", "one"], ""), (["publish", "lines", "-t", "lines"], "two\n"), (["get", "n"], ""),
                              (["topics", "--once"], ""), (["top", "--once"], ""), (["audit"], ""),
                              (["sub", "n", "--last", "-n", "1"], ""), (["replay", ">", "--to", "-", "-f", "json"], ""),
                              (["bench", "latency", "-n", "3"], ""), (["bench", "pub", "-n", "10"], ""), (["doctor"], "")):
            with self.subTest(command):
                self.run_to_end(*command, text=text, BACKPLANE_BROKER=BROKER)
        self.assertEqual(self.run_to_end("get", "lines", BACKPLANE_BROKER=BROKER).stdout, "two\n")
        self.run_to_end("broker", "drain", BACKPLANE_BROKER=BROKER)
        self.assertEqual(broker.wait_exit(), 0)

    def test_the_ports_follow_from_that_of_the_option(self):
        self.start_other_broker()
        self.run_to_end("pub", "n", "one", "--broker", BROKER)
        self.assertEqual(self.run_to_end("get", "n", "-b", BROKER).stdout, "one\n")
        self.assertIn(f"tcp://{HOST}:7999: nothing listens there",
                      self.run_to_end("get", "n", "-b", f"{HOST}:7997", code=1).stderr)

    def test_an_option_comes_before_the_environment(self):
        self.start_broker()
        self.run_to_end("pub", "n", "here", *ENDPOINTS)
        self.assertEqual(self.run_to_end("get", "n", *ENDPOINTS, BACKPLANE_BROKER=BROKER).stdout, "here\n")
        self.assertEqual(self.run_to_end("get", "n", "--broker", HOST, BACKPLANE_BROKER=BROKER).stdout, "here\n")

    def test_a_variable_that_is_set_to_nothing_is_an_error(self):
        for name, command in (("BACKPLANE_BROKER", ["get", "n"]), ("BACKPLANE_BROKER", ["gateway", "--check-config"]),
                              ("BACKPLANE_GATEWAY", ["sub", "n"]), ("BACKPLANE_CONFIG", ["broker", "--check-config"]),
                              ("BACKPLANE_CONTEXT", ["top", "--once"])):
            with self.subTest(name):
                done = self.run_to_end(*command, code=2, **{name: ""})
                self.assertEqual(done.stderr, f"backplane {command[0]}: {name}: expected a value, got none\n")

    def test_sub_and_pub_use_the_gateway_of_the_environment(self):
        self.start_broker()
        self.start_gateway()
        self.run_to_end("pub", "n", "through", BACKPLANE_GATEWAY=GATEWAY)
        done = self.run_to_end("sub", "n", "--last", "-n", "1", BACKPLANE_GATEWAY=GATEWAY)
        self.assertEqual(done.stdout, "n through\n")
        # A gateway accepts no messages: that it is used shows.
        done = self.run_to_end("pub", "n", "{}", "--json", "Quote", code=2, BACKPLANE_GATEWAY=GATEWAY)
        self.assertIn("--json: cannot be combined with --gateway", done.stderr)
        # If both are named, the broker is used.
        self.run_to_end("pub", "n", "{}", "--json", "Quote", BACKPLANE_GATEWAY=GATEWAY, BACKPLANE_BROKER=HOST)
        self.run_to_end("pub", "n", "{}", "--json", "Quote", *ENDPOINTS, BACKPLANE_GATEWAY=GATEWAY)

    def test_daemons_use_the_configuration_of_the_environment(self):
        file = self.config_file('[[backplane]]\nname = "from-file"\n')
        for command in (["broker", "--print-config"], ["config", "print"]):
            self.assertIn('name = "from-file"', self.run_to_end(*command, BACKPLANE_CONFIG=file).stdout)
        self.assertEqual(self.run_to_end("gateway", "--check-config", BACKPLANE_CONFIG=file).stdout, f"{file}: ok\n")
        other = self.config_file('[[backplane]]\nname = "from-option"\n')
        self.assertIn("from-option", self.run_to_end("broker", "-c", other, "--print-config", BACKPLANE_CONFIG=file).stdout)
        done = self.run_to_end("broker", code=2, BACKPLANE_CONFIG="/nowhere.toml")
        self.assertEqual(done.stderr, "backplane broker: cannot read /nowhere.toml: no such file\n")

    def test_a_gateway_uses_the_broker_of_the_environment_but_no_context(self):
        file = self.config_file('[gateway]\nbrokers = ["file"]\n')
        shown = self.run_to_end("gateway", "--config", file, "--print-config", BACKPLANE_BROKER=f"{BROKER},b").stdout
        self.assertIn(f'brokers = ["{BROKER}", "b"]', shown)
        shown = self.run_to_end("gateway", "--config", file, "--print-config", "--broker", "x", BACKPLANE_BROKER=BROKER).stdout
        self.assertIn('brokers = ["x"]', shown)
        self.run_to_end("context", "add", "c", "--broker", "ctx", "--use")
        self.assertIn('brokers = ["file"]', self.run_to_end("gateway", "--config", file, "--print-config").stdout)

    def test_contexts_are_added_used_and_removed(self):
        self.start_other_broker()
        self.run_to_end("context", "add", "other", "--broker", BROKER)
        self.run_to_end("context", "add", "none", "--broker", f"{HOST}:7900", "--use")
        self.assertIn("nothing listens there", self.run_to_end("pub", "n", "x", code=1).stderr)
        self.run_to_end("pub", "n", "x", "--context", "other")
        self.run_to_end("pub", "n", "x", BACKPLANE_CONTEXT="other")
        self.run_to_end("context", "use", "other")
        self.assertEqual(self.run_to_end("get", "n").stdout, "x\n")
        lines = self.run_to_end("context", "list").stdout.splitlines()
        self.assertEqual([line.split() for line in lines],
                         [["CONTEXT", "BROKER", "GATEWAY"], ["none", f"{HOST}:7900", "-"], ["other", "(current)", BROKER, "-"]])
        listed = [json.loads(line) for line in self.run_to_end("context", "list", "--json").stdout.splitlines()]
        self.assertEqual([(each["name"], each["current"]) for each in listed], [("none", False), ("other", True)])
        self.assertEqual(self.run_to_end("context", "show").stdout.splitlines(),
                         ["context          other (current)", f"broker           {BROKER}"])
        self.run_to_end("context", "remove", "other")
        self.assertIn("no context is current", self.run_to_end("context", "show", code=2).stderr)
        done = self.run_to_end("context", "use", "other", code=2)
        self.assertEqual(done.stderr, f"backplane context use: NAME: expected one of the contexts in {self.file} (none), "
                                      'got "other"\n')
        self.run_to_end("context", "use", "--none")

    def test_a_context_has_the_names_of_secrets_and_not_the_secrets(self):
        token = self.home / "me.token"
        token.write_text("me:s3cr3t\n")
        token.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self.run_to_end("context", "add", "field", "--gateway", GATEWAY, "--token-file", "me.token", cwd=self.home)
        written = self.file.read_text(encoding="utf-8")
        self.assertIn(str(token), written)
        self.assertNotIn("s3cr3t", written)
        # The folder in which a command runs does not matter.
        done = self.run_to_end("context", "show", "field", cwd="/")
        self.assertIn(f"token_file       {token}", done.stdout)
        done = self.run_to_end("sub", "n", "--timeout", "1s", "--context", "field", code=1, cwd="/")
        self.assertIn(f"cannot reach a gateway at {GATEWAY}: nothing listens there", done.stderr)

    def test_mistakes_in_contexts_are_reported(self):
        for arguments, error in (
                (["add", "a b", "-b", "h"], 'NAME: expected a name of 1 to 64 letters, digits, - and _, got "a b"'),
                (["add", "a"], "expected --broker or --gateway, got neither"),
                (["add", "a", "-b", "h:0"], "--broker: expected a port of 1..65533"),
                (["add", "a", "-g", "h"], "--gateway: expected HOST:PORT"),
                (["use"], "expected NAME or --none, got neither"),
                (["use", "a", "--none"], "expected NAME or --none, got both"),
                (["remove", "a"], f'NAME: expected a context, of which {self.file} has none, got "a"')):
            with self.subTest(arguments):
                done = self.run_to_end("context", *arguments, code=2)
                self.assertTrue(done.stderr.startswith(f"backplane context {arguments[0]}: {error}"), done.stderr)
        self.assertFalse(self.file.exists())
        self.run_to_end("context", "add", "a", "-b", "h")
        self.assertIn("expected a new name, or --replace", self.run_to_end("context", "add", "a", "-b", "i", code=2).stderr)
        self.run_to_end("context", "add", "a", "-b", "i", "--replace")
        self.assertIn("broker           i", self.run_to_end("context", "show", "a").stdout)
        self.assertIn("has no contexts", self.run_to_end("context", "list", XDG_CONFIG_HOME=str(self.home / "x")).stderr)
        self.file.write_text("[context.a]\nbroker = 7\n", encoding="utf-8")
        self.assertIn(f"{self.file}:2 [context.a].broker: expected", self.run_to_end("get", "n", code=2, BACKPLANE_CONTEXT="a").stderr)
        # If a broker is named, the file is not needed.
        self.assertIn("nothing listens", self.run_to_end("get", "n", "-b", BROKER, code=1).stderr)

    @unittest.skipIf(os.environ.get("SANITIZED"), "an instrumented program starts slowly")
    def test_if_nobody_listens_every_command_says_so_within_a_second(self):
        for command in (["get", "n"], ["pub", "n", "x"], ["topics", "--once"], ["top", "--once"], ["audit"], ["broker", "drain"],
                        ["replay", ">", "--to", "-"], ["bench", "pub"], ["bench", "sub"], ["bench", "latency"], ["doctor"]):
            with self.subTest(command):
                times = []
                for _ in range(3):  # on a busy machine, one of several
                    began = time.monotonic()
                    done = self.run_to_end(*command, code=1, BACKPLANE_BROKER=BROKER)
                    times.append(time.monotonic() - began)
                    self.assertIn("nothing listens there", done.stderr + done.stdout)
                    if times[-1] < 1:
                        break
                self.assertLess(min(times), 1, times)


if __name__ == "__main__":
    unittest.main()
