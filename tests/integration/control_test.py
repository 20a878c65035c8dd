"""Control from Python, over REQ and DEALER: every request, its limits, and invalid requests."""

import os
import random
import unittest

import zmq
from backplane.events.v1 import clock_tick_pb2
from backplane.v1 import control_pb2, event_pb2, system_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from harness import CONTROL, BackplaneTest

REPLY_BYTES_MAX = 256 << 10
REPLY_EVENTS_MAX = 512


class ControlTest(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker(*self.options())

    def options(self):
        return []

    def publish(self, topics, count, payload=""):
        """Publishes `count` events, on the topics in turn. Returns when the broker has admitted them."""
        writer = self.ready_writer()
        for number in range(count):
            writer.send(topics[number % len(topics)], payload or str(number + 1))
        self.wait_admitted(writer)
        return writer

    def read_all(self, control_client, **request):
        """Checks the limits of each slice. Returns (topic, Event) of all slices, and the number of slices."""
        events, slices = [], 0
        for reply, size in control_client.pages(**request):
            slices += 1
            part = getattr(reply, reply.WhichOneof("reply")).events
            self.assertLessEqual(len(part), REPLY_EVENTS_MAX)
            self.assertTrue(size <= REPLY_BYTES_MAX or len(part) == 1, f"{size} bytes with {len(part)} events")
            events += [(stored.topic, event_pb2.Event.FromString(stored.event)) for stored in part]
        return events, slices


class Requests(ControlTest):
    def test_hello_identifies_the_broker_and_announces_the_source(self):
        for kind in (zmq.REQ, zmq.DEALER):
            control_client, reader = self.control_client(kind), self.live_reader("$SYS.source.")
            hello = {"name": f"probe{kind}@test", "session": 7, "role": control_pb2.HelloRequest.ROLE_PUBLISHER}
            reply = control_client.request(hello=hello)
            self.assertEqual((reply.version, reply.broker, reply.WhichOneof("end")), (1, "default", "complete"))
            self.assertRegex(reply.hello.version, r"^\d+\.\d+\.\d+")
            self.assertEqual((reply.hello.draining, reply.hello.max_event_bytes), (False, 1 << 20))
            control_client.request(hello={**hello, "closing": True})
            for up, reason in ((True, ""), (False, "closed")):
                topic, event = reader.receive()
                self.assertEqual(topic, f"$SYS.source.probe{kind}@test")
                status = system_pb2.SourceStatus()
                self.assertTrue(event.message.Unpack(status))
                self.assertEqual((status.name, status.up, status.reason), (hello["name"], up, reason))

    def test_frames_before_the_last_are_echoed(self):
        with self.context.socket(zmq.DEALER) as control_client:
            control_client.setsockopt(zmq.LINGER, 0)
            control_client.connect(CONTROL)
            request = control_pb2.ControlRequest(version=1, stats=control_pb2.StatsRequest()).SerializeToString()
            control_client.send_multipart([b"mine", b"\x00\xff", b"", request])
            self.assertTrue(control_client.poll(30_000))
            self.assertEqual(control_client.recv_multipart()[:-1], [b"mine", b"\x00\xff", b""])

    def test_32_requests_at_once_over_a_dealer_get_one_reply_each(self):
        control_client = self.control_client(zmq.DEALER)
        for begin in range(0, 640, 32):
            for number in range(begin, begin + 32):
                control_client.send(control_pb2.ControlRequest(version=1, id=number, admitted={"source": "nobody"}))
            self.assertEqual([control_client.reply().id for _ in range(32)], list(range(begin, begin + 32)))

    def test_a_client_that_never_reads_its_replies_harms_no_other(self):
        self.publish(["n"], 2000, payload="x" * 500)
        deaf = self.control_client(zmq.DEALER)
        for _ in range(5000):
            deaf.send(control_pb2.ControlRequest(version=1, replay={"pattern": "n", "after_offset": 0}))
        self.assertEqual(len(self.read_all(self.control_client(), replay={"pattern": "n", "after_offset": 0})[0]), 2000)

    def test_replay_from_every_start_in_slices(self):
        self.publish(["a.x", "a.y", "b"], 6000)
        for kind in (zmq.REQ, zmq.DEALER):
            control_client = self.control_client(kind)
            stream = control_client.request(stats={}).stream
            events, slices = self.read_all(
                control_client, replay={"pattern": ">", "after_position": {"stream": stream, "position": 0}})
            self.assertEqual([event.sequence for _, event in events], list(range(1, 6001)))
            self.assertGreaterEqual(slices, 6000 // REPLY_EVENTS_MAX)
            positions = [event.stamp.position for _, event in events]
            self.assertEqual(positions, sorted(set(positions)))

            middle = positions[2999]
            after = {"stream": stream, "position": middle}
            events, _ = self.read_all(control_client, replay={"pattern": "a.*", "after_position": after,
                                                     "until_position": positions[4499]})
            self.assertEqual([event.sequence for _, event in events],
                             [number for number in range(3001, 4501) if number % 3])

            events, _ = self.read_all(control_client, replay={"pattern": "b", "after_offset": 1500})
            self.assertEqual([event.stamp.offset for _, event in events], list(range(1501, 2001)))

            first = self.read_all(control_client, replay={"pattern": "b", "after_offset": 999})[0][0][1]
            since = first.stamp.received_ns
            events, _ = self.read_all(control_client, replay={"pattern": "b", "since_ns": since})
            self.assertEqual(events[-1][1].stamp.offset, 2000)
            self.assertLessEqual(events[0][1].stamp.offset, 1000)
            self.assertTrue(all(event.stamp.received_ns >= since for _, event in events))

    def test_a_large_event_travels_alone(self):
        self.publish(["n"], 3, payload="x" * 300_000)
        events, slices = self.read_all(self.control_client(), replay={"pattern": "n", "after_offset": 0})
        self.assertEqual([len(event.text) for _, event in events], [300_000] * 3)
        self.assertGreaterEqual(slices, 3)

    def test_replay_refuses_another_stream_and_an_invalid_start(self):
        control_client = self.control_client()
        stream = control_client.request(stats={}).stream
        for code, request in (
                ("other_stream", {"pattern": "n", "after_position": {"stream": stream ^ 1, "position": 0}}),
                ("malformed", {"pattern": "n"}),
                ("bad_pattern", {"pattern": "a..b", "since_ns": 0}),
                ("bad_pattern", {"pattern": "a.*", "after_offset": 0}),
                ("bad_cursor", {"pattern": "n", "after_offset": 0, "cursor": b"forged"})):
            reply = control_client.request(replay=request)
            self.assertEqual(reply.error.code, code)
            self.assertNotEqual(reply.error.text, "")

    def test_retained_returns_the_last_value_of_each_topic_by_name(self):
        topics = [f"value.{number:04}" for number in range(1500)]
        writer = self.publish(topics, 3000)
        writer.send_frames(b"value.0007", writer.event().SerializeToString())  # no payload: clears the value
        self.wait_admitted(writer)
        for kind in (zmq.REQ, zmq.DEALER):
            events, slices = self.read_all(self.control_client(kind), retained={"pattern": "value.*"})
            self.assertGreaterEqual(slices, 2)
            self.assertEqual([topic for topic, _ in events], topics[:7] + topics[8:])
            self.assertTrue(all(event.stamp.offset == 2 for _, event in events))

    def test_tails_are_the_topics_that_changed(self):
        topics = [f"tail.{number:04}" for number in range(1200)]
        self.publish(topics, 1200)
        control_client = self.control_client()
        replies = [reply for reply, _ in control_client.pages(tails={"patterns": ["tail.>"]})]
        tails = [tail for reply in replies for tail in reply.tails.tails]
        self.assertGreaterEqual(len(replies), 3)
        self.assertEqual([(tail.topic, tail.offset) for tail in tails], [(topic, 1) for topic in topics])
        later = [tail.topic for reply, _ in control_client.pages(
            tails={"patterns": ["nothing", "tail.*"], "after_position": tails[1195].position})
            for tail in reply.tails.tails]
        self.assertEqual(later, topics[1196:])

    def test_topics_are_listed_with_their_history(self):
        self.publish([f"list.{number:04}" for number in range(1100)], 2200)
        replies = [reply for reply, _ in self.control_client().pages(topics={"pattern": "list.*"})]
        listed = [topic for reply in replies for topic in reply.topics.topics]
        self.assertEqual([topic.name for topic in listed], [f"list.{number:04}" for number in range(1100)])
        self.assertTrue(all((topic.offset, topic.events, topic.history_events) == (2, 2, 2) for topic in listed))
        self.assertTrue(all(topic.value_bytes > 0 and topic.received_ns > 0 for topic in listed))

    def test_admitted_returns_the_last_sequence_of_a_session(self):
        writer = self.publish(["n"], 250)
        control_client = self.control_client()
        who = {"source": writer.source, "session": writer.session}
        self.assertEqual(control_client.request(admitted=who).admitted.sequence, 250)
        writer.send("not a topic", "x")
        self.wait_admitted(writer)
        admitted = control_client.request(admitted=who).admitted
        self.assertEqual((admitted.sequence, admitted.refused, admitted.refused_sequence, admitted.refused_reason),
                         (250, 1, 251, "bad_topic"))
        self.assertEqual(control_client.request(admitted={**who, "session": writer.session ^ 1}).admitted.sequence, 0)

    def test_stats_have_the_counters_and_the_participants(self):
        self.publish(["n"], 10)
        control_client = self.control_client(zmq.DEALER)
        for number in range(600):
            control_client.request(hello={"name": f"client{number:03}", "role": control_pb2.HelloRequest.ROLE_CLIENT,
                             "counters": {"deliveries": number}})
        replies = [reply.stats for reply, _ in control_client.pages(stats={})]
        self.assertGreaterEqual(len(replies), 2)
        self.assertEqual((replies[0].counters["received_total"], replies[0].counters["published_total"]), (10, 10))
        self.assertEqual([dict(stats.counters) for stats in replies[1:]], [{}] * (len(replies) - 1))
        participants = [who for stats in replies for who in stats.participants]
        self.assertEqual([who.name for who in participants], [f"client{number:03}" for number in range(600)])
        self.assertEqual([who.counters["deliveries"] for who in participants], list(range(600)))
        self.assertTrue(all(who.up for who in participants))
        self.assertGreater(replies[0].started_ns, 0)


class SmallHistory(ControlTest):
    def options(self):
        return ["--config", self.config_file("[[backplane]]\nhistory_events = 100\n")]

    def test_an_evicted_start_is_reported_with_the_first_available_position(self):
        self.publish(["n"], 1000)
        control_client = self.control_client()
        stream = control_client.request(stats={}).stream
        reply = control_client.request(replay={"pattern": "n", "after_position": {"stream": stream, "position": 0}})
        self.assertEqual(reply.WhichOneof("end"), "gone")
        self.assertEqual(len(reply.replay.events), 0)
        events, _ = self.read_all(control_client, replay={"pattern": "n", "after_position": {
            "stream": stream, "position": reply.gone.first_available - 1}})
        self.assertEqual([event.stamp.offset for _, event in events], list(range(901, 1001)))

        reply = control_client.request(replay={"pattern": "n", "after_offset": 5})
        self.assertEqual((reply.WhichOneof("end"), reply.gone.first_available_offset), ("gone", 901))
        events, _ = self.read_all(control_client, replay={"pattern": "n", "after_offset": 900})
        self.assertEqual([event.stamp.offset for _, event in events], list(range(901, 1001)))


class Types(ControlTest):
    def files_of_a_new_type(self):
        file = descriptor_pb2.FileDescriptorProto(name="acme/reading.proto", package="acme", syntax="proto3")
        message = file.message_type.add(name="Reading")
        message.field.add(name="station", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
        message.field.add(name="ppm", number=2, type="TYPE_DOUBLE", label="LABEL_OPTIONAL")
        return descriptor_pb2.FileDescriptorSet(file=[file])

    def type_in(self, files, name):
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))

    def test_a_type_that_a_publisher_registers_can_be_read_by_anyone(self):
        files = self.files_of_a_new_type()
        reply = self.control_client().request(types={"register_files": files})
        self.assertEqual(reply.WhichOneof("end"), "complete", reply.error.text)
        reading = self.type_in(files, "acme.Reading")(station="north", ppm=421.5)
        event = event_pb2.Event()
        event.message.Pack(reading)
        reader, writer = self.live_reader("air"), self.ready_writer()
        writer.send_frames(b"air", event.SerializeToString())

        received = reader.receive()[1].message
        name = received.TypeName()
        fetched = self.control_client(zmq.DEALER).request(types={"names": [name, "acme.Unheard"]}).types
        self.assertEqual(list(fetched.unknown), ["acme.Unheard"])
        decoded = self.type_in(fetched.files, name).FromString(received.value)
        self.assertEqual((decoded.station, decoded.ppm), ("north", 421.5))

    def test_a_definition_that_contradicts_a_registered_type_is_refused(self):
        control_client, files = self.control_client(), self.files_of_a_new_type()
        control_client.request(types={"register_files": files})
        self.assertEqual(control_client.request(types={"register_files": files}).WhichOneof("end"), "complete")
        files.file[0].message_type[0].field[1].type = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
        self.assertEqual(control_client.request(types={"register_files": files}).error.code, "conflict")
        lost = descriptor_pb2.FileDescriptorSet()
        lost.file.add(name="acme/lost.proto", syntax="proto3", dependency=["acme/nowhere.proto"])
        self.assertEqual(control_client.request(types={"register_files": lost}).error.code, "bad_types")

    def test_the_types_that_come_with_backplane_can_be_registered(self):
        files = descriptor_pb2.FileDescriptorSet()
        for file in (clock_tick_pb2.DESCRIPTOR, *clock_tick_pb2.DESCRIPTOR.dependencies):
            file.CopyToProto(files.file.add())
        control_client = self.control_client()
        self.assertEqual(control_client.request(types={"register_files": files}).WhichOneof("end"), "complete")
        every = [file.name for reply, _ in control_client.pages(types={}) for file in reply.types.files.file]
        self.assertIn("backplane/events/v1/clock_tick.proto", every)


class InvalidRequests(ControlTest):
    def assert_answers(self):
        self.assertEqual(self.control_request(stats=control_pb2.StatsRequest()).WhichOneof("end"), "complete")

    def test_a_request_of_another_version_gets_the_supported_one(self):
        for kind in (zmq.REQ, zmq.DEALER):
            control_client = self.control_client(kind)
            control_client.send(control_pb2.ControlRequest(version=2, id=9, stats=control_pb2.StatsRequest()))
            reply = control_client.reply()
            self.assertEqual((reply.version, reply.id, reply.error.code), (1, 9, "version"))

    def test_random_bytes_get_one_reply_each(self):
        chance = random.Random(5572)
        good = control_pb2.ControlRequest(version=1, replay={"pattern": ">", "since_ns": 0}).SerializeToString()
        for kind in (zmq.REQ, zmq.DEALER):
            control_client = self.control_client(kind)
            for number in range(400):
                if number % 2:
                    request = chance.randbytes(chance.randrange(200))
                else:  # a valid request with some bytes changed
                    request = bytearray(good)
                    for _ in range(chance.randrange(1, 4)):
                        request[chance.randrange(len(request))] = chance.randrange(256)
                control_client.send_bytes(bytes(request))
                self.assertIsNotNone(control_client.reply().WhichOneof("end"))
        self.assert_answers()

    def test_an_empty_request_is_an_error(self):
        control_client = self.control_client()
        control_client.send(control_pb2.ControlRequest(version=1, id=3))
        reply = control_client.reply()
        self.assertEqual((reply.id, reply.error.code), (3, "unknown_request"))

    def test_a_request_without_an_envelope_is_ignored(self):
        with self.context.socket(zmq.DEALER) as control_client:
            control_client.setsockopt(zmq.LINGER, 0)
            control_client.connect(CONTROL)
            control_client.send_multipart([b"x"] * 30)  # more than any envelope
            control_client.send_multipart([b"", control_pb2.ControlRequest(version=1, id=5).SerializeToString()])
            self.assertTrue(control_client.poll(30_000))
            self.assertEqual(control_pb2.ControlReply.FromString(control_client.recv_multipart()[-1]).id, 5)

    def test_a_huge_request_gets_a_reply_and_one_above_the_limit_costs_only_its_own_connection(self):
        other = self.control_client(zmq.DEALER)
        other.request(stats={})
        large = self.control_client()
        large.send(control_pb2.ControlRequest(version=1, tails={"patterns": ["x"] * 300_000}))
        self.assertEqual(large.reply().error.code, "too_large")
        large.send(control_pb2.ControlRequest(version=1, replay={"pattern": "x" * 1_000_000, "since_ns": 0}))
        self.assertEqual(large.reply().error.code, "bad_pattern")

        with self.context.socket(zmq.DEALER) as cut:
            cut.setsockopt(zmq.LINGER, 0)
            with cut.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                cut.connect(CONTROL)
                cut.send_multipart([b"", os.urandom(8 << 20)])
                self.assertTrue(monitor.poll(30_000), "8 MiB were taken")
        self.assertEqual(other.request(stats={}).WhichOneof("end"), "complete")
        self.assert_answers()


if __name__ == "__main__":
    unittest.main()
