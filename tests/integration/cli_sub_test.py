"""`backplane sub` with all its options, at a broker."""

import base64
import json
import shlex
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, PROGRAM, BackplaneTest
from backplane.v1 import session_pb2
from google.protobuf import descriptor_pb2


def server_messages(data):
    """Parses length-prefixed ServerMessages."""
    at = 0
    while at < len(data):
        length = shift = 0
        while data[at] & 0x80:
            length |= (data[at] & 0x7f) << shift
            at, shift = at + 1, shift + 7
        length |= data[at] << shift
        at += 1
        yield session_pb2.ServerMessage.FromString(data[at:at + length])
        at += length


class Sub(BackplaneTest):
    def sub(self, *arguments, **options):
        return self.run_program("sub", *arguments, *ENDPOINTS, **options)

    def finished(self, *arguments, code=0):
        """Runs `backplane sub` until it ends. Returns its output."""
        sub = self.sub(*arguments)
        self.assertEqual(sub.wait_exit(), code, sub.transcript())
        return sub.out

    def publish(self, *events):
        writer = self.ready_writer()
        for topic, text in events:
            writer.send(topic, text)
        self.wait_admitted(writer)
        return writer

    def test_last_prints_the_retained_values_first(self):
        self.start_broker()
        self.publish(("a.1", "old"), ("a.1", "new"), ("a.2", "other"), ("b", "not asked for"))
        self.assertEqual(sorted(self.finished("a.>", "--last", "--count", "2")), ["a.1 new", "a.2 other"])

    def test_last_and_then_live_events(self):
        self.start_broker()
        writer = self.publish(("news", "before"))
        sub = self.sub("news", "--last")
        sub.wait_line(sub.out, "^news before$")
        writer.send("news", "after")
        sub.wait_line(sub.out, "^news after$")
        self.assertEqual(sub.out, ["news before", "news after"])

    def test_since_an_offset_prints_the_events_after_it(self):
        self.start_broker()
        self.publish(*(("n", str(number)) for number in range(1, 6)))
        self.assertEqual(self.finished("n", "--since", "3", "--count", "2", "--format", "text+offset"),
                         ["n 4 4", "n 5 5"])

    def test_since_a_time_prints_the_events_of_that_time(self):
        self.start_broker()
        self.publish(("n", "1"), ("m", "2"))
        self.assertEqual(self.finished("n", "m", "--since", "1h", "--count", "2"), ["n 1", "m 2"])

    def test_since_a_resume_token_resumes_there(self):
        self.start_broker()
        self.publish(*(("n", str(number)) for number in range(1, 6)))
        first = [json.loads(line) for line in self.finished("n", "--since", "0", "--count", "3", "--format", "json")]
        token = f"{first[-1]['stream']}:{first[-1]['position']}"
        self.assertEqual(self.finished("n", "--since", token, "--count", "2"), ["n 4", "n 5"])

    def test_events_after_the_replay_come_once(self):
        self.start_broker()
        writer = self.publish(*(("n", str(number)) for number in range(100)))
        sub = self.sub("n", "--since", "0", "--count", "200", "--strict")
        for number in range(100, 200):
            writer.send("n", str(number))
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual(sub.out, [f"n {number}" for number in range(200)])

    def test_every_prints_the_first_event_at_once_and_then_the_latest(self):
        self.start_broker()
        self.start_clock(every="5ms")
        lines = self.finished("clock", "--every", "1s", "--count", "3")
        ticks = [int(self.tick(line)["tick"]) for line in lines]
        self.assertLess(ticks[0] + 1, ticks[1])
        self.assertLess(ticks[1] + 1, ticks[2])

    def test_the_payload_alone(self):
        self.start_broker()
        self.publish(("n", 'say "so"\n'))
        self.assertEqual(self.finished("n", "--last", "--count", "1", "--format", "value"), [r'say "so"\n'])

    def test_proto_is_length_prefixed_messages(self):
        self.start_broker()
        self.publish(("n", "one"), ("n", "two"))
        command = [PROGRAM, "sub", "n", "--since", "0", "--count", "2", "--format", "proto", *ENDPOINTS]
        shell = self.run_process(["bash", "-c", " ".join(map(shlex.quote, command)) + " | base64 -w0"])
        self.assertEqual(shell.wait_exit(), 0)
        messages = list(server_messages(base64.b64decode(shell.out[0])))
        self.assertEqual([(each.delivery.topic, each.delivery.event.text, each.delivery.event.stamp.offset)
                          for each in messages], [("n", "one", 1), ("n", "two", 2)])

    def test_a_type_that_the_broker_knows_is_shown_as_json(self):
        self.start_broker()
        acme = descriptor_pb2.FileDescriptorProto(name="acme/reading.proto", package="acme", syntax="proto3")
        message = acme.message_type.add(name="Reading")
        message.field.add(name="sensor", number=1, label=1, type=9)
        self.assertEqual(self.control_request(types={"register_files": {"file": [acme]}}).WhichOneof("end"), "complete")
        writer = self.ready_writer()
        event = writer.event()
        event.message.type_url = "type.googleapis.com/acme.Reading"
        event.message.value = b"\x0a\x04roof"
        writer.send_frames(b"acme", event.SerializeToString())
        self.wait_admitted(writer)
        self.assertEqual(self.finished("acme", "--last", "--count", "1"), ['acme {"sensor":"roof"}'])
        get = self.run_program("get", "acme", *ENDPOINTS)
        self.assertEqual(get.wait_exit(), 0)
        self.assertEqual(get.out, ['{"sensor":"roof"}'])

    def test_sub_reports_the_loss_of_its_broker_and_waits_for_it(self):
        broker = self.start_broker()
        sub = self.sub("n", "--strict")
        self.publish_until_received("n", sub)
        broker.kill()
        sub.wait_line(sub.err, "^backplane sub: waiting for a broker at .*: .*")
        self.start_broker()
        sub.wait_line(sub.err, "^backplane sub: connected to the broker at .*$")
        # It came back without its history, so nobody knows what was lost.
        writer = self.ready_writer()
        writer.send("n", "again")
        sub.wait_line(sub.out, "^n again$")
        self.assertIn("!RESET n", sub.out)
        sub.signal(15)
        self.assertEqual(sub.wait_exit(), 3)

    def test_evicted_history_is_reported_and_strict_exits_with_3(self):
        config = self.config_file("[[backplane]]\n[[backplane.retention]]\npattern = \">\"\nhistory_events = 2\n")
        self.start_broker("--config", config)
        self.publish(*(("n", str(number)) for number in range(1, 10)))
        sub = self.sub("n", "--since", "1", "--count", "2", "--strict")
        self.assertEqual(sub.wait_exit(), 3, sub.transcript())
        self.assertRegex(sub.out[0], "^!GAP n .* history_gone$")
        self.assertEqual(sub.out[1:], ["n 8", "n 9"])

    def test_a_position_that_does_not_exist_yet_is_reported_and_strict_exits_with_3(self):
        self.start_broker()
        self.publish(*(("n", str(number)) for number in range(1, 4)))
        stamp = self.live_reader("n").wait_live().stamp
        for since in ("4", f"{stamp.stream:016x}:1000000", f"{stamp.stream ^ 1:016x}:1"):
            sub = self.sub("n", "--since", since, "--count", "3", "--strict")
            self.assertEqual(sub.wait_exit(), 3, sub.transcript())
            self.assertEqual(sub.out, ["!RESET n", "n 1", "n 2", "n 3"])

    def test_head_ends_sub_quietly_while_events_flow(self):
        self.start_broker()
        self.start_clock(every="5ms")
        command = " ".join(map(shlex.quote, [PROGRAM, "sub", "clock", *ENDPOINTS]))
        shell = self.run_process(["bash", "-c", f"{command} | head -3; echo code ${{PIPESTATUS[0]}}"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual(len(shell.out), 4)
        self.assertEqual(shell.out[3], "code 0")
        self.assertEqual(shell.err, [])

    def test_a_full_disk_is_reported(self):
        self.start_broker()
        self.publish(("n", "x"))
        command = " ".join(map(shlex.quote, [PROGRAM, "sub", "n", "--last", "--count", "1", *ENDPOINTS]))
        shell = self.run_process(["bash", "-c", f"{command} >/dev/full; echo code $?"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual(shell.out, ["code 1"])
        self.assertEqual(shell.err, ["backplane sub: standard output: No space left on device"])

    def test_without_a_control_endpoint_waiting_for_history_is_reported(self):
        self.start_broker()
        sub = self.run_program("sub", "n", "--last", "--egress", EGRESS, "--control", CONTROL.replace("5572", "5599"))
        sub.wait_line(sub.err, "waiting for history from the control endpoint .*: nothing listens there")


if __name__ == "__main__":
    unittest.main()
