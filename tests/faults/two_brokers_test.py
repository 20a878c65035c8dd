"""Two brokers, of which every program has the list A,B: each single path cut, refused and stalled; A paused, late,
killed and restarted. All that was acknowledged reaches every subscriber, wherever it was published."""

import unittest

from faults import TO_BROKERS, cut, refused, scenarios, stalled
from scenario import READERS, WRITERS, FaultTest, generate

# Subscribers and publishers that keep up with 15,000 events/s beside a relay and a test in Python.
QUICK_READERS = ("cpp", "cli", "raw", "line")


def nothing_of_two(test):
    test.start("AB")
    test.go_on(1)
    test.finish()


def first_paused(test):
    test.start("AB")
    test.pause(test.brokers["A"], 7)
    test.go_on(3)
    test.finish(doubles_allowed=True)


def first_late(test):
    """A starts just after the publishers, and readers come after that."""
    test.prepare("AB")
    test.start_broker_at("B")
    test.start_gateway_at()
    test.start_writers(WRITERS)
    test.go_on(0.3)
    test.start_broker_at("A")
    test.start_readers(READERS, WRITERS, knock_at="A")
    after = {test.streams[letter]: test.position_at(letter) for letter in "AB"}
    test.go_on(4)
    test.finish(doubles_allowed=True, after=after)


def first_killed_and_restarted(test):
    """At once, with a new history."""
    test.start("AB")
    test.kill("A")
    test.start_broker_at("A")
    test.go_on(5)
    test.finish(doubles_allowed=True)


def each_killed_and_restarted_in_turn(test):
    test.start("AB")
    for letter in "ABA":
        test.kill(letter)
        test.go_on(4)
        test.start_broker_at(letter)
        test.go_on(1)
    test.finish(doubles_allowed=True)


def first_killed(test, **options):
    """At some 170 events/s. It is restarted after some seconds: its reset announces what was lost with it."""
    test.start("AB", **options)
    test.kill("A")
    test.go_on(4)
    test.start_broker_at("A")
    test.finish(doubles_allowed=True)


def first_killed_at_15000(test):
    first_killed(test, readers=QUICK_READERS, writers=("cpp",), cpp=15_000)


def both_restarted(test):
    """Gracefully, one after the other: nothing that was admitted is lost, and nothing is published twice."""
    test.start("AB")
    for letter in "AB":
        test.restart_gracefully(letter)
        test.go_on(2)
    test.finish(resets_account=False)


PROGRAMS = {function.__name__: function for function in (
    nothing_of_two, first_paused, first_late, first_killed_and_restarted, each_killed_and_restarted_in_turn,
    first_killed, first_killed_at_15000, both_restarted)}
PATHS = [(group, broker, port) for broker in "AB" for group, port in TO_BROKERS]
SCENARIOS = {**PROGRAMS, **scenarios((cut, refused, stalled), PATHS, "AB", doubles_allowed=True)}
FAST = ("nothing_of_two", "cut_pub_ingress_of_A_of_two")


class Fast(FaultTest):
    pass


class Programs(FaultTest):
    pass


class Paths(FaultTest):
    pass


generate(Fast, SCENARIOS, FAST)
generate(Programs, SCENARIOS, [name for name in PROGRAMS if name not in FAST])
generate(Paths, SCENARIOS, [name for name in SCENARIOS if name not in FAST and name not in PROGRAMS])

if __name__ == "__main__":
    unittest.main()
