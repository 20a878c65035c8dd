"""A reader that stands still so long that the broker drops events for it: afterwards it has each exactly once, or
is told which it will never get."""

import collections
import re
import signal
import unittest

from backplane.v1 import system_pb2
from harness import ENDPOINTS, BackplaneTest, Deadline

TOPICS = [f"load.{number}" for number in range(4)]
# It takes megabytes to fill the kernel's buffers between a broker and a reader.
PAYLOAD = "x" * 4000
# What is sent after the first event that is dropped, before the reader is woken.
DROPPED = 400


class Recovery(BackplaneTest):
    def start(self, config=""):
        # A low mark, so that it is the kernel's buffers alone that have to be filled.
        self.broker = self.start_broker("--config", self.config_file(f"[[backplane]]\negress_hwm = 100\n{config}"))
        self.publisher = self.ready_writer()
        self.sent = 0

    def send(self, count):
        for _ in range(count):
            self.publisher.send(TOPICS[self.sent % len(TOPICS)], PAYLOAD)
            self.sent += 1

    def freeze_and_lose(self, process):
        """Stops the process and sends until the broker has dropped events for it; then lets it go on."""
        process.signal(signal.SIGSTOP)
        self.addCleanup(process.signal, signal.SIGCONT)
        deadline = Deadline()
        while self.counters()["lossy_sends_total"] == 0:
            self.assertTrue(deadline.left(), f"the broker dropped nothing of {self.sent} events")
            self.send(200)
        # From the first one on, ZeroMQ drops all for it until it has room again.
        self.send(DROPPED)
        process.signal(signal.SIGCONT)

    def offsets_until(self, lines, process):
        """Of each topic, what was printed and what was told to be lost, in the order of the lines, up to its last."""
        self.publisher.send("the.end", "x")
        process.wait_line(lines, r"^the\.end ", timeout=60)
        # What was dropped at a topic's very end shows a while after that.
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

    def test_sub_fetches_what_was_dropped_for_it(self):
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

    def test_sub_tells_what_history_no_longer_has(self):
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

    def test_sub_comes_back_after_it_was_cut_off(self):
        self.start('stats_every = "100ms"\n')
        watcher = self.live_reader("$SYS.broker.")
        # Subscriptions by whose end the cut is seen: nobody else's are as many.
        fillers = [f"filler.{number}" for number in range(50)]
        sub = self.run_program("sub", "load.*", "the.end", "n", *fillers, "--format", "text+offset", *ENDPOINTS)
        self.publish_until_received("n", sub)
        self.send(1000)
        sub.signal(signal.SIGSTOP)
        self.addCleanup(sub.signal, signal.SIGCONT)
        ended = [self.unsubscriptions(watcher)]
        while ended[-1] < ended[0] + len(fillers):  # after three heartbeats without an answer
            self.send(100)
            ended.append(self.unsubscriptions(watcher))
        sub.signal(signal.SIGCONT)
        sub.wait_line(sub.out, rf"^(load\.\d|!GAP load\.\d \d+) {self.sent // len(TOPICS)} ")
        self.send(1000)
        self.assert_each_once_and_in_order(self.offsets_until(sub.out, sub))

    def unsubscriptions(self, watcher):
        """How many subscriptions had ended when the broker told it next."""
        stats = system_pb2.BrokerStats()
        self.assertTrue(watcher.receive()[1].message.Unpack(stats))
        return stats.counters["unsubscriptions_total"]

    def test_sub_says_so_where_a_broker_comes_back_without_its_history(self):
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
        # What the client itself may be behind is not the question here: it gets all that was held back at once.
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
