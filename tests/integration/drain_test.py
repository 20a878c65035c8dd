"""A broker that drains: everything that publishers had sent before it arrives."""

import signal
import socket
import subprocess
import threading
import unittest

import zmq
from backplane.v1 import control_pb2, system_pb2
from harness import ENDPOINTS, HOST, TIMEOUT_S, RAW, ControlClient, BackplaneTest, Deadline, Writer, position_and_offset

# Well above drain_limit (5 s): only a broker that does not end takes longer.
END_S = 20


class Load:
    """A publisher on a thread of its own: sends numbered events on one topic until stopped."""

    def __init__(self, writer, topic):
        self._writer, self._topic = writer, topic.encode()
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while not self._stop.is_set():
            if self._send(self._writer.event(text=f"{self.sent + 1}").SerializeToString()):
                self.sent += 1

    def _send(self, event):
        """Returns True if sent, False if stopped."""
        while not self._stop.is_set():
            try:
                self._writer.send_frames(self._topic, event)
                return True
            except zmq.Again:  # the broker is slow, or gone
                pass
        return False

    def wait_sent(self, count):
        deadline = Deadline()
        while self.sent < count:
            if not deadline.left():
                raise AssertionError(f"only {self.sent} of {count} events could be sent")
            self._thread.join(0.01)

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise AssertionError("a publisher hangs")


class FrozenSubscriber:
    """A SUB that reads nothing after it is live. It sends something now and then: a silent one would be disconnected."""

    GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)
    READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB"
    PING = b"\x04\x07\x04PING\0\0"

    def __init__(self, port, prefix):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect((HOST, port))
        nonce = b"$SYS.live.frozen"
        subscriptions = b"".join(bytes([0, 1 + len(each)]) + b"\x01" + each for each in (prefix, nonce))
        self._socket.sendall(self.GREETING)
        self._read_until(lambda said: len(said) >= len(self.GREETING))
        self._socket.sendall(self.READY + subscriptions)
        self._read_until(lambda said: nonce in said)

    def _read_until(self, enough):
        said = b""
        while not enough(said):
            more = self._socket.recv(4096)
            if not more:
                raise AssertionError(f"the broker closed the connection after {said}")
            said += more

    def say_something(self):
        self._socket.sendall(self.PING)

    def close(self):
        self._socket.close()


class Drain(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()

    def start_load(self, publishers=3):
        loads = {}
        for number in range(publishers):
            topic = f"load.{number}"
            loads[topic] = Load(self.ready_writer(source=f"load{number}@test", send_timeout_s=0.1), topic)
            self.addCleanup(loads[topic].stop)
        return loads

    def read_to_the_end(self, reader):
        """Checks that offsets are consecutive and that the notice comes last. Returns the number of events per topic."""
        offsets = {}
        deadline = Deadline(60)
        while deadline.left():
            topic, event = reader.receive_frames()
            if topic == b"$SYS.drain":
                return offsets
            if topic.startswith(b"load."):
                offset = position_and_offset(event)[1]
                self.assertEqual(offset, offsets.get(topic.decode(), 0) + 1)
                offsets[topic.decode()] = offset
        self.fail(f"no notice, but events up to {offsets}")

    def send_while_it_stands_still(self):
        """Sends events while the broker is stopped, then continues it. Returns the number of events per topic."""
        count = 1_500
        writers = {f"load.{number}": self.ready_writer(source=f"load{number}@test") for number in range(3)}
        writers["load.raw"] = self.ready_writer(endpoint=RAW)
        self.broker.signal(signal.SIGSTOP)
        for topic, writer in writers.items():
            for _ in range(count):
                writer.send(topic, "x" * 500)
        return dict.fromkeys(writers, count)

    def test_everything_that_publishers_had_sent_arrives_before_the_end(self):
        reader = self.live_reader("")
        sent = self.send_while_it_stands_still()
        self.broker.signal(signal.SIGTERM)
        self.broker.signal(signal.SIGCONT)
        self.assertEqual(self.read_to_the_end(reader), sent)
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())

    def test_a_drain_request_does_the_same(self):
        reader, control_client = self.live_reader(""), self.control_client()
        control_client.request(stats={})
        sent = self.send_while_it_stands_still()
        control_client.send(control_pb2.ControlRequest(version=1, drain=control_pb2.DrainRequest()))
        self.broker.signal(signal.SIGCONT)
        reply = control_client.reply()
        self.assertEqual((reply.WhichOneof("end"), reply.WhichOneof("reply")), ("complete", "drain"))
        self.assertEqual(self.read_to_the_end(reader), sent)
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())

    def test_publishers_that_do_not_stop_do_not_delay_the_drain(self):
        reader, loads = self.live_reader(""), self.start_load()
        for load in loads.values():
            load.wait_sent(1_000)
        sent = {topic: load.sent for topic, load in loads.items()}
        self.broker.signal(signal.SIGTERM)
        arrived = self.read_to_the_end(reader)
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())
        self.assertEqual({topic: min(count, arrived[topic]) for topic, count in sent.items()}, sent)

    def test_the_drain_notice_is_an_event_that_names_the_backplane(self):
        reader = self.live_reader("$SYS.drain")
        self.broker.signal(signal.SIGINT)
        topic, event = reader.receive()
        notice = system_pb2.DrainNotice()
        self.assertTrue(event.message.Unpack(notice))
        self.assertEqual((topic, notice.backplane), ("$SYS.drain", "default"))
        self.assertEqual(self.broker.wait_exit(END_S), 0)

    def test_publishers_are_notified_while_the_broker_drains(self):
        # They do not stop: the broker drains for half its limit, and replies meanwhile.
        limit = self.config_file('[[backplane]]\ndrain_limit = "20s"\n')
        self.broker.end()
        self.broker = self.start_broker("--config", limit)
        loads, control_client = self.start_load(publishers=1), self.control_client()
        loads["load.0"].wait_sent(100)
        who = {"source": "load0@test", "session": 1}
        self.assertFalse(control_client.request(admitted=who).admitted.draining)
        self.broker.signal(signal.SIGTERM)
        self.broker.wait_line(self.broker.err, "draining")
        deadline = Deadline()
        while not control_client.request(admitted=who).admitted.draining:
            self.assertTrue(deadline.left(), "no notice that it drains")
        self.assertTrue(control_client.request(hello={"name": "x"}).hello.draining)
        loads["load.0"].stop()
        self.assertEqual(self.broker.wait_exit(END_S), 0)

    def start_two(self, drain_limit):
        """Starts two backplanes instead of one. Returns their first ports: ingress, followed by egress and control."""
        self.broker.end()
        ports = {"one": 5600, "other": 5610}
        text = "".join(f'[[backplane]]\nname = "{name}"\ndrain_limit = "{drain_limit}"\nraw = "off"\n' + "".join(
            f'{key} = "tcp://{HOST}:{first + at}"\n' for at, key in enumerate(("ingress", "egress", "control")))
            for name, first in ports.items())
        self.broker = self.run_program("broker", "--config", self.config_file(f'{text}[metrics]\nlisten = "off"\n'))
        self.broker.ready()
        return ports["one"], ports["other"]

    def listens(self, port):
        try:
            socket.create_connection((HOST, port), timeout=TIMEOUT_S).close()
        except ConnectionRefusedError:
            return False
        return True

    def test_a_drained_backplane_closes_its_ports_and_the_other_continues(self):
        one, other = self.start_two("5s")
        control_client = ControlClient(self.context, control=f"tcp://{HOST}:{one + 2}")
        self.addCleanup(control_client.close)
        control_client.request(drain={})
        deadline = Deadline()
        while any(self.listens(one + at) for at in range(3)):
            self.assertTrue(deadline.left(), "it listens but serves no client")
        control_client = ControlClient(self.context, control=f"tcp://{HOST}:{other + 2}")
        self.addCleanup(control_client.close)
        self.assertEqual(control_client.request(stats={}).broker, "other")
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())

    def test_a_subscriber_that_does_not_read_delays_no_other_backplane(self):
        one, other = self.start_two("10m")
        stuck = FrozenSubscriber(one + 1, b"n")
        self.addCleanup(stuck.close)
        writer = Writer(self.context, endpoint=f"tcp://{HOST}:{one}")
        self.addCleanup(writer.close)
        writer.wait_ready()
        # More than the kernel buffers for it.
        for _ in range(64):
            writer.send("n", "x" * 1_000_000)
        self.broker.signal(signal.SIGTERM)
        deadline = Deadline()
        while self.listens(other):
            stuck.say_something()
            self.assertTrue(deadline.left(), "the other backplane waits for it")
        self.assertTrue(self.broker.running(), self.broker.transcript())
        stuck.close()
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())

    def test_a_publisher_whose_broker_drains_and_comes_back_loses_nothing(self):
        reader = self.live_reader("log")
        publisher = self.run_program("publish", "lines", "--topic", "log", *ENDPOINTS, stdin=subprocess.PIPE)
        publisher.ready()
        half, count = 20_000, 40_000
        feeder = threading.Thread(target=self.feed, args=(publisher, count), daemon=True)
        feeder.start()
        texts = []
        while len(texts) < half:
            texts.append(reader.receive()[1].text)
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait_exit(END_S), 0, self.broker.transcript())
        broker = self.start_broker()
        self.assertEqual(publisher.wait_exit(60), 0, publisher.transcript())
        feeder.join(60)
        while reader.poll_now():
            texts.append(reader.receive()[1].text)
        # A SUB may connect late to the new broker: read its history for the events before.
        before = set(map(int, texts))
        after = [int(event.text) for event in self.history(self.control_client(), "log")]
        self.assertTrue(broker.running())
        self.assertEqual(sorted(before | set(after)), list(range(count)))
        self.assertEqual(after, sorted(after))

    def feed(self, publisher, count):
        for number in range(count):
            publisher.stdin.write(f"{number}\n")
        publisher.stdin.close()


if __name__ == "__main__":
    unittest.main()
