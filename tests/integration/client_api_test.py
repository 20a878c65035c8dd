"""clients/python and clients/node as programs use them, with real brokers."""

import os
import pathlib
import unittest

from client_api_scenarios import ClientApiScenarios
from harness import BackplaneTest

HERE = pathlib.Path(__file__).resolve().parent


class Python(ClientApiScenarios, BackplaneTest):
    COMMAND = ["/usr/bin/python3", "-B", "-W", "error", str(HERE / "python_driver.py")]


class PythonAsyncio(ClientApiScenarios, BackplaneTest):
    COMMAND = ["/usr/bin/python3", "-B", "-W", "error", str(HERE / "python_asyncio_driver.py")]


class Node(ClientApiScenarios, BackplaneTest):
    COMMAND = [os.environ["NODE"], str(HERE / "node_driver.mjs")]


if __name__ == "__main__":
    unittest.main()
