"""What programs see of the client libraries: where reading begins, names, types and JSON, with real brokers.
client_api_test.py runs these scenarios with each library, through the drivers of client_scenarios.py."""

import json
import pathlib
import subprocess
import tempfile

from backplane.events.v1 import quote_pb2
from backplane.v1 import control_pb2
from client_scenarios import CONTROL, EGRESS, LONG_S, SHORT_S, ClientCase
from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, message_factory, struct_pb2,
                             timestamp_pb2, wrappers_pb2)
from harness import HOST, Deadline

OWN_TYPES = """
syntax = "proto3";
package acme;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Reading {
  string sensor = 1;
  Unit unit = 2;
  google.protobuf.Timestamp at = 3;
  map<string, Part> parts = 4;
  message Part { double share = 1; repeated int32 numbers = 2; }
  enum Unit { C = 0; F = 1; }
  int64 count = 5;
  fixed64 big = 6;
  bytes raw = 7;
  bool good = 8;
  float ratio = 9;
  double far = 10;
  optional uint32 maybe = 11;
  oneof where { string room = 12; int32 floor = 13; }
  google.protobuf.Duration took = 14;
  google.protobuf.Struct more = 15;
  google.protobuf.Any inner = 16;
  google.protobuf.Int64Value wrapped = 17;
  google.protobuf.FieldMask mask = 18;
  repeated Unit units = 19;
  repeated Part list = 20;
  map<int64, bool> flags = 21;
  google.protobuf.Value anything = 22;
  sint32 camelCase = 23;
  string snake_case = 24;
}
"""


def own_types():
    """(FileDescriptorSet, class of acme.Reading), which no client was built with."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "acme.proto").write_text(OWN_TYPES, encoding="utf-8")
        subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={folder}/set", "acme.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(folder, "set").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(files.file[0].SerializeToString())
    reading = pool.FindMessageTypeByName("acme.Reading")
    if hasattr(message_factory, "GetMessageClass"):
        return files, message_factory.GetMessageClass(reading)
    return files, message_factory.MessageFactory(pool).GetPrototype(reading)


class ClientApiScenarios(ClientCase):
    """A mixin for a BackplaneTest."""

    def start_reading(self, *patterns, **options):
        driver = self.driver()
        driver.do("subscribe", patterns, LONG_S, options)
        return driver

    # Last values.

    def test_last_puts_the_last_value_of_each_topic_before_the_new_events(self):
        self.start_broker()
        writer = self.ready_writer()
        for number in range(1200):
            writer.send(f"v.{number:04}", "old")
            writer.send(f"v.{number:04}", str(number))
        writer.send("v.cleared", "x")
        writer.send_frames(b"v.cleared", writer.event().SerializeToString())
        self.wait_admitted(writer)
        driver = self.start_reading("v.*", "v.0007", "nothing.>", last=True)
        # An event that matches two patterns comes once.
        self.assertEqual(driver.do("receive", 1200, LONG_S),
                         [self.events(f"v.{number:04}", [2], [number])[0] for number in range(1200)])
        self.publish("v.0007", ["new"])
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("v.0007", [3], ["new"]))
        self.publish("v.cleared", ["again"])
        self.publish("v.0007", ["newer"])
        self.assertEqual(driver.do("receive_flags", 2, LONG_S), [["v.cleared", False, False], ["v.0007", False, False]])
        driver.leave()

    def test_nothing_is_missing_and_nothing_comes_twice_between_the_last_value_and_what_follows(self):
        self.start_broker()
        writer = self.ready_writer()
        for number in range(20):
            for _ in range(300):
                writer.send("h", "x")
            driver = self.driver()
            driver.begin("subscribe", ["h"], LONG_S, {"last": True})
            for _ in range(300):
                writer.send("h", "x")
            driver.result()
            self.wait_admitted(writer)
            [first] = driver.do("receive_flags", 1, LONG_S)
            self.assertEqual(first, ["h", True, False])
            deadline, offsets = Deadline(), []
            while not offsets or offsets[-1] < 600 * (number + 1):
                self.assertTrue(deadline.left(), offsets[-5:])
                item = driver.do("receive", 1, SHORT_S)[0]
                if item is None and not offsets and self.last_offset("h") == 600 * (number + 1):
                    break  # the last value was the last event
                offsets += [item[2]] if item else []
            self.assertEqual(offsets, list(range(offsets[0], offsets[0] + len(offsets))) if offsets else [])
            driver.leave()

    SECOND = {name: f"tcp://{HOST}:{port}" for name, port in (("ingress", 5670), ("egress", 5671), ("control", 5672))}

    def test_of_several_brokers_the_value_that_was_received_last_counts(self):
        self.start_broker()
        self.run_program("broker", *(f"--{name}={place}" for name, place in self.SECOND.items()), "--raw", "off",
                         "--metrics", "off", "--name", "second").ready()
        second = self.writer(source="second@test", endpoint=self.SECOND["ingress"])
        second.wait_ready()
        echo = self.reader("n.")
        self.publish("n.a", ["older"])
        second.send("n.b", "older")
        reader = self.driver(egress=self.SECOND["egress"], control=self.SECOND["control"])
        reader.do("open_control")
        deadline = Deadline()
        while not reader.do("last", "n.b", LONG_S):
            self.assertTrue(deadline.left())
        second.send("n.a", "newer")
        while not reader.do("last", "n.a", LONG_S):
            self.assertTrue(deadline.left())
        self.publish("n.b", ["newer"])
        echo.close()
        driver = self.driver(egress=f"{EGRESS},{self.SECOND['egress']}", control=f"{CONTROL},{self.SECOND['control']}")
        driver.do("subscribe", ["n.>"], LONG_S, {"last": True})
        items = driver.do("receive", 2, LONG_S)
        self.assertEqual(sorted(item[1:] for item in items), [["n.a", 1, ["text", "newer"]], ["n.b", 1, ["text", "newer"]]])
        self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        for each in (driver, reader):
            each.leave()

    def test_a_resume_token_is_known_once_the_last_values_have_been_returned(self):
        self.start_broker()
        self.publish("n.a", [1])
        self.publish("n.b", [1])
        driver = self.start_reading("n.*", last=True)
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("n.a", [1]))
        self.assertEqual(driver.do("resume_token"), "")
        self.assertEqual(driver.do("receive", 1, LONG_S), self.events("n.b", [1]))
        deadline = Deadline()
        while not (token := driver.do("resume_token")):
            self.assertTrue(deadline.left())
            self.assertEqual(driver.do("receive", 1, SHORT_S), [None])
        self.publish("n.a", [2])
        resumed = self.start_reading("n.*", since=token)
        self.assertEqual(resumed.do("receive", 1, LONG_S), self.events("n.a", [2]))
        for each in (driver, resumed):
            each.leave()

    def test_last_and_since_exclude_each_other(self):
        driver = self.driver()
        error, text, _ = driver.fails("subscribe", ["n"], LONG_S, {"last": True, "since": "1m"})
        self.assertEqual(error, "invalid")
        self.assertIn("at most one of last and since", text)
        driver.leave()

    # A time.

    def test_since_a_time_puts_what_the_broker_received_since_then_first(self):
        self.start_broker()
        self.publish("n.a", [1, 2])
        self.publish("n.a", [3])
        events = self.control_request(replay={"pattern": "n.a", "since_ns": 0}).replay.events
        third = int.from_bytes(events[2].event[-8:], "little", signed=True)
        ago = self.start_reading("n.a", since_time=third // 1000 / 1e6)
        offsets = [item[2] for item in ago.do("receive", 1, LONG_S)]
        while offsets[-1] < 3:
            offsets += [item[2] for item in ago.do("receive", 1, LONG_S)]
        self.assertLessEqual(len(offsets), 3)
        self.publish("n.a", ["later"])
        self.assertEqual(ago.do("receive_flags", 1, LONG_S), [["n.a", False, False]])
        ago.leave()

    def test_events_say_whether_they_are_from_history_or_late(self):
        self.start_broker()
        self.publish("n.a", [1])
        relay = self.relay(EGRESS)
        driver = self.driver(egress=relay.endpoint)
        driver.do("subscribe", ["n.>"], LONG_S, {"since": "10m"})
        self.assertEqual(driver.do("receive_flags", 1, LONG_S), [["n.a", True, False]])
        self.publish("n.a", [2])
        self.assertEqual(driver.do("receive_flags", 1, LONG_S), [["n.a", False, False]])
        relay.cut()
        self.publish("n.b", [1])  # no later event of the topic shows the loss
        relay.mend()
        driver.do("wait_live", LONG_S)
        self.publish("n.a", [3])
        flags = driver.do("receive_flags", 2, LONG_S)
        self.assertEqual(sorted(flag[0] for flag in flags), ["n.a", "n.b"])
        self.assertEqual([flag[2] for flag in flags], [False, flags[1][0] == "n.b"])
        driver.leave()

    # Names.

    def test_a_subscriber_is_a_client_at_the_broker_while_it_reads(self):
        broker = self.start_broker()
        driver = self.start_reading("n", name="reader@test")
        self.wait_participant("reader@test", lambda each: each.up)
        self.assertEqual(self.participant("reader@test").role, control_pb2.HelloRequest.ROLE_CLIENT)
        self.publish("n", [1, 2, 3])
        driver.do("receive", 3, LONG_S)
        deadline = Deadline()
        while self.participant("reader@test").counters["given"] != 3:
            self.assertTrue(deadline.left(), self.participant("reader@test"))
            driver.do("receive", 1, SHORT_S)
        self.assertTrue(self.participant("reader@test").up)
        broker.kill()
        self.start_broker()
        deadline = Deadline()
        while not self.participant("reader@test"):
            self.assertTrue(deadline.left(), "it has not said hello to the new broker")
            driver.do("receive", 1, SHORT_S)
        self.publish("n", [4])
        while driver.do("receive", 1, LONG_S)[0][0] != "event":
            pass
        driver.do("close_subscriber")  # before the next Hello: the goodbye has the last counters
        self.wait_participant("reader@test", lambda each: not each.up)
        self.assertEqual(self.participant("reader@test").counters["given"], 4)
        driver.leave()

    def test_a_subscribers_name_is_the_programs_unless_it_has_another_or_none(self):
        self.start_broker()
        driver = self.start_reading("n", name="")
        driver.do("receive", 1, 1.5)
        self.assertEqual([each.name for each in self.control_request(stats={}).stats.participants], [])
        driver.leave()
        driver = self.start_reading("n")
        driver.do("receive", 1, 1.5)
        [participant] = self.control_request(stats={}).stats.participants
        self.assertRegex(participant.name, r"^\w+_driver@\S+$")
        driver.leave()
        driver = self.driver()
        self.assertEqual(driver.fails("subscribe", ["n"], LONG_S, {"name": "n" * 244})[0], "invalid")
        driver.leave()

    # Types and JSON.

    def gateway_json(self, *patterns):
        self.start_gateway()
        client = self.client()
        client.send("FORMAT json")
        client.reply()
        client.subscribe(*patterns)
        return client

    def same_json(self, client, driver, count):
        """What both return; they must return the same."""
        shown = driver.do("receive_json", count, LONG_S)
        self.assertEqual(shown, [json.loads(client.event()) for _ in range(count)])
        return shown

    def test_an_event_in_json_is_what_the_gateway_writes(self):
        self.start_broker()
        client, driver = self.gateway_json("p.>"), self.start_reading("p.>")
        writer = self.ready_writer()
        quote = quote_pb2.Quote(symbol="MSFT", price=39.81)
        quote.time.FromNanoseconds(946684800_120000000)
        for fields in ({"text": "grüße\n"}, {"text": ""}, {"binary": b"\0\xff\n"}, {"message": quote}, {}):
            for time_ns in (None, 946684800_000000000, 946684800_123000000, 946684800_123456789, -1):
                message = fields.pop("message", None)
                event = writer.event(**fields)
                if time_ns is not None:
                    event.time.FromNanoseconds(time_ns)
                if message:
                    event.message.Pack(message)
                    fields["message"] = message
                writer.send_frames(b"p.x", event.SerializeToString())
        bad = writer.event()
        bad.message.type_url, bad.message.value = "type.googleapis.com/backplane.events.v1.Quote", b"\xff"
        writer.send_frames(b"p.x", bad.SerializeToString())
        unknown = writer.event()
        unknown.message.type_url, unknown.message.value = "type.googleapis.com/nobody.Knows", b"\x08\x01"
        writer.send_frames(b"p.x", unknown.SerializeToString())
        shown = self.same_json(client, driver, 27)
        self.assertEqual(shown[3]["time"], "2000-01-01T00:00:00.123456789Z")
        self.assertEqual(shown[-1]["data"], {"@type": "type.googleapis.com/nobody.Knows", "value": "CAE="})
        driver.leave()

    def test_messages_of_types_that_only_the_broker_knows_are_shown_as_the_gateway_shows_them(self):
        self.start_broker()
        files, reading = own_types()
        self.assertEqual(self.control_request(types={"register_files": files}).WhichOneof("end"), "complete")
        client, driver = self.gateway_json("r"), self.start_reading("r")
        inner = any_pb2.Any()
        inner.Pack(quote_pb2.Quote(symbol="X", price=1))
        took = any_pb2.Any()
        took.Pack(duration_pb2.Duration(seconds=3, nanos=5000000))
        own = any_pb2.Any(type_url="type.googleapis.com/acme.Reading.Part", value=b"\x12\x01\x07")
        more = struct_pb2.Struct()
        more.update({"a": [1, "x", None, {"deep": True}], "b": 2.5})
        full = reading(sensor="roof", unit=1, count=-(2**53) - 1, big=2**64 - 1, raw=b"\xff\x00", good=True, ratio=0.1,
                       far=float("-inf"), maybe=0, floor=0, wrapped={"value": 0}, mask={"paths": ["a_b.c", "d"]},
                       units=[0, 1, 7], list=[{"share": float("nan")}, {}], camelCase=-3,
                       snake_case="s")
        full.at.FromNanoseconds(-1)
        full.took.FromNanoseconds(-1_500_000_000)
        full.parts["ä"].numbers.extend([1, -2])
        full.flags[-5] = True
        full.more.MergeFromString(more.SerializeToString())
        full.anything.string_value = "v"
        messages = [reading(), full]
        for each in (inner, took, own):
            messages.append(reading())
            messages[-1].inner.MergeFromString(each.SerializeToString())
        messages.append(reading(room="", anything={"null_value": 0}, far=1e300, ratio=3e38, took={"seconds": 1, "nanos": 1}))
        writer = self.ready_writer()
        # The gateway fetches a type when it first sees it, and meanwhile writes its bytes.
        while True:
            event = writer.event()
            event.message.Pack(messages[0])
            writer.send_frames(b"r", event.SerializeToString())
            [shown] = driver.do("receive_json", 1, LONG_S)
            self.assertEqual(shown["data"]["sensor"], "")  # the driver waits for it
            if "sensor" in json.loads(client.event())["data"]:
                break
        for each in messages:
            event = writer.event()
            event.message.Pack(each)
            writer.send_frames(b"r", event.SerializeToString())
        shown = self.same_json(client, driver, len(messages))
        self.assertEqual(shown[1]["data"]["count"], str(-(2**53) - 1))
        event = writer.event()
        event.message.Pack(full)
        writer.send_frames(b"r", event.SerializeToString())
        self.assertEqual(driver.do("receive_field", "acme.Reading", "sensor", LONG_S), ["acme.Reading", "roof", "roof", True])
        other = self.driver()
        other.do("open_control")
        self.assertEqual(other.do("last_json", "r", LONG_S)[0]["data"], shown[1]["data"])
        for each in (driver, other):
            each.leave()

    def test_an_unknown_type_delays_its_first_event_only_and_is_known_after_somebody_registered_it(self):
        self.start_broker()
        files, reading = own_types()
        driver = self.start_reading("r")
        writer = self.ready_writer()

        def send(count):
            for _ in range(count):
                event = writer.event()
                event.message.Pack(reading(sensor="roof"))
                writer.send_frames(b"r", event.SerializeToString())
        send(100)
        self.assertEqual({item["data"]["@type"] for item in driver.do("receive_json", 100, LONG_S)},
                         {"type.googleapis.com/acme.Reading"})
        self.control_request(types={"register_files": files})
        deadline, shown = Deadline(), {}
        while "sensor" not in shown:
            self.assertTrue(deadline.left(), "never requested again")
            send(1)
            shown = driver.do("receive_json", 1, LONG_S)[0]["data"]
        driver.leave()

    def test_a_message_is_published_by_the_name_of_its_type(self):
        self.start_broker()
        client, driver = self.gateway_json("q"), self.start_reading("q")
        driver.do("open_publisher", "me@test", None)
        driver.do("publish_message", "q", "backplane.events.v1.Quote",
                  {"symbol": "MSFT", "price": 39.81, "time": {"seconds": 946684800}})
        self.same_json(client, driver, 1)
        driver.do("publish_message", "q", "backplane.events.v1.Earthquake", {})
        self.same_json(client, driver, 1)
        driver.leave()

    def test_a_gap_and_a_reset_in_json_are_what_the_gateway_writes(self):
        broker = self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 5\n"))
        self.publish("n.a", range(1, 21))
        driver = self.start_reading("n.a", since=3)
        [gap] = driver.do("receive_json", 1, LONG_S)
        old = f"{self.control_request(stats={}).stream:016x}"
        self.assertEqual(gap, {"gap": {"topic": "n.a", "stream": old, "first": 4, "last": 15, "reason": "history_gone"}})
        driver.do("receive", 5, LONG_S)
        broker.kill()
        self.start_broker()
        [reset] = driver.do("receive_json", 1, LONG_S)
        new = f"{self.control_request(stats={}).stream:016x}"
        self.assertEqual(reset, {"reset": {"old_stream": old, "stream": new}})
        driver.leave()
