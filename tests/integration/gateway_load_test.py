"""Thousands of clients at once: a join storm, a broker that dies under load, clients that stall and vanish."""

import collections
import os
import re
import resource
import select
import socket
import threading
import unittest
import urllib.request

import zmq
from backplane.v1 import control_pb2
from harness import CONTROL, EGRESS, GATEWAY, HOST, INGRESS, TIMEOUT_S, BackplaneTest, Deadline

METRICS_GATEWAY = f"{HOST}:9571"


class Crowd:
    """Many clients of the gateway on one epoll. Keeps the lines that each received until they are taken."""

    def __init__(self, count, address=GATEWAY):
        host, port = address.rsplit(":", 1)
        self._epoll = select.epoll()
        self.sockets, self._buffers, self.lines = {}, {}, {}
        for number in range(count):
            peer = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
            peer.setblocking(False)
            self.sockets[number] = peer
            self._buffers[number], self.lines[number] = b"", []
            self._epoll.register(peer, select.EPOLLIN)
        self._by_fd = {peer.fileno(): number for number, peer in self.sockets.items()}

    def send(self, text, clients=None):
        for number in clients if clients is not None else self.sockets:
            self.sockets[number].sendall(text.encode())

    def pump(self, seconds=0.05):
        """Reads what is available. Returns the number of lines."""
        count = 0
        for fd, _ in self._epoll.poll(seconds):
            number = self._by_fd[fd]
            data = self.sockets[number].recv(1 << 16)
            if not data:
                raise AssertionError(f"client {number} was left; it had got {self.lines[number][-3:]}")
            *lines, self._buffers[number] = (self._buffers[number] + data).split(b"\n")
            self.lines[number] += [line.decode() for line in lines]
            count += len(lines)
        return count

    def pump_until(self, condition):
        """Reads until condition(lines) is true for all clients."""
        waiting = set(self.sockets)
        deadline = Deadline()
        while waiting:
            self.pump()
            waiting = {number for number in waiting if not condition(self.lines[number])}
            if not deadline.left():
                number = waiting.pop()
                raise AssertionError(f"{len(waiting) + 1} clients wait, one of them with "
                                     f"{self.lines[number][:3]} … {self.lines[number][-3:]}")

    def leave(self, number):
        peer = self.sockets.pop(number)
        self._epoll.unregister(peer)
        peer.close()

    def close(self):
        for number in list(self.sockets):
            self.leave(number)
        self._epoll.close()


class ControlTap:
    """Sits between a gateway and the broker's control endpoint, and counts requests by kind."""

    def __init__(self, context):
        self.asked = collections.Counter()
        self._context = context
        self._front, self._back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        self._stop, stopped = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        for each in (self._front, self._back, self._stop, stopped):
            each.setsockopt(zmq.LINGER, 0)
        port = self._front.bind_to_random_port(f"tcp://{HOST}")
        self.endpoint = f"tcp://{HOST}:{port}"
        self._back.connect(CONTROL)
        self._stop.bind(f"inproc://tap.{id(self)}")
        stopped.connect(f"inproc://tap.{id(self)}")
        self._thread = threading.Thread(target=self._run, args=[stopped], daemon=True)
        self._thread.start()

    def _run(self, stopped):
        poller = zmq.Poller()
        for each in (self._front, self._back, stopped):
            poller.register(each, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._front in ready:
                frames = self._front.recv_multipart()
                self.asked[control_pb2.ControlRequest.FromString(frames[-1]).WhichOneof("request")] += 1
                self._back.send_multipart(frames)
            if self._back in ready:
                self._front.send_multipart(self._back.recv_multipart())
            if stopped in ready:
                for each in (self._front, self._back, stopped):
                    each.close()
                return

    def close(self):
        self._stop.send(b"")
        self._thread.join(TIMEOUT_S)
        self._stop.close()


class Load(BackplaneTest):
    def setUp(self):
        super().setUp()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.most = most
        self.broker = self.start_broker()

    def crowd(self, count):
        # Instrumented processes are many times slower; fewer clients find the same errors.
        crowd = Crowd(min(count // 5 if os.environ.get("SANITIZED") else count, self.most // 2 - 200))
        self.addCleanup(crowd.close)
        return crowd

    def test_a_join_storm_costs_the_broker_one_request(self):
        tap = ControlTap(self.context)
        self.addCleanup(tap.close)
        gateway = self.run_program("gateway", "--listen", GATEWAY, "--ingress", INGRESS, "--egress", EGRESS,
                                   "--control", tap.endpoint, "--workers", "2")
        gateway.ready()
        publisher = self.ready_writer()
        warm = self.client()
        warm.subscribe("warm")
        for number in range(10):
            publisher.send("n", str(number))
        self.wait_admitted(publisher)
        crowd = self.crowd(10_000)
        half = len(crowd.sockets) // 2
        crowd.send("SUB n last\n", range(half))
        publisher.send("n", "during")
        crowd.send("SUB n last\n", range(half, len(crowd.sockets)))
        crowd.pump_until(lambda lines: len(lines) >= 2)
        publisher.send("n", "end")
        crowd.pump_until(lambda lines: lines[-1] == "n end")
        for lines in crowd.lines.values():
            self.assertIn(lines, (["+OK SUB n", "n 9", "n during", "n end"], ["+OK SUB n", "n during", "n end"]))
        self.assertEqual(tap.asked["retained"], 1)

    def test_after_kill_9_of_the_broker_under_load_every_loss_is_announced(self):
        gateway = self.start_gateway("--workers", "2")
        crowd = self.crowd(1000)
        crowd.send("FORMAT text+offset\nSUB load.>\n")
        crowd.pump_until(lambda lines: len(lines) == 2)
        publisher = self.ready_writer()
        topics = [f"load.{number}" for number in range(20)]
        sent = 0

        def send(count):
            nonlocal sent
            for _ in range(count):
                publisher.send(topics[sent % len(topics)], str(sent))
                sent += 1

        for _ in range(20):
            send(50)
            crowd.pump(0)
        self.broker.kill()  # while events are in flight
        crowd.pump_until(lambda lines: lines[-1] == "!WAIT broker")
        self.broker = self.start_broker()
        crowd.pump_until(lambda lines: "!LIVE broker" in lines)
        again = self.writer()
        again.wait_ready()
        for number in range(1000):
            again.send(topics[number % len(topics)], f"again {number}")
            if number % 50 == 0:
                crowd.pump(0)
        again.send("load.end", "x")
        crowd.pump_until(lambda lines: lines[-1] == "load.end 1 x")
        self.assertTrue(gateway.running())
        for number, lines in crowd.lines.items():
            self.assert_accounts(lines, len(topics), 1000)

    def assert_accounts(self, lines, topics, count_again):
        """Offsets of each incarnation come in order and once; of the second one, each event arrives or is announced as lost."""
        position = lines.index("!WAIT broker")
        seen = collections.defaultdict(int)
        for line in lines[2:position]:
            topic, offset, _ = line.split(" ", 2)
            self.assertEqual(int(offset), seen[topic] + 1, line)
            seen[topic] += 1
        # What the gateway had received before is the same for all topics, up to the cut.
        resets = [line.split(" ")[1] for line in lines if line.startswith("!RESET")]
        self.assertEqual(sorted(resets), sorted(seen))
        second = collections.defaultdict(int)
        for line in lines[position:]:
            if match := re.match(r"!GAP (\S+) (\d+) (\d+) \w+$", line):
                self.assertIn(int(match[2]), (0, second[match[1]] + 1), line)
                second[match[1]] = int(match[3])
            elif not line.startswith("!"):
                topic, offset, _ = line.split(" ", 2)
                self.assertEqual(int(offset), second[topic] + 1, line)
                second[topic] += 1
        self.assertEqual(sum(second.values()), count_again + 1)

    def test_thousands_of_clients_get_what_they_subscribed_to(self):
        self.start_gateway("--workers", "3")
        crowd = self.crowd(3000)
        groups = 30
        for group in range(groups):
            crowd.send(f"SUB g.{group}.*\nSUB all\n", range(group, len(crowd.sockets), groups))
        crowd.pump_until(lambda lines: len(lines) == 2)
        publisher = self.ready_writer()
        for number in range(900):
            publisher.send(f"g.{number % groups}.{number % 7}", str(number))
            crowd.pump(0)
        publisher.send("all", "end")
        crowd.pump_until(lambda lines: lines[-1] == "all end")
        for number, lines in crowd.lines.items():
            expected = [f"g.{n % groups}.{n % 7} {n}" for n in range(number % groups, 900, groups)]
            self.assertEqual(lines[2:-1], expected)

    def test_clients_that_stall_or_vanish_disturb_no_others(self):
        self.start_gateway("--workers", "2")
        crowd, stalled = self.crowd(200), self.crowd(100)
        for each in (crowd, stalled):
            each.send("FORMAT text+offset\nSUB big\n")
        for each in (crowd, stalled):
            each.pump_until(lambda lines: len(lines) == 2)
        publisher = self.ready_writer()
        text = "x" * 20_000
        for number in range(600):
            publisher.send("big", text)
            if number % 20 == 0:
                crowd.pump_until(lambda lines: len(lines) >= 2 + number)
            if number % 100 == 50:
                stalled.leave(number // 100)  # with megabytes pending
        crowd.pump_until(lambda lines: len(lines) == 602)
        for lines in crowd.lines.values():
            self.assertFalse([line for line in lines if line.startswith("!")])
        # Those that stalled get what was kept for them, and gaps for all else.
        publisher.send("big", "end")
        stalled.pump_until(lambda lines: lines and lines[-1].endswith(" end"))
        for number in stalled.sockets:
            lines = stalled.lines[number]
            last = 0
            for line in lines[2:]:
                match = re.match(r"(?:!GAP )?big (\d+) (?:(\d+) slow_consumer$)?", line)
                self.assertEqual(int(match[1]), last + 1, line[:100])
                last = int(match[2] or match[1])
            self.assertEqual(last, 601)


class Limits(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def start(self, text):
        self.start_gateway("--config", self.config_file("[gateway]\n" + text), "--metrics", METRICS_GATEWAY)

    def wait_counted(self, name, reason, count):
        """Waits until the gateway's metrics show this number: they are at most a second old."""
        sample = f'backplane_gateway_{name}{{backplane="default",reason="{reason}"}} {count}'
        deadline = Deadline()
        while sample not in (lines := self.metrics()):
            self.assertTrue(deadline.left(), [sample, *(line for line in lines if name in line)])

    def metrics(self):
        with urllib.request.urlopen(f"http://{METRICS_GATEWAY}/metrics", timeout=TIMEOUT_S) as page:
            return page.read().decode().splitlines()

    def test_connections_above_the_limit_are_closed_with_the_reason(self):
        self.start("connections_max = 3\n")
        clients = [self.client() for _ in range(3)]
        for client in clients:
            self.assertEqual(client.command("PING"), "+PONG")
        above = self.client()
        self.assertEqual(above.notice(), "!BYE too_many_connections")
        above.wait_closed()
        self.wait_counted("connections_refused_total", "too_many_connections", 1)
        clients[0].close()
        deadline = Deadline()
        while True:  # until the gateway has noticed that one has left
            again = self.client()
            again.send("PING")
            again._pump(deadline)
            if "+PONG" in again.lines:
                break
            self.assertTrue(deadline.left())

    def test_silent_clients_are_disconnected(self):
        self.start('first_byte_timeout = "200ms"\n')
        silent = self.client()
        self.assertEqual(silent.notice(), "!BYE silent")
        silent.wait_closed()
        self.wait_counted("goodbyes_total", "silent", 1)

    def test_clients_without_subscriptions_are_disconnected_and_subscribers_are_not(self):
        self.start('idle_timeout = "3s"\n')
        listener, idle = self.client(), self.client()
        listener.subscribe("n")
        self.assertEqual(idle.command("PING"), "+PONG")
        self.assertEqual(idle.notice(), "!BYE idle")
        idle.wait_closed()
        self.wait_counted("goodbyes_total", "idle", 1)
        self.assertEqual(listener.command("PUB n x"), "+OK PUB n")
        self.assertEqual(listener.event(), "n x")

    def test_subscriptions_and_lines_above_the_limit_are_refused(self):
        self.start('subscriptions_per_client_max = 2\nline_bytes_max = 512\nmax_event_bytes = 1024\n')
        client = self.client()
        client.subscribe("a", "b")
        self.assertRegex(client.command("SUB c"), "^-ERR too_many_subscriptions .+")
        self.assertRegex(client.command("SUB " + "x" * 600), "^-ERR line_too_long .+")
        self.assertRegex(client.command("PUB a " + "x" * 2000), "^-ERR line_too_long .+")
        self.assertEqual(client.command("UNSUB a"), "+OK UNSUB a")
        client.subscribe("c")
        self.wait_counted("commands_refused_total", "too_many_subscriptions", 1)
        self.wait_counted("commands_refused_total", "line_too_long", 2)

    def test_single_bytes_and_garbage_and_half_a_line_harm_no_others(self):
        self.start("")
        slow, noise, half = self.client(), self.client(), self.client()
        for byte in b"SUB n\r\nPING\r\n":
            slow.send_bytes(bytes([byte]))
        self.assertEqual(sorted([slow.reply(), slow.reply()]), ["+OK SUB n", "+PONG"])
        noise.send_bytes(bytes(range(256)) * 100 + b"\n")
        self.assertRegex(noise.reply(), "^-ERR ")
        half.send_bytes(b"PUB n half")
        half.close()
        self.assertEqual(slow.command("PUB n whole"), "+OK PUB n")
        self.assertEqual(slow.event(), "n whole")

    def test_input_of_a_client_that_never_reads_is_paused(self):
        self.start("")
        sender, other = self.client(), self.client()
        sender._socket.setblocking(False)
        sent = 0
        deadline = Deadline()
        full = 0
        while full < 20 and deadline.left():
            try:
                sent += sender._socket.send(b"PING\n" * 1000)
                full = 0
            except BlockingIOError:
                full += 1
                self.assertEqual(other.command("PING"), "+PONG")
            self.assertLess(sent, 200 << 20, "the gateway keeps reading")
        self.assertEqual(full, 20, "the gateway keeps reading")


if __name__ == "__main__":
    unittest.main()
