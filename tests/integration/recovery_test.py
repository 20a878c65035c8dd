"""A reader is stopped until the broker drops events for it: afterwards it has each event exactly once, or knows which
ones are lost."""

import collections
import re
import signal
import unittest

from backplane.v1 import system_pb2
from harness import ENDPOINTS, BackplaneTest, Deadline

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

    def send(self, count):
        for _ in range(count):
            self.publisher.send(TOPICS[self.sent % len(TOPICS)], PAYLOAD)
            self.sent += 1

    def freeze_and_lose(self, process):
        """Stops the process, sends until the broker has dropped events for it, then continues it."""
        process.signal(signal.SIGSTOP)
        self.addCleanup(process.signal, signal.SIGCONT)
        deadline = Deadline()
        while self.counters()["lossy_sends_total"] == 0:
            self.assertTrue(deadline.left(), f"the broker dropped nothing of {self.sent} events")
            self.send(200)
        # After the first one, ZeroMQ drops everything for this reader until there is room again.
        self.send(DROPPED)
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
        while ended[-1] < ended[0] + len(fillers):  # after three heartbeats without a reply
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
        client = self.client()
        client.command("FORMAT text+offset")
        client.subscribe("load.*", "the.end")
        self.send(1000)
        self.freeze_and_lose(gateway)
        self.send(1000)
        self.publisher.send("the.end", "x")
        while not client.event().startswith("the.end "):
            pass
        told = collections.defaultdict(list)
        for line in client.lines:
            if match := re.match(r"(?:!GAP )?(load\.\d) (\d+) (?:(\d+) )?", line):
                told[match[1]].append((int(match[2]), int(match[3] or match[2])))
        self.assert_each_once_and_in_order(told)
        self.assertFalse([line for line in client.lines if line.startswith("!")], "history held it all")


if __name__ == "__main__":
    unittest.main()
