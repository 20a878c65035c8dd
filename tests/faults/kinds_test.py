"""Failures under kills and load, each by the smallest scenario that shows it every time."""

import os
import pathlib
import re
import signal
import subprocess
import unittest
import urllib.request

from checker import Options, Publications
from client_scenarios import Driver
from faults import cut
from harness import ENDPOINTS, INGRESS, METRICS, PROGRAM, Deadline, Writer
from relay import Relay
from scenario import LOAD, FaultTest, Offences, generate
from subscribers import DRIVERS

HERE = pathlib.Path(__file__).resolve().parent
SLOW_READER_US = 1000


def only(test, readers=(), writers=(), broker_config="", pace_us=0, padding=0, **rates):
    """One broker, and nothing else but these."""
    test.prepare("A", broker_config)
    test.start_broker_at("A")
    test.start_readers(readers, writers, pace_us)
    test.start_writers(writers, padding, **rates)


# 41: a subscriber that is behind when its connection ends.

def behind(language, end_connection):
    """Three subscribers that take longer for an event than the publisher. What they had received when the connection
    ended is delivered; what they had not, the history has."""
    def scenario(test):
        readers = [f"{language}#{number}" for number in range(3)]
        only(test, readers, ("cpp",), pace_us=SLOW_READER_US, cpp=2500)
        test.wait_until(lambda: test.update() >= 300, "the subscribers read")
        test.go_on(2)
        end_connection(test)
        test.finish(resets_account=False)
    return scenario


def cut_egress(test):
    cut(test, test.network.paths("sub", "A", "egress"))


def restart_broker(test):
    """After everything was admitted, and so sent to the subscribers."""
    test.stop_load()
    test.restart_gracefully("A")


# 44: one connection of Server-Sent Events.

def sse_resumed(test):
    """Cuts while events of several topics come, and time for some history: none missing, and none twice on one
    connection."""
    test.prepare("A")
    test.start_broker_at("A")
    test.start_gateway_at()
    writers = ("cpp", "python", "node")
    test.start_readers([f"sse#{number}" for number in range(4)], writers)
    test.start_writers(writers, cpp=2000, python=200, node=200)
    test.wait_load(writers)
    for _ in range(20):
        before = test.update()
        for relay in test.network.paths("sub", "gateway", "client"):
            relay.drop(reset=True)
        test.wait_until(lambda before=before: test.update() > before + 2000, "events come again")
    test.finish()


# 45: a recovery that proceeds.

def recovery_slow(bytes_per_s, padding=0, rate=200, through_gateway=False):
    """A cut loses two seconds of events; the path to control takes some seconds for them, and never stands still."""
    def scenario(test):
        test.prepare("A")
        test.start_broker_at("A")
        if through_gateway:
            test.start_gateway_at()
        test.start_readers(("line", "sse") if through_gateway else ("cpp", "cli", "python", "node"), ("cpp",))
        test.start_writers(("cpp",), padding, cpp=rate)
        test.wait_load(("cpp",))
        readers = "gateway" if through_gateway else "sub"
        egress, control = (test.network.paths(readers, "A", port) for port in ("egress", "control"))
        for relay in control:
            relay.limit(bytes_per_s)
        for relay in egress:
            relay.cut(reset=True)
        test.go_on(2)
        for relay in egress:
            relay.mend()
        test.go_on(8)
        test.finish()
    return scenario


def gateway_paused_at_15000(test):
    test.prepare("A")
    test.start_broker_at("A")
    test.start_gateway_at()
    test.start_readers(("line",), ("cpp",))
    test.start_writers(("cpp",), padding=200, cpp=15_000)
    test.wait_load(("cpp",))
    test.pause(test.gateway, 8)
    test.finish()


# 46: an event that the broker can never take.

def too_large(language):
    """Above four times the broker's limit, below the library's: it is refused, and what follows is admitted."""
    def scenario(test):
        only(test, broker_config='[[backplane]]\nmax_event_bytes = "64KiB"\n')
        command = {"python": ["/usr/bin/python3", "-B", str(HERE.parent / "integration" / "python_driver.py")],
                   "node": [os.environ["NODE"], str(HERE.parent / "integration" / "node_driver.mjs")]}[language]
        endpoints = ENDPOINTS[1], ENDPOINTS[3], ENDPOINTS[5]
        driver = Driver(test.run_process([*command, *endpoints], stdin=subprocess.PIPE))
        driver.do("open_publisher", "large@test", 1 << 20)
        driver.do("burst", "load.large", 3, 1)
        driver.do("flush", 10)
        driver.begin("burst", "load.large", 1, 300_000)
        at_once = driver.end()[1]
        driver.do("burst", "load.large", 3, 1)
        driver.begin("flush", 10)
        at_flush = driver.end()[1]
        status = driver.do("publisher_status")
        # Once, wherever.
        outcomes = ("invalid", None), (None, "refused")
        if (at_once, at_flush) not in outcomes or status["confirmed"] != status["offered"]:
            raise Offences(f"publish: {at_once}; flush: {at_flush}; {status}")
        test.assertEqual(sum(1 for _ in test.load_in_history("A")), 6)
    return scenario


# 47: a source that is killed.

def file_source_killed(test):
    """While what it has sent takes two seconds to the broker; the next one's path is quick. Every line is published
    once."""
    only(test)
    path = pathlib.Path(test.folder, "lines")
    path.touch()
    command = [PROGRAM, "publish", "file", "--path", str(path), "--topic", "load.file", "--source-name", "file@test",
               "--state", str(pathlib.Path(test.folder, "state")), "--every", "20ms", *ENDPOINTS[2:]]
    lines = []

    def write(count):
        with path.open("a", encoding="utf-8") as file:
            for _ in range(count):
                lines.append(f"line {len(lines) + 1}")
                file.write(lines[-1] + "\n")

    def wait_published():
        test.wait_until(lambda: lines[-1] in [record.text for record in test.load_in_history("A")], "all is published")
    for _ in range(3):
        relay = Relay(INGRESS)
        test.addCleanup(relay.close)
        source = test.run_process([*command, "--ingress", relay.endpoint])
        source.ready()
        write(20)
        wait_published()
        relay.delay(2)
        write(100)
        test.go_on(0.5)
        source.kill()
    write(1)
    test.run_process([*command, "--ingress", INGRESS])
    wait_published()
    test.judge(test.check([], [Publications("file", [("load.file", line) for line in lines])], Options()))


# 48: a session that somebody else uses.

def session_forged(test):
    """A stranger uses the session of a publisher that it has read of; what that publisher's flush confirms is there."""
    only(test, ("cpp",), ("cpp",), cpp=50)
    test.wait_load(("cpp",))
    reader = test.live_reader(LOAD)
    seen = reader.receive()[1]
    stranger = Writer(test.context, source=seen.source)
    test.addCleanup(stranger.close)
    stranger.wait_ready()
    stranger.session, stranger.sequence = seen.session, (1 << 63) - 1
    stranger.send("forged", "x")
    while reader.poll_now():
        reader.receive()
    test.go_on(1)
    test.finish()


# 49: how programs end.

def publish_at_its_end(test):
    """`publish` that loses events at SIGTERM does not exit with 0."""
    broker = test.start_broker()
    source = test.start_clock(every="10ms")
    source.ready()
    broker.kill()
    test.go_on(1)
    source.signal(signal.SIGTERM)
    code = source.wait_exit()
    if code == 0 and any("lost" in line for line in source.err):
        raise Offences(f"exit code {code}\n{source.transcript()}")


def draining(language):
    """Four graceful restarts: nothing is published twice, and nothing is lost."""
    def scenario(test):
        only(test, ("raw", "cpp", "python", "node"), (language,), **{language: 200})
        test.wait_load((language,))
        for _ in range(4):
            test.restart_gracefully("A")
            test.go_on(1.5)
        test.finish(resets_account=False)
    return scenario


def line_clients_that_have_gone(test):
    """A client that closed its connection is gone within seconds, though its topics are quiet."""
    test.start_broker()
    metrics = METRICS.replace(":9570", ":9571")
    test.start_gateway("--metrics", metrics)

    def clients():
        with urllib.request.urlopen(f"http://{metrics}/metrics") as page:
            return int(float(re.search(r"^backplane_gateway_clients(?:{.*})? (\S+)$", page.read().decode(), re.M)[1]))
    connected = [test.client() for _ in range(5)]
    for client in connected:
        client.subscribe("quiet")
    test.wait_until(lambda: clients() == len(connected), "all are counted")
    for client in connected:
        client.close()
    deadline = Deadline(20)
    while clients():
        if not deadline.left():
            raise Offences(f"{clients()} clients after 20 s")
        test.go_on(0.2)


SCENARIOS = {
    **{f"behind_{language}_when_{name}": behind(language, end)
       for language in DRIVERS for name, end in (("cut", cut_egress), ("restarted", restart_broker))},
    "sse_resumed": sse_resumed,
    "recovery_slow": recovery_slow(10_000),
    "recovery_slow_of_large_events": recovery_slow(20_000, padding=40_000, rate=2),
    "recovery_slow_of_the_gateway": recovery_slow(10_000, through_gateway=True),
    "gateway_paused_at_15000": gateway_paused_at_15000,
    **{f"too_large_{language}": too_large(language) for language in ("python", "node")},
    "file_source_killed": file_source_killed,
    "session_forged": session_forged,
    "publish_at_its_end": publish_at_its_end,
    **{f"draining_{language}": draining(language) for language in DRIVERS},
    "line_clients_that_have_gone": line_clients_that_have_gone,
}


FAST = ("file_source_killed", "session_forged", "publish_at_its_end")


class Fast(FaultTest):
    pass


class Slow(FaultTest):
    pass


generate(Fast, SCENARIOS, FAST)
generate(Slow, SCENARIOS, [name for name in SCENARIOS if name not in FAST])

if __name__ == "__main__":
    unittest.main()
