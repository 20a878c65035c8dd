"""clients/node, with the golden bytes and with real brokers."""

import os
import pathlib
import tempfile
import unittest

from backplane.events.v1 import quote_pb2
from backplane.v1 import event_pb2
from client_scenarios import ClientScenarios
from google.protobuf import descriptor_pb2
from harness import CONTROL, EGRESS, INGRESS, BackplaneTest, Deadline, node

HERE = pathlib.Path(__file__).resolve().parent
NODE = os.environ["NODE"]


class Golden(BackplaneTest):
    def test_node_agrees_with_the_golden_bytes(self):
        node = self.run_process([NODE, "--test", str(HERE / "node_golden.test.mjs")])
        self.assertEqual(node.wait_exit(), 0, node.transcript())
        node.wait_line(node.out, r"^# pass [1-9]|^ℹ pass [1-9]")

    def test_a_stream_is_in_order_and_complete_and_resumes_without_a_loss(self):
        node = self.run_process([NODE, "--test", str(HERE / "node_order.test.mjs")])
        self.assertEqual(node.wait_exit(120), 0, node.transcript())
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

    def script(self, text, *arguments):
        """Runs in clients/node, with the endpoints in `places`."""
        begin = ("import { Publisher, Subscriber } from 'backplane'; const [egress, ingress, control] = "
                 "process.argv.slice(-3); const places = { ingress, egress, control };")
        return self.run_process(node(begin + text, *arguments, EGRESS, INGRESS, CONTROL), cwd=HERE.parents[1] / "clients/node")

    def test_nothing_but_a_pending_call_keeps_the_process_alive(self):
        self.start_broker()
        for text in ("""const publisher = new Publisher('s@test', places); await publisher.publish('s', 'x');""",
                     """const publisher = new Publisher('s@test', places); publisher.publish('s', 'x');""",
                     """const subscriber = new Subscriber(['s'], places); await subscriber.waitLive();
                        const publisher = new Publisher('s@test', places); await publisher.publish('s', 'x');
                        for await (const item of subscriber) { if (item.text === 'x') break; }""",
                     """for await (const item of new Subscriber(['s'], { ...places, since: '10m' })) break;""",
                     """const subscriber = new Subscriber(['s'], places); await subscriber.receive({ timeout: 100 });"""):
            script = self.script(text)
            self.assertEqual(script.wait_exit(30), 0, text)
            self.assertEqual(script.err, [], text)
        self.assertEqual(self.last_offset("s"), 3)

    def test_what_is_lost_at_the_end_of_a_script_is_reported(self):
        for end in ("", "process.exit(0);"):
            script = self.script(f"const publisher = new Publisher('s@test', places); await publisher.publish('s', 'x'); {end}")
            self.assertEqual(script.wait_exit(30), 0, end)
            script.wait_line(script.err, "^backplane: publisher s@test: 1 of 1 events .*lost")


if __name__ == "__main__":
    unittest.main()
