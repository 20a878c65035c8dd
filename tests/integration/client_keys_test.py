"""clients/python and clients/node with CURVE keys: right, wrong, missing, unknown and revoked."""

import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import time
import unittest

from client_scenarios import EVENT_BYTES_MAX, LONG_S, Driver
from curve_front import CurveFront
from harness import HOST, PROGRAM, BackplaneTest, Deadline

HERE = pathlib.Path(__file__).resolve().parent
FRONT = [f"tcp://{HOST}:{port}" for port in (5770, 5771, 5772)]
FRONT_INGRESS, FRONT_EGRESS, FRONT_CONTROL = FRONT
PLAIN = [f"tcp://{HOST}:{port}" for port in (5570, 5571, 5572)]
LIMITED = f"tcp://{HOST}:5581"
SOON_S = 2.0  # every problem with keys is reported within this time


def until_accepted(test, driver, *command):
    """The result of a command that may fail at first because the broker does not accept the key."""
    deadline = Deadline()
    while True:
        driver.begin(*command)
        value, error, text = driver.end()
        if error is None:
            return value
        test.assertEqual(error, "authentication", text)
        test.assertTrue(deadline.left(), text)


class KeyFiles(unittest.TestCase):
    """Files of keys in a folder, as `backplane keys new` writes them."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("broker", "me", "other"):
            self.new_keys(name)

    def new_keys(self, name):
        subprocess.run([PROGRAM, "keys", "new", name], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def path(self, name):
        return str(self.folder / name)

    def key(self, name):
        return (self.folder / name).read_bytes().strip()

    def options(self, name="me", server="broker"):
        return {"key_file": self.path(f"{name}.key"), "server_key_file": self.path(f"{server}.pub")}


class ClientKeys(KeyFiles, BackplaneTest):
    """COMMAND is the driver's command, OPTIONS the names of the options."""

    def setUp(self):
        super().setUp()
        self.fronts = []

    def start_front(self, *users, **options):
        for front in self.fronts:
            front.close()
        front = CurveFront(self.key("broker.key"), [self.key(f"{user}.pub") for user in users], FRONT, **options)
        if not self.fronts:
            self.addCleanup(lambda: self.fronts[0].close())
        self.fronts = [front]

    def driver(self, endpoints=None, environment=None):
        command = [*self.COMMAND, *(endpoints or FRONT)]
        if environment:
            command = ["env", *(f"{name}={value}" for name, value in environment.items()), *command]
        return Driver(self.run_process(command, stdin=subprocess.PIPE))

    def subscriber(self, options=None, **driver):
        driver = self.driver(**driver)
        driver.do("subscribe", ["a"], LONG_S, options or {})
        return driver

    def publisher(self, options=None, **driver):
        driver = self.driver(**driver)
        driver.do("open_publisher", "me@test", EVENT_BYTES_MAX, options or {})
        return driver

    def publish(self, driver, text):
        driver.do("publish", "a", ["text", text], {}, "0")
        driver.do("flush", LONG_S)

    def expect_refused(self, driver, code, text, *command):
        begun = time.monotonic()
        kind, told, value = driver.fails(*command)
        self.assertEqual((kind, value), ("authentication", code), told)
        self.assertRegex(told, rf"^tcp://{re.escape(HOST)}:\d+: {re.escape(text)}")
        self.assertLess(time.monotonic() - begun, SOON_S)

    def expect_refused_everywhere(self, options, code, text, endpoints=None):
        """By subscribers, publishers and requests."""
        endpoints = endpoints or FRONT
        reader = self.driver(endpoints)
        self.expect_refused(reader, code, text, "subscribe", ["a"], LONG_S, options)
        self.expect_refused(reader, code, text, "receive", 1, LONG_S)
        requests = self.driver(endpoints)
        requests.do("open_control", options)
        for _ in range(2):
            self.expect_refused(requests, code, text, "last", "a", LONG_S)
        writer = self.publisher(options, endpoints=endpoints)
        writer.do("publish", "a", ["text", "x"], {}, "0")
        for command in (["wait_ready", LONG_S], ["flush", LONG_S]):
            self.expect_refused(writer, code, text, *command)
        self.assertIn(text, writer.do("last_problem"))
        self.expect_refused(writer, code, text, "close_publisher")
        self.assertEqual(reader.do("close"), None)

    # Keys that are accepted.

    def test_events_are_published_and_read_with_keys_in_options(self):
        self.start_broker()
        self.start_front("me", "other")
        reader, writer = self.subscriber(self.options("other")), self.publisher(self.options())
        self.publish(writer, "hello")
        self.assertEqual(reader.do("receive", 1, LONG_S), [["event", "a", 1, ["text", "hello"]]])
        reader.do("open_control", self.options())
        self.assertEqual(reader.do("last", "a", LONG_S), [["event", "a", 1, ["text", "hello"]]])
        self.assertEqual(writer.do("last_problem"), "")
        writer.leave()
        reader.leave()

    def test_keys_in_the_environment(self):
        self.start_broker()
        self.start_front("me")
        both = {"BACKPLANE_KEY_FILE": self.path("me.key"), "BACKPLANE_SERVER_KEY_FILE": self.path("broker.pub")}
        self.subscriber(environment=both).leave()
        # An option comes before it.
        driver = self.driver(environment={**both, "BACKPLANE_KEY_FILE": self.path("other.key")})
        driver.do("subscribe", ["a"], LONG_S, {"key_file": self.path("me.key")})
        driver.leave()

    def test_what_was_missed_is_recovered_over_encrypted_connections(self):
        self.start_broker()
        self.start_front("me")
        reader, writer = self.subscriber(self.options()), self.publisher(self.options())
        self.publish(writer, "1")
        self.start_front("me")  # all connections end
        for number in range(2, 50):
            writer.do("publish", "a", ["text", str(number)], {}, "0")
        writer.do("flush", LONG_S)
        self.assertEqual(reader.do("receive", 49, LONG_S),
                         [["event", "a", number, ["text", str(number)]] for number in range(1, 50)])
        writer.leave()
        reader.leave()

    # Keys that are not.

    def test_a_key_that_no_user_has(self):
        self.start_front("me")
        self.expect_refused_everywhere(self.options("other"), "key_refused",
                                       f"the broker does not admit the key in {self.path('other.key')}: its policy has no "
                                       "user with it")

    def test_a_wrong_server_key(self):
        self.start_front("me")
        self.expect_refused_everywhere(self.options("me", server="other"), "wrong_server_key",
                                       f"the broker's key is not the one in {self.path('other.pub')}")

    def test_no_keys_at_a_broker_that_requires_them(self):
        self.start_front("me")
        self.expect_refused_everywhere({}, "keys_required", f"the broker requires keys ({', '.join(self.OPTIONS)})")

    def test_keys_at_a_broker_without(self):
        self.start_broker()
        self.expect_refused_everywhere(self.options(), "keys_not_used", "the broker uses no keys; connect without them",
                                       PLAIN)

    def test_a_broker_that_cannot_check_keys(self):
        self.start_front(status=b"500")
        self.expect_refused_everywhere(self.options(), "not_checked", "the broker cannot check keys now")

    def test_programs_go_on_once_the_key_is_known(self):
        self.start_broker()
        self.start_front()
        reader, writer, requests = self.driver(), self.publisher(self.options()), self.driver()
        reader.fails("subscribe", ["a"], LONG_S, self.options())
        writer.do("publish", "a", ["text", "kept"], {}, "0")
        self.assertEqual(writer.fails("flush", LONG_S)[0], "authentication")
        requests.do("open_control", self.options())
        self.assertEqual(requests.fails("last", "a", LONG_S)[0], "authentication")
        self.start_front("me")
        until_accepted(self, reader, "wait_live", LONG_S)
        until_accepted(self, writer, "flush", LONG_S)
        self.assertEqual(until_accepted(self, requests, "last", "a", LONG_S), [["event", "a", 1, ["text", "kept"]]])
        self.publish(writer, "more")
        while (got := reader.do("receive", 1, LONG_S)) == [["event", "a", 1, ["text", "kept"]]]:
            pass
        self.assertEqual(got, [["event", "a", 2, ["text", "more"]]])
        for driver in (reader, writer, requests):
            driver.leave()

    def test_a_revoked_key(self):
        self.start_broker()
        self.start_front("me", "other")
        reader, writer, other = self.subscriber(self.options()), self.publisher(self.options()), \
            self.publisher(self.options("other"))
        self.publish(writer, "before")
        self.assertEqual(reader.do("receive", 1, LONG_S)[0][3], ["text", "before"])
        self.start_front("other")
        begun = time.monotonic()
        self.assertEqual(reader.fails("receive", 1, LONG_S)[::2], ("authentication", "key_refused"))
        writer.do("publish", "a", ["text", "revoked"], {}, "0")
        self.assertEqual(writer.fails("flush", LONG_S)[::2], ("authentication", "key_refused"))
        self.assertLess(time.monotonic() - begun, 2 * SOON_S)
        self.publish(other, "other")
        self.assertEqual(reader.fails("receive", 1, LONG_S)[0], "authentication")
        self.start_front("me", "other")
        until_accepted(self, writer, "flush", LONG_S)
        items = []
        while len(items) < 2:
            driver_items = until_accepted(self, reader, "receive", 1, LONG_S)
            items += driver_items
        self.assertEqual([item[3][1] for item in items], ["other", "revoked"])
        for driver in (reader, writer, other):
            driver.leave()

    def test_a_broker_that_is_away_is_no_problem_with_keys(self):
        reader = self.driver()
        self.assertEqual(reader.fails("subscribe", ["a"], 1.5, self.options())[0], "timeout")
        self.assertEqual(reader.do("last_problem"), "")
        requests = self.driver()
        requests.do("open_control", self.options())
        self.assertEqual(requests.fails("last", "a", 1.5)[0], "timeout")
        writer = self.publisher(self.options())
        self.assertEqual(writer.fails("wait_ready", 1.5)[0], "timeout")
        for driver in (reader, requests, writer):
            driver.leave()

    def test_one_of_two_brokers_that_refuses_is_the_last_problem(self):
        self.start_broker()
        self.start_front("me")
        both = [",".join(pair) for pair in zip(PLAIN, FRONT)]
        reader = self.subscriber(self.options(), endpoints=both)
        writer = self.publisher(self.options(), endpoints=both)
        self.publish(writer, "hello")
        self.assertEqual(reader.do("receive", 1, LONG_S)[0][3], ["text", "hello"])
        deadline = Deadline()
        while not (problem := reader.do("last_problem")):
            self.assertEqual(reader.do("receive", 1, 0.1), [None])
            self.assertTrue(deadline.left())
        self.assertIn("the broker uses no keys", problem)
        writer.leave()
        reader.leave()

    # What a user may not do.

    def test_a_subscriber_that_may_not_read_is_told_once(self):
        self.start_broker()
        self.start_front("me", forbidden=("tails",))
        reader = self.driver()
        kind, text, code = self.first_error(reader, ["subscribe", ["a"], LONG_S, self.options()], ["receive", 1, SOON_S])
        self.assertEqual((kind, code, text), ("control", "not_permitted", "not_permitted: tails"))
        self.assertEqual(reader.do("last_problem"), text)
        self.assertEqual(reader.do("receive", 1, SOON_S), [None])
        reader.leave()

    def test_a_subscriber_is_told_which_of_its_patterns_it_may_not_read(self):
        self.start_broker()
        self.start_front("me", forbidden=("b", "c.>"))
        reader = self.driver()
        reader.do("subscribe", ["a", "b", "c.>"], LONG_S, self.options())
        texts = set()
        while len(texts) < 2:
            kind, text, code = reader.fails("receive", 1, LONG_S)[:3]
            self.assertEqual((kind, code), ("control", "not_permitted"))
            texts.add(text)
        self.assertEqual(texts, {"not_permitted: b", "not_permitted: c.>"})
        writer = self.publisher(self.options())
        self.publish(writer, "goes on")
        self.assertEqual(reader.do("receive", 1, LONG_S), [["event", "a", 1, ["text", "goes on"]]])
        self.assertEqual(reader.do("receive", 1, 4.0), [None])
        writer.leave()
        reader.leave()

    def first_error(self, driver, *commands):
        for command in commands:
            driver.begin(*command)
            value, kind, text = driver.end()
            if kind:
                return kind, text, value
        raise AssertionError("expected an error")

    def test_a_publisher_that_may_not_publish_is_told(self):
        self.start_broker()
        self.start_front("me", forbidden=("admitted", "hello"))
        writer = self.publisher(self.options())
        writer.do("publish", "a", ["text", "x"], {}, "0")
        for command in (["wait_ready", LONG_S], ["flush", LONG_S]):
            begun = time.monotonic()
            self.assertEqual(writer.fails(*command), ("control", "not_permitted: admitted", "not_permitted"))
            self.assertLess(time.monotonic() - begun, SOON_S)
        self.assertIn("not_permitted: ", writer.do("last_problem"))
        self.start_front("me")
        deadline = Deadline()
        while not self.is_flushed(writer):
            self.assertTrue(deadline.left())
        writer.leave()

    def is_flushed(self, writer):
        writer.begin("flush", LONG_S)
        _, kind, text = writer.end()
        self.assertIn(kind, (None, "control"), text)
        return kind is None

    def test_a_refused_request(self):
        self.start_broker()
        self.start_front("me", forbidden=("retained",))
        requests = self.driver()
        requests.do("open_control", self.options())
        self.assertEqual(requests.fails("last", "a", LONG_S), ("control", "not_permitted: retained", "not_permitted"))
        requests.leave()

    # Files.

    def invalid(self, options=None, environment=None):
        """The error of every constructor."""
        driver = self.driver(environment=environment)
        texts = set()
        for command in (["subscribe", ["a"], LONG_S], ["open_publisher", "me@test", EVENT_BYTES_MAX], ["open_control"]):
            kind, text, _ = driver.fails(*command, options or {})
            self.assertEqual(kind, "invalid", text)
            self.assertNotIn(self.key("me.key").decode(), text)
            texts.add(text)
        driver.leave()
        self.assertEqual(len(texts), 1)
        return texts.pop()

    def test_one_key_without_the_other(self):
        key, server_key = self.OPTIONS
        self.assertEqual(self.invalid({"key_file": self.path("me.key")}),
                         f"{key}: expected a server key with it ({server_key} or BACKPLANE_SERVER_KEY_FILE), got none")
        self.assertEqual(self.invalid({"server_key_file": self.path("broker.pub")}),
                         f"{server_key}: expected a key with it ({key} or BACKPLANE_KEY_FILE), got none")
        self.assertEqual(self.invalid(environment={"BACKPLANE_KEY_FILE": self.path("me.key")}),
                         f"BACKPLANE_KEY_FILE: expected a server key with it ({server_key} or BACKPLANE_SERVER_KEY_FILE), "
                         "got none")

    def test_empty_values(self):
        key, server_key = self.OPTIONS
        self.assertEqual(self.invalid({**self.options(), "key_file": ""}), f"{key}: expected a value, got none")
        self.assertEqual(self.invalid({**self.options(), "server_key_file": ""}),
                         f"{server_key}: expected a value, got none")
        for name in ("BACKPLANE_KEY_FILE", "BACKPLANE_SERVER_KEY_FILE"):
            self.assertEqual(self.invalid(environment={name: ""}), f"{name}: expected a value, got none")

    def test_files_that_other_users_can_access(self):
        key, server_key = self.OPTIONS
        for mode, expected in ((0o644, "can neither read nor write, got mode 0644 (use chmod 600)"),
                               (0o620, "can neither read nor write, got mode 0620 (use chmod 600)")):
            (self.folder / "me.key").chmod(mode)
            self.assertEqual(self.invalid(self.options()),
                             f"{key}: {self.path('me.key')}: expected a file that other users {expected}")
        (self.folder / "me.key").chmod(0o600)
        (self.folder / "broker.pub").chmod(0o666)
        self.assertEqual(self.invalid(self.options()), f"{server_key}: {self.path('broker.pub')}: expected a file that "
                         "other users cannot write, got mode 0666 (use chmod go-w)")
        (self.folder / "broker.pub").chmod(0o644)
        self.folder.chmod(0o777)
        self.assertEqual(self.invalid(self.options()), f"{key}: {self.path('me.key')}: expected a folder in which other "
                         f"users cannot replace the file, got {self.folder}")
        self.folder.chmod(0o700)

    def test_files_without_a_key(self):
        key = self.OPTIONS[0]
        place = f"{key}: {self.path('bad.key')}: expected a key of 40 Z85 characters, got "
        for text, got in (("", "0 characters"), ("x" * 39, "39 characters"), ("x" * 20 + "~" + "x" * 19,
                                                                              "another character at 21"),
                          ("x" * 35 + "#####", "too large a number at 36")):
            bad = self.folder / "bad.key"
            bad.write_text(text + "\r\n", encoding="utf-8")
            bad.chmod(0o600)
            self.assertEqual(self.invalid({**self.options(), "key_file": str(bad)}), place + got)
        bad.write_text("x" * 300, encoding="utf-8")
        self.assertEqual(self.invalid({**self.options(), "key_file": str(bad)}),
                         f"{key}: {bad}: expected at most 256 bytes, got more")
        self.assertEqual(self.invalid({**self.options(), "key_file": self.path("none.key")}),
                         f"{key}: cannot read {self.path('none.key')}: no such file")
        self.assertEqual(self.invalid({**self.options(), "key_file": str(self.folder)}),
                         f"{key}: {self.folder}: expected a regular file, got a folder")
        os.mkfifo(self.folder / "pipe", 0o600)
        self.assertEqual(self.invalid({**self.options(), "key_file": self.path("pipe")}),
                         f"{key}: {self.path('pipe')}: expected a regular file, got a device, a pipe or a socket")

    def test_the_program_has_the_same_words(self):
        """As far as it says the same: the libraries follow core/credentials."""
        (self.folder / "me.key").chmod(0o644)
        shown = subprocess.run([PROGRAM, "keys", "show", self.path("me.key")], capture_output=True, text=True, check=False)
        self.assertIn(self.invalid(self.options()).removeprefix(f"{self.OPTIONS[0]}: "), shown.stderr)
        self.assertEqual(stat.S_IMODE((self.folder / "me.key").stat().st_mode), 0o644)


class PythonKeys(ClientKeys):
    COMMAND = ["/usr/bin/python3", "-B", "-W", "error", str(HERE / "python_driver.py")]
    OPTIONS = "key_file", "server_key_file"


class NodeKeys(ClientKeys):
    COMMAND = [os.environ["NODE"], str(HERE / "node_driver.mjs")]
    OPTIONS = "keyFile", "serverKeyFile"


class ClientPolicy(KeyFiles, BackplaneTest):
    """A broker with a policy. COMMAND is the driver's command."""

    ROLES = {"all": 'publish = [">"]\nsubscribe = [">"]', "writers": 'publish = ["sensor.>"]',
             "readers": 'subscribe = ["sensor.>", "stock.*"]'}

    def setUp(self):
        super().setUp()
        self.users = {"me": "all", "writer": "writers", "reader": "readers"}
        for user in ("writer", "reader"):
            self.new_keys(user)
        self.write_policy()

    def write_policy(self):
        text = "".join(f'[users.{user}]\ncurve = "{self.key(f"{user}.pub").decode()}"\nroles = ["{role}"]\n'
                       for user, role in self.users.items())
        fresh = self.folder / "fresh.toml"
        fresh.write_text(text + "".join(f"[roles.{role}]\n{may}\n" for role, may in self.ROLES.items()), encoding="utf-8")
        fresh.chmod(0o644)
        fresh.rename(self.folder / "policy.toml")

    def start_secured(self):
        config = self.folder / "broker.toml"
        config.write_text(f'policy = "{self.path("policy.toml")}"\nkey = "{self.path("broker.key")}"\n[[backplane]]\n'
                          f'[[backplane.limited_egress]]\nendpoint = "{LIMITED}"\ntopics = ["sensor.>"]\n', encoding="utf-8")
        return self.start_broker("--config", str(config))

    def reload(self, broker):
        since = len(broker.err)
        self.write_policy()
        broker.signal(signal.SIGHUP)
        broker.wait_line(broker.err, "reload: applied the policy", since=since)

    def driver(self, egress=PLAIN[1]):
        return Driver(self.run_process([*self.COMMAND, PLAIN[0], egress, PLAIN[2]], stdin=subprocess.PIPE))

    def publisher(self, user="me"):
        driver = self.driver()
        driver.do("open_publisher", f"{user}@test", EVENT_BYTES_MAX, self.options(user))
        return driver

    def publish(self, driver, topic, text):
        driver.do("publish", topic, ["text", text], {}, "0")
        driver.do("flush", LONG_S)

    def text_of(self, item):
        return item[1], item[3][1]

    def test_each_user_publishes_and_reads_what_the_policy_permits(self):
        self.start_secured()
        full, limited = self.driver(), self.driver(egress=LIMITED)
        full.do("subscribe", [">"], LONG_S, self.options())
        limited.do("subscribe", ["sensor.>"], LONG_S, self.options("reader"))
        mine, writer = self.publisher(), self.publisher("writer")
        self.publish(mine, "news.uk", "hidden")
        self.publish(mine, "sensor.a", "seen")
        self.publish(writer, "sensor.b", "seen, too")
        writer.do("publish", "news.uk", ["text", "forbidden"], {}, "0")
        kind, text, _ = writer.fails("flush", LONG_S)
        self.assertEqual((kind, text), ("refused", "the broker refused 1 events, the last one because of: not_permitted "
                                        "(this user may not publish the topic)"))
        self.assertIn("not_permitted (this user may not publish the topic)", writer.do("last_problem"))
        self.publish(writer, "sensor.b", "again")
        self.assertEqual([self.text_of(item) for item in full.do("receive", 4, LONG_S)],
                         [("news.uk", "hidden"), ("sensor.a", "seen"), ("sensor.b", "seen, too"), ("sensor.b", "again")])
        self.assertEqual([self.text_of(item) for item in limited.do("receive", 3, LONG_S)],
                         [("sensor.a", "seen"), ("sensor.b", "seen, too"), ("sensor.b", "again")])
        self.assertEqual(limited.do("receive", 1, 2.0), [None])
        for driver in (full, limited, mine, writer):
            driver.leave()

    def test_requests_return_what_the_user_may_read(self):
        self.start_secured()
        mine = self.publisher()
        for topic in ("sensor.a", "news.uk", "stock.x"):
            self.publish(mine, topic, topic)
        requests = self.driver()
        requests.do("open_control", self.options("reader"))
        self.assertEqual([item[1] for item in requests.do("last", ">", LONG_S)], ["sensor.a", "stock.x"])
        self.assertEqual([item[1] for item in requests.do("replay", ">", {"since_ago": 600}, LONG_S)],
                         ["sensor.a", "stock.x"])
        kind, text, code = requests.fails("last", "news.uk", LONG_S)
        self.assertEqual((kind, code), ("control", "not_permitted"))
        self.assertRegex(text, 'reader may not read "news.uk"')
        requests.leave()
        mine.leave()

    def test_an_endpoint_that_publishes_more_than_the_user_may_read(self):
        self.start_secured()
        reader = self.driver()
        kind, text, code = reader.fails("subscribe", ["sensor.>"], LONG_S, self.options("reader"))
        self.assertEqual((kind, code), ("authentication", "key_refused"))
        self.assertIn("or the user may not connect to this endpoint", text)
        reader.leave()

    def test_patterns_that_the_user_may_not_read(self):
        self.start_secured()
        reader = self.driver(egress=LIMITED)
        reader.do("subscribe", ["sensor.>", "news.uk"], LONG_S, self.options("reader"))
        kind, text, code = reader.fails("receive", 1, LONG_S)
        self.assertEqual((kind, code), ("control", "not_permitted"))
        self.assertIn('reader may not read "news.uk"', text)
        mine = self.publisher()
        self.publish(mine, "news.uk", "hidden")
        self.publish(mine, "sensor.a", "seen")
        self.assertEqual([self.text_of(item) for item in reader.do("receive", 1, LONG_S)], [("sensor.a", "seen")])
        self.assertEqual(reader.do("receive", 1, 2.0), [None])
        reader.leave()
        mine.leave()

    def test_keys_that_are_wrong_missing_or_unknown(self):
        self.start_secured()
        for options, code in ((self.options("other"), "key_refused"), (self.options("me", server="other"), "wrong_server_key"),
                              ({}, "keys_required")):
            begun = time.monotonic()
            reader, requests, writer = self.driver(), self.driver(), self.driver()
            self.assertEqual(reader.fails("subscribe", [">"], LONG_S, options)[::2], ("authentication", code))
            requests.do("open_control", options)
            self.assertEqual(requests.fails("last", ">", LONG_S)[::2], ("authentication", code))
            writer.do("open_publisher", "me@test", EVENT_BYTES_MAX, options)
            self.assertEqual(writer.fails("wait_ready", LONG_S)[::2], ("authentication", code))
            self.assertLess(time.monotonic() - begun, 3 * SOON_S)
            for driver in (reader, requests, writer):
                driver.leave()

    def test_a_user_who_is_revoked_and_comes_back(self):
        broker = self.start_secured()
        self.users["other"] = "all"
        self.reload(broker)
        reader, writer, other = self.driver(), self.publisher(), self.publisher("other")
        reader.do("subscribe", ["sensor.>"], LONG_S, self.options())
        self.publish(writer, "sensor.a", "before")
        self.assertEqual(self.text_of(reader.do("receive", 1, LONG_S)[0]), ("sensor.a", "before"))
        role = self.users.pop("me")
        self.reload(broker)
        self.assertEqual(reader.fails("receive", 1, LONG_S)[::2], ("authentication", "key_refused"))
        writer.do("publish", "sensor.a", ["text", "revoked"], {}, "0")
        self.assertEqual(writer.fails("flush", LONG_S)[::2], ("authentication", "key_refused"))
        self.publish(other, "sensor.b", "meanwhile")
        self.users["me"] = role
        self.reload(broker)
        until_accepted(self, writer, "flush", LONG_S)
        items = []
        while len(items) < 2:
            items += [item for item in until_accepted(self, reader, "receive", 1, LONG_S) if item]
        self.assertEqual(sorted(map(self.text_of, items)), [("sensor.a", "revoked"), ("sensor.b", "meanwhile")])
        for driver in (reader, writer, other):
            driver.leave()

    def test_a_user_who_may_do_less(self):
        broker = self.start_secured()
        writer = self.publisher("writer")
        self.publish(writer, "sensor.a", "permitted")
        self.users["writer"] = "readers"
        self.reload(broker)
        writer.do("publish", "sensor.a", ["text", "forbidden"], {}, "0")
        kind, text, _ = writer.fails("flush", LONG_S)
        self.assertEqual(kind, "refused")
        self.assertIn("not_permitted", text)
        writer.leave()


class PythonPolicy(ClientPolicy):
    COMMAND = PythonKeys.COMMAND


class NodePolicy(ClientPolicy):
    COMMAND = NodeKeys.COMMAND


del ClientKeys, ClientPolicy, KeyFiles  # their derived classes are the tests


if __name__ == "__main__":
    unittest.main()
