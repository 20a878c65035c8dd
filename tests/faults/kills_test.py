"""A broker with a file store, killed again and again at random moments under load, with exact accounting from outside.

Every round has a new store, subscribers and publishers of every kind, and a publisher of large events that fills
segments. Between the kills, clients of the gateway lose their connections, and resume with their tokens. At the end of a
round everything is added up: no confirmed event and no event that anybody saw is missing from history, nothing has two
numbers and no number has two events, nobody got a reset or an unexplained gap.

    BACKPLANE_KILLS=1000    how many kills; half of them with store_sync = "always"
    BACKPLANE_SEED=1        the random moments; a round prints its own seed
"""

import json
import os
import pathlib
import random
import sys
import time
import unittest

import publishers
from checker import Options
from network import BROKER_HOSTS, endpoints
from records import Reset, Seen
from scenario import LOAD, Offences, FaultTest

KILLS = int(os.environ.get("BACKPLANE_KILLS", "1000"))
SEED = int(os.environ.get("BACKPLANE_SEED", "1"))
KILLS_PER_ROUND = 50
READERS = ("cpp", "cli", "python", "node", "raw", "cli-gateway", "line", "websocket", "sse")
WRITERS = ("cpp", "python", "node", "cli", "line", "post")
FILLER = "fill"
UP_S = (0.05, 0.9)  # from ready to the kill
EARLY = 0.1      # of all starts are killed before they are ready,
EARLY_S = 0.08   # within this time
CUT = 0.3        # of all kills cut the gateway's clients, too


def is_seen_by_all(topic):
    return topic.startswith(LOAD) and not topic.startswith(LOAD + FILLER)


class Kills(FaultTest):
    filler = {"rate": 100, "padding": 20_000}  # 2 MB/s: several segments in a round

    def test_kills(self):
        rounds = max(2, -(-KILLS // KILLS_PER_ROUND))
        begun, done, offences = time.monotonic(), 0, []
        for number in range(rounds):
            sync = ("1s", "always", "1s", "always", "1s", "always", "off", "always")[number % 8]
            kills = KILLS * (number + 1) // rounds - KILLS * number // rounds
            try:
                self.run_round(f"{SEED}.{number}", sync, kills)
            except Offences as problem:  # the other rounds are run, too
                offences.append(f"round {number + 1}, sync {sync}: {problem}")
            done += kills
            print(f"round {number + 1} of {rounds}, sync {sync}: {done} kills in {time.monotonic() - begun:.0f} s, "
                  f"{len(offences)} rounds with offences",
                  file=sys.stderr, flush=True)
            if number + 1 < rounds:
                self.doCleanups()
                self.setUp()
        self.assertFalse(offences, "\n".join(offences))

    def store_path(self):
        return pathlib.Path(self.folder, "store")

    def run_round(self, seed, sync, kills):
        self.random = random.Random(seed)
        store = self.store_path()
        self.start(readers=READERS, writers=WRITERS, broker_config=f"""
[[backplane]]
store = "file"
store_path = "{store}"
store_sync = "{sync}"
""", cpp=200)
        self.publishers.append(publishers.start(self, "cpp", name=FILLER, **self.filler))
        self.stream, self.tokens = self.streams["A"], []
        for _ in range(kills):
            self.go_on_exactly(self.random.uniform(*UP_S))
            published = self.position_at("A")
            self.kill("A")
            if self.random.random() < CUT:
                for relay in self.network.paths("sub", "gateway", "client"):
                    relay.drop(reset=self.random.random() < 0.5)
            if self.random.random() < EARLY:
                self.kill_before_ready()
            self.between_kill_and_start()
            self.start_broker_at("A")
            self.assertEqual(self.streams["A"], self.stream, "the stream has ended")
            self.assertGreaterEqual(self.position_at("A"), published, "what was published is gone")
            self.check_token()
        self.finish_round()

    def go_on_exactly(self, seconds):
        time.sleep(seconds)  # the moment is the test: no condition to wait for

    def between_kill_and_start(self):
        pass

    def kill_before_ready(self):
        ports = [word for name, endpoint in endpoints(BROKER_HOSTS["A"]).items() for word in (f"--{name}", endpoint)]
        broker = self.run_program("broker", *ports, "--metrics", "off", *self.broker_options)
        self.go_on_exactly(self.random.uniform(0, EARLY_S))
        broker.kill()

    def check_token(self):
        """A position from before still has what follows it."""
        with self.control("A") as asker:
            position = asker.request(stats={}).position
            self.tokens.append(position)
            after = self.random.choice(self.tokens)
            reply = asker.request(replay={"pattern": LOAD + ">", "after_position": {"stream": self.stream,
                                                                                     "position": after}})
            self.assertEqual(reply.stream, self.stream)
            self.assertIn(reply.WhichOneof("end"), ("complete", "more"), reply)

    def finish_round(self):
        self.network.mend()
        self.go_on(1.0)
        self.stop_load()
        published, problems = self.published
        for each in self.publishers:
            if each.process and json.loads(each.process.out[-1]).get("in_doubt"):
                problems.append(f"{each.name}: events are in doubt: {each.process.out[-1]}")
        options = Options(wanted=is_seen_by_all, resets_account=False)
        self.settle(published, options)
        accounts = [each.account() for each in self.subscribers]
        for each in self.subscribers:
            each.stop()
            each.update()
        history = {}  # (topic, offset): (position, text)
        positions = {}
        for event in self.load_in_history("A"):
            history[event.topic, event.offset] = (event.position, event.text)
            if positions.setdefault(event.position, event) is not event:
                problems.append(f"position {event.position} twice: {event} and {positions[event.position]}")
        for account in accounts:
            for record in account.records:
                if type(record) is Reset:
                    problems.append(f"{account.name}: {record}")
                elif type(record) is Seen and record.topic.startswith(LOAD):
                    if history.get((record.topic, record.offset)) != (record.position, record.text):
                        problems.append(f"{account.name}: seen, and not in history: {record}")
        stored = {}
        for (topic, _), (_, text) in history.items():
            stored[topic, text] = stored.get((topic, text), 0) + 1
        for each in published:
            missing = [event for event in each.acknowledged if event not in stored]
            twice = [event for event in each.acknowledged if stored.get(event, 0) > 1]
            problems += [f"{each.name}: confirmed, and not in history: {event[1][:40]}" for event in missing[:4]]
            problems += [f"{each.name}: in history twice: {event[1][:40]}" for event in twice[:4]]
        self.judge(self.check(accounts, published, options), problems[:20])

    def judge(self, verdict, problems=()):
        try:
            super().judge(verdict, problems)
        except Offences:
            for each in self.subscribers:
                for at, record in enumerate(each.records):
                    if type(record) is Reset:
                        print(each.name, "around a reset:", *each.records[max(0, at - 8):at + 4], sep="\n  ",
                              file=sys.stderr)
            raise


if __name__ == "__main__":
    unittest.main()
