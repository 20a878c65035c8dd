"""One broker: every path cut, delayed and stalled in turn; programs stopped, killed and restarted; all under load."""

import signal
import unittest

from faults import FAULTS, TO_BROKERS, TO_GATEWAY, refused, scenarios, silenced
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


def order_at_the_gateway(test):
    """What a gateway's client gets late, because the gateway had to fetch it, says so."""
    test.start()
    refused(test, test.network.paths("gateway", "A", "egress"))
    test.finish(late_unsaid=False)


PATHS = [(group, "A", port) for group, port in TO_BROKERS] + [(group, "gateway", port) for group, port in TO_GATEWAY]
PROGRAMS = {function.__name__: function for function in (
    nothing, broker_killed, broker_paused, gateway_paused, subscribers_paused, broker_restarted,
    order_at_the_gateway)}
# A plain line client waits for ever on such a connection; those to brokers belong to our programs and libraries.
SCENARIOS = {**PROGRAMS, **scenarios(FAULTS, PATHS, "A"),
             **scenarios([silenced], [path for path in PATHS if path[1] == "A"], "A")}
# Those that need only a few seconds each.
FAST = ("nothing", "broker_killed", "cut_sub_egress_of_A", "cut_gateway_egress_of_A", "cut_pub_ingress_of_A")


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
