"""clients/python, with the golden bytes and with real brokers."""

import pathlib
import unittest

import backplane
from backplane.events.v1 import quote_pb2
from backplane.v1 import control_pb2, event_pb2
from client_scenarios import ClientScenarios
from golden import cases, golden
from harness import CONTROL, EGRESS, INGRESS, BackplaneTest

STREAM = 0x0123456789ABCDEF
STAMP = backplane.Stamp(STREAM, 1000, 7, 993, 946684800_123456789)


def accepts(make, text):
    try:
        make(text.decode())
    except ValueError:
        return False
    return True


class Golden(unittest.TestCase):
    def test_stamps(self):
        self.assertEqual(backplane.read_stamp(golden("stamped_event.hex")), STAMP)
        self.assertEqual(backplane.read_stamp(golden("stamp_zero.hex")), backplane.Stamp(0, 0, 0, 0, 0))
        stamp = golden("stamp.hex")
        for event in (b"", stamp[1:], golden("event.hex"), stamp[:-1] + b"\0\0", b"\x7b" + stamp[1:]):
            self.assertIsNone(backplane.read_stamp(event))

    def test_names(self):
        for topic, pattern, name in cases("names.tsv"):
            name = bytes.fromhex(name)
            self.assertEqual(accepts(backplane.check_topic, name), topic == "yes", name)
            self.assertEqual(accepts(backplane.Pattern, name), pattern == "yes", name)

    def test_patterns(self):
        for text, prefix, topic, matches in cases("patterns.tsv"):
            pattern = backplane.Pattern(text)
            self.assertEqual(pattern.prefix, prefix, text)
            self.assertEqual(pattern.matches(topic), matches == "yes", (text, topic))

    def test_escapes(self):
        for kind, plain, escaped in cases("escapes.tsv"):
            plain, escaped = bytes.fromhex(plain), escaped.encode()
            self.assertEqual(backplane.unescape(escaped), plain)
            self.assertEqual(backplane.escape(plain) == escaped, kind == "both", escaped)

    def test_events(self):
        event = backplane.Event("clock", event_pb2.Event.FromString(golden("stamped_event.hex")), STAMP)
        self.assertEqual((event.body.source, event.body.session, event.body.sequence, event.text),
                         ("clock@host7", 0x1122334455667788, 300, "grüße"))
        self.assertIsNone(event.unpack(quote_pb2.Quote))
        typed = backplane.Event("stock.MSFT", event_pb2.Event.FromString(golden("typed_event.hex")), STAMP)
        quote = typed.unpack(quote_pb2.Quote)
        self.assertEqual((quote.symbol, quote.price, quote.time.seconds), ("MSFT", 39.81, 946684800))

    def test_payloads_and_json(self):
        event = backplane.Event("clock", event_pb2.Event.FromString(golden("stamped_event.hex")), STAMP)
        head = {"topic": "clock", "stream": "0123456789abcdef", "position": 1000, "offset": 7, "source": "clock@host7",
                "time": "2000-01-01T00:00:00.500Z", "received": "2000-01-01T00:00:00.123456789Z", "sequence": 300}
        self.assertEqual(event.to_dict(), {**head, "type": "", "attributes": {"unit": "°C"}, "text": "grüße"})
        self.assertEqual((event.type, event.payload, event.time_ns), ("", "grüße", 946684800500000000))
        quote = backplane.Event("stock.MSFT", event_pb2.Event.FromString(golden("typed_event.hex")), STAMP)
        self.assertEqual((quote.type, quote.payload.symbol), ("backplane.events.v1.Quote", "MSFT"))
        self.assertEqual(quote.to_dict()["data"], {"symbol": "MSFT", "price": 39.81, "time": "2000-01-01T00:00:00Z"})
        self.assertEqual(quote.unpack("backplane.events.v1.Quote"), quote.payload)
        self.assertEqual(backplane.Gap(STREAM, "clock", 1, 2, "damaged").to_dict(),
                         {"gap": {"topic": "clock", "stream": "0123456789abcdef", "first": 1, "last": 2, "reason": "damaged"}})
        self.assertEqual(backplane.Reset(1, 2).to_dict(),
                         {"reset": {"old_stream": "0000000000000001", "stream": "0000000000000002"}})
        for call in (lambda: backplane.message("nobody.Knows"),
                     lambda: backplane.message("backplane.events.v1.Quote", nothing=1), lambda: backplane.load_types(__file__)):
            self.assertRaises(ValueError, call)

    def test_control_messages(self):
        after = {"stream": STREAM, "position": 993}
        replay = {"pattern": "stock.>", "after_position": after, "until_position": 1000}
        request = control_pb2.ControlRequest(version=1, id=300, replay=replay)
        self.assertEqual(request.SerializeToString(), golden("replay_request.hex"))
        admitted = {"source": "clock@host7", "session": 0x1122334455667788}
        request = control_pb2.ControlRequest(version=1, id=1, admitted=admitted)
        self.assertEqual(request.SerializeToString(), golden("admitted_request.hex"))
        reply = control_pb2.ControlReply.FromString(golden("replay_reply.hex"))
        self.assertEqual((reply.id, reply.position, reply.more.cursor), (300, 1007, b"\x01\xff"))
        self.assertEqual(reply.replay.events[0].event, golden("stamped_event.hex"))

    def test_what_a_link_publishes(self):
        body = event_pb2.Event.FromString(golden("passed_event.hex") + golden("stamp.hex"))
        event = backplane.Event("clock", body, backplane.read_stamp(golden("passed_event.hex") + golden("stamp.hex")))
        self.assertEqual((event.text, body.sequence, body.after_sequence, body.lost), ("grüße", 2000, 1994, 0))
        self.assertEqual(body.attributes["origin_source"], "clock@host7")
        self.assertEqual(event_pb2.Event.FromString(golden("lost_events.hex")).lost, 151)
        replay = {"pattern": "stock.>", "after_position": {"stream": STREAM, "position": 993}, "until_position": 1000, "partial": True}
        request = control_pb2.ControlRequest(version=1, id=300, replay=replay)
        self.assertEqual(request.SerializeToString(), golden("partial_request.hex"))
        (lost,) = control_pb2.ControlReply.FromString(golden("upstream_reply.hex")).replay.destroyed
        self.assertEqual((lost.topic, lost.first_offset, lost.last_offset, lost.upstream), ("clock", 8, 158, True))


class PythonClient(ClientScenarios, BackplaneTest):
    COMMAND = ["/usr/bin/python3", "-B", "-W", "error", str(pathlib.Path(__file__).with_name("python_driver.py"))]

    def test_registered_types_are_returned(self):
        self.start_broker()
        with backplane.Control(CONTROL, self.context) as control:
            name = quote_pb2.Quote.DESCRIPTOR.full_name
            self.assertEqual(control.ask(types={"names": [name]}).types.unknown, [name])
            control.register(quote_pb2.Quote)
            types = control.ask(types={"names": [name]}).types
            self.assertIn(quote_pb2.DESCRIPTOR.name, [file.name for file in types.files.file])

    def script(self, text, *arguments):
        return self.run_process(["/usr/bin/python3", "-B", "-W", "error", "-c",
                                 "import os, sys, time, backplane\n" + text, INGRESS, CONTROL, *arguments])

    def test_a_script_that_ends_without_closing_its_publisher_has_published(self):
        self.start_broker()
        for end in ("", "sys.exit(0)", "raise KeyError", "publisher = None"):
            script = self.script("publisher = backplane.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2])\n"
                                 f"publisher.publish('s', 'x')\n{end}")
            self.assertEqual(script.wait_exit(), 1 if "raise" in end else 0, script.transcript())
        self.assertEqual(self.last_offset("s"), 4)
        block = self.script("with backplane.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2]) as publisher:\n"
                            "    publisher.publish('s', 'x')\n    raise KeyError")
        self.assertEqual(block.wait_exit(), 1)
        self.assertEqual(self.last_offset("s"), 5)

    def test_what_is_lost_at_the_end_of_a_script_is_reported(self):
        script = self.script("publisher = backplane.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2])\n"
                             "publisher.publish('s', 'x')")
        script.wait_exit()
        script.wait_line(script.err, "^backplane: publisher s@test: 1 of 1 events not admitted by .*lost")

    def test_a_publisher_and_a_subscriber_are_of_no_use_after_fork(self):
        self.start_broker()
        script = self.script("""
publisher = backplane.Publisher('s@test', ingress=sys.argv[1], control=sys.argv[2])
subscriber = backplane.Subscriber('s', egress=sys.argv[3], control=sys.argv[2])
subscriber.wait_live()
child = os.fork()
if child == 0:
    for call in (lambda: publisher.publish('s', 'child'), lambda: publisher.flush(60), lambda: publisher.close(60),
                 lambda: publisher.wait_ready(60), lambda: subscriber.receive(60), lambda: subscriber.wait_live(60)):
        begun = time.monotonic()
        try:
            call()
        except RuntimeError as error:
            print('raised', 'fork' in str(error), time.monotonic() - begun < 5, flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
publisher.publish('s', 'parent')
publisher.close()
print(subscriber.receive().text)
subscriber.close()
""", EGRESS)
        self.assertEqual(script.wait_exit(), 0, script.transcript())
        self.assertEqual(script.out, ["raised True True"] * 6 + ["parent"])


if __name__ == "__main__":
    unittest.main()
