"""One broker: every path cut, delayed and stalled in turn; programs stopped, killed and restarted; all under load."""

import signal
import unittest

from faults import FAULTS, TO_BROKERS, TO_GATEWAY, scenarios
from known_failures import KNOWN_FAILURES
from scenario import FaultTest, generate

PAUSE_S = 8.0


def nothing(test):
    test.start()
    test.go_on(1)
    test.finish()


def broker_killed(test):
    test.start()
    test.kill("A")
    test.go_on(2)
    test.start_broker_at("A")
    test.go_on(2)
    test.finish(doubles_allowed=True)


def broker_paused(test):
    test.start()
    test.pause(test.brokers["A"], PAUSE_S)
    test.finish()


def gateway_paused(test):
    test.start()
    test.pause(test.gateway, PAUSE_S)
    test.finish()


def subscribers_paused(test):
    test.start()
    processes = [each.process for each in test.subscribers if each.process]
    for process in processes[1:]:
        test.addCleanup(process.signal, signal.SIGCONT)
        process.signal(signal.SIGSTOP)
    test.pause(processes[0], PAUSE_S)
    for process in processes[1:]:
        process.signal(signal.SIGCONT)
    test.finish()


def broker_restarted(test):
    """Gracefully, three times: nothing that was admitted is lost, and nothing is published twice."""
    test.start()
    for _ in range(3):
        test.restart_gracefully("A")
        test.go_on(2)
    test.finish(resets_account=False)


PATHS = [(group, "A", port) for group, port in TO_BROKERS] + [(group, "gateway", port) for group, port in TO_GATEWAY]
PROGRAMS = {function.__name__: function for function in (
    nothing, broker_killed, broker_paused, gateway_paused, subscribers_paused, broker_restarted)}
# Stable ones that need a few seconds each.
FAST = {"nothing", "broker_killed", "cut_sub_egress_of_A", "cut_gateway_egress_of_A", "cut_pub_ingress_of_A"}
ALL = {**PROGRAMS, **scenarios(FAULTS, PATHS, "A")}


class Fast(FaultTest):
    pass


class Programs(FaultTest):
    pass


class Paths(FaultTest):
    pass


generate(Fast, {name: ALL[name] for name in ALL if name in FAST}, KNOWN_FAILURES)
generate(Programs, {name: ALL[name] for name in PROGRAMS if name not in FAST}, KNOWN_FAILURES)
generate(Paths, {name: ALL[name] for name in ALL if name not in FAST and name not in PROGRAMS}, KNOWN_FAILURES)

if __name__ == "__main__":
    unittest.main()
