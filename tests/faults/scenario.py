"""A fault test: brokers, a gateway, subscribers and publishers of every kind with a relay in every path; load, a fault,
its end; then the checker adds up."""

import functools
import os
import signal
import sys
import tempfile
import time
import unittest

import publishers
import subscribers
from checker import Options, Truth, check
from harness import GATEWAY, TIMEOUT_S, ControlClient, BackplaneTest, Deadline, Writer
from known_failures import KNOWN_FAILURES, SOMETIMES
from network import BROKER_HOSTS, Network, endpoints

KNOCK = "knock"
LOAD = "load."
QUIET_S = 6.0    # after this long without a record, nothing more is expected
POLL_S = 0.1
AFTER_S = 1.5    # load after the end of a fault: later events show what is missing
SETTLE_S = 60.0
LATE_S = 15.0


class Offences(AssertionError):
    """A promise was broken. Nothing else that can go wrong in a test is one."""


READERS = (*subscribers.DIRECT, *subscribers.THROUGH_GATEWAY)
WRITERS = (*publishers.DIRECT, *publishers.THROUGH_GATEWAY)


class FaultTest(BackplaneTest):
    """Programs are named sub.KIND, pub.KIND and gateway."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.brokers, self.streams = {}, {}
        self.subscribers, self.publishers = [], []
        self.gateway = None
        self.published = None  # what the publishers did, and their problems, when they have ended

    # The programs.

    def start(self, brokers="A", readers=READERS, writers=WRITERS, broker_config="", **rates):
        """Starts everything; returns when every subscriber is live and has seen something of every publisher.
        `brokers`: letters, in the order of everyone's list. `rates`: events per second by kind of publisher."""
        self.prepare(brokers, broker_config)
        for letter in brokers:
            self.start_broker_at(letter)
        self.start_gateway_at()
        self.start_readers(readers, writers)
        self.start_writers(writers, **rates)
        self.wait_load(writers)

    def prepare(self, brokers, broker_config=""):
        self.broker_options = ["--config", self.config_file(broker_config)] if broker_config else []
        self.network = Network(brokers)
        self.addCleanup(self.network.close)

    def start_gateway_at(self, *options):
        hosts = self.network.add("gateway")
        self.gateway = self.run_program("gateway", "--listen", GATEWAY, "--broker", ",".join(hosts), *options)
        self.gateway.ready()

    def start_readers(self, readers, writers, pace_us=0, knock_at="A"):
        patterns = [f"{LOAD}{kind}.*" for kind in writers] + [KNOCK]
        started = [subscribers.start(self, kind, patterns, pace_us) for kind in readers]
        self.subscribers += started
        self.wait_live(started, knock_at)

    def start_writers(self, writers, padding=0, **rates):
        self.publishers += [publishers.start(self, kind, rates.get(kind), padding) for kind in writers]

    def start_broker_at(self, letter):
        host = BROKER_HOSTS[letter]
        ports = [word for name, endpoint in endpoints(host).items() for word in (f"--{name}", endpoint)]
        broker = self.run_program("broker", *ports, "--metrics", "off", *self.broker_options)
        broker.ready()
        self.brokers[letter] = broker
        with self.control(letter) as asker:
            self.streams[letter] = asker.request(stats={}).stream
        return broker

    def control(self, letter):
        return _Closing(ControlClient(self.context, control=endpoints(BROKER_HOSTS[letter])["control"]))

    def position_at(self, letter):
        with self.control(letter) as asker:
            return asker.request(stats={}).position

    def wait_live(self, readers, first):
        """Publishes at every broker until all have heard all of them. After a second, hearing the first one is enough;
        after LATE_S, hearing any: a reader that has left the first one is for the checker to judge."""
        writers = {letter: self.knocker(letter) for letter in self.brokers}
        begun = time.monotonic()

        def all_heard():
            for writer in writers.values():
                writer.send(KNOCK, "")
            self.update(readers)
            heard = [{letter for letter in writers if each.heard(KNOCK, self.streams[letter] >> 32)}
                     for each in readers]
            waited = time.monotonic() - begun
            return (all(letters == set(writers) for letters in heard)
                    or (waited > 1 and all(first in letters for letters in heard)) or (waited > LATE_S and all(heard)))
        self.wait_until(all_heard, "subscribers are live")

    def knocker(self, letter):
        writer = Writer(self.context, source="knock@test", endpoint=endpoints(BROKER_HOSTS[letter])["ingress"])
        self.addCleanup(writer.close)
        writer.wait_ready()
        return writer

    def wait_load(self, writers):
        """Until all subscribers have seen something of all publishers. After LATE_S, what they have not seen is for the
        checker to judge."""
        wanted = {f"{LOAD}{kind}." for kind in writers}
        begun = time.monotonic()

        def all_seen():
            self.update()
            return time.monotonic() - begun > LATE_S or all(
                wanted <= {topic.rstrip("0123456789") for topic in each.topics()} for each in self.subscribers)
        self.wait_until(all_seen, "every subscriber sees every publisher")

    def wait_until(self, condition, what, seconds=TIMEOUT_S):
        deadline = Deadline(seconds)
        while not condition():
            if not deadline.left():
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(POLL_S)

    def go_on(self, seconds):
        """The load goes on for so long."""
        self.wait_until(lambda end=time.monotonic() + seconds: time.monotonic() >= end, "the time has passed")

    # Faults.

    def pause(self, process, seconds):
        """SIGSTOP, for so long."""
        self.addCleanup(process.signal, signal.SIGCONT)
        process.signal(signal.SIGSTOP)
        self.go_on(seconds)
        process.signal(signal.SIGCONT)

    def kill(self, letter):
        self.brokers.pop(letter).kill()

    def restart_gracefully(self, letter):
        self.brokers.pop(letter).end()
        self.start_broker_at(letter)

    # The end.

    def update(self, readers=None):
        """Takes in what has come. @returns how many records there are."""
        return sum(each.update() for each in readers or self.subscribers)

    def stop_load(self):
        """Ends the publishers, each with a flush."""
        self.published = publishers.stop_all(self.publishers)

    def finish(self, after_s=AFTER_S, **options):
        """Ends every fault and the load, waits until all has come or nothing comes any more, and raises Offences.
        `options`: the checker's."""
        self.network.mend()
        if not self.published:
            self.go_on(after_s)
            self.stop_load()
        published, problems = self.published
        options = Options(wanted=lambda topic: topic.startswith(LOAD), **options)
        self.settle(published, options)
        accounts = [each.account() for each in self.subscribers]
        for each in self.subscribers:
            each.stop()
            each.update()
        self.judge(self.check(accounts, published, options), problems)

    def judge(self, verdict, problems=()):
        print(f"\n{self.id().split('.', 1)[1]}", verdict.table(), *problems, sep="\n", file=sys.stderr)
        if verdict.offences or problems:
            raise Offences("\n".join([*verdict.offences, *problems]))

    def check(self, accounts, published, options):
        truth = Truth()
        for letter in self.brokers:
            truth.add_history(self.streams[letter], self.load_in_history(letter))
        return check(accounts, published, truth, options)

    def load_in_history(self, letter):
        with self.control(letter) as asker:
            for reply, _ in asker.pages(replay={"pattern": LOAD + ">", "since_ns": 0}):
                for stored in reply.replay.events:
                    yield subscribers.seen(stored.topic, stored.event)

    def settle(self, published, options):
        """Until everything is accounted for, or nothing has come for QUIET_S."""
        deadline, count, changed = Deadline(SETTLE_S), -1, time.monotonic()
        complete = False
        while not complete and deadline.left() and time.monotonic() < changed + QUIET_S:
            time.sleep(POLL_S)
            before, count = count, self.update()
            if count != before:
                changed = time.monotonic()
            elif time.monotonic() < changed + 2 * POLL_S:  # once it has become quiet
                complete = not self.check([each.account() for each in self.subscribers], published, options).missing


class _Closing:
    def __init__(self, asker):
        self._asker = asker

    def __enter__(self):
        return self._asker

    def __exit__(self, *_):
        self._asker.close()


def known_failure(kind, function):
    """The test of a promise that is broken today. It is run, and must fail by Offences; once it does not, it is an
    unexpected success until its entry is removed. Whatever else goes wrong is an error."""
    @functools.wraps(function)
    def test(self):
        if os.environ["SANITIZED"]:
            self.skipTest(f"fails today (kind {kind}); a sanitizer's pace may hide that")
        try:
            function(self)
        except (Offences, unittest.SkipTest):
            raise
        except BaseException as error:
            self.addCleanup(_raise, error)
            raise
        print(f"{self.id()}: passes: remove it from KNOWN_FAILURES (kind {kind})", file=sys.stderr)
    return unittest.expectedFailure(test)


def occasional_failure(kind, function):
    """The test of a promise that is broken today in some runs."""
    @functools.wraps(function)
    def test(self):
        try:
            function(self)
        except Offences as offences:
            self.skipTest(f"fails sometimes (kind {kind}): {offences}")
    return test


def _raise(error):
    raise error


def generate(into, scenarios, names):
    """Adds a test for each of these of the `scenarios` (name: function of the test) to the class `into`."""
    for name in names:
        def test(self, function=scenarios[name]):
            function(self)
        test.__name__ = test.__qualname__ = f"test_{name}"
        if name in KNOWN_FAILURES:
            test = known_failure(KNOWN_FAILURES[name], test)
        elif name in SOMETIMES:
            test = occasional_failure(SOMETIMES[name], test)
        setattr(into, test.__name__, test)
