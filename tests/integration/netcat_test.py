"""The real nc, as a user types it."""

import pathlib
import unittest

from harness import ENDPOINTS, HOST, BackplaneTest

DEMO = pathlib.Path(__file__).resolve().parents[2] / "config" / "demo"


class Netcat(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.start_gateway()

    def test_a_subscription_from_a_pipe_continues_after_the_end_of_input(self):
        self.start_clock()
        shell = self.run_process(["bash", "-c", f"echo 'SUB clock' | nc -N {HOST} 1601 | head -4"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual(shell.out[0], "+OK SUB clock")
        ticks = [int(self.tick(line)["tick"]) for line in shell.out[1:]]
        self.assertEqual(ticks, [ticks[0], ticks[0] + 1, ticks[0] + 2])

    def test_a_quote_looks_as_in_the_readme(self):
        nc = self.run_process(["bash", "-c", f"exec nc -N {HOST} 1601 <<< 'SUB stock.>'"])
        nc.wait_line(nc.out, r"^\+OK SUB stock\.>$")
        self.run_program("publish", "quotes", "--csv", str(DEMO / "stocks.csv"), "--rate", "10", *ENDPOINTS)
        nc.wait_line(nc.out, "^stock")
        self.assertEqual(nc.out[1], 'stock.MSFT {"symbol":"MSFT","price":39.81,"time":"2000-01-01T00:00:00Z"}')

    def test_one_line_publishes(self):
        reader = self.live_reader("news.uk")
        shell = self.run_process(
            ["bash", "-c", f"printf 'PUB news.uk hello from nc\\nQUIT\\n' | nc -N {HOST} 1601"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual(shell.out[0], "+OK PUB news.uk")
        self.assertEqual(reader.receive()[1].text, "hello from nc")


if __name__ == "__main__":
    unittest.main()
