"""What clients of the gateway can do apart from plain subscriptions: history, intervals, policies, formats, topics,
feeds."""

import json
import re
import socket
import unittest
import urllib.request

from backplane.v1 import event_pb2, session_pb2
from google.protobuf.internal.decoder import _DecodeVarint32
from google.protobuf.internal.encoder import _VarintBytes
from harness import ENDPOINTS, GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline, LineClient


class Protocol(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.gateway = self.start_gateway()
        self.publisher = self.ready_writer()

    def client_with_offsets(self):
        client = self.client()
        self.assertEqual(client.command("FORMAT text+offset"), "+OK FORMAT text+offset")
        return client

    def published(self, count, topic="n"):
        for number in range(count):
            self.publisher.send(topic, str(number))
        self.wait_admitted(self.publisher)

    def subscribe(self, client, what):
        self.assertEqual(client.command(f"SUB {what}"), f"+OK SUB {what.split(' ')[0]}")

    def test_since_an_offset_replays_the_events_after_it_and_continues_live(self):
        self.published(2000)
        client = self.client_with_offsets()
        self.subscribe(client, "n since=500")
        for offset in range(501, 2001):
            self.assertEqual(client.event(), f"n {offset} {offset - 1}")
        self.publisher.send("n", "live")
        self.assertEqual(client.event(), "n 2001 live")

    def test_since_joins_live_events_without_hole_or_duplicate(self):
        """Many clients read from the beginning while the publisher continues."""
        self.published(3000)
        clients = []
        for number in range(40):
            client = self.client_with_offsets()
            client.send("SUB n since=0")
            clients.append(client)
            self.published(50)
        self.publisher.send("the.end", "x")
        last = 3000 + 40 * 50
        for client in clients:
            self.assertEqual(client.reply(), "+OK SUB n")
            for offset in range(1, last + 1):
                self.assertEqual(client.event().split(" ")[:2], ["n", str(offset)])
            self.assertFalse([line for line in client.lines if line.startswith("!")])

    def test_since_a_time_replays_the_events_of_that_time(self):
        self.published(10)
        client = self.client_with_offsets()
        self.subscribe(client, "> since=10m")
        for offset in range(1, 11):
            self.assertEqual(client.event(), f"n {offset} {offset - 1}")

    def test_a_resume_token_resumes_where_the_reader_was(self):
        client = self.client()
        client.command("FORMAT json")
        self.subscribe(client, "a.>")
        for number in range(10):
            self.publisher.send(f"a.{number % 3}", str(number))
        events = [json.loads(client.event()) for _ in range(10)]
        token = f"{events[3]['stream']}:{events[3]['position']}"
        again = self.client()
        again.command("FORMAT json")
        self.subscribe(again, f"a.> since={token}")
        self.assertEqual([json.loads(again.event())["text"] for _ in range(6)], [str(n) for n in range(4, 10)])

    def test_since_an_offset_needs_one_topic(self):
        client = self.client()
        self.assertRegex(client.command("SUB a.> since=3"), "^-ERR offset_needs_exact_topic .+")

    def test_events_that_history_no_longer_has_are_announced(self):
        reader = self.live_reader("n")
        token = reader.wait_live().stamp
        self.published(3)
        client = self.client_with_offsets()
        self.subscribe(client, f"n since={token.stream ^ 1:016x}:{token.position}")
        self.assertEqual(client.notice(), "!RESET n")
        self.assertEqual([client.event() for _ in range(3)], ["n 1 0", "n 2 1", "n 3 2"])

    def test_since_a_position_that_does_not_exist_is_a_reset(self):
        token = self.live_reader("n").wait_live().stamp
        self.published(3)
        for since in ("4", f"{token.stream:016x}:1000000"):
            client = self.client_with_offsets()
            self.subscribe(client, f"n since={since}")
            self.assertEqual(client.notice(), "!RESET n")
            self.assertEqual([client.event() for _ in range(3)], ["n 1 0", "n 2 1", "n 3 2"])
            self.publisher.send("n", "live")
            self.assertEqual(client.event().split(" ")[2], "live")

    def test_every_sends_the_first_event_at_once_and_the_last_at_the_end(self):
        client = self.client_with_offsets()
        self.subscribe(client, "n every=300ms")
        self.published(500)
        first, *others = client.event(), client.event()
        self.assertEqual(first, "n 1 0")
        while others[-1] != "n 500 499":
            others.append(client.event())
        self.assertLess(len(others), 250)

    def test_last_and_then_every_event(self):
        self.published(5)
        client = self.client_with_offsets()
        self.subscribe(client, "n last")
        self.assertEqual(client.event(), "n 5 4")
        self.publisher.send("n", "live")
        self.assertEqual(client.event(), "n 6 live")

    def test_topics_lists_all_topics_in_order_of_commands(self):
        for topic in ("a.b", "a.c", "b"):
            self.published(3, topic)
        client = self.client()
        self.subscribe(client, "nothing.here")  # the reply comes when the gateway has its broker
        client.send("TOPICS a.*")
        client.send("PING")
        self.assertRegex(client.reply(), r"^\+TOPIC a\.b 3 \d+ \d+\.\d$")
        self.assertRegex(client.reply(), r"^\+TOPIC a\.c 3 \d+ \d+\.\d$")
        self.assertEqual([client.reply(), client.reply()], ["+OK TOPICS 2", "+PONG"])
        self.assertEqual(client.command("TOPICS nothing.here"), "+OK TOPICS 0")

    def test_policy_latest_conflates_and_announces_nothing(self):
        client, witness = self.client_with_offsets(), self.client()
        self.subscribe(witness, "big.end")
        self.subscribe(client, "big.> policy=latest")
        text = "x" * 50_000
        for number in range(1000):
            self.publisher.send(f"big.{number % 10}", text)
        self.publisher.send("big.end", "x")
        self.assertEqual(witness.event(), "big.end x")  # the gateway has received everything, and no client has read
        events = client.events_until("big.end 1 x")
        self.assertLess(len(events), 1000)
        self.assertEqual({line.split(" ", 2)[0]: line.split(" ", 2)[1] for line in events},
                         {f"big.{number}": "100" for number in range(10)})
        self.assertFalse([line for line in client.lines if line.startswith("!")])

    def test_policy_disconnect_gives_the_reason(self):
        client, witness = self.client_with_offsets(), self.client()
        self.subscribe(witness, "end")
        self.subscribe(client, "big policy=disconnect")
        text = "x" * 50_000
        for _ in range(1000):
            self.publisher.send("big", text)
        self.publisher.send("end", "x")
        self.assertEqual(witness.event(), "end x")  # the gateway has received everything, and no client has read
        client.wait_closed()
        events = [line for line in client.lines if line.startswith("big ")]
        self.assertLess(len(events), 1000)
        # The client gets the reason only if it reads in time; the gateway's metrics have it in any case.
        if (last := client.lines[-1]).startswith("!"):
            self.assertEqual(last, "!BYE slow_consumer")
        said = 'backplane_gateway_goodbyes_total{backplane="default",reason="slow_consumer"} 1'
        deadline = Deadline()
        while said not in self.own_metrics():
            self.assertTrue(deadline.left())

    def own_metrics(self):
        with urllib.request.urlopen(f"http://{GATEWAY}/metrics", timeout=TIMEOUT_S) as page:
            return page.read().decode().splitlines()

    def test_proto_has_the_brokers_bytes(self):
        reader, client = self.live_reader("n"), self.client()
        self.assertEqual(client.command("FORMAT proto"), "+OK FORMAT proto")

        def send(**message):
            data = session_pb2.ClientMessage(**message).SerializeToString()
            client.send_bytes(_VarintBytes(len(data)) + data)

        buffer = bytearray()

        def receive():
            deadline = Deadline()
            while True:
                try:
                    size, start = _DecodeVarint32(bytes(buffer[:10]), 0)
                except IndexError:
                    size, start = 1 << 40, 0
                if len(buffer) >= start + size:
                    message = session_pb2.ServerMessage.FromString(bytes(buffer[start:start + size]))
                    del buffer[:start + size]
                    return message
                client._socket.settimeout(deadline.left())
                buffer.extend(client._socket.recv(65536))

        send(subscribe={"pattern": "n"})
        self.assertEqual(receive().ok.argument, "n")
        send(publish={"topic": "n", "text": "one"})
        kinds = {}
        for _ in range(2):
            message = receive()
            kinds[message.WhichOneof("message")] = message
        self.assertEqual(kinds["ok"].ok.command, "PUB")
        self.assertEqual(kinds["delivery"].delivery.event, event_pb2.Event.FromString(reader.receive_frames()[1]))
        send(ping={})
        self.assertTrue(receive().HasField("pong"))

    def test_a_type_that_the_gateway_was_not_built_with_becomes_readable(self):
        from google.protobuf import descriptor_pb2, any_pb2
        file = descriptor_pb2.FileDescriptorProto(name="strange.proto", package="strange", syntax="proto3")
        message = file.message_type.add(name="Thing")
        message.field.add(name="weight", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
                          label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        self.control_request(types={"register_files": {"file": [file]}})
        client = self.client()
        client.subscribe("thing")
        deadline = Deadline()
        while True:
            self.publisher.send_frames(b"thing", self.publisher.event(message=any_pb2.Any(
                type_url="type.googleapis.com/strange.Thing", value=b"\x08\x2a")).SerializeToString())
            line = client.event()
            if line == 'thing {"weight":42}':
                break
            self.assertEqual(line, 'thing {"@type":"type.googleapis.com/strange.Thing","value":"CCo="}')
            self.assertTrue(deadline.left())


class Listeners(BackplaneTest):
    """Several listeners, feeds, backplanes and brokers."""

    def connect(self, port, host=HOST):
        client = LineClient(f"{host}:{port}")
        self.addCleanup(client.close)
        return client

    def test_a_feed_needs_no_command(self):
        self.start_broker()
        gateway = self.start_gateway("--config", self.config_file(f"""
[[gateway.feed]]
listen = "{HOST}:1500"
topics = ["news.>", "weather.*"]
[[gateway.feed]]
listen = "{HOST}:1501"
topics = ["news.>"]
format = "json"
"""))
        self.assertTrue(gateway.running())
        publisher = self.ready_writer()
        text, obj = self.connect(1500), self.connect(1501)
        text.half_close()
        # A feed does not report when it is active: publish until it receives.
        deadline = Deadline()
        for client in (text, obj):
            client._socket.settimeout(TIMEOUT_S)
        number = 0
        while not (text.lines and obj.lines):
            number += 1
            publisher.send("news.uk", str(number))
            publisher.send("stock.MSFT", "no")
            self.wait_admitted(publisher)
            for client in (text, obj):
                if self.readable(client, 0.02):
                    client._pump(deadline)
            self.assertTrue(deadline.left())
        publisher.send("news.end", "x")
        publisher.send("weather.uk", "rain")
        self.assertTrue(all(re.fullmatch(r"news\.uk \d+", line) for line in text.events_until("news.end x")))
        self.assertEqual(text.event(), "weather.uk rain")
        while (event := json.loads(obj.event()))["topic"] != "news.end":
            self.assertEqual(event["topic"], "news.uk")
        obj.send("UNSUB news.>")  # is ignored
        publisher.send("news.uk", "again")
        self.assertEqual(json.loads(obj.event())["text"], "again")

    def readable(self, client, seconds):
        import select
        return bool(select.select([client._socket], [], [], seconds)[0])

    def test_one_gateway_serves_several_backplanes_on_several_ports(self):
        ports = {name: [f"tcp://{HOST}:{base + i}" for i in range(4)] for name, base in (("a", 6000), ("b", 6010))}
        config = "".join(f"""
[[backplane]]
name = "{name}"
ingress = "{p[0]}"
egress = "{p[1]}"
control = "{p[2]}"
raw = "{p[3]}"
""" for name, p in ports.items())
        broker = self.run_program("broker", "--config", self.config_file(
            config + f'[metrics]\nlisten = "off"\n'))
        broker.ready()
        a, b = ports["a"], ports["b"]
        gateway = self.run_program("gateway", "--config", self.config_file(f"""
[gateway]
listen = ["{HOST}:1601", "{HOST}:1602", "[::1]:0"]
ingress = "{a[0]}"
egress = "{a[1]}"
control = "{a[2]}"
[[gateway.backplane]]
name = "second"
listen = ["{HOST}:1603"]
ingress = "{b[0]}"
egress = "{b[1]}"
control = "{b[2]}"
"""))
        listen = gateway.ready()["listen"].split(",")
        gateway.wait_line(gateway.out, rf"^ready role=gateway listen={HOST}:1603$")
        one, two, six = self.connect(1601), self.connect(1602), self.connect(listen[2].rsplit(":", 1)[1], "::1")
        other = self.connect(1603)
        for client in (one, two, six, other):
            client.subscribe("n", "m")
        self.assertEqual(one.command("PUB n first"), "+OK PUB n")
        self.assertEqual(other.command("PUB n second"), "+OK PUB n")
        for client in (one, two, six, other):
            self.assertEqual(client.command("PUB m end"), "+OK PUB m")
        for client in (one, two, six):
            self.assertEqual([client.event() for _ in range(4)], ["n first"] + ["m end"] * 3)
        self.assertEqual([other.event(), other.event()], ["n second", "m end"])

    def test_metrics_balance(self):
        self.start_broker()
        self.start_gateway("--metrics", f"{HOST}:9571")
        publisher = self.ready_writer()
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.subscribe("n")
        for number in range(1000):
            publisher.send("n", str(number))
        for client in clients:
            client.events_until("n 999")
        deadline = Deadline()
        while (values := self.metrics()).get("delivered_total", 0) < 3000:
            self.assertTrue(deadline.left(), values)
        self.assertEqual(values["matched_total"], 3000)
        self.assertEqual(values["expected_total"], values["seen_total"] + values["recovered_total"]
                         + values["lost_total.history_gone"] + values["lost_total.recovery_timeout"])
        self.assertEqual((values["clients"], values["subscriptions"], values["broker_connected"]), (3, 3, 1))
        self.assertTrue(self.page("/readyz").startswith("HTTP/1.1 200"))

    def page(self, path):
        with socket.create_connection((HOST, 9571), timeout=TIMEOUT_S) as peer:
            peer.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            data = b""
            while piece := peer.recv(65536):
                data += piece
        return data.decode()

    def metrics(self):
        values = {}
        for line in self.page("/metrics").splitlines():
            if match := re.match(r'backplane_gateway_(\w+)\{backplane="default"(?:,reason="(\w+)")?\} (\S+)$', line):
                values[match[1] + (f".{match[2]}" if match[2] else "")] = float(match[3])
        return values


if __name__ == "__main__":
    unittest.main()
