"""What can happen to a path, and the scenarios made of it: one for each fault and each path."""

import functools

# Less than a publisher's patience with a connection that confirms nothing (15 s), more than any program's patience with
# one request.
STALL_S = 8.0
# More than any program's patience with a connection.
SILENCE_S = 20.0


def cut(test, relays):
    """RST, three times; new connections are accepted at once."""
    for _ in range(3):
        for relay in relays:
            relay.drop(reset=True)
        test.go_on(0.5)


def closed(test, relays):
    """The same with FIN."""
    for _ in range(3):
        for relay in relays:
            relay.drop()
        test.go_on(0.5)


def refused(test, relays):
    for relay in relays:
        relay.cut(reset=True)
    test.go_on(3)


def delayed(test, relays):
    for relay in relays:
        relay.delay(0.3, jitter=0.2)
    test.go_on(3)


def stalled(test, relays):
    for relay in relays:
        relay.stall()
    test.go_on(STALL_S)


def stalled_down(test, relays):
    """Only what comes from the broker or gateway."""
    for relay in relays:
        relay.stall(relay.DOWN)
    test.go_on(3)


def limited(test, relays):
    for relay in relays:
        relay.limit(10_000)
    test.go_on(3)


def silenced(test, relays):
    """The connections that there are never carry anything again."""
    for relay in relays:
        relay.silence()
    test.go_on(SILENCE_S)


FAULTS = (cut, closed, refused, delayed, stalled, stalled_down, limited)

# (group of programs, port) of the paths to a broker; and to the gateway.
TO_BROKERS = (("sub", "egress"), ("sub", "control"), ("gateway", "ingress"), ("gateway", "egress"),
              ("gateway", "control"), ("pub", "ingress"), ("pub", "control"))
TO_GATEWAY = (("sub", "client"), ("pub", "client"))


def disturb(test, fault, path, brokers, **options):
    """A scenario: load, the fault in one path of a group of programs, its end."""
    group, broker, port = path
    test.start(brokers=brokers)
    relays = test.network.paths(group, broker, port)
    if not relays:
        raise ValueError(f"no such path: {path}")
    fault(test, relays)
    test.finish(**options)


def scenarios(faults, paths, brokers, **options):
    """By name, a scenario for each fault in each path."""
    two = "_of_two" if len(brokers) > 1 else ""
    return {f"{fault.__name__}_{group}_{port}_of_{broker}{two}":
            functools.partial(disturb, fault=fault, path=(group, broker, port), brokers=brokers, **options)
            for group, broker, port in paths for fault in faults}
