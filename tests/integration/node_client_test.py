"""clients/node, with the golden bytes and with real brokers."""

import os
import pathlib
import tempfile
import unittest

from backplane.events.v1 import quote_pb2
from backplane.v1 import event_pb2
from client_scenarios import ClientScenarios
from google.protobuf import descriptor_pb2
from harness import BackplaneTest, Deadline

HERE = pathlib.Path(__file__).resolve().parent
NODE = os.environ["NODE"]


class Golden(BackplaneTest):
    def test_node_agrees_with_the_golden_bytes(self):
        node = self.run_process([NODE, "--test", str(HERE / "node_golden.test.mjs")])
        self.assertEqual(node.wait_exit(), 0, node.transcript())
        node.wait_line(node.out, r"^# pass [1-9]|^ℹ pass [1-9]")


class NodeClient(ClientScenarios, BackplaneTest):
    COMMAND = [NODE, str(HERE / "node_driver.mjs")]

    def files_of(self, name):
        types = self.control_request(types={"names": [name]}).types
        return None if types.unknown else [file.name for file in types.files.file]

    def test_registered_types_are_returned(self):
        self.start_broker()
        driver = self.driver()
        driver.do("open_control")
        self.assertIsNone(self.files_of("backplane.events.v1.Quote"))
        driver.do("register", "backplane.events.v1.Quote")
        self.assertIn("backplane/events/v1/quote.proto", self.files_of("backplane.events.v1.Quote"))
        driver.do("register", "backplane.v1.Event")  # maps, nested definitions, Google's types
        self.assertIn("backplane/v1/event.proto", self.files_of("backplane.v1.Event"))
        self.assertEqual(driver.fails("register", "nobody.Knows")[2], 0)
        driver.leave()

    def test_python_and_node_register_the_same_types(self):
        self.start_broker()
        names = [quote_pb2.DESCRIPTOR.name, event_pb2.DESCRIPTOR.name]
        files = [descriptor_pb2.FileDescriptorProto() for _ in names]
        for file, module in zip(files, (quote_pb2, event_pb2)):
            module.DESCRIPTOR.CopyToProto(file)
        self.assertEqual(self.control_request(types={"register_files": {"file": files}}).WhichOneof("end"), "complete")
        driver = self.driver()
        driver.do("open_control")
        driver.do("register", "backplane.events.v1.Quote")
        driver.do("register", "backplane.v1.Event")
        driver.leave()

    def test_the_gateway_shows_a_users_type_as_json(self):
        self.start_broker()
        self.start_gateway()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        own = pathlib.Path(folder.name, "reading.proto")
        own.write_text('syntax = "proto3"; package acme; import "google/protobuf/timestamp.proto"; '
                       "message Reading { string sensor = 1; Unit unit = 2; google.protobuf.Timestamp at = 3; "
                       "map<string, Part> parts = 4; message Part { double share = 1; } enum Unit { C = 0; F = 1; } }",
                       encoding="utf-8")
        driver = self.driver()
        driver.do("open_control")
        driver.do("register", "acme.Reading", str(own))
        client = self.client()
        client.subscribe("acme")
        writer = self.ready_writer()
        deadline = Deadline()
        shown = ""
        while not shown.startswith('acme {"sensor":"roof","unit":"F"'):  # the gateway fetches a type when it first sees it
            self.assertTrue(deadline.left(), shown)
            event = writer.event()
            event.message.type_url = "type.googleapis.com/acme.Reading"
            event.message.value = b"\x0a\x04roof\x10\x01"
            writer.send_frames(b"acme", event.SerializeToString())
            shown = client.event()
        driver.leave()


if __name__ == "__main__":
    unittest.main()
