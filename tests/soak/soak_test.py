"""A broker and two gateways under everything that a day brings, for SOAK_MINUTES (2): publishers with real data, clients of
every protocol that come and go, slow and stopped ones, kills, pauses, a full disk, revoked tokens, hostile peers.

The time is divided into rounds. Each ends with a pause without clients and publishers. In the end, these must hold:

- Every client got everything that was published from its first event on, or an announcement of what it lost.
- A subscriber that never leaves got every event of every topic, and a publisher that never leaves has published each of its
  events once.
- The ledgers of broker and gateways balance (`backplane audit`).
- Memory, descriptors and idle CPU time are what they were in the first pause of the same process.

The seed is printed; SOAK_SEED repeats a run as far as its timing permits. SOAK_CLIENTS (1000) says how many clients there are.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import backplane
from harness import CONTROL, EGRESS, ENDPOINTS, HOST, INGRESS, METRICS, RAW, TIMEOUT_S, BackplaneTest, Deadline
from mount import Mount
from scenario import MIB, Watched

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "config" / "demo"
MINUTES = float(os.environ.get("SOAK_MINUTES") or 2)
SEED = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1 << 31))
CLIENTS = int(os.environ.get("SOAK_CLIENTS") or 1000)
SANITIZED = bool(os.environ.get("SANITIZED"))
GATEWAYS = {"steady": f"{HOST}:1601", "shaken": f"{HOST}:1602"}
GATEWAY_METRICS = {"steady": f"{HOST}:9571", "shaken": f"{HOST}:9572"}
ROUND_S = 300.0
SHARES = {"lines": 30, "sse": 20, "websocket": 20, "zmtp": 12, "mqtt": 14, "http": 2, "broker sub": 1, "python": 1}
STORE_BYTES = 512 * MIB
# What may be left of a round: allocators keep what they have, and history has more topics.
MEMORY_SLACK = 48 * MIB
CPU_SLACK = 0.03
IDLE_S = 5.0
ACTION_S = (2.0, 6.0)
SETTLE_S = 90.0

PUBLISHERS = {
    "clock": ["clock", "--every", "50ms"],
    "quotes": ["quotes", "--csv", DEMO / "stocks.csv", "--rate", "40"],
    "earthquakes": ["earthquakes", "--file", DEMO / "earthquakes.ndjson", "--rate", "20"],
    "weather": ["replay", "--file", DEMO / "seattle-hourly.csv", "--topic", "weather.seattle", "--time-field", "date", "--rate", "10"],
    "walk": ["random-walk", "--rate", "30", "--symbols", "10"],
}


class Witness(threading.Thread):
    """A subscriber to everything that stays from the beginning to the end, and needs every event."""

    def __init__(self, options):
        super().__init__(daemon=True)
        self.options, self.last, self.problems = options, {}, []
        self.events, self.recovered = 0, 0
        self.live, self.ending = threading.Event(), threading.Event()

    def run(self):
        try:
            with backplane.Subscriber(">", name="witness", **self.options) as subscriber:
                subscriber.wait_live(TIMEOUT_S)
                self.live.set()
                while not self.ending.is_set():
                    if item := subscriber.receive(timeout=0.2):
                        self.take(item)
                self.recovered = subscriber.recovered
        except Exception as error:
            self.problems.append(repr(error))
            self.live.set()

    def take(self, item):
        if not isinstance(item, backplane.Event):
            self.problems.append(str(item))
            return
        key, offset = (item.stamp.stream, item.topic), item.stamp.offset
        self.events += 1
        if offset != self.last.get(key, offset - 1) + 1:
            self.problems.append(f"{item.topic} {offset} after {self.last[key]}")
        self.last[key] = offset


class Steady(threading.Thread):
    """A publisher that stays, 20 events per second on check.0 … check.9."""

    def __init__(self, options, topics=10, rate=20):
        super().__init__(daemon=True)
        self.publisher = backplane.Publisher("check@soak", **options)
        self.topics, self.rate = topics, rate
        self.ending, self.paused = threading.Event(), threading.Event()
        self.problem = ""

    def run(self):
        while not self.ending.wait(1 / self.rate):
            if self.paused.is_set():
                continue
            number = self.publisher.offered + 1
            try:
                self.publisher.publish(f"check.{number % self.topics}", f"{number}", timeout=TIMEOUT_S)
            except Exception as error:
                self.problem = repr(error)
                return


class Soak(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="backplane-soak-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.rng = random.Random(SEED)
        self.done = collections.Counter()  # actions
        self.offences = []
        self.books = {}
        self.pauses = []  # (name, {process: (pid, memory, descriptors, CPU)})
        self.say(f"seed {SEED}, {MINUTES:g} minutes, {CLIENTS} clients")

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    # The servers.

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def new_user(self, name):
        """Makes a key and a token. Returns the lines of the policy."""
        made = self.run_program("keys", "new", name, cwd=self.folder)
        self.assertEqual(made.wait_exit(), 0, made.transcript())
        token = secrets.token_hex(16)
        hashed = self.run_program("policy", "hash", "--stdin", stdin=subprocess.PIPE)
        hashed.stdin.write(token + "\n")
        hashed.stdin.close()
        self.assertEqual(hashed.wait_exit(), 0, hashed.transcript())
        self.tokens[name] = f"{name}:{token}"
        public = (self.folder / f"{name}.pub").read_text("ascii").strip()
        return f'[users.{name}]\ncurve = "{public}"\ntoken = "{hashed.out[0]}"\nroles = ["all"]\n'

    def write_policy(self, guest=True):
        users = [text for name, text in self.users.items() if guest or name != "guest"]
        self.write("policy.toml", "".join(users) + '[roles.all]\npublish = [">"]\nsubscribe = [">", "$SYS.>"]\nadmin = true\n')

    def keys_of(self, name):
        return {"key_file": str(self.folder / f"{name}.key"), "server_key_file": str(self.folder / "broker.pub")}

    def prepare(self):
        self.tokens = {}
        made = self.run_program("keys", "new", "broker", cwd=self.folder)
        self.assertEqual(made.wait_exit(), 0, made.transcript())
        self.users = {name: self.new_user(name) for name in ("robot", "visitor", "guest")}
        self.write_policy()
        self.mount = None
        try:
            self.mount = Mount(self, f"size={STORE_BYTES}")
        except AssertionError:
            self.say("cannot mount a filesystem here: the disk never becomes full")
        store = (self.mount.path if self.mount else self.folder) / "store"
        self.write("broker.toml", f'policy = "policy.toml"\nkey = "broker.key"\n[[backplane]]\nstore = "file"\n'
                                  f'store_path = "{store}"\nhistory_bytes = {STORE_BYTES // 4}\n')
        self.write("gateway.toml", 'policy = "policy.toml"\nkey = "robot.key"\nserver_key = "broker.pub"\n'
                                   '[gateway]\nzmtp = true\nmqtt_payload = "event"\n')
        self.servers = {}
        self.start_server("broker")
        for name in GATEWAYS:
            self.start_server(name)
        self.robot = {"egress": EGRESS, "control": CONTROL, **self.keys_of("robot")}

    def start_server(self, name):
        if name == "broker":
            command = ["broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, "--config", "broker.toml"]
        else:
            command = ["gateway", "--listen", GATEWAYS[name], *ENDPOINTS, "--metrics", GATEWAY_METRICS[name], "--config", "gateway.toml"]
        process = self.run_program(*command, "--log-level", "warning", cwd=self.folder)
        process.ready()
        self.servers[name] = Watched(process)

    # Those that publish and read.

    def start_publisher(self, name):
        keys = ["--key", self.folder / "robot.key", "--server-key", self.folder / "broker.pub"]
        words = ["publish", *PUBLISHERS[name], "--source-name", f"{name}@soak", *ENDPOINTS, *keys]
        self.publishers[name] = self.run_program(*map(str, words))

    def start_crowd(self):
        shares = {kind: max(1, CLIENTS * share // 100) for kind, share in SHARES.items()}
        public, secret = ((self.folder / f"visitor.{end}").read_text("ascii").strip() for end in ("pub", "key"))
        self.crowds = []
        for part in range(2):  # processes
            clients = {kind: count // 2 + (count % 2 if part else 0) for kind, count in shares.items()}
            options = {"seed": self.rng.randrange(1 << 31), "clients": clients, "gateways": list(GATEWAYS.values()),
                       "tokens": [self.tokens["visitor"], self.tokens["visitor"], self.tokens["guest"]],
                       "keys": [public, secret, (self.folder / "broker.pub").read_text("ascii").strip()],
                       "egress": EGRESS, "control": CONTROL, **self.keys_of("visitor")}
            self.crowds.append(self.run_process(["/usr/bin/python3", "-B", str(HERE / "crowd.py"), json.dumps(options)],
                                                stdin=subprocess.PIPE))
        for each in self.crowds:
            each.wait_line(each.out, "^begun$", timeout=TIMEOUT_S + CLIENTS / 100)

    def end_crowd(self):
        for each in self.crowds:
            each.stdin.close()
        for each in self.crowds:
            self.assertEqual(each.wait_exit(TIMEOUT_S), 0, each.transcript())
            report = json.loads(each.out[-1])
            for kind, counts in report["counts"].items():
                self.books.setdefault(kind, collections.Counter()).update(counts)
            self.offences += report["offences"]

    # What happens to them.

    def actions(self, with_broker):
        actions = {self.kill_gateway: 3, self.restart_gateway: 2, self.pause_server: 4, self.kill_publisher: 3, self.pause_publisher: 2,
                   self.revoke: 3, self.reload: 1, self.attack: 1}
        if self.mount:
            actions[self.fill_disk] = 2
        if with_broker:
            actions |= {self.kill_broker: 3, self.restart_broker: 2}
        return actions

    def sleep(self, seconds):
        """The pace of the soak."""
        time.sleep(min(seconds, max(0.0, self.round_ends - time.monotonic())))

    def kill_gateway(self):
        self.servers["shaken"].process.kill()
        self.sleep(self.rng.uniform(0, 1.5))
        self.start_server("shaken")

    def restart_gateway(self):
        self.servers["shaken"].process.end()
        self.start_server("shaken")

    def kill_broker(self):
        self.servers["broker"].process.kill()
        self.sleep(self.rng.uniform(0, 1.5))
        self.start_server("broker")

    def restart_broker(self):
        self.servers["broker"].process.end()
        self.start_server("broker")

    def pause_server(self):
        process = self.servers[self.rng.choice(list(self.servers))].process
        process.signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.2, 2.5))
        process.signal(signal.SIGCONT)

    def kill_publisher(self):
        name = self.rng.choice(list(self.publishers))
        self.publishers[name].kill()
        self.start_publisher(name)

    def pause_publisher(self):
        process = self.publishers[self.rng.choice(list(self.publishers))]
        process.signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.2, 3))
        process.signal(signal.SIGCONT)

    def reload_all(self):
        for each in self.servers.values():
            each.process.signal(signal.SIGHUP)

    def revoke(self):
        self.write_policy(guest=False)
        self.reload_all()
        self.sleep(self.rng.uniform(0.5, 3))
        self.write_policy()
        self.reload_all()

    def reload(self):
        self.reload_all()

    def room(self):
        """How much of the disk is free."""
        room = os.statvfs(self.mount.path)
        return room.f_bavail * room.f_frsize

    def fill_disk(self):
        filler = self.mount.path / "filler"
        with filler.open("wb") as file:
            for _ in range(100):
                with contextlib.suppress(OSError):  # the broker was faster
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), self.room() or 1)
        time.sleep(self.rng.uniform(0.5, 3))
        filler.unlink()

    def attack(self):
        """Connections that send nothing, or rubbish; they take no part in the figures."""
        kind, options = self.rng.choice([("silent", {"count": 200}), ("slowloris", {"count": 100}),
                                         ("tokens", {"per_s": 50, "user": "guest"})])
        options = {"targets": list(GATEWAYS.values()), "seconds": 2, **options}
        attacker = self.run_process(["/usr/bin/python3", "-B", str(HERE.parent / "hostile" / "attacks.py"), kind, json.dumps(options)])
        attacker.wait_exit()

    # The run.

    def test_soak(self):
        self.prepare()
        self.publishers = {}
        witness = Witness(self.robot)
        witness.start()
        self.assertTrue(witness.live.wait(TIMEOUT_S + 10))
        self.assertEqual(witness.problems, [])
        steady = Steady({"ingress": INGRESS, "control": CONTROL, **self.keys_of("robot")})
        steady.start()
        self.addCleanup(steady.ending.set)
        self.addCleanup(witness.ending.set)
        rounds = max(2, round(MINUTES * 60 / ROUND_S))
        for number in range(1, rounds + 1):
            self.round(number, MINUTES * 60 / rounds, with_broker=number % 2 == 1 and number < rounds, steady=steady)
        steady.paused.set()
        self.end_of(steady, witness)
        self.audit()
        self.compare()
        self.report(witness, steady)
        self.assertFalse(self.offences, "\n".join(self.offences))

    def round(self, number, seconds, with_broker, steady):
        self.round_ends = time.monotonic() + seconds
        steady.paused.clear()
        for name in PUBLISHERS:
            self.start_publisher(name)
        self.start_crowd()
        actions = self.actions(with_broker)
        while time.monotonic() < self.round_ends:
            action = self.rng.choices(list(actions), list(actions.values()))[0]
            self.say(f"  {time.strftime('%H:%M:%S')} round {number}: {action.__name__}")
            self.done[action.__name__] += 1
            action()
            for name, each in self.servers.items():
                self.assertTrue(each.process.running(), f"the {name} has ended: {each.process.transcript()}")
            self.sleep(self.rng.uniform(*ACTION_S))
        for each in self.publishers.values():
            each.end()
        steady.paused.set()
        self.end_crowd()
        self.pause(f"after round {number}")

    def pause(self, name):
        """Nothing happens: what do the processes use?"""
        before = dict(self.pauses[-1][1]) if self.pauses else {}
        figures = {}
        deadline = Deadline(SETTLE_S)
        for each, server in self.servers.items():
            usual = before.get(each)
            least = usual[2] if usual and usual[0] == server.pid else None
            # Without something to compare with, until the number does not fall any more.
            seen = []
            while deadline.left():
                seen.append(server.descriptors())
                if least is not None and seen[-1] <= least + 4:
                    break
                if least is None and len(seen) > 20 and min(seen[:-10]) <= seen[-1]:
                    break
                time.sleep(0.2)
        cpu = {each: server.cpu_s() for each, server in self.servers.items()}
        begun = time.monotonic()
        time.sleep(IDLE_S)  # the measurement
        took = time.monotonic() - begun
        for each, server in self.servers.items():
            figures[each] = server.pid, server.resident(), server.descriptors(), (server.cpu_s() - cpu[each]) / took
        self.pauses.append((name, figures))
        self.say(f"{name}: " + ", ".join(f"{each} {memory / MIB:.1f} MiB, {descriptors} descriptors, {100 * cpu:.1f} % CPU"
                                         for each, (_, memory, descriptors, cpu) in figures.items()))

    # The end.

    def end_of(self, steady, witness):
        steady.ending.set()
        steady.join(TIMEOUT_S)
        if steady.problem:
            self.offences.append(f"the steady publisher: {steady.problem}")
        publisher = steady.publisher
        try:
            publisher.flush(TIMEOUT_S)
        except (backplane.Refused, TimeoutError) as error:
            self.offences.append(f"the steady publisher: {error}")
        with backplane.Control(CONTROL, **self.keys_of("robot")) as control:
            stream, _, tails = control.tails([">"], timeout=TIMEOUT_S)
        expected = {(stream, tail.topic): tail.offset for tail in tails}
        deadline = Deadline(SETTLE_S)
        while deadline.left() and any(witness.last.get(key) != offset for key, offset in expected.items()):
            time.sleep(0.1)
        witness.ending.set()
        witness.join(TIMEOUT_S)
        self.offences += [f"the witness: {problem}" for problem in witness.problems[:20]]
        self.offences += [f"the witness: {key[1]} has {offset} events, and it came to {witness.last.get(key)}"
                          for key, offset in expected.items() if witness.last.get(key) != offset][:20]
        if len({each for each, _ in witness.last}) > 1:
            self.offences.append("the broker began another stream, although its store is on disk")
        published = sum(offset for (_, topic), offset in witness.last.items() if topic.startswith("check."))
        if published != publisher.confirmed or publisher.in_doubt or publisher.refused:
            self.offences.append(f"the steady publisher: {publisher.offered} offered, {publisher.confirmed} confirmed, "
                                 f"{publisher.refused} refused, {publisher.in_doubt} in doubt, {published} published")
        publisher.close(TIMEOUT_S)

    def audit(self):
        keys = ["--key", str(self.folder / "robot.key"), "--server-key", str(self.folder / "broker.pub")]
        audit = self.run_program("audit", *ENDPOINTS, *keys)
        code = audit.wait_exit()
        self.say("\n".join(audit.out))
        if code:
            self.offences.append("audit:\n" + "\n".join([*audit.out, *audit.err]))

    def compare(self):
        """Each process in the last pause with itself in the first one that it saw."""
        for name, (pid, memory, descriptors, cpu) in self.pauses[-1][1].items():
            first = next(figures[name] for _, figures in self.pauses if figures[name][0] == pid)
            if descriptors > first[2] + 4:
                self.offences.append(f"the {name} has {descriptors} descriptors, at first {first[2]}")
            if cpu > first[3] + CPU_SLACK:
                self.offences.append(f"the {name}, idle, uses {100 * cpu:.1f} % of a core, at first {100 * first[3]:.1f} %")
            if not SANITIZED and memory > first[1] + MEMORY_SLACK:
                self.offences.append(f"the {name} has {memory / MIB:.1f} MiB, at first {first[1] / MIB:.1f} MiB")

    def report(self, witness, steady):
        lines = [f"\nseed {SEED}, {MINUTES:g} minutes; " + ", ".join(f"{name} {count}" for name, count in sorted(self.done.items())),
                 f"witness: {witness.events} events of {len(witness.last)} topics, {witness.recovered} of them recovered; "
                 f"steady publisher: {steady.publisher.confirmed} confirmed, {steady.publisher.resent} sent again"]
        for kind, counts in sorted(self.books.items()):
            lines.append(f"{kind:11} " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda each: -each[1])))
        for name, figures in self.pauses:
            lines.append(f"{name}: " + "; ".join(f"{each} (pid {pid}) {memory / MIB:.1f} MiB, {descriptors} descriptors, {100 * cpu:.1f} %"
                                                 for each, (pid, memory, descriptors, cpu) in figures.items()))
        lines += self.offences or ["no offence"]
        self.say("\n".join(lines))
        if path := os.environ.get("SOAK_REPORT"):
            pathlib.Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    unittest.main()
