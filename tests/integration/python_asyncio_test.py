"""backplane.aio, with real brokers: the scenarios of every client, and what an event loop needs."""

import pathlib
import unittest

from client_scenarios import LONG_S, SHORT_S, ClientScenarios
from harness import CONTROL, EGRESS, INGRESS, BackplaneTest


class PythonAsyncio(ClientScenarios, BackplaneTest):
    COMMAND = ["/usr/bin/python3", "-B", "-W", "error", str(pathlib.Path(__file__).with_name("python_asyncio_driver.py"))]

    def test_no_call_has_a_thread_of_its_own(self):
        self.start_broker()
        driver = self.subscriber("n")
        driver.do("open_control")
        self.assertEqual(driver.do("last", "n", LONG_S), [])
        self.assertEqual(driver.do("threads"), 1)
        driver.do("open_publisher", "me@test", None)
        driver.do("burst", "n", 1000, 1)
        driver.do("flush", LONG_S)
        self.assertEqual(driver.do("receive", 1000, LONG_S), self.events("n", range(1, 1001)))
        self.assertEqual(driver.do("threads"), 2)  # the publisher's
        driver.leave()

    def test_the_event_loop_has_its_turns_while_a_task_reads_a_flood(self):
        self.start_broker()
        driver = self.subscriber("n")
        self.publish("n", range(1, 20001))
        self.publish("n", range(1, 20001))
        self.assertGreater(driver.do("turns_while_reading", 40000), 5)
        driver.leave()

    def test_a_cancelled_call_takes_nothing(self):
        self.start_broker()
        driver = self.subscriber("n")
        driver.begin("cancelled", LONG_S)
        self.publish("n", [1, 2])
        self.assertEqual(driver.result()[1], self.events("n", [1])[0])
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("n", [2]))
        driver.leave()

    def test_only_one_task_at_a_time_waits_for_a_subscriber(self):
        self.start_broker()
        driver = self.subscriber("n")
        self.assertEqual(driver.fails("two_at_once")[0], "RuntimeError")
        self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        driver.leave()

    def test_closing_ends_what_waits(self):
        self.start_broker()
        driver = self.subscriber("n")
        driver.do("open_control")
        self.assertEqual(driver.do("close_while_waiting"), ["NoneType", "ValueError"])
        self.assertEqual(driver.fails("receive", 1, SHORT_S)[0], "invalid")
        self.assertEqual(driver.fails("last", "n", SHORT_S)[0], "invalid")
        driver.leave()

    def script(self, text):
        return self.run_process(["/usr/bin/python3", "-B", "-W", "error", "-c",
                                 "import asyncio, sys\nfrom backplane import aio\n" + text, INGRESS, CONTROL, EGRESS])

    def test_a_script_that_ends_without_closing_its_publisher_has_published(self):
        self.start_broker()
        begin = ("async def main():\n    source = aio.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2])\n"
                 "    await source.publish('s', 'x')\n")
        for end, code in (("", 0), ("    raise KeyError\n", 1), ("    sys.exit(0)\n", 0)):
            script = self.script(begin + end + "asyncio.run(main())")
            self.assertEqual(script.wait_exit(), code, script.transcript())
        self.assertEqual(self.last_offset("s"), 3)

    def test_what_is_lost_at_the_end_of_a_script_is_reported(self):
        script = self.script("async def main():\n"
                             "    async with aio.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2]) as source:\n"
                             "        await source.publish('s', 'x')\n        raise KeyError\nasyncio.run(main())")
        self.assertEqual(script.wait_exit(), 1)
        script.wait_line(script.err, "^backplane: publisher s@test: 1 of 1 events not admitted by .*lost")


if __name__ == "__main__":
    unittest.main()
