"""A reader is stopped until the broker drops events for it: afterwards it has each event exactly once, or knows which
ones are lost."""

import collections
import os
import re
import signal
import subprocess
import time
import unittest
import urllib.request

from backplane.v1 import system_pb2
from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, PROGRAM, BackplaneTest, Deadline
from relay import Relay

TOPICS = [f"load.{number}" for number in range(4)]
# Megabytes fill the kernel's buffers between a broker and a reader.
PAYLOAD = "x" * 4000
# Sent after the first dropped event, before the reader continues.
DROPPED = 400


class Recovery(BackplaneTest):
    def start(self, config=""):
        # A low high-water mark: only the kernel's buffers have to be filled.
        self.broker = self.start_broker("--config", self.config_file(f"[[backplane]]\negress_hwm = 100\n{config}"))
        self.publisher = self.ready_writer()
        self.sent = 0

    def send(self, count, payload=PAYLOAD):
        for _ in range(count):
            self.publisher.send(TOPICS[self.sent % len(TOPICS)], payload)
            self.sent += 1

    def slow_control(self, seconds):
        """The options of a program whose requests to the broker take this long."""
        self.relay = Relay(CONTROL)
        self.addCleanup(self.relay.close)
        self.relay.delay(seconds)
        return ["--ingress", INGRESS, "--egress", EGRESS, "--control", self.relay.endpoint]

    def freeze_and_lose(self, process, dropped=DROPPED):
        """Stops the process, sends until the broker has dropped events for it, then continues it."""
        process.signal(signal.SIGSTOP)
        self.addCleanup(process.signal, signal.SIGCONT)
        deadline = Deadline()
        while self.counters()["lossy_sends_total"] == 0:
            self.assertTrue(deadline.left(), f"the broker dropped nothing of {self.sent} events")
            self.send(200)
        # After the first one, ZeroMQ drops everything for this reader until there is room again.
        self.send(dropped)
        process.signal(signal.SIGCONT)

    def offsets_until(self, lines, process):
        """The printed and lost offsets of each topic, in the order of the lines, up to its last one."""
        self.publisher.send("the.end", "x")
        process.wait_line(lines, r"^the\.end ", timeout=60)
        # A drop at the very end of a topic shows some time later.
        for number, topic in enumerate(TOPICS):
            process.wait_line(lines, rf"^({topic}|!GAP {topic} \d+) {self.last_offset(number)} ", timeout=60)
        told = collections.defaultdict(list)
        for line in lines:
            if match := re.match(r"(load\.\d) (\d+) x+$", line):
                told[match[1]].append((int(match[2]), int(match[2])))
            elif match := re.match(r"!GAP (load\.\d) (\d+) (\d+) (history_gone|recovery_timeout|slow_consumer)$", line):
                told[match[1]].append((int(match[2]), int(match[3])))
            else:
                self.assertRegex(line, r"^(the\.end|n) \d+ ")
        return told

    def assert_each_once_and_in_order(self, told):
        for number, topic in enumerate(TOPICS):
            last = 0
            for first, until in told[topic]:
                self.assertEqual(first, last + 1, topic)
                last = until
            self.assertEqual(last, self.last_offset(number), topic)

    def last_offset(self, number):
        return (self.sent - number + len(TOPICS) - 1) // len(TOPICS)

    def start_sub(self, *options):
        sub = self.run_program("sub", ">", "--format", "text+offset", *options, *ENDPOINTS)
        self.publish_until_received("n", sub)
        return sub

    def test_sub_recovers_dropped_events(self):
        self.start()
        sub = self.start_sub("--strict")
        self.send(1000)
        self.freeze_and_lose(sub)
        self.send(1000)
        told = self.offsets_until(sub.out, sub)
        self.assert_each_once_and_in_order(told)
        self.assertFalse([line for line in sub.out if line.startswith("!")], "history held it all")
        sub.signal(signal.SIGTERM)
        self.assertEqual(sub.wait_exit(), 0)

    def test_sub_reports_events_that_history_no_longer_has(self):
        self.start("history_events = 20\n")
        sub = self.start_sub("--strict")
        self.send(1000)
        self.freeze_and_lose(sub)
        self.send(1000)
        told = self.offsets_until(sub.out, sub)
        self.assert_each_once_and_in_order(told)
        self.assertTrue([line for line in sub.out if line.startswith("!GAP")])
        sub.signal(signal.SIGTERM)
        self.assertEqual(sub.wait_exit(), 3)

    def test_sub_recovers_after_it_was_disconnected(self):
        self.start('stats_every = "100ms"\n')
        watcher = self.live_reader("$SYS.broker.")
        # The end of these subscriptions shows the cut: no other reader has as many.
        fillers = [f"filler.{number}" for number in range(50)]
        sub = self.run_program("sub", "load.*", "the.end", "n", *fillers, "--format", "text+offset", *ENDPOINTS)
        self.publish_until_received("n", sub)
        self.send(1000)
        sub.signal(signal.SIGSTOP)
        self.addCleanup(sub.signal, signal.SIGCONT)
        ended = [self.unsubscriptions(watcher)]
        while ended[-1] < ended[0] + len(fillers):  # after some seconds in which it took nothing
            self.send(100)
            ended.append(self.unsubscriptions(watcher))
        sub.signal(signal.SIGCONT)
        sub.wait_line(sub.out, rf"^(load\.\d|!GAP load\.\d \d+) {self.sent // len(TOPICS)} ")
        self.send(1000)
        self.assert_each_once_and_in_order(self.offsets_until(sub.out, sub))

    def unsubscriptions(self, watcher):
        """The number of ended subscriptions at the broker's next stats event."""
        stats = system_pb2.BrokerStats()
        self.assertTrue(watcher.receive()[1].message.Unpack(stats))
        return stats.counters["unsubscriptions_total"]

    def test_sub_reports_a_broker_that_comes_back_without_its_history(self):
        self.start()
        sub = self.start_sub("--strict")
        self.send(4)
        sub.wait_line(sub.out, r"^load\.3 1 ")
        self.broker.kill()
        self.start_broker()
        sub.wait_line(sub.out, r"^!RESET load\.0$")
        sub.wait_line(sub.out, r"^!RESET n$")
        sub.signal(signal.SIGTERM)
        self.assertEqual(sub.wait_exit(), 3)

    def test_a_gateways_client_gets_each_event_once(self):
        self.start()
        # The client's own backlog is not tested here: it must take everything recovered at once.
        gateway = self.start_gateway(
            "--config", self.config_file('[gateway]\nbacklog_bytes_max = "256MiB"\n'))
        client = self.gateway_client()
        self.send(1000)
        self.freeze_and_lose(gateway)
        self.send(1000)
        self.assert_client_misses_nothing(client)

    def gateway_client(self):
        client = self.client()
        client.command("FORMAT text+offset")
        client.subscribe("load.*", "the.end")
        return client

    def assert_client_misses_nothing(self, client):
        self.publisher.send("the.end", "x")
        while not client.event().startswith("the.end "):
            pass
        told = collections.defaultdict(list)
        for line in client.lines:
            if match := re.match(r"(?:!GAP )?(load\.\d) (\d+) (?:(\d+) )?", line):
                told[match[1]].append((int(match[2]), int(match[3] or match[2])))
        self.assert_each_once_and_in_order(told)
        self.assertFalse([line for line in client.lines if line.startswith("!")], "history held it all")

    def start_slow_gateway(self, seconds):
        """A gateway whose requests to the broker take this long."""
        gateway = self.run_program(
            "gateway", "--listen", GATEWAY, "--metrics", f"{HOST}:9571", *self.slow_control(seconds),
            "--config", self.config_file('[gateway]\nbacklog_bytes_max = "512MiB"\n'))
        gateway.ready()
        return gateway

    def gateway_metric(self, name):
        with urllib.request.urlopen(f"http://{HOST}:9571/metrics") as reply:
            return int(float(re.search(rf"^backplane_gateway_{name}\S* (\S+)$", reply.read().decode(), re.MULTILINE)[1]))

    def test_a_recovery_that_takes_seconds_loses_nothing(self):
        self.start()
        gateway = self.start_slow_gateway(0.025)
        client = self.gateway_client()
        self.send(1000)
        self.freeze_and_lose(gateway, dropped=8000)
        self.send(1000)
        self.assert_client_misses_nothing(client)

    def test_what_does_not_fit_the_reorder_buffer_is_recovered_later(self):
        self.start('history_bytes = "128MiB"\nhistory_bytes_max = "512MiB"\n')
        gateway = self.start_slow_gateway(0.05)
        client = self.gateway_client()
        self.send(100)
        self.freeze_and_lose(gateway, dropped=20_000)  # whose recovery takes longer than filling the buffer
        deadline, large = Deadline(), 0
        while self.gateway_metric("reorder_buffer_discarded_total") == 0:  # it counts once a second
            self.assertTrue(deadline.left(), "everything fitted into the reorder buffer")
            if large < 9000:  # 270 MB: more than the buffer's 64 MiB, less than history
                self.send(100, payload="x" * 30_000)
                large += 100
        self.relay.delay(0)
        self.assert_client_misses_nothing(client)
        while self.gateway_metric("reorder_buffer_bytes") > 0:
            self.assertTrue(deadline.left(), "the reorder buffer is not empty")

    def test_a_slow_sub_loses_nothing_that_history_holds(self):
        self.start()
        # Its output is a pipe that is read slowly.
        sub = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", PROGRAM, "sub", "load.*", "the.end", "n",
                                "--format", "text+offset", "--strict", *ENDPOINTS], stdout=subprocess.PIPE)
        self.addCleanup(sub.stdout.close)
        self.addCleanup(sub.wait)
        self.addCleanup(sub.kill)
        knock, echo = self.ready_writer(source="knock@test"), self.live_reader("n")
        os.set_blocking(sub.stdout.fileno(), False)
        output = b""
        while not output:
            knock.send("n", "knock")
            echo.receive()
            output = sub.stdout.read() or b""
        os.set_blocking(sub.stdout.fileno(), True)
        self.send(160_000, payload="x")  # more than its queue and the kernel take
        self.assertGreater(self.counters()["lossy_sends_total"], 0, "the broker dropped nothing")
        self.publisher.send("the.end", "x")
        while b"\nthe.end 1 x\n" not in output[-200:]:
            output += os.read(sub.stdout.fileno(), 1 << 13)
            time.sleep(0.01)  # about 50,000 events per second
        told = collections.defaultdict(list)
        for line in output.decode().splitlines():
            if match := re.match(r"(?:!GAP )?(load\.\d) (\d+) (?:(\d+) )?", line):
                told[match[1]].append((int(match[2]), int(match[3] or match[2])))
        self.assert_each_once_and_in_order(told)
        self.assertFalse(re.findall(rb"^!.*", output, re.MULTILINE), "history held it all")


if __name__ == "__main__":
    unittest.main()
