"""The programs of docs/publishers.md are built or run as printed there."""

import os
import pathlib
import re
import signal
import unittest

from backplane.events.v1 import load_average_pb2
from harness import HOST, BackplaneTest, node

TOP = pathlib.Path(__file__).resolve().parents[2]


def program(page, heading, language):
    """The first program in this language after a line of the page."""
    text = (TOP / "docs" / page).read_text(encoding="utf-8").split(heading, 1)[1]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


def python(text):
    return ["/usr/bin/python3", "-B", "-W", "error", "-c", text, HOST]


class Programs(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def check_source(self, name, command, **options):
        reader = self.live_reader("load.")
        source = self.run_process(command, **options)
        for number in (1, 2):
            topic, event = reader.receive()
            self.assertEqual((topic, event.source, event.sequence), ("load.this", name, number))
            load = load_average_pb2.LoadAverage()
            self.assertTrue(event.message.Unpack(load))
            self.assertGreaterEqual(load.fifteen_minutes, 0)
        source.signal(signal.SIGTERM)
        self.assertEqual(source.wait_exit(), 0, source.transcript())
        self.assertEqual((source.out, source.err), ([], []))

    def test_the_source_in_cpp(self):
        self.check_source("load-cpp@this", [os.environ["LOAD_SOURCE"], HOST])

    def test_the_source_in_python(self):
        self.check_source("load-python@this", python(program("publishers.md", "## Python", "python")))

    def test_the_source_in_node(self):
        text = program("publishers.md", "## Node", "js")
        self.check_source("load-node@this", node(text, HOST), cwd=TOP / "clients/node")

    def test_the_source_without_protobuf(self):
        reader = self.live_reader("load.")
        self.run_process(python(program("publishers.md", "## Without protobuf", "python")))
        topic, event = reader.receive()
        self.assertEqual((topic, event.source, event.sequence), ("load.raw", "raw", 0))
        self.assertGreaterEqual(float(event.text), 0)


if __name__ == "__main__":
    unittest.main()
