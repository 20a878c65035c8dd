"""ZeroMQ sockets at the gateway's port."""

import ctypes.util
import os
import pathlib
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import unittest

import zmq
from backplane.v1 import event_pb2, session_pb2
from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline, gateway_figures, node

FIGURES = f"{HOST}:9572"
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"


def greeting(mechanism=b"NULL"):
    return SIGNATURE + b"\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body, flags=0):
    if len(body) > 255:
        return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def command(name, data=b""):
    return frame(bytes([len(name)]) + name + data, 4)


def hello(socket_type):
    return greeting() + command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type)


class Subscriber:
    """A SUB at the gateway."""

    def __init__(self, context, *prefixes, kind=zmq.SUB, address=GATEWAY, **options):
        self.socket = context.socket(kind)
        for option, value in {"SNDHWM": 0, "LINGER": 0, "RECONNECT_IVL": 50, **options}.items():
            self.socket.setsockopt(getattr(zmq, option), value)
        self.socket.connect(f"tcp://{address}")
        for prefix in prefixes:
            self.subscribe(prefix)

    def subscribe(self, prefix):
        if self.socket.type == zmq.XSUB:
            self.socket.send(b"\x01" + prefix.encode())
        else:
            self.socket.subscribe(prefix)

    def wait_live(self):
        topic = f"$SYS.live.{os.urandom(8).hex()}"
        self.subscribe(topic)
        while (received := self.receive())[0] != topic:
            pass
        return received[1]

    def receive(self, timeout_s=TIMEOUT_S):
        if not self.socket.poll(timeout_s * 1000):
            raise AssertionError(f"no message within {timeout_s} s")
        topic, event = self.socket.recv_multipart()
        return topic.decode(), event_pb2.Event.FromString(event)

    def receive_on(self, topic):
        """The next event of the topic. After a reconnect, libzmq subscribes to earlier nonces again."""
        while (received := self.receive())[0] != topic:
            pass
        return received[1]

    def close(self):
        self.socket.close()


class Zmtp(BackplaneTest):
    FIGURES = FIGURES

    def setUp(self):
        super().setUp()
        self.start()

    def start(self):
        self.broker = self.start_broker()
        self.gateway = self.start_gateway("--workers", "2", "--metrics", FIGURES, "--config", self.config_file(
            "[gateway]\nbacklog_bytes_max = 1048576\n"))

    def subscriber(self, *prefixes, live=True, **options):
        subscriber = Subscriber(self.context, *prefixes, **options)
        self.addCleanup(subscriber.close)
        if live:
            subscriber.wait_live()
        return subscriber

    def figures(self):
        return gateway_figures(self.FIGURES)

    def wait_figure(self, name, value):
        deadline = Deadline()
        while (now := self.figures().get(name)) != value:
            self.assertTrue(deadline.left(), f"expected {name} {value}, got {now}")
            time.sleep(0.1)

    def raw(self, data):
        """A connection that has sent `data`."""
        host, port = GATEWAY.rsplit(":", 1)
        peer = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self.addCleanup(peer.close)
        peer.sendall(data)
        return peer

    def assert_closed(self, peer):
        try:
            while peer.recv(65536):
                pass
        except ConnectionResetError:
            pass


class Subscribing(Zmtp):
    def test_a_sub_gets_what_a_sub_at_the_broker_gets(self):
        here, there, writer = self.subscriber("a."), self.live_reader("a."), self.ready_writer()
        for topic in ("a.x", "b.y", "a.y.z", "a.x"):
            writer.send(topic, "text of " + topic)
        for _ in range(3):
            self.assertEqual(here.receive(), there.receive())

    def test_prefixes_are_bytes(self):
        everything, middle = self.subscriber(""), self.subscriber("sto")
        writer = self.ready_writer()
        for topic in ("stock.MSFT", "stockholm", "other", "stop"):
            writer.send(topic, "x")
        self.assertEqual([everything.receive()[0] for _ in range(4)], ["stock.MSFT", "stockholm", "other", "stop"])
        self.assertEqual([middle.receive()[0] for _ in range(3)], ["stock.MSFT", "stockholm", "stop"])

    def test_every_socket_that_subscribes_does(self):
        xsub = self.subscriber("a", kind=zmq.XSUB)
        beating = self.subscriber("a", HEARTBEAT_IVL=50, HEARTBEAT_TIMEOUT=2000)
        writer = self.ready_writer()
        for number in range(20):
            writer.send("a", str(number))
            time.sleep(0.02)
        for reader in (xsub, beating):
            self.assertEqual([reader.receive()[1].text for _ in range(20)], [str(number) for number in range(20)])

    def test_unsubscribing_ends_it(self):
        subscriber, writer = self.subscriber("a", "b"), self.ready_writer()
        subscriber.socket.unsubscribe("a")
        subscriber.wait_live()
        writer.send("a", "x")
        writer.send("b", "x")
        self.assertEqual(subscriber.receive()[0], "b")

    def test_last_begins_with_the_retained_values(self):
        writer = self.ready_writer()
        for topic in ("stock.A", "stock.B", "other"):
            writer.send(topic, "old")
        self.wait_admitted(writer)
        subscriber = self.subscriber("stock.", "$SYS.last.stock.", live=False)
        self.assertEqual({subscriber.receive()[0] for _ in range(2)}, {"stock.A", "stock.B"})
        writer.send("stock.A", "new")
        topic, event = subscriber.receive()
        self.assertEqual((topic, event.text, event.stamp.offset), ("stock.A", "new", 2))

    def test_a_sub_survives_a_restart_of_the_gateway_and_of_the_broker(self):
        subscriber = self.subscriber("a")
        self.gateway.kill()
        self.gateway.end()
        self.gateway = self.start_gateway()
        subscriber.wait_live()
        writer = self.ready_writer()
        writer.send("a", "after the gateway")
        self.assertEqual(subscriber.receive_on("a").text, "after the gateway")
        writer.close()
        self.broker.kill()
        self.broker.end()
        self.broker = self.start_broker()
        subscriber.wait_live()
        self.ready_writer().send("a", "after the broker")
        self.assertEqual(subscriber.receive_on("a").text, "after the broker")

    def test_a_stalled_sub_harms_nobody_and_learns_what_it_lost(self):
        stalled = self.raw(hello(b"SUB") + command(b"SUBSCRIBE", b"n") + command(b"SUBSCRIBE", b"$SYS.gap."))
        healthy = self.subscriber("n", RCVHWM=0)
        self.wait_figure("zmtp_clients_total.subscriber", 2)
        writer, count, batch, text = self.ready_writer(), 6000, 100, "x" * 5000
        for first in range(1, count, batch):
            for _ in range(batch):
                writer.send("n", text)
            # It reads as fast as it can: a batch fits in its backlog.
            self.assertEqual([healthy.receive()[1].stamp.offset for _ in range(batch)],
                             list(range(first, first + batch)))
        # Now it reads: each offset comes, or is announced as lost, once and in order.
        next_offset, lost, buffered = 1, 0, b""
        reader = MessageSplitter()
        while next_offset <= count:
            buffered = stalled.recv(1 << 20)
            self.assertTrue(buffered, "the gateway closed the connection")
            for frames in reader.read(buffered):
                topic, event = frames[0].decode(), event_pb2.Event.FromString(frames[1])
                if topic == "$SYS.gap.n":
                    gap = session_pb2.ServerMessage.Gap()
                    self.assertTrue(event.message.Unpack(gap))
                    self.assertEqual((gap.topic, gap.first, gap.reason), ("n", next_offset, "slow_consumer"))
                    lost += gap.last - gap.first + 1
                    next_offset = gap.last + 1
                else:
                    self.assertEqual((topic, event.stamp.offset), ("n", next_offset))
                    next_offset += 1
        self.assertGreater(lost, 0)
        self.wait_figure("dropped_total.slow_consumer", lost)
        values = self.figures()
        total = sum(value for name, value in values.items() if name.split(".")[0] in
                    ("delivered_total", "conflated_total", "dropped_total", "skipped_total", "pending"))
        self.assertEqual(values["matched_total"], total, values)

    def test_a_drain_closes_subs_after_their_events(self):
        subscriber, writer = self.subscriber("a"), self.ready_writer()
        for number in range(100):
            writer.send("a", str(number))
        self.wait_admitted(writer)
        self.assertEqual(subscriber.receive()[1].text, "0")
        self.gateway.signal(signal.SIGTERM)
        self.assertEqual(self.gateway.wait_exit(), 0)
        self.assertEqual([subscriber.receive()[1].text for _ in range(99)], [str(number) for number in range(1, 100)])


class Publishing(Zmtp):
    def publisher(self, kind=zmq.XPUB):
        publisher = self.context.socket(kind)
        publisher.setsockopt(zmq.LINGER, int(TIMEOUT_S * 1000))
        publisher.connect(f"tcp://{GATEWAY}")
        self.addCleanup(publisher.close)
        self.assertTrue(publisher.poll(TIMEOUT_S * 1000), "the gateway subscribes to everything")
        self.assertEqual(publisher.recv(), b"\x01")
        return publisher

    def test_a_publishers_messages_become_events(self):
        reader, publisher = self.live_reader("a"), self.publisher()
        publisher.send_multipart([b"a", "21.5 °C".encode()])
        publisher.send_multipart([b"a", b"\xff\x00"])
        _, event = reader.receive()
        self.assertEqual(event.text, "21.5 °C")
        _, event = reader.receive()
        self.assertEqual(event.binary, b"\xff\x00")

    def test_all_of_a_burst_arrive_in_order_from_one_port_to_itself(self):
        subscriber, publisher = self.subscriber("n", RCVHWM=0), self.publisher()
        publisher.setsockopt(zmq.XPUB_NODROP, 1)
        for number in range(5000):
            publisher.send_multipart([b"n", str(number).encode()])
        self.assertEqual([subscriber.receive()[1].text for _ in range(5000)], [str(number) for number in range(5000)])

    def test_what_is_no_event_is_counted_and_the_rest_arrives(self):
        reader, publisher = self.live_reader("a"), self.publisher()
        publisher.send_multipart([b"a..b", b"x"])
        publisher.send_multipart([b"$SYS.x", b"x"])
        publisher.send_multipart([b"a"])
        publisher.send_multipart([b"a", b"b", b"c"])
        publisher.send_multipart([b"a", b"x" * (2 << 20)])
        publisher.send_multipart([b"a", b"good"])
        self.assertEqual(reader.receive()[1].text, "good")
        self.wait_figure("commands_refused_total.other", 5)


NODE = """
    import { Publisher, Subscriber } from "zeromq";
    const [address] = process.argv.slice(2);
    const subscriber = new Subscriber(), publisher = new Publisher();
    subscriber.connect(address);
    subscriber.subscribe("peer.");
    publisher.connect(address);
    setInterval(() => publisher.send(["peer.topic", "from node"]).catch(() => {}), 50);
    for await (const [topic, event] of subscriber) console.log(`${topic} ${event.includes("from node")}`);
"""
# JeroMQ is ZeroMQ in Java, without libzmq.
JAVA = """
    import org.zeromq.ZMQ;
    public class Peer {
      public static void main(String[] arguments) throws Exception {
        ZMQ.Context context = ZMQ.context(1);
        ZMQ.Socket subscriber = context.socket(ZMQ.SUB), publisher = context.socket(ZMQ.PUB);
        subscriber.connect(arguments[0]);
        subscriber.subscribe("peer.".getBytes());
        subscriber.setReceiveTimeOut(50);
        publisher.connect(arguments[0]);
        while (true) {
          publisher.sendMore("peer.topic");
          publisher.send("from java");
          byte[] topic = subscriber.recv(0);
          if (topic == null) continue;
          String event = new String(subscriber.recv(0), "ISO-8859-1");
          System.out.println(new String(topic) + " " + event.contains("from java"));
        }
      }
    }
"""
# czmq is a layer above libzmq, in C.
CZMQ = """
import ctypes, sys
czmq = ctypes.CDLL(sys.argv[1])
address = b">" + sys.argv[2].encode()
def function(name, result, *arguments):
    found = getattr(czmq, name)
    found.restype, found.argtypes = result, arguments
    return found
pointer, text = ctypes.c_void_p, ctypes.c_char_p
subscriber = function("zsock_new_sub", pointer, text, text)(address, b"peer.")
publisher = function("zsock_new_pub", pointer, text)(address)
function("zsock_set_rcvtimeo", None, pointer, ctypes.c_int)(subscriber, 50)
send, send_more = (function(name, ctypes.c_int, pointer, text) for name in ("zstr_send", "zstr_sendm"))
receive, pop = function("zmsg_recv", pointer, pointer), function("zmsg_pop", pointer, pointer)
data, size = function("zframe_data", pointer, pointer), function("zframe_size", ctypes.c_size_t, pointer)
while True:
    send_more(publisher, b"peer.topic")
    send(publisher, b"from czmq")
    if message := receive(subscriber):
        topic, event = (ctypes.string_at(data(frame), size(frame)) for frame in (pop(message), pop(message)))
        print(topic.decode(), b"from czmq" in event, flush=True)
"""
JEROMQ = os.environ.get("JEROMQ", "/usr/share/java/jeromq.jar")
CZMQ_LIBRARY = os.environ.get("CZMQ") or ctypes.util.find_library("czmq")


class OtherBindings(Zmtp):
    def check(self, command, **options):
        """A program that publishes and gets its own events back, and goes on after the gateway has restarted."""
        program = self.run_process(command, **options)
        self.addCleanup(program.kill)
        program.wait_line(program.out, "^peer.topic (True|true)$")
        self.gateway.kill()
        self.gateway = self.start_gateway()
        # What was under way when the gateway ended may still be in the program's output.
        count = len(program.out) + 20
        program.wait_line(program.out, "^peer.topic (True|true)$", since=count)
        self.assertEqual({line.lower() for line in program.out}, {"peer.topic true"})

    def test_npm_zeromq(self):
        self.check(node(NODE, f"tcp://{GATEWAY}"), cwd=pathlib.Path(__file__).parents[2] / "clients/node")

    @unittest.skipUnless(shutil.which("java") and os.path.exists(JEROMQ), "without JeroMQ")
    def test_jeromq(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        source = pathlib.Path(folder.name, "Peer.java")
        source.write_text(JAVA, encoding="utf-8")
        self.check(["java", "-cp", JEROMQ, str(source), f"tcp://{GATEWAY}"])

    @unittest.skipUnless(CZMQ_LIBRARY, "without czmq")
    def test_czmq(self):
        self.check([sys.executable, "-c", CZMQ, CZMQ_LIBRARY, f"tcp://{GATEWAY}"])


class BadInput(Zmtp):
    def assert_harmless(self):
        reader, writer = self.subscriber("after"), self.ready_writer()
        writer.send("after", "x")
        self.assertEqual(reader.receive()[0], "after")

    def test_each_kind_of_nonsense_closes_its_connection_and_is_counted(self):
        sub = hello(b"SUB")
        cases = [
            ("bad_greeting", b"\xff" + bytes(range(100, 164))),
            ("old_version", SIGNATURE[:9] + b"\x00\x01"),
            ("old_version", SIGNATURE + b"\x00\x02"),
            ("bad_mechanism", greeting(b"GSSAPI")),
            ("bad_mechanism", greeting(b"CURVE")),
            ("bad_mechanism", greeting(b"PLAIN")),
            ("bad_socket_type", hello(b"DEALER")),
            ("bad_frame", sub + b"\x80\x01x"),
            ("frame_too_long", sub + b"\x02\x7f" + b"\xff" * 7),
            ("frame_too_long", sub + b"\x02" + b"\x80" + bytes(7)),
            ("too_many_frames", hello(b"PUB") + frame(b"", 1) * 100),
            ("command_too_long", sub + b"\x06" + struct.pack(">Q", 1 << 20)),
            ("bad_subscription", sub + frame(b"\x01" + b"x" * (1 << 20))),
            ("bad_subscription", sub + frame(b"neither")),
            ("unexpected_command", greeting() + command(b"SUBSCRIBE", b"a")),
            ("unexpected_command", sub + command(b"READY")),
            ("bad_command", sub + b"\x04\x00"),
            ("refused_by_peer", greeting() + command(b"ERROR", b"\x03400")),
        ]
        for reason, data in cases:
            with self.subTest(reason=reason, data=data[:80]):
                before = self.figures()[f"zmtp_faults_total.{reason}"]
                self.assert_closed(self.raw(data))
                self.wait_figure(f"zmtp_faults_total.{reason}", before + 1)
        self.assert_harmless()

    def test_a_peer_of_version_2_0_subscribes(self):
        peer = self.raw(SIGNATURE + b"\x01\x02" + frame(b"") + frame(b"\x01a"))
        self.wait_figure("zmtp_clients_total.subscriber", 1)
        writer = self.ready_writer()
        writer.send("a", "x")
        received = b""
        while b"a" not in received[len(SIGNATURE) + 4:]:
            received += peer.recv(4096)
        self.assertEqual(received[:14], SIGNATURE + b"\x03\x09\x00\x00")
        self.assertEqual(received[14:17], b"\x01\x01a")

    def test_half_a_handshake_ends_in_time(self):
        half = [self.raw(greeting()[:size]) for size in (2, 11, 63, 64)]
        self.assert_harmless()
        for peer in half:
            peer.settimeout(TIMEOUT_S + 10)
            self.assert_closed(peer)

    def test_a_million_subscriptions_end_the_connection(self):
        peer = self.raw(hello(b"SUB"))
        try:
            for first in range(0, 1_000_000, 1000):
                peer.sendall(b"".join(command(b"SUBSCRIBE", f"t{number}".encode())
                                      for number in range(first, first + 1000)))
        except OSError:
            pass
        self.wait_figure("goodbyes_total.too_many_subscriptions", 1)
        self.wait_figure("subscriptions", 0)
        self.assert_harmless()


class MessageSplitter:
    """Splits bytes from a gateway into messages, after the greeting."""

    def __init__(self):
        self._buffer = b""
        self._frames = []
        self._greeted = False

    def read(self, data):
        self._buffer += data
        if not self._greeted:
            if len(self._buffer) < 64:
                return
            self._buffer, self._greeted = self._buffer[64:], True
        at = 0
        while len(self._buffer) - at >= 2:
            flags, head = self._buffer[at], 9 if self._buffer[at] & 2 else 2
            if len(self._buffer) - at < head:
                break
            size = int.from_bytes(self._buffer[at + 1:at + head], "big")
            if len(self._buffer) - at < head + size:
                break
            if not flags & 4:
                self._frames.append(self._buffer[at + head:at + head + size])
                if not flags & 1:
                    yield self._frames
                    self._frames = []
            at += head + size
        self._buffer = self._buffer[at:]


if __name__ == "__main__":
    unittest.main()
