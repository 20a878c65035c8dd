"""clients/node: held to the golden bytes, and tried with real brokers."""

import os
import pathlib
import unittest

from client_scenarios import ClientScenarios
from harness import BackplaneTest

HERE = pathlib.Path(__file__).resolve().parent
NODE = os.environ["NODE"]


class Golden(BackplaneTest):
    def test_what_node_makes_of_the_golden_bytes(self):
        node = self.run_process([NODE, "--test", str(HERE / "node_golden.test.mjs")])
        self.assertEqual(node.wait_exit(), 0, node.story())
        node.wait_line(node.out, r"^# pass [1-9]|^ℹ pass [1-9]")


class NodeClient(ClientScenarios, BackplaneTest):
    COMMAND = [NODE, str(HERE / "node_driver.mjs")]


if __name__ == "__main__":
    unittest.main()
