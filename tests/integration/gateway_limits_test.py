"""What the gateway does at its limits, and with clients that say little: descriptors, connections, devices, half-closed
and closed clients."""

import re
import socket
import threading
import unittest
import urllib.request

from harness import (CONTROL, ENDPOINTS, GATEWAY, HOST, METRICS, PROGRAM, TIMEOUT_S, BackplaneTest, Deadline, LineClient,
                     Writer)

GATEWAY_METRICS = f"{HOST}:9571"
SECOND = f"127.{int(HOST.split('.')[1]) + 64}." + HOST.split(".", 2)[2]
REQUEST = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(address=GATEWAY):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    connection.settimeout(TIMEOUT_S)
    return connection


def read_all(connection):
    """Everything until the end, which must not be a reset."""
    text = b""
    while data := connection.recv(65536):
        text += data
    return text.decode()


def exchange(request, address=GATEWAY):
    with connect(address) as connection:
        connection.sendall(request)
        return read_all(connection)


def counter(name, address=GATEWAY_METRICS):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


class LimitsTest(BackplaneTest):
    def run_limited(self, files, *arguments):
        """Runs the program with a limit of open files."""
        process = self.run_process(["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash", PROGRAM, *arguments])
        process.ready()
        return process

    def wait_for(self, condition, what, timeout=TIMEOUT_S):
        deadline = Deadline(timeout)
        pause = threading.Event()
        while not condition():
            self.assertTrue(deadline.left(), f"{what} within {timeout} s")
            pause.wait(0.05)


class Crowd:
    """Clients that take every descriptor, and replace each connection that ends."""

    def __init__(self, count):
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._press, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _press(self):
        while not self._stop.is_set():
            try:
                with connect() as connection:
                    connection.settimeout(0.2)
                    connection.sendall(b"SUB crowd\n")
                    text = b""
                    while not self._stop.is_set():
                        try:
                            data = connection.recv(4096)
                        except TimeoutError:
                            continue
                        text += data
                        if not data:
                            break
                    if b"!BYE too_many_connections\n" in text:
                        self.refused += 1
            except OSError:
                self._stop.wait(0.05)

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)


class Descriptors(LimitsTest):
    def gateway_and_crowd(self, files, *options):
        gateway = self.run_limited(files, "gateway", "--listen", GATEWAY, "--metrics", GATEWAY_METRICS, *options)
        client = self.client()
        client.subscribe("a.>")
        crowd = Crowd(files)
        self.addCleanup(crowd.end)
        self.wait_for(lambda: crowd.refused > 20, "the crowd is refused")
        return gateway, client, crowd

    def test_readers_continue_when_the_broker_comes_back_to_a_full_gateway(self):
        broker = self.start_broker()
        gateway, client, _ = self.gateway_and_crowd(128, *ENDPOINTS)
        self.assertEqual(client.command("PUB a.b before"), "+OK PUB a.b")
        self.assertEqual(client.event(), "a.b before")
        for round in range(3):
            broker.kill()
            client.wait_notice("!WAIT broker")
            broker = self.start_broker()
            client.wait_notice("!LIVE broker")
            self.wait_for(lambda: client.command(f"PUB a.b {round}") == "+OK PUB a.b", "the publisher is connected")
            self.assertEqual(client.event(), f"a.b {round}")
        self.assertTrue(gateway.running())
        name = 'backplane_gateway_connections_refused_total{backplane="default",reason="too_many_open_files"}'
        self.wait_for(lambda: counter(name) > 20, "refusals are counted")
        # The crowd connects again and again: an answer that is pushed out by others before the request has arrived is !BYE.
        self.wait_for(lambda: re.match(r"HTTP/1\.1 503 .*\r\nRetry-After: ", exchange(REQUEST), re.DOTALL),
                      "an HTTP client gets 503")

    def test_a_full_gateway_finds_each_of_its_brokers_again(self):
        def start(host):
            endpoints = (f"--{name}=tcp://{host}:{port}"
                         for name, port in (("ingress", 5570), ("egress", 5571), ("control", 5572)))
            broker = self.run_program("broker", *endpoints, "--raw", "off", "--metrics", "off", "--name",
                                      f"at-{host.replace('.', '-')}")
            broker.ready()
            return broker

        def publish(host, text):
            writer = Writer(self.context, source=f"writer@{host}", endpoint=f"tcp://{host}:5570")
            writer.wait_ready()
            writer.send("a.b", text)
            self.assertEqual(client.event(), f"a.b {text}")
            writer.close()

        brokers = {host: start(host) for host in (HOST, SECOND)}
        gateway, client, _ = self.gateway_and_crowd(160, "--broker", f"{HOST},{SECOND}")
        for host in (SECOND, HOST):
            publish(host, "before")
            brokers[host].kill()
            brokers[host] = start(host)
            publish(host, "after")
        for broker in brokers.values():
            broker.kill()
        client.wait_notice("!WAIT broker")
        for host in brokers:
            start(host)
        client.wait_notice("!LIVE broker")
        self.wait_for(lambda: client.command("PUB a.b back") == "+OK PUB a.b", "the publisher is connected")
        self.assertEqual(client.event(), "a.b back")
        self.assertTrue(gateway.running())

    def test_a_full_broker_answers_health_checks_and_serves_who_is_connected(self):
        broker = self.run_limited(128, "broker", *ENDPOINTS, "--raw", "off", "--metrics", METRICS)
        reader, writer = self.live_reader("a"), self.ready_writer()
        held = [connect(CONTROL.removeprefix("tcp://")) for _ in range(200)]
        name = "backplane_broker_connections_refused_total"
        self.wait_for(lambda: counter(name, METRICS) > 50, "the broker refuses connections")
        with urllib.request.urlopen(f"http://{METRICS}/readyz", timeout=TIMEOUT_S) as response:
            self.assertEqual(response.status, 200)
        writer.send("a", "still here")
        self.assertEqual(reader.receive()[1].text, "still here")
        for connection in held:
            connection.close()
        self.wait_for(lambda: self.can_connect(), "new peers are served again")
        self.assertTrue(broker.running())

    def can_connect(self):
        return self.live_reader("a") is not None


class Connections(LimitsTest):
    def test_a_refused_client_gets_the_answer_of_its_protocol(self):
        self.start_broker()
        config = self.config_file("[gateway]\nconnections_max = 1\n")
        self.start_gateway("--metrics", GATEWAY_METRICS, "--config", config)
        self.client().subscribe("a")
        answer = exchange(REQUEST)
        head, body = answer.split("\r\n\r\n")
        self.assertTrue(head.startswith("HTTP/1.1 503 "), head)
        self.assertRegex(head, r"\r\nRetry-After: \d+\r\n")
        self.assertIn('"code":"too_many_connections"', body)
        self.assertTrue(exchange(b"GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\n\r\n").startswith("HTTP/1.1 503 "))
        self.assertTrue(exchange(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").endswith("\r\n\r\n"))
        self.assertEqual(exchange(b"SUB a\n"), "!BYE too_many_connections\n")
        self.assertEqual(exchange(b"ping\r"), "!BYE too_many_connections\n")
        self.assertEqual(exchange(b""), "!BYE too_many_connections\n", "a client that only waits")
        self.wait_for(lambda: counter("backplane_gateway_connections_refused_total") == 6, "refusals are counted")


class Devices(LimitsTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.start_gateway("--metrics", GATEWAY_METRICS)

    def test_a_serial_bridge_and_a_telnet_client_get_replies(self):
        for end in (b"\r", b"\r\0", b"\r\n", b"\n"):
            with self.subTest(end=end):
                client = self.client()
                client.send_bytes(b"ping" + end)
                self.assertEqual(client.reply(), "+PONG")
                client.send_bytes(b"sub a.b" + end)
                self.assertEqual(client.reply(), "+OK SUB a.b")
                client.send_bytes(b"pub a.b 21.5" + end)
                self.assertEqual([client.reply(), client.event()], ["+OK PUB a.b", "a.b 21.5"])
                client.close()
        with connect() as telnet:
            telnet.sendall(b"\xff\xfb\x1f\xff\xfd\x03")
            self.assertEqual(telnet.recv(6, socket.MSG_WAITALL), b"\xff\xfe\x1f\xff\xfc\x03")
            telnet.sendall(b"pi")
            telnet.sendall(b"\xff\xf4\xff")
            telnet.send(b"\xf2", socket.MSG_OOB)  # telnet's Ctrl-C: its last byte is urgent
            telnet.sendall(b"\xff\xfd\x06ng\r\0")
            self.assertEqual(telnet.recv(9, socket.MSG_WAITALL), b"+PONG\n\xff\xfc\x06")

    def test_a_client_that_has_closed_is_noticed_on_a_quiet_topic(self):
        stays = self.client()
        stays.subscribe("quiet")
        clients = [LineClient() for _ in range(10)]
        for client in clients:
            client.subscribe("quiet")
        self.wait_for(lambda: counter("backplane_gateway_clients") == 11, "all clients are counted")
        for client in clients:
            client.close()
        self.wait_for(lambda: counter("backplane_gateway_clients") == 1, "closed clients are gone", timeout=15)
        self.assertEqual(stays.command("PING"), "+PONG")

    def test_a_client_that_has_closed_one_side_continues(self):
        client = self.client()
        client.subscribe("quiet")
        client.half_close()
        client.wait_notice("!KEEPALIVE half_closed")
        client.wait_notice("!KEEPALIVE half_closed")
        writer = self.ready_writer()
        writer.send("quiet", "not quite")
        self.assertEqual(client.event(), "quiet not quite")
        nc = self.run_process(["bash", "-c", f"exec nc -N {HOST} 1601 < <(printf 'sub quiet\\r')"])
        nc.wait_line(nc.out, r"^\+OK SUB quiet$")
        writer.send("quiet", "again")
        nc.wait_line(nc.out, "^quiet again$")


if __name__ == "__main__":
    unittest.main()
