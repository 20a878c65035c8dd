"""`backplane audit` checks the books of a gateway while thousands of events go to clients of all kinds."""

import unittest

from gateway_load_test import Crowd
from harness import ENDPOINTS, HOST, BackplaneTest, Deadline, gateway_figures

FIGURES = f"{HOST}:9571"


class Ledger(BackplaneTest):
    def setUp(self):
        super().setUp()
        # A low high-water mark: a stopped gateway misses something.
        self.broker = self.start_broker("--config", self.config_file("[[backplane]]\negress_hwm = 1000\n"))
        self.gateway = self.start_gateway("--workers", "2", "--metrics", FIGURES, "--config", self.config_file(
            "[gateway]\nbacklog_bytes_max = 1048576\n"))
        self.publisher = self.ready_writer()
        self.sent = 0

    def crowd(self, count, commands):
        crowd = Crowd(count)
        self.addCleanup(crowd.close)
        crowd.send(commands)
        return crowd

    def send(self, count, text="x" * 2000):
        for _ in range(count):
            self.publisher.send(f"load.{self.sent % 5}", text)
            self.sent += 1

    def audit(self, code=0):
        audit = self.run_program("audit", *ENDPOINTS)
        self.assertEqual(audit.wait_exit(), code, audit.transcript())
        return audit.out

    def figures(self):
        return gateway_figures(FIGURES)

    def assert_balance(self, values):
        def total(*names):
            return sum(value for name, value in values.items() if name.split(".")[0] in names)

        self.assertEqual(values["matched_total"],
                         total("delivered_total", "conflated_total", "dropped_total", "skipped_total", "pending"), values)
        self.assertEqual(values["expected_total"],
                         total("seen_total", "recovered_total", "lost_total", "unwanted_total", "awaited"), values)

    def wait_figures(self, condition):
        deadline = Deadline()
        while not condition(values := self.figures()):
            self.assert_balance(values)
            self.assertTrue(deadline.left(), values)
        self.assert_balance(values)
        return values

    def test_the_books_balance_under_load(self):
        healthy = self.crowd(40, "SUB load.>\n")
        paced = self.crowd(20, "SUB load.* every=100ms\n")
        stalled = self.crowd(10, "SUB load.>\n")
        newest = self.crowd(10, "POLICY latest\nSUB load.>\n")
        vanishing = self.crowd(10, "SUB load.>\n")
        joining = []
        healthy.pump_until(lambda lines: lines)
        for step in range(60):
            self.send(40)
            healthy.pump_until(lambda lines: len(lines) > self.sent)
            paced.pump(0)
            if step % 6 == 5:
                vanishing.leave(step // 6)  # with much pending
                joining.append(self.crowd(3, "SUB load.* last\nSUB load.> since=10m\n"))
            if step % 20 == 19:
                self.audit()
                self.assert_balance(self.figures())
        for crowd in joining:
            crowd.pump(0)
        self.wait_figures(lambda values: values["dropped_total.slow_consumer"] > 0 and values["conflated_total"] > 0
                          and values["dropped_total.client_gone"] > 0)
        self.publisher.send("load.end", "x")
        self.sent += 1
        healthy.pump_until(lambda lines: lines[-1] == "load.end x")
        # In the end, every event is counted: the healthy clients got all.
        for lines in healthy.lines.values():
            self.assertEqual(len(lines), 1 + self.sent)
        for crowd in (stalled, newest):
            crowd.close()
        values = self.wait_figures(lambda values: values["clients"] == 40 + 20 + sum(len(c.sockets) for c in joining))
        self.assertGreaterEqual(values["delivered_total"], 40 * self.sent)
        self.assertRegex(self.audit()[-1], "^all [0-9]+ equations balance$")

    def test_the_books_balance_after_a_brokers_kill_and_a_loss_in_transit(self):
        crowd = self.crowd(20, "SUB load.>\n")
        crowd.pump_until(lambda lines: lines)
        self.send(500)
        self.broker.kill()
        crowd.pump_until(lambda lines: lines[-1] == "!WAIT broker")
        self.broker = self.start_broker()
        crowd.pump_until(lambda lines: "!LIVE broker" in lines)
        self.publisher = self.ready_writer(source="again@test")
        self.send(500)
        self.publisher.send("load.end", "x")
        crowd.pump_until(lambda lines: lines[-1] == "load.end x")
        values = self.wait_figures(lambda values: values["resets_total"] == 1 and values["delivered_total"] >= 20 * 501
                                   and values["awaited"] == 0 and values["pending"] == 0)
        self.assertEqual(values["dropped_total.slow_consumer"], 0)
        self.assertRegex(self.audit()[-1], "^all [0-9]+ equations balance$")

    def test_a_gateway_with_wrong_counters_is_reported(self):
        self.send(10)
        control_client = self.control_client()
        counters = {"matched_total": 10, "delivered_total": 6, "conflated_total": 0, "skipped_total": 1, "pending": 2,
                    "dropped_total.slow_consumer": 1, "expected_total": 9, "seen_total": 8, "recovered_total": 0,
                    "lost_total.history_gone": 0, "unwanted_total": 0, "awaited": 1}

        def hello(**changed):
            control_client.request(hello={"name": "liar@test", "session": 7, "role": "ROLE_GATEWAY",
                             "counters": {**counters, **changed}})

        hello()
        self.assertRegex(self.audit()[-1], "^all [0-9]+ equations balance$")
        for changed, said in (({"pending": 1}, "OFF BY 1  matched 10 = "), ({"awaited": 3}, "OFF BY -2 expected 9 = ")):
            hello(**changed)
            out = self.audit(code=1)
            self.assertTrue([line for line in out if said in line], out)
            self.assertRegex(out[-1], "^1 of [0-9]+ equations do not balance$")


if __name__ == "__main__":
    unittest.main()
