"""`backplane pub` with all its options, at a broker."""

import signal
import subprocess
import tempfile
import time
import unittest

from harness import ENDPOINTS, INGRESS, BackplaneTest
from backplane.events.v1 import quote_pb2
from google.protobuf import descriptor_pb2


class Pub(BackplaneTest):
    def pub(self, *arguments, code=0, **options):
        pub = self.run_program("pub", *arguments, *ENDPOINTS, **options)
        if code is not None:
            self.assertEqual(pub.wait_exit(), code, pub.transcript())
        return pub

    def setUp(self):
        super().setUp()
        self.start_broker()

    def last(self, topic):
        """Returns the last event of a topic."""
        return self.history(self.control_client(), topic)[-1]

    def test_a_typed_payload_is_written_as_json(self):
        self.pub("stock.MSFT", "--json", "Quote", '{"symbol": "MSFT", "price": 39.81}')
        quote = quote_pb2.Quote()
        self.assertTrue(self.last("stock.MSFT").message.Unpack(quote))
        self.assertEqual((quote.symbol, quote.price), ("MSFT", 39.81))

    def test_a_type_that_only_the_broker_knows_works_too(self):
        acme = descriptor_pb2.FileDescriptorProto(name="acme/reading.proto", package="acme", syntax="proto3")
        acme.message_type.add(name="Reading").field.add(name="sensor", number=1, label=1, type=9)
        self.assertEqual(self.control_request(types={"register_files": {"file": [acme]}}).WhichOneof("end"), "complete")
        self.pub("acme", "--json", "acme.Reading", '{"sensor": "roof"}')
        event = self.last("acme")
        self.assertEqual(event.message.type_url, "type.googleapis.com/acme.Reading")
        self.assertEqual(event.message.value, b"\x0a\x04roof")

    def test_json_that_does_not_match_the_type_is_an_error(self):
        pub = self.pub("n", "--json", "Quote", '{"volume": 5}', code=2)
        self.assertRegex(pub.err[0], "^backplane pub: --json: expected a backplane.events.v1.Quote as JSON: .*volume")
        pub = self.pub("n", "--json", "Nonsense", "{}", code=2)
        self.assertRegex(pub.err[0], '^backplane pub: --json: expected a message type .*"Nonsense"')
        self.assertEqual(self.counters()["received_total"], 0)

    def test_a_file_is_one_event(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"two\nlines\n")
            file.flush()
            self.pub("n", "--file", file.name)
            self.assertEqual(self.last("n").text, "two\nlines\n")
            file.write(b"\xff")
            file.flush()
            self.pub("n", "--file", file.name)
            self.assertEqual(self.last("n").binary, b"two\nlines\n\xff")

    def test_standard_input_is_one_event(self):
        pub = self.pub("n", "--stdin", code=None, stdin=subprocess.PIPE)
        pub.stdin.write("all\nof it")
        pub.stdin.close()
        self.assertEqual(pub.wait_exit(), 0)
        self.assertEqual(self.last("n").text, "all\nof it")

    def test_json_is_read_from_standard_input(self):
        pub = self.pub("n", "--stdin", "--json", "Quote", code=None, stdin=subprocess.PIPE)
        pub.stdin.write('{"symbol":"IBM"}\n')
        pub.stdin.close()
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        quote = quote_pb2.Quote()
        self.assertTrue(self.last("n").message.Unpack(quote))
        self.assertEqual(quote.symbol, "IBM")

    def test_count_and_every(self):
        begun = time.monotonic()
        self.pub("n", "x", "--count", "5", "--every", "50ms")
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)
        self.assertEqual(len(self.history(self.control_client(), "n")), 5)

    def test_count_without_an_interval(self):
        self.pub("n", "x", "--count", "30000")
        self.assertEqual(self.counters()["published_total"], 30_000)

    def test_clear_removes_the_retained_value(self):
        self.pub("n", "x")
        self.pub("n", "--clear")
        get = self.run_program("get", "n", *ENDPOINTS)
        self.assertEqual(get.wait_exit(), 1)

    def test_a_signal_ends_pub_when_its_events_are_admitted(self):
        reader = self.live_reader("n")
        pub = self.pub("n", "x", "--count", "1000000", "--every", "10ms", code=None)
        reader.receive()
        reader.receive()
        pub.signal(signal.SIGINT)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())

    def test_a_refused_event_is_reported(self):
        pub = self.pub("n", "--file", self.file_of(2 << 20), code=2)
        self.assertRegex(pub.err[0], "^backplane pub: expected a payload of at most|^backplane pub: --file .*: expected at most")

    def file_of(self, size):
        file = tempfile.NamedTemporaryFile()
        self.addCleanup(file.close)
        file.write(b"x" * size)
        file.flush()
        return file.name

    def test_the_brokers_limit_is_reported(self):
        self.start_second_broker()
        place = [argument.replace("557", "558") for argument in ENDPOINTS]
        pub = self.run_program("pub", "n", "x" * 5000, *place)
        self.assertEqual(pub.wait_exit(), 1, pub.transcript())
        self.assertEqual(pub.err, ["backplane pub: cannot publish 5000 bytes: the broker accepts events of at most 2048 bytes"])

    def start_second_broker(self):
        config = self.config_file("[[backplane]]\nmax_event_bytes = 2048\n")
        broker = self.run_program("broker", "--config", config, "--raw", "off", "--metrics", "off",
                                  *(argument.replace("557", "558") for argument in ENDPOINTS))
        broker.ready()


class PubWithoutABroker(BackplaneTest):
    def test_no_broker_is_one_line(self):
        pub = self.run_program("pub", "n", "x", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 1)
        self.assertEqual(pub.err, [f"backplane pub: cannot reach a broker at {INGRESS}: nothing listens there"])

    def test_pub_reports_the_loss_of_its_broker_and_waits_for_it(self):
        broker = self.start_broker()
        pub = self.run_program("pub", "n", "x", "--count", "1000000", "--every", "10ms", *ENDPOINTS)
        self.live_reader("n").receive()
        broker.end()
        pub.wait_line(pub.err, "^backplane pub: lost the connection to the broker at .*; reconnecting$")
        self.start_broker()
        pub.wait_line(pub.err, "^backplane pub: connected to the broker at .*$")
        self.live_reader("n").receive()
        pub.signal(signal.SIGTERM)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())


if __name__ == "__main__":
    unittest.main()
