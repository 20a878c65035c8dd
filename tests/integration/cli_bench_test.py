"""`backplane bench` and `backplane doctor`, against real brokers and gateways."""

import json
import subprocess
import unittest

from backplane.v1 import control_pb2
from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, PROGRAM, TIMEOUT_S, BackplaneTest, Deadline


class MeasuringTest(BackplaneTest):
    def run_to_end(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done)
        return done


class Bench(MeasuringTest):
    def participants(self):
        """The sessions of clients that the broker knows as bench."""
        return {each.session for each in self.control_request(stats={}).stats.participants
                if each.name.startswith("bench@") and each.role == control_pb2.HelloRequest.ROLE_CLIENT}

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
                before = self.participants()
                bench = self.run_program("bench", *command, "--time", "1h", *ENDPOINTS)
                if command[0] != "sub":
                    echo.receive()
                else:
                    deadline = Deadline()
                    while not self.participants() - before:
                        self.assertTrue(deadline.left(), bench.transcript())
                bench.signal(2)
                self.assertEqual(bench.wait_exit(), 0, bench.transcript())
                self.assertTrue(any(line.startswith("events ") for line in bench.out), bench.transcript())


class Doctor(MeasuringTest):
    def checks(self, *arguments, code=0):
        lines = self.run_to_end("doctor", "--json", *arguments, code=code).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def state(self, checks, subject, name):
        found = [each for each in checks if each["subject"].startswith(subject) and each["check"] == name]
        self.assertEqual(len(found), 1, checks)
        return found[0]["state"], found[0]["text"]

    def test_a_healthy_broker_and_gateway(self):
        self.start_broker()
        self.start_gateway()
        checks = self.checks("--gateway", GATEWAY, "--broker", HOST)
        self.assertFalse([each for each in checks if each["state"] in ("failed", "warning")], checks)
        for name in ("ingress", "egress", "control", "version", "topics", "sessions", "memory", "files", "accounting", "losses"):
            self.assertEqual(self.state(checks, f"broker {CONTROL}", name)[0], "ok", checks)
        self.assertEqual(self.state(checks, "gateway", "connection")[0], "ok")
        self.assertEqual(self.state(checks, "gateway", "broker"), ("ok", "it is connected"))
        text = self.run_to_end("doctor", *ENDPOINTS).stdout.splitlines()
        self.assertEqual(text[0], "this program")
        self.assertEqual(text[-1], "no problems found")

    def test_it_leaves_no_trace_at_the_broker(self):
        self.start_broker()
        self.run_to_end("doctor", *ENDPOINTS)
        self.assertEqual([each.name for each in self.control_client().request(stats={}).stats.participants], [])

    def test_each_endpoint_without_a_listener_is_a_failure(self):
        self.start_broker()
        checks = self.checks("--ingress", f"tcp://{HOST}:7999", "--egress", EGRESS, "--control", CONTROL, code=1)
        self.assertEqual(self.state(checks, "broker", "ingress"), ("failed", f"tcp://{HOST}:7999: nothing listens there"))
        self.assertEqual(self.state(checks, "broker", "egress")[0], "ok")
        self.assertEqual(self.state(checks, "broker", "accounting")[0], "ok")

    def test_without_a_broker(self):
        checks = self.checks(*ENDPOINTS, code=1)
        for name in ("ingress", "egress", "control"):
            state, text = self.state(checks, "broker", name)
            self.assertEqual(state, "failed")
            self.assertIn("nothing listens there", text)
        self.assertRegex(self.run_to_end("doctor", *ENDPOINTS, code=1).stdout, r"\n3 failures, 0 warnings\n$")

    def test_a_gateway_without_a_broker_is_a_failure(self):
        self.start_gateway()
        deadline = Deadline()
        while True:  # for a second, a gateway that starts says nothing
            done = subprocess.run([PROGRAM, "doctor", "--json", "--gateway", GATEWAY], capture_output=True, text=True,
                                  timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
            checks = [json.loads(line) for line in done.stdout.splitlines()]
            if done.returncode == 1:
                break
            self.assertTrue(deadline.left(), checks)
        self.assertEqual(self.state(checks, "gateway", "broker"), ("failed", "it is waiting for a broker"))
        self.assertFalse([each for each in checks if each["subject"].startswith("broker")], checks)

    def test_losses_are_noted(self):
        self.start_broker()
        writer = self.ready_writer()
        writer.send("$SYS.forged", "x")
        notes = []
        while not notes:  # until the broker has counted it
            notes = [each for each in self.checks(*ENDPOINTS) if each["check"] == "losses" and each["state"] == "note"]
        self.assertIn("refused (rejected_total)", notes[0]["text"])


if __name__ == "__main__":
    unittest.main()
