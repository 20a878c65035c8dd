"""`backplane bench`, against real brokers."""

import json
import subprocess
import unittest

from harness import EGRESS, ENDPOINTS, INGRESS, PROGRAM, TIMEOUT_S, BackplaneTest


class MeasuringTest(BackplaneTest):
    def run_to_end(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done)
        return done


class Bench(MeasuringTest):
    def test_pub_counts_what_the_broker_admits(self):
        broker = self.start_broker()
        control = self.control_client()
        result = json.loads(self.run_to_end("bench", "pub", "-n", "2000", "--size", "100", "--json", *ENDPOINTS).stdout)
        self.assertEqual((result["bench"], result["endpoint"]), ("pub", INGRESS))
        self.assertEqual((result["events"], result["bytes"], result["refused"], result["in_doubt"]), (2000, 200_000, 0, 0))
        self.assertGreater(result["events_per_second"], 0)
        self.assertGreater(result["confirmed_seconds"]["samples"], 0)
        self.assertLessEqual(result["confirmed_seconds"]["p50"], result["confirmed_seconds"]["max"])
        # The topic's retained value is cleared by one more event.
        self.assertEqual(control.request(stats={}).stats.counters["published_total"], 2001)
        self.assertIn("has no retained value", self.run_to_end("get", "bench.pub", *ENDPOINTS, code=1).stderr)
        self.assertTrue(broker.running())

    def test_pub_keeps_its_rate_and_its_time(self):
        self.start_broker()
        result = json.loads(self.run_to_end("bench", "pub", "--rate", "100", "--time", "500ms", "-j", *ENDPOINTS).stdout)
        self.assertEqual(result["events"], 50)
        self.assertGreaterEqual(result["seconds"], 0.49)

    def test_pub_uses_several_topics(self):
        self.start_broker()
        self.run_to_end("bench", "pub", "--topics", "3", "-n", "6", "--topic", "load.test", *ENDPOINTS)
        topics = self.run_to_end("topics", "load.>", "--json", *ENDPOINTS).stdout.splitlines()
        self.assertEqual([json.loads(line)["topic"] for line in topics], ["load.test.0", "load.test.1", "load.test.2"])

    def test_an_event_that_is_too_large_is_an_error(self):
        self.start_broker("--config", self.config_file('[[backplane]]\nmax_event_bytes = "1KiB"\n'))
        done = self.run_to_end("bench", "pub", "-n", "5", "--size", "2KiB", *ENDPOINTS, code=1)
        self.assertIn("bench pub: cannot publish 2048 bytes: the broker accepts events of at most 1024 bytes", done.stderr)

    def test_sub_counts_what_arrives(self):
        self.start_broker()
        sub = self.run_program("bench", "sub", "-n", "200", "--json", *ENDPOINTS)
        self.run_program("bench", "pub", "--rate", "200", "--time", "1m", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        result = json.loads(sub.out[0])
        self.assertEqual((result["bench"], result["endpoint"], result["events"], result["missed"]), ("sub", EGRESS, 200, 0))
        self.assertEqual(result["bytes"], 200 * 128)
        self.assertEqual(result["age_seconds"]["samples"], 200)
        self.assertLess(result["age_seconds"]["p50"], TIMEOUT_S)

    def test_sub_fails_if_too_few_events_arrive(self):
        self.start_broker()
        done = self.run_to_end("bench", "sub", "quiet.>", "-n", "1", "-t", "200ms", *ENDPOINTS, code=1)
        self.assertEqual(done.stderr, "backplane bench sub: expected 1 events within 200ms, got 0\n")
        self.assertIn("events      0 in", self.run_to_end("bench", "sub", "quiet.>", "-t", "200ms", *ENDPOINTS).stdout)

    def test_latency_is_that_of_every_event(self):
        self.start_broker()
        result = json.loads(self.run_to_end("bench", "latency", "-n", "100", "--rate", "500", "--json", *ENDPOINTS).stdout)
        self.assertEqual((result["events"], result["missed"]), (100, 0))
        latency = result["latency_seconds"]
        self.assertEqual(latency["samples"], 100)
        self.assertGreater(latency["p50"], 0)
        self.assertTrue(latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"], latency)

    def test_two_at_once_do_not_disturb_each_other(self):
        self.start_broker()
        both = [self.run_program("bench", "latency", "-n", "50", "--rate", "500", "-j", *ENDPOINTS) for _ in range(2)]
        for each in both:
            self.assertEqual(each.wait_exit(), 0, each.transcript())
            self.assertEqual(json.loads(each.out[0])["events"], 50)

    def test_a_signal_ends_it_with_a_report(self):
        self.start_broker()
        for command in (["pub", "--rate", "100"], ["latency"], ["sub", "bench.>"]):
            with self.subTest(command):
                echo = self.live_reader("bench.")
                bench = self.run_program("bench", *command, "--time", "1h", *ENDPOINTS)
                if command[0] != "sub":
                    echo.receive()
                else:
                    self.run_to_end("bench", "pub", "-n", "10", *ENDPOINTS)
                bench.signal(2)
                self.assertEqual(bench.wait_exit(), 0, bench.transcript())
                self.assertTrue(any(line.startswith("events ") for line in bench.out), bench.transcript())


if __name__ == "__main__":
    unittest.main()
