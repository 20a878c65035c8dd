"""Many clients that come and go, as a program: `crowd.py OPTIONS`, with OPTIONS in JSON. Each client speaks one protocol, lives
for some seconds, and is replaced by another one. Some read slowly, or not at all; some publish, or change their
subscriptions; some leave without a word. Prints `begun` when as many are connected as the options say, and, when standard
input ends, the figures in JSON."""

import asyncio
import json
import random
import resource
import socket
import struct
import sys
import urllib.parse

import zmq
import zmq.asyncio
from backplane import AuthenticationError, ControlError, Event, Gap, Reset, aio
from ledger import Books, Ledger, stamp_of
from protocols import Ended, Lines, Mqtt, ServerSentEvents, WebSocket, Zmtp

# Of what the publishers of the soak publish, with weights: few clients read everything.
PATTERNS = {"clock": 3, "stock.MSFT": 3, "stock.>": 2, "earthquake.>": 3, "weather.seattle": 4, "walk.>": 1, "walk.AAA": 3,
            "check.>": 1, "check.3": 4, "chat.>": 2, "nothing.here.>": 4, ">": 1}
OPTIONS = {(): 10, ("last",): 4, ("since=5s",): 3, ("since=1m",): 1, ("every=200ms",): 2}
BEHAVIOURS = {"reads": 14, "slow": 2, "stopped": 2, "fickle": 2, "talks": 2}
KINDS = {"lines": Lines, "websocket": WebSocket, "sse": ServerSentEvents, "zmtp": Zmtp, "mqtt": Mqtt}
LIFETIME_S = 15.0
RETRY_S = (0.2, 2.0)


def choose(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


class GatewayClient:
    """A client of the gateway, from its connection to its end."""

    def __init__(self, crowd, kind):
        self.crowd, self.kind, self.rng = crowd, kind, crowd.rng
        self.books = crowd.books
        self.behaviour = choose(self.rng, BEHAVIOURS)
        if kind in ("sse", "zmtp") and self.behaviour in ("fickle", "talks"):
            self.behaviour = "reads"
        self.patterns = list(dict.fromkeys(choose(self.rng, PATTERNS) for _ in range(self.rng.choice((1, 1, 2)))))
        self.options = list(choose(self.rng, OPTIONS)) if kind not in ("zmtp", "mqtt") else []
        if self.behaviour == "stopped":
            self.patterns = [">"]
        if self.behaviour == "fickle":
            self.patterns, self.options = ["nothing.here.>"], []
        # What a second subscription requests comes again, except in a request for Server-Sent Events, which is one.
        again = kind == "mqtt" or (kind != "sse" and self.options and not self.options[0].startswith("every"))
        self.ledger = Ledger(self.books, kind, may_skip=any(each.startswith("every") for each in self.options),
                             may_repeat=again and len(self.patterns) > 1)
        self.resume = ""

    # What the protocol calls.

    def event(self, stream, topic, offset):
        if self.behaviour == "fickle" or offset == 0:
            self.books.count(self.kind, "events")
        else:
            self.ledger.event(stream, topic, offset)

    def gap(self, *announced):
        if self.behaviour != "fickle":
            self.ledger.gap(*announced)

    def reset(self):
        self.ledger.reset()

    def replied(self, good, text):
        if not good:
            self.books.count(self.kind, "refused " + text.split(" ")[1] if " " in text else text)

    # Its life.

    async def run(self):
        lives = 2 if self.kind == "sse" else 1  # an EventSource connects again, and resumes
        for _ in range(lives):
            if not await self._connection() or self.crowd.ending:
                return

    async def _connection(self):
        """Returns whether it had been connected."""
        address = self.rng.choice(self.crowd.gateways)
        host, port = address.rsplit(":", 1)
        connection = socket.socket()
        slow = self.behaviour in ("slow", "stopped")
        if slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
            reader, self.writer = await asyncio.open_connection(sock=connection, limit=2048 if slow else 65536)
        except OSError:
            connection.close()
            self.books.count(self.kind, "not connected")
            await asyncio.sleep(self.rng.uniform(*RETRY_S))
            return False
        self.books.count(self.kind, "connections")
        if self.resume:
            self.ledger.resume()
            self.books.count(self.kind, "resumed")
        else:
            self.ledger.forget()  # it has nothing to continue from
        self.protocol = KINDS[self.kind](self, address, self.rng.choice(self.crowd.tokens), self.patterns, self.options,
                                         resume=self.resume)
        if self.kind == "mqtt":
            self.protocol.qos = self.rng.choice((0, 1))
        try:
            async with asyncio.timeout(self.rng.expovariate(1 / LIFETIME_S) + 0.2) as self.life:
                self.writer.write(self.protocol.begin())
                await self._live(reader)
        except TimeoutError:
            self.books.count(self.kind, "left")
        except Ended as ended:
            self.books.count(self.kind, f"ended: {ended}")
        except (OSError, EOFError):
            self.books.count(self.kind, "cut off")
        finally:
            self.resume = getattr(self.protocol, "last_id", "")
            self._leave()
        return True

    async def _live(self, reader):
        busy = None
        try:
            if self.behaviour == "stopped":
                await asyncio.sleep((self.life.when() - asyncio.get_running_loop().time()) * 0.7)
            elif self.behaviour == "fickle":
                busy = asyncio.create_task(self._change_subscriptions())
            elif self.behaviour == "talks":
                busy = asyncio.create_task(self._talk())
            while data := await reader.read(1024 if self.behaviour == "slow" else 65536):
                if reply := self.protocol.feed(data):
                    self.writer.write(reply)
                if self.behaviour == "slow":
                    await asyncio.sleep(0.2)
            raise EOFError
        finally:
            if busy:
                busy.cancel()

    async def _change_subscriptions(self):
        while self.protocol.has_commands:
            await asyncio.sleep(self.rng.uniform(0.1, 1))
            pattern = choose(self.rng, PATTERNS)
            self.writer.write(self.protocol.command(f"SUB {pattern}"))
            await asyncio.sleep(self.rng.uniform(0, 0.5))
            self.writer.write(self.protocol.command(f"UNSUB {pattern}"))

    async def _talk(self):
        for number in range(1_000_000):
            await asyncio.sleep(self.rng.uniform(0.5, 3))
            topic, text = f"chat.{self.rng.randrange(20)}", f"message {number} of somebody"
            if self.kind == "mqtt":
                self.writer.write(self.protocol.publish(topic, text))
            elif self.rng.random() < 0.7:
                self.writer.write(self.protocol.command(f"PUB {topic} {text}"))
            else:
                self.writer.write(self.protocol.command(self.rng.choice(["PING", "TOPICS stock.>", "POSITION"])))
            self.books.count(self.kind, "published")

    def _leave(self):
        """Says goodbye, closes, or cuts."""
        way = self.rng.random()
        try:
            if way < 0.2 and hasattr(self.protocol, "goodbye") and not self.writer.is_closing():
                self.writer.write(self.protocol.goodbye())
            elif way > 0.7:
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.writer.transport.abort()
        except OSError:
            pass
        self.writer.close()


class HttpClient:
    """Looks at the pages, and posts."""
    kind = "http"

    def __init__(self, crowd, _):
        self.crowd, self.rng = crowd, crowd.rng

    async def run(self):
        address, books = self.rng.choice(self.crowd.gateways), self.crowd.books
        host, port = address.rsplit(":", 1)
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(host, int(port))
                request = self.rng.choice(["GET /", "GET /v1/status", "GET /v1/topics?pattern=" + urllib.parse.quote("stock.>"),
                                           "GET /healthz", "GET /metrics", "POST /v1/topics/chat.http"])
                body = "posted" if request.startswith("POST") else ""
                writer.write(f"{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {self.rng.choice(self.crowd.tokens)}\r\n"
                             f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
                answer = await reader.read()
                writer.close()
                books.count("http", "status " + answer[9:12].decode() if answer else "cut off")
        except (OSError, TimeoutError) as error:
            books.count("http", type(error).__name__)
        await asyncio.sleep(self.rng.uniform(0.2, 3))


class BrokerClient:
    """A plain SUB at the broker. It recovers nothing, so what it misses is counted, not an offence."""
    kind = "broker sub"

    def __init__(self, crowd, _):
        self.crowd, self.rng = crowd, crowd.rng

    async def run(self):
        books, last = self.crowd.books, {}
        slow = self.rng.random() < 0.2
        with self.crowd.context.socket(zmq.SUB) as subscriber:
            subscriber.linger, subscriber.sndhwm, subscriber.rcvhwm = 0, 0, 1000
            keys = self.crowd.options["keys"]
            subscriber.curve_publickey, subscriber.curve_secretkey, subscriber.curve_serverkey = (key.encode() for key in keys)
            subscriber.connect(self.crowd.options["egress"])
            subscriber.subscribe(choose(self.rng, PATTERNS).split(">")[0])
            books.count(self.kind, "connections")
            try:
                async with asyncio.timeout(self.rng.expovariate(1 / LIFETIME_S) + 0.2):
                    while True:
                        topic, event = await subscriber.recv_multipart()
                        stream, _, offset = stamp_of(event)
                        seen = last.get((stream, topic), offset - 1)
                        books.count(self.kind, "events")
                        if offset > seen + 1:
                            books.count(self.kind, "missed", offset - seen - 1)
                        elif offset <= seen:
                            books.offend(self.kind, f"{topic} {offset} after {seen}")
                        last[stream, topic] = offset
                        if slow:
                            await asyncio.sleep(0.05)
            except TimeoutError:
                pass


class PythonClient:
    """The Python library with asyncio. One in three continues once with a token."""
    kind = "python"

    def __init__(self, crowd, _):
        self.crowd, self.rng = crowd, crowd.rng

    async def run(self):
        since = self.rng.choice([None, None, "5s", "1m"])
        patterns = [choose(self.rng, PATTERNS)]
        token = await self._read(patterns, since, Ledger(self.crowd.books, self.kind))
        if token and self.rng.random() < 0.3 and not self.crowd.ending:
            self.crowd.books.count(self.kind, "resumed")
            await self._read(patterns, token, Ledger(self.crowd.books, self.kind))

    async def _read(self, patterns, since, ledger):
        options, books = self.crowd.options, self.crowd.books
        books.count(self.kind, "connections")
        async with aio.Subscriber(*patterns, egress=options["egress"], control=options["control"], since=since,
                                  key_file=options["key_file"], server_key_file=options["server_key_file"]) as subscriber:
            try:
                async with asyncio.timeout(self.rng.expovariate(1 / LIFETIME_S) + 1):
                    while True:
                        try:
                            item = await subscriber.receive(timeout=60)
                        except (AuthenticationError, ControlError) as error:
                            books.count(self.kind, f"refused {error.code}")
                            continue
                        if isinstance(item, Event):
                            ledger.event(item.stamp.stream, item.topic, item.stamp.offset)
                        elif isinstance(item, Gap):
                            ledger.gap(item.stream, item.topic, item.first, item.last, item.reason)
                        elif isinstance(item, Reset):
                            ledger.reset()
            except TimeoutError:
                pass
            return subscriber.resume_token()


class Crowd:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options["seed"])
        self.gateways, self.tokens = options["gateways"], options["tokens"]
        self.books = Books()
        self.context = zmq.asyncio.Context()
        self.ending = False

    async def slot(self, kind, delay):
        """One place in the crowd: a client after the other."""
        make = {"http": HttpClient, "broker sub": BrokerClient, "python": PythonClient}.get(kind, GatewayClient)
        await asyncio.sleep(delay)
        while not self.ending:
            try:
                await make(self, kind).run()
            except Exception as error:  # of this program, or something that no server may send
                self.books.offend(kind, repr(error))
                await asyncio.sleep(1)

    async def run(self):
        slots = [(kind, count) for kind, count in self.options["clients"].items()]
        total = sum(count for _, count in slots)
        places = [kind for kind, count in slots for _ in range(count)]
        self.rng.shuffle(places)
        ramp_s = total / 100  # at most 100 connections per second
        tasks = [asyncio.create_task(self.slot(kind, ramp_s * at / total)) for at, kind in enumerate(places)]
        await asyncio.sleep(ramp_s)
        print("begun", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        self.ending = True
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.context.destroy(linger=0)
        zmq.Context.instance().destroy(linger=0)
        print(json.dumps(self.books.report()), flush=True)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(Crowd(json.loads(sys.argv[1])).run())
