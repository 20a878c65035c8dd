"""The README's commands and programs work."""

import os
import pathlib
import re
import unittest

from harness import EGRESS, ENDPOINTS, HOST, BackplaneTest, node

TOP = pathlib.Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")


def snippet(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


class Readme(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def read_quotes_with(self, program):
        # The program does not report when it is live: the rows repeat until it has received one.
        self.run_program("publish", "quotes", "--csv", str(TOP / "config/demo/stocks.csv"), "--rate", "200",
                         *ENDPOINTS).ready()
        topic, offset, symbol, price = program.wait_line(program.out, r"^(\S+) (\d+) (\S+) (\S+)$").groups()
        self.assertEqual(topic, f"stock.{symbol}")
        self.assertGreater(int(offset), 0)
        self.assertGreater(float(price), 0)

    def test_the_python_program(self):
        self.read_quotes_with(self.run_process(["/usr/bin/python3", "-B", "-c", snippet("python"), HOST]))

    def test_the_node_program(self):
        self.read_quotes_with(self.run_process(node(snippet("js"), HOST), cwd=TOP / "clients/node"))

    def test_the_cpp_program(self):
        self.read_quotes_with(self.run_process([os.environ["README_SUB"], EGRESS]))

    def test_what_nc_shows(self):
        self.start_gateway()
        shown = README.split("$ nc localhost 1601\n")[1].split("```")[0].splitlines()
        commands = [line for line in shown if line.startswith("SUB ")]
        self.assertEqual(len(commands), 2)
        client = self.client()
        for command in commands:
            self.assertIn(client.command(command), shown)
        self.run_program("publish", "quotes", "--csv", str(TOP / "config/demo/stocks.csv"), "--rate", "10", *ENDPOINTS)
        self.assertIn(client.event(), shown)

    def test_a_subscription_in_a_script(self):
        self.start_gateway()
        self.start_clock()
        command = re.search(r"`(echo 'SUB clock' \| nc [^`]*)`", README)[1].replace("localhost", HOST)
        shell = self.run_process(["bash", "-c", f"{command} | head -2"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual(shell.out[0], "+OK SUB clock")
        self.tick(shell.out[1])


if __name__ == "__main__":
    unittest.main()
