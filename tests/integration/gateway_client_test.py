"""`backplane sub` and `backplane pub` at a gateway with TLS and a policy: what is served, and what each refusal says."""

import datetime
import os
import pathlib
import signal
import tempfile
import unittest

import tls_test
from backplane.v1 import session_pb2
from harness import ENDPOINTS, GATEWAY, HOST, PROGRAM, BackplaneTest, Deadline

SECRETS = {"anna": "a-secret", "bert": "b-secret"}
ROLES = """
[users.anonymous]
roles = ["open"]
[roles.a]
publish = ["a.>"]
subscribe = ["a.>"]
[roles.b]
publish = ["b.>"]
subscribe = ["b.>"]
[roles.open]
subscribe = ["open"]
"""
CA_CONFIG = """
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
"""
AT = f"^backplane (sub|pub): cannot connect to the gateway at {GATEWAY} with TLS: "
VALID = "20[0-9-]{8} [0-9]{2}:[0-9]{2} UTC"


class Certificates(tls_test.Certificates):
    def __init__(self):
        super().__init__()
        pathlib.Path(self.file("ca.cnf")).write_text(CA_CONFIG, encoding="utf-8")
        pathlib.Path(self.file("index.txt")).write_text("", encoding="utf-8")
        self.sign_for("expired", -30, -1)
        self.sign_for("future", 1, 30)
        self.sign("itself", "ca", f"IP:{HOST}")
        self._openssl("req", "-x509", "-key", "itself.key", "-out", "itself.pem", "-subj", "/CN=itself", "-addext",
                      f"subjectAltName=IP:{HOST}")

    def sign_for(self, name, first_day, last_day):
        """A certificate that is valid from `first_day` to `last_day`, in days from now."""
        self.sign(name, "ca", f"IP:{HOST}")
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = ((now + datetime.timedelta(days=day)).strftime("%Y%m%d%H%M%SZ") for day in (first_day, last_day))
        self._openssl("ca", "-batch", "-config", "ca.cnf", "-notext", "-cert", "ca.pem", "-keyfile", "ca.key",
                      "-in", f"{name}.csr", "-startdate", start, "-enddate", end, "-out", f"{name}.pem")


class ClientTest(BackplaneTest):
    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.cleanup)
        cls.hashes = {}

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.started = []
        self.addCleanup(self.expect_no_secret)
        self.ca = ["--ca", self.certificates.file("ca.pem")]
        for name in [name for name in os.environ if name.startswith(("BACKPLANE_CA", "BACKPLANE_TOKEN"))]:
            self.addCleanup(os.environ.__setitem__, name, os.environ.pop(name))

    def expect_no_secret(self):
        for process in self.started:
            for line in [*process.out, *process.err]:
                self.assertNotRegex(line, "[abx]-secret")

    def set_variable(self, name, value):
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)

    def hash_of(self, name):
        if name not in self.hashes:
            run = self.run_program("policy", "hash", "--stdin", stdin=-1)
            run.stdin.write(SECRETS[name] + "\n")
            run.stdin.close()
            self.assertEqual(run.wait_exit(), 0, run.transcript())
            self.hashes[name] = run.out[0]
        return self.hashes[name]

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    def token(self, user, secret=None):
        """The option that names a file with this token."""
        return ["--token-file", self.write(f"{user}.token", f"{user}:{secret or SECRETS[user]}\n")]

    def write_policy(self, **roles):
        users = "".join(f'[users.{name}]\ntoken = "{self.hash_of(name)}"\nroles = ["{role}"]\n' for name, role in roles.items())
        return self.write("policy.toml", users + '[users.dashboard]\ncertificate = "dashboard"\nroles = ["a"]\n' + ROLES)

    def start(self, *options, certificate="gw", policy=True):
        """A broker, and a gateway with TLS and a policy."""
        self.broker = self.start_broker()
        self.start_own_gateway(*options, certificate=certificate, policy=policy)

    def start_own_gateway(self, *options, certificate="gw", policy=True):
        tls = self.certificates.options(certificate) if certificate else []
        users = ["--policy", self.write_policy(anna="a", bert="b")] if policy else []
        self.gateway = self.start_gateway(*tls, *users, *options)

    def command(self, *arguments):
        """A sub or pub through the gateway."""
        process = self.run_program(*arguments, "--gateway", GATEWAY)
        self.started.append(process)
        return process

    def expect_refused(self, pattern, *options, code=1, commands=(["sub", "a.x"], ["pub", "a.x", "x"])):
        """Each command ends by itself, with one line."""
        for command in commands:
            with self.subTest(command=command, options=options):
                process = self.command(*command, *options)
                self.assertEqual(process.wait_exit(), code, process.transcript())
                self.assertRegex(process.err[0], pattern)
                self.assertEqual((len(process.err), process.out), (1, []))

    def live_sub(self, *arguments, topic="a.x"):
        sub = self.command("sub", *arguments)
        self.publish_until_received(topic, sub)
        return sub

    def publish(self, *topics):
        writer = self.ready_writer(source="several@test")
        for topic in topics:
            writer.send(topic, f"of {topic}")
        self.wait_admitted(writer)


class Served(ClientTest):
    def test_sub_prints_the_same_as_at_the_broker(self):
        self.start()
        writer = self.ready_writer()
        for text in ("plain", 'say "so"\n\ttab \\ \x01', "ünï", "", "x" * 200_000):
            writer.send("a.x", text)
        self.wait_admitted(writer)
        for form in ("text", "json", "proto"):
            with self.subTest(form):
                arguments = ["a.x", "--since", "0", "--count", "5", "--format", form]
                through = self.command("sub", *arguments, *self.ca, *self.token("anna"))
                self.assertEqual(through.wait_exit(), 0, through.transcript())
                direct = self.run_program("sub", *arguments, *ENDPOINTS)
                self.assertEqual((direct.wait_exit(), through.out), (0, direct.out))

    def test_files_and_token_of_the_environment(self):
        self.start()
        self.publish("a.x")
        self.set_variable("BACKPLANE_CA_FILE", self.certificates.file("ca.pem"))
        self.set_variable("BACKPLANE_TOKEN_FILE", self.token("anna")[1])
        sub = self.command("sub", "a.x", "--last", "--count", "1")
        self.assertEqual((sub.wait_exit(), sub.out), (0, ["a.x of a.x"]), sub.transcript())
        del os.environ["BACKPLANE_TOKEN_FILE"]
        self.set_variable("BACKPLANE_TOKEN", "anna:a-secret")
        sub = self.command("sub", "a.x", "--last", "--count", "1")
        self.assertEqual((sub.wait_exit(), sub.out), (0, ["a.x of a.x"]), sub.transcript())

    def test_pub(self):
        self.start()
        reader = self.live_reader("a.x")
        pub = self.command("pub", "a.x", "It\nrains", "--count", "3", *self.ca, *self.token("anna"))
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        self.assertEqual([reader.receive()[1].text for _ in range(3)], ["It\nrains"] * 3)

    def test_the_token_is_in_no_argument_and_no_output(self):
        self.start()
        sub = self.live_sub("a.x", *self.ca, *self.token("anna"))
        for process in (sub, self.gateway):
            self.assertNotIn(b"secret", pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes())
        self.started += [self.gateway, self.broker]  # their logs are searched at the end

    def test_the_certificate_itself_can_be_trusted(self):
        for name in ("itself", "gw"):
            self.start(certificate=name)
            self.publish("a.x")
            sub = self.command("sub", "a.x", "--last", "--count", "1", "--ca", self.certificates.file(f"{name}.pem"),
                               *self.token("anna"))
            self.assertEqual(sub.wait_exit(), 0, sub.transcript())
            self.gateway.end()
            self.broker.end()

    def test_a_client_certificate(self):
        self.start("--tls-client-ca", self.certificates.file("ca.pem"))
        self.publish("a.x")
        own = ["--tls-certificate", self.certificates.file("dashboard.pem"), "--tls-key",
               self.certificates.file("dashboard.key")]
        sub = self.command("sub", "a.x", "--last", "--count", "1", *self.ca, *own)
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.expect_refused("not_permitted b.x: user dashboard may not", *self.ca, *own,
                            commands=(["sub", "b.x"], ["pub", "b.x", "x"]))
        stranger = ["--tls-certificate", self.certificates.file("stranger.pem"), "--tls-key",
                    self.certificates.file("stranger.key")]
        self.expect_refused("it does not accept this client's certificate", *self.ca, *stranger)

    def test_without_tls_on_the_loopback_interface(self):
        self.start(certificate=None)
        self.publish("a.x")
        sub = self.command("sub", "a.x", "--last", "--count", "1", *self.token("anna"))
        self.assertEqual((sub.wait_exit(), sub.out), (0, ["a.x of a.x"]), sub.transcript())

    def test_without_a_broker_the_notice_is_still_printed(self):
        self.start_own_gateway()
        sub = self.command("sub", "a.x", *self.ca, *self.token("anna"))
        sub.wait_line(sub.err, "is waiting for a broker$")
        self.start_broker()
        self.publish_until_received("a.x", sub)

    def test_many_large_events(self):
        self.start()
        writer = self.ready_writer()
        sub = self.live_sub("a.>", "--strict", "--format", "json", *self.ca, *self.token("anna"), topic="a.knock")
        for number in range(100):
            writer.send("a.x", f"{number} " + "x" * 100_000)
            if number % 10 == 9:  # not more than the gateway keeps for a slow client
                sub.wait_line(sub.out, f'"text":"{number} x')
        got = [line for line in sub.out if '"topic":"a.x"' in line]
        self.assertEqual([int(line.split('"text":"')[1].split(" ")[0]) for line in got], list(range(100)))
        self.assertTrue(all(len(line) > 100_000 for line in got))
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0, "nothing was missed")


class Permissions(ClientTest):
    def test_topics_that_the_user_may_not_read_or_publish(self):
        self.start()
        anna = [*self.ca, *self.token("anna")]
        self.expect_refused(f"the gateway at {GATEWAY} refused the (subscription|event): not_permitted b.x: user anna may not "
                            "(subscribe|publish) to b.x$", *anna, commands=(["sub", "b.x"], ["pub", "b.x", "x"]))
        self.expect_refused("not_permitted b.x", *anna, commands=(["sub", "a.x", "b.x"],))
        self.expect_refused("not_permitted b.x", *anna, "--format", "proto", commands=(["sub", "b.x"],))

    def test_a_wildcard_shows_what_the_user_may_read(self):
        self.start()
        self.publish("a.x", "b.x", "open", "a.y", "b.y")
        for form in ("text", "proto"):
            for begin in ("--last", "--since=1h"):
                sub = self.command("sub", ">", begin, "--count", "2", "--format", form, *self.ca, *self.token("anna"))
                self.assertEqual(sub.wait_exit(), 0, sub.transcript())
                shown = "\n".join(sub.out)
                self.assertTrue("of a.x" in shown and "of a.y" in shown, shown)
                self.assertNotRegex(shown, r"b\.[xy]|open")

    def test_without_a_token(self):
        self.start()
        self.expect_refused("not_authenticated a.x: clients without credentials may not .*; give it with --token-file or "
                            "BACKPLANE_TOKEN_FILE$", *self.ca)
        self.publish("open")
        sub = self.command("sub", "open", "--last", "--count", "1", *self.ca)
        self.assertEqual((sub.wait_exit(), sub.out), (0, ["open of open"]), sub.transcript())

    def test_wrong_tokens(self):
        self.start()
        for token in (self.token("anna", "x-secret"), self.token("nobody", "x-secret"), self.token("anna", "b-secret")):
            self.expect_refused(f"the gateway at {GATEWAY} did not accept the token: not_authenticated no user has this token$",
                                *self.ca, *token)

    def test_after_many_wrong_tokens(self):
        self.start()
        for number in range(20):  # of these, 5 are verified at once
            pub = self.command("pub", "a.x", "x", *self.ca, *self.token("anna", f"x-secret{number}"))
            self.assertEqual(pub.wait_exit(), 1, pub.transcript())
            if "no user has this token" not in pub.err[0]:
                break
        self.assertRegex(pub.err[0], "too many wrong tokens from this address: try again in [0-9]+ s$")
        # A sub tries again, and its token is right.
        self.publish("a.x")
        sub = self.command("sub", "a.x", "--last", "--count", "1", *self.ca, *self.token("anna"))
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())

    def test_a_gateway_without_a_policy_does_not_take_a_token(self):
        self.start(policy=False)
        self.expect_refused("did not accept the token: not_authenticated this gateway has no policy", *self.ca,
                            *self.token("anna"))


class Refused(ClientTest):
    def test_certificates(self):
        clock = f"; this machine's clock shows {VALID}"
        for certificate, options, reason in (
                ("gw", ["--ca", self.certificates.file("other.pem")],
                 f'its certificate is signed by "CN=ca", which is not in {self.certificates.file("other.pem")}$'),
                ("gw", ["--tls"], 'its certificate is signed by "CN=ca", which is not an authority of this system'),
                ("itself", self.ca, f"its certificate is signed by itself, and not in {self.ca[1]}$"),
                ("expired", self.ca, f"its certificate expired on {VALID}{clock}$"),
                ("future", self.ca, f"its certificate is not valid before {VALID}{clock}: compare the clocks$"),
                ("second", self.ca, f"its certificate is for second.test, not for {HOST}$")):
            with self.subTest(reason):
                self.start_own_gateway(certificate=certificate)
                self.expect_refused(AT + reason, *options, *self.token("anna"))
                self.gateway.end()

    def test_a_gateway_without_tls(self):
        for broker in (False, True):
            if broker:
                self.start_broker()
            self.start_own_gateway(certificate=None)
            self.expect_refused(AT + "the server there does not use TLS; to connect without TLS, omit --tls and --ca", *self.ca,
                                *self.token("anna"))
            self.gateway.end()

    def test_a_gateway_that_requires_tls(self):
        self.start()
        self.expect_refused(f"the gateway at {GATEWAY} requires TLS: use --ca FILE, or --tls ")
        self.expect_refused(f"the gateway at {GATEWAY} requires TLS: use --ca FILE, or --tls ", *self.token("anna"))

    def test_a_token_for_another_machine_without_tls(self):
        for command in (["sub", "a.x"], ["pub", "a.x", "x"]):
            process = self.run_program(*command, "--gateway", "192.0.2.1:1601", *self.token("anna"))
            self.started.append(process)
            self.assertEqual(process.wait_exit(), 2, process.transcript())
            self.assertRegex(process.err[0], "--token-file: expected TLS with it .--ca FILE, or --tls")

    def test_files_that_cannot_be_used(self):
        token = self.token("anna")
        pathlib.Path(token[1]).chmod(0o644)
        self.expect_refused("--token-file: .*expected a file that other users can neither read nor write, got mode 0644",
                            *self.ca, *token, code=2)
        self.expect_refused("cannot read /none.pem: no such file", "--ca", "/none.pem")


class Changes(ClientTest):
    def reload(self, **roles):
        self.write_policy(**roles)
        since = len(self.gateway.err)
        self.gateway.signal(signal.SIGHUP)
        self.gateway.wait_line(self.gateway.err, "reload: applied the policy", since)

    def test_revoked_while_connected(self):
        for form in ("text", "proto"):
            with self.subTest(form):
                self.start()
                anna = self.live_sub("a.x", "--format", form, *self.ca, *self.token("anna"))
                pub = self.command("pub", "a.pub", "x", "--count", "1000000", "--every", "20ms", *self.ca, *self.token("anna"))
                bert = self.live_sub("b.x", *self.ca, *self.token("bert"), topic="b.x")
                self.live_reader("a.pub").receive()
                self.reload(bert="b")
                for process in (anna, pub):
                    self.assertEqual(process.wait_exit(), 1, process.transcript())
                    self.assertRegex(process.err[-1], f"^backplane (sub|pub): the gateway at {GATEWAY} closed the connection: "
                                                      "revoked .the policy has changed: this client's token")
                    self.assertEqual(len(process.err), 1)
                self.assertTrue(bert.running())
                self.expect_refused("not_authenticated no user has this token", *self.ca, *self.token("anna"))
                bert.kill()
                self.gateway.end()
                self.broker.end()

    def test_a_token_that_is_wrong_after_a_restart(self):
        self.start()
        sub = self.live_sub("a.x", *self.ca, *self.token("anna"))
        self.gateway.kill()
        sub.wait_line(sub.err, "; reconnecting$")
        self.hashes.clear()
        self.addCleanup(SECRETS.__setitem__, "anna", SECRETS["anna"])
        self.addCleanup(self.hashes.clear)
        SECRETS["anna"] = "other"
        self.start_own_gateway()
        self.assertEqual(sub.wait_exit(), 1, sub.transcript())
        self.assertRegex(sub.err[-1], "did not accept the token: not_authenticated no user has this token$")

    def resumes(self, form, *, certificate=None):
        """The gateway is killed; events are published meanwhile; it comes back, at first perhaps with another certificate."""
        self.start()
        sub = self.live_sub("a.x", "--strict", "--format", form, *self.ca, *self.token("anna"))
        writer = self.ready_writer()
        numbers = iter(range(1, 1000))

        def publish(count):
            for _ in range(count):
                writer.send("a.x", f"n{next(numbers)}n")
            self.wait_admitted(writer)

        publish(20)
        self.gateway.kill()
        publish(20)
        sub.wait_line(sub.err, "; reconnecting$")
        if certificate:
            self.start_own_gateway(certificate=certificate)
            sub.wait_line(sub.err, AT + "its certificate expired on .*; reconnecting$")
            self.assertTrue(sub.running())
            self.gateway.end()
        self.start_own_gateway()
        sub.wait_line(sub.err, "connected to the gateway at")
        publish(20)
        deadline = Deadline()
        while "n60n" not in "".join(sub.out):
            self.assertTrue(deadline.left(), sub.transcript())
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0, "nothing was missed")
        return sub

    def test_nothing_is_lost_when_the_gateway_is_killed(self):
        sub = self.resumes("text")
        self.assertEqual([line for line in sub.out if line != "a.x knock"], [f"a.x n{number}n" for number in range(1, 61)])

    def test_nothing_is_lost_in_proto(self):
        self.start()
        out = pathlib.Path(self.write("out", ""))
        quoted = " ".join([PROGRAM, "sub", "a.x", "--strict", "--format", "proto", "--gateway", GATEWAY, *self.ca,
                           *self.token("anna")])
        sub = self.run_process(["bash", "-c", f"exec {quoted} > {out}"])
        echo, knock = self.live_reader("a.x"), self.ready_writer(source="knock@test")
        deadline = Deadline()
        while not out.stat().st_size:
            self.assertTrue(deadline.left(), sub.transcript())
            knock.send("a.x", "knock")
            echo.receive()
        writer = self.ready_writer()
        for number in range(1, 31):
            if number == 11:
                self.gateway.kill()
            if number == 21:
                sub.wait_line(sub.err, "; reconnecting$")
                self.start_own_gateway()
            writer.send("a.x", f"n{number}n")
            self.wait_admitted(writer)
        while b"n30n" not in out.read_bytes():
            self.assertTrue(deadline.left(), sub.transcript())
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0, "nothing was missed")
        texts = [message.delivery.event.text for message in messages_of(out.read_bytes())]
        self.assertEqual([text for text in texts if text != "knock"], [f"n{number}n" for number in range(1, 31)])

    def test_a_gateway_that_comes_back_with_an_expired_certificate(self):
        sub = self.resumes("text", certificate="expired")
        self.assertEqual(sum("expired" in line for line in sub.err), 1, "it says so once")
        self.assertEqual([line for line in sub.out if line != "a.x knock"], [f"a.x n{number}n" for number in range(1, 61)])


def messages_of(data):
    """The messages that `--format proto` prints, each preceded by its length."""
    while data:
        length, shift = 0, 0
        while True:
            byte, data = data[0], data[1:]
            length |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
        yield session_pb2.ServerMessage.FromString(data[:length])
        data = data[length:]


if __name__ == "__main__":
    unittest.main()
