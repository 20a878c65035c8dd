"""MQTT on the gateway's port and on one of its own, with real clients: mosquitto_pub, mosquitto_sub and paho."""

import collections
import os
import queue
import socket
import unittest

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline

PORT = GATEWAY.rsplit(":", 1)[1]
MQTT_PORT = "1883"
VERSIONS = {"3.1.1": paho.MQTTv311, "5.0": paho.MQTTv5}

Message = collections.namedtuple("Message", "topic payload qos retain properties")


class Client:
    """A paho client, whose callbacks put what they get into queues."""

    def __init__(self, version, client_id="", port=PORT, will=None, keepalive=60):
        self.version = version
        self.messages = queue.Queue()
        self._events = {name: queue.Queue() for name in ("connect", "subscribe", "unsubscribe", "disconnect")}
        options = {} if version == paho.MQTTv5 else {"clean_session": True}
        self._client = paho.Client(client_id=client_id, protocol=version, **options)
        self._client.on_connect = lambda *args: self._events["connect"].put(args)
        self._client.on_subscribe = lambda *args: self._events["subscribe"].put(args)
        self._client.on_unsubscribe = lambda *args: self._events["unsubscribe"].put(args)
        self._client.on_disconnect = lambda *args: self._events["disconnect"].put(args)
        self._client.on_message = lambda client, userdata, m: self.messages.put(
            Message(m.topic, m.payload, m.qos, bool(m.retain), getattr(m, "properties", None)))
        if will:
            self._client.will_set(**will)
        self._client.connect(HOST, int(port), keepalive=keepalive)
        self._client.loop_start()
        self.connack = self._event("connect")
        self.reason = self.connack[3] if version != paho.MQTTv5 else self.connack[3].value

    def _event(self, name):
        return self._events[name].get(timeout=TIMEOUT_S)

    def subscribe(self, topic, **options):
        self._client.subscribe(topic, **options)
        granted = self._event("subscribe")[3]
        return [code.value if hasattr(code, "value") else code for code in granted]

    def unsubscribe(self, topic):
        self._client.unsubscribe(topic)
        self._event("unsubscribe")

    def publish(self, topic, payload=None, qos=1, **options):
        """Returns when it is acknowledged."""
        info = self._client.publish(topic, payload, qos, **options)
        info.wait_for_publish(TIMEOUT_S)
        if not info.is_published():
            raise AssertionError(f"{topic} was not acknowledged within {TIMEOUT_S} s")

    def message(self):
        return self.messages.get(timeout=TIMEOUT_S)

    def disconnected(self):
        """Waits until the gateway has closed the connection. Does not connect again."""
        self._event("disconnect")
        self._client.loop_stop()

    def cut(self):
        """Closes the connection without a DISCONNECT."""
        self._client.on_disconnect = None
        self._client.socket().shutdown(socket.SHUT_RDWR)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Mqtt(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.gateway = self.start_gateway("--config", self.config_file(
            f'[gateway]\nmqtt = ["{HOST}:{MQTT_PORT}"]\n'))

    def connect(self, version=paho.MQTTv5, **options):
        client = Client(version, **options)
        self.addCleanup(client.close)
        return client

    def mosquitto(self, name, *arguments, port=PORT):
        return self.run_process(["stdbuf", "-oL", f"mosquitto_{name}", "-h", HOST, "-p", port, *arguments])

    def raw(self, client_id=b"c"):
        """A connection that has sent a CONNECT of 5.0 and got its CONNACK."""
        peer = socket.create_connection((HOST, int(PORT)), timeout=TIMEOUT_S)
        self.addCleanup(peer.close)
        body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + len(client_id).to_bytes(2, "big") + client_id
        peer.sendall(bytes([0x10, len(body)]) + body)
        kind, connack = self.packet(peer)
        self.assertEqual((kind, connack[:2]), (0x20, b"\x00\x00"))
        return peer

    def test_mosquitto_clients_speak_both_versions_on_both_ports(self):
        for version, port in (("mqttv311", PORT), ("mqttv5", PORT), ("mqttv311", MQTT_PORT), ("mqttv5", MQTT_PORT)):
            for qos in "012":
                with self.subTest(version=version, port=port, qos=qos):
                    topic = f"sensor/{version}/{port}/{qos}"
                    subscriber = self.mosquitto("sub", "-V", version, "-t", "sensor/#", "-q", qos, "-F", "%t %p %q",
                                                port=port)
                    self.publish_until(subscriber, topic, version, qos, port)

    def publish_until(self, subscriber, topic, version, qos, port):
        """mosquitto_sub does not report when it is subscribed."""
        deadline = Deadline()
        while not any(line.startswith(topic) for line in subscriber.out):
            self.assertTrue(deadline.left(), subscriber.transcript())
            publisher = self.mosquitto("pub", "-V", version, "-t", topic, "-m", "21.5", "-q", qos, port=port)
            self.assertEqual(publisher.wait_exit(), 0, publisher.transcript())
        self.assertIn(f"{topic} 21.5 {qos}", subscriber.out)

    def test_events_of_lines_and_of_mqtt_reach_each_other(self):
        line = self.client()
        line.subscribe("sensor.>")
        for name, version in VERSIONS.items():
            # Of one topic, the second client would get the first one's value, as a retained message.
            topic = f"stock/MSFT-{version}"
            with self.subTest(version=name):
                client = self.connect(version)
                client.subscribe("stock/#")
                client.publish("sensor/kitchen/temperature", "21.5")
                self.assertEqual(line.event(), "sensor.kitchen.temperature 21.5")
                client.publish("sensor/raw", b"\xff\x00")
                self.assertEqual(line.event(), "sensor.raw /wA=")
                dotted = topic.replace("/", ".")
                self.assertEqual(line.command(f"PUB {dotted} 39.81"), f"+OK PUB {dotted}")
                self.assertEqual(self.next_of(client, topic)[1:4], (b"39.81", 0, False))
                later = self.connect(version)
                later.subscribe("stock/#")
                self.assertEqual(self.next_of(later, topic)[1:4], (b"39.81", 0, True))

    @staticmethod
    def next_of(client, topic):
        """The next message of this topic."""
        while True:
            message = client.message()
            if message.topic == topic:
                return message

    def test_every_quality_of_service_in_both_versions(self):
        for name, version in VERSIONS.items():
            for granted in (0, 1, 2):
                with self.subTest(version=name, granted=granted):
                    client = self.connect(version)
                    self.assertEqual(client.subscribe(f"q/{granted}/#", qos=granted), [granted])
                    for qos in (0, 1, 2):
                        client.publish(f"q/{granted}/x", str(qos), qos)
                        message = client.message()
                        self.assertEqual((message.payload, message.qos), (str(qos).encode(), min(qos, granted)))
                    client.close()

    def test_many_messages_arrive_once_and_in_order(self):
        for name, version in VERSIONS.items():
            for qos in (1, 2):
                with self.subTest(version=name, qos=qos):
                    subscriber, publisher = self.connect(version), self.connect(version)
                    subscriber.subscribe(f"many/{qos}", qos=qos)
                    for i in range(300):
                        publisher._client.publish(f"many/{qos}", str(i), qos)
                    received = [int(subscriber.message().payload) for _ in range(300)]
                    self.assertEqual(received, list(range(300)))
                    subscriber.close()
                    publisher.close()

    def test_retained_messages(self):
        publisher = self.connect()
        publisher.publish("r/kept", "1", retain=True)
        publisher.publish("r/passing", "2")
        self.assertEqual(self.client().command("PUB r.native 3"), "+OK PUB r.native")
        for name, version in VERSIONS.items():
            with self.subTest(version=name):
                client = self.connect(version)
                client.subscribe("r/#", qos=1)
                seen = {client.message() for _ in range(2)}
                self.assertEqual({(m.topic, m.payload, m.retain) for m in seen},
                                 {("r/kept", b"1", True), ("r/native", b"3", True)})
                client.close()
        publisher.publish("r/kept", b"", retain=True)
        client = self.connect()
        client.subscribe("r/kept", qos=1)
        publisher.publish("r/kept", "4")
        self.assertEqual(client.message()[:4], ("r/kept", b"4", 1, False))

    def test_a_will_is_published_when_the_connection_is_lost(self):
        watcher = self.connect()
        watcher.subscribe("status/#", qos=1)
        for name, version in VERSIONS.items():
            with self.subTest(version=name):
                will = {"topic": f"status/{name.replace('.', '-')}", "payload": "gone", "qos": 1, "retain": True}
                client = self.connect(version, will=will)
                client.close()
                client = self.connect(version, will=will)
                client.cut()
                message = watcher.message()
                self.assertEqual((message.topic, message.payload), (will["topic"], b"gone"))
        self.assertTrue(watcher.messages.empty(), "a DISCONNECT discards the will")

    def test_the_same_client_identifier_takes_over(self):
        first = self.raw(b"device7")
        self.connect(client_id="device7")
        self.assertEqual(self.packet(first), (0xE0, b"\x8e"))
        self.assertEqual(first.recv(1), b"")

    def test_refusals_have_their_reason(self):
        client = self.connect()
        self.assertEqual(client.subscribe([("$share/g/a", SubscribeOptions(qos=0)), ("a//b", SubscribeOptions(qos=0)),
                                           ("ok", SubscribeOptions(qos=2))]), [0x9E, 0x8F, 2])
        old = self.connect(paho.MQTTv311)
        self.assertEqual(old.subscribe([("$share/g/a", 0), ("ok", 1)]), [0x80, 1])
        old._client.publish("a b", "x", 1)
        old.disconnected()

    def test_properties_come_through(self):
        client = self.connect()
        client.subscribe("p/#", options=SubscribeOptions(qos=1))
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "text/plain"
        properties.ResponseTopic = "reply/to/me"
        properties.CorrelationData = b"\x00\xff"
        properties.MessageExpiryInterval = 1000
        properties.UserProperty = [("k", "1"), ("k", "2"), ("content_type", "mine")]
        client.publish("p/x", "hello", properties=properties)
        got = client.message().properties
        self.assertEqual((got.ContentType, got.ResponseTopic, got.CorrelationData, got.UserProperty),
                         ("text/plain", "reply/to/me", b"\x00\xff", [("k", "1"), ("k", "2"), ("content_type", "mine")]))
        self.assertLessEqual(got.MessageExpiryInterval, 1000)

    def test_subscription_options(self):
        client = self.connect()
        client.subscribe("o/local", options=SubscribeOptions(qos=1, noLocal=True))
        client.subscribe("o/kept", options=SubscribeOptions(qos=1, retainAsPublished=True))
        client.publish("o/local", "own")
        client.publish("o/kept", "1", retain=True)
        self.assertEqual(client.message()[:4], ("o/kept", b"1", 1, True))
        other = self.connect()
        other.publish("o/local", "other")
        self.assertEqual(client.message()[:2], ("o/local", b"other"))

    def test_large_payloads(self):
        payload = os.urandom(900_000)
        for name, version in VERSIONS.items():
            with self.subTest(version=name):
                client = self.connect(version)
                client.subscribe("large", qos=1)
                client.publish("large", payload)
                self.assertEqual(client.message().payload, payload)
                client.close()

    def test_without_a_broker_a_publish_is_not_acknowledged_as_published(self):
        peer = self.raw()
        self.broker_is_gone()
        peer.sendall(b"\x32\x07\x00\x01a\x00\x05\x00x")
        kind, body = self.packet(peer)
        self.assertEqual((kind, body[:3]), (0x40, b"\x00\x05\x83"))

    def broker_is_gone(self):
        line = self.client()
        line.subscribe("a")
        self.broker_process.kill()
        line.wait_notice("!WAIT broker")

    def start_broker(self, *options):
        self.broker_process = super().start_broker(*options)
        return self.broker_process

    @staticmethod
    def packet(peer):
        """The next packet, which is shorter than 128 bytes: its first byte and its body."""
        def exactly(count):
            data = b""
            while len(data) < count:
                piece = peer.recv(count - len(data))
                if not piece:
                    raise AssertionError("the gateway closed the connection")
                data += piece
            return data
        kind, length = exactly(2)
        return kind, exactly(length)

    def test_malformed_packets_end_only_their_connection(self):
        client = self.connect()
        for data in (b"\x30\x05\x00\x03\xed\xa0\x80", b"\xc0\x80\x80\x80\x80\x01", b"\x30\xff\xff\xff\x7f", b"\x00\x00",
                     b"\x32\x06\x00\x01a\x00\x00\x00"):
            peer = self.raw(b"d")
            peer.sendall(data)
            kind, body = self.packet(peer)
            self.assertEqual(kind, 0xE0)
            self.assertIn(body[0], (0x81, 0x82, 0x95))
            self.assertEqual(peer.recv(1), b"")
        client.publish("a", "still here")


if __name__ == "__main__":
    unittest.main()
