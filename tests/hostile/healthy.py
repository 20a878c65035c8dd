"""Clients that do nothing wrong, as a program: a publisher, and subscribers by the line protocol, by WebSocket and by ZeroMQ.
`healthy.py OPTIONS`, with OPTIONS in JSON. Reads commands from standard input, a line each: `phase NAME`, `finish`. Prints
`live` when all subscribers receive, and at the end what each of them saw, in JSON."""

import bisect
import json
import os
import re
import ssl
import sys
import time

import zmq
from backplane.v1 import event_pb2
from harness import CommandClient, Deadline, LineClient, Reader, Writer
from websocket_peer import WebSocketPeer

TOPIC = "healthy.t"
SETTLE_S = 60.0


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] if sorted_values else None


class Subscriber:
    """What one subscriber has seen of the events 1, 2, 3, …"""

    def __init__(self, name):
        self.name = name
        self.seen = bytearray(1 << 20)  # how often, by number
        self.last = 0
        self.announced = set()
        self.twice = self.out_of_order = 0
        self.latencies = []  # (sent at, ms)
        self.problems = []
        self.closed = False

    def event(self, text):
        number, sent_ns = (int(word) for word in text.split(" "))
        self.latencies.append((sent_ns, (time.monotonic_ns() - sent_ns) / 1e6))
        if self.seen[number]:
            self.twice += 1
        self.seen[number] = 1
        if number < self.last:
            self.out_of_order += 1
        self.last = max(self.last, number)

    def lost(self, first, last):
        self.announced.update(range(first, last + 1))
        self.last = max(self.last, last)

    def figures(self, published, phases):
        missing = [number for number in range(1, published + 1)
                   if not self.seen[number] and number not in self.announced]
        starts = [start for start, _ in phases]
        of_phase = {name: [] for _, name in phases}
        for sent_ns, ms in self.latencies:
            at = bisect.bisect_right(starts, sent_ns) - 1
            if at >= 0:
                of_phase[phases[at][1]].append(ms)
        return {"name": self.name, "seen": sum(self.seen), "announced": len(self.announced), "missing": len(missing),
                "first_missing": missing[:5], "twice": self.twice, "out_of_order": self.out_of_order,
                "closed": self.closed, "problems": self.problems[:5],
                "latency_ms": {name: {"count": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99),
                                      "max": values[-1] if values else None}
                               for name, values in ((name, sorted(each)) for name, each in of_phase.items())}}


class Line(Subscriber):
    def __init__(self, name, client, token=None):
        super().__init__(name)
        self.client = client
        if token:
            reply = client.command(f"AUTH {token}")
            if not reply.startswith("+OK"):
                raise AssertionError(reply)
        self.subscribe()

    def subscribe(self):
        self.client.subscribe(TOPIC)

    def fileno(self):
        return self.client._socket.fileno()

    def read(self):
        client = self.client
        if not client.closed:
            client._read(Deadline())
            # What OpenSSL has decrypted, poll() does not show.
            while (pending := getattr(client._socket, "pending", None)) and pending() and not client.closed:
                client._buffer += client._socket.recv(65536)
            client._sort()
            client.seen.clear()
        self.take()
        self.closed = client.closed

    def take(self):
        while self.client._events:
            self.event(self.client._events.popleft().split(" ", 1)[1])
        while self.client._notices:
            notice = self.client._notices.popleft()
            if gap := re.match(rf"!GAP {re.escape(TOPIC)} (\d+) (\d+) ", notice):
                self.lost(int(gap[1]), int(gap[2]))
            elif not notice.startswith(("!WAIT", "!LIVE", "!KEEPALIVE")):
                self.problems.append(notice)


class WebSocket(Line):
    def take(self):
        while self.client._events:
            event = self.client._events.popleft()
            if "text" in event:
                self.event(event["text"])
            elif "gap" in event:
                self.lost(event["gap"]["first"], event["gap"]["last"])
            else:
                self.problems.append(event)
        self.problems += [notice for notice in self.client._notices if "bye" in notice]
        self.client._notices.clear()


class ZeroMq(Subscriber):
    def __init__(self, name, context, endpoint):
        super().__init__(name)
        self.reader = Reader(context, TOPIC, egress=endpoint)
        self.reader.wait_live()
        self.socket = self.reader._socket

    def read(self):
        while True:
            try:
                _, event = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # It has no library that recovers: a hole in the offsets, which are the numbers, is what announces a loss.
            event = event_pb2.Event.FromString(event)
            if event.stamp.offset > self.last + 1:
                self.lost(self.last + 1, event.stamp.offset - 1)
            self.event(event.text)


class Healthy:
    def __init__(self, options):
        self.options = options
        self.context = zmq.Context()
        if "keys" in options:
            keys = options["keys"]
            self.context.curve_publickey, self.context.curve_secretkey, self.context.curve_serverkey = (
                key.encode() for key in keys)
        self.writer = Writer(self.context, source="healthy@test", endpoint=options["ingress"])
        self.writer.wait_ready()
        self.phases, self.published = [], 0
        token = options.get("token")
        address = options["gateway"]
        self.subscribers = [Line("line", self.line_client(address), token), Line("line 2", self.line_client(address), token),
                            WebSocket("WebSocket", WebSocketPeer(address, wrap=self.wrap()), token),
                            ZeroMq("ZeroMQ", self.context, options["egress"])]

    def wrap(self):
        if "ca" not in self.options:
            return None
        context = ssl.create_default_context(cafile=self.options["ca"])
        return lambda plain: context.wrap_socket(plain, server_hostname=self.options["gateway"].rsplit(":", 1)[0])

    def line_client(self, address):
        client = LineClient(address)
        if wrap := self.wrap():
            secure = wrap(client._socket)
            client = LineClient.__new__(LineClient)
            CommandClient.__init__(client, secure)
        return client

    def publish(self):
        self.published += 1
        self.writer.send(TOPIC, f"{self.published} {time.monotonic_ns()}")

    def run(self):
        poller, by_fd = zmq.Poller(), {}
        for each in self.subscribers:
            handle = each.socket if isinstance(each, ZeroMq) else each.fileno()
            poller.register(handle, zmq.POLLIN)
            by_fd[handle] = each
        poller.register(0, zmq.POLLIN)
        print("live", flush=True)
        interval, due = 1 / self.options["rate"], time.monotonic()
        commands, finishing = b"", None
        while True:
            now = time.monotonic()
            while finishing is None and now >= due:
                self.publish()
                due = max(due + interval, now - 1)
            if finishing and (now > finishing or all(each.last >= self.published for each in self.subscribers)):
                return
            for handle, _ in poller.poll(max(0, int(1000 * (due - now))) if finishing is None else 50):
                if handle == 0:
                    commands += os.read(0, 4096)
                    *lines, commands = commands.split(b"\n")
                    for line in lines:
                        if line.startswith(b"phase "):
                            self.phases.append((time.monotonic_ns(), line[6:].decode()))
                        else:
                            finishing = now + SETTLE_S
                            poller.unregister(0)
                    continue
                by_fd[handle].read()
                if by_fd[handle].closed:
                    poller.unregister(handle)

    def report(self):
        return {"published": self.published,
                "subscribers": [each.figures(self.published, self.phases) for each in self.subscribers]}

    def close(self):
        self.writer.close()
        for each in self.subscribers:
            (each.reader if isinstance(each, ZeroMq) else each.client).close()
        self.context.term()


if __name__ == "__main__":
    healthy = Healthy(json.loads(sys.argv[1]))
    healthy.run()
    print(json.dumps(healthy.report()), flush=True)
    healthy.close()
