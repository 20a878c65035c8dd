"""Runs the Python client's asyncio API for client_scenarios.py, as python_driver.py does for the other one. Commands and
replies go through the event loop, too; nothing here starts a thread."""

import asyncio
import json
import sys
import threading

import python_driver
from backplane import aio
from backplane.events.v1 import quote_pb2
from python_driver import payload_of, reading_options, show


class Driver(python_driver.Driver):
    async def subscribe(self, patterns, timeout, options=None):
        self.subscriber = aio.Subscriber(*patterns, egress=self.endpoints["egress"], control=self.endpoints["control"],
                                         **reading_options(options))
        await self.subscriber.wait_live(timeout)

    async def wait_live(self, timeout):
        await self.subscriber.wait_live(timeout)

    async def items(self, count, timeout):
        return [await self.subscriber.receive(timeout) for _ in range(count)]

    async def receive(self, count, timeout):
        return [show(item) for item in await self.items(count, timeout)]

    async def receive_json(self, count, timeout):
        return [item and item.to_dict() for item in await self.items(count, timeout)]

    async def receive_flags(self, count, timeout):
        return [[item.topic, item.from_history, item.late] for item in await self.items(count, timeout)]

    async def receive_field(self, type_name, field, timeout):
        [event] = await self.items(1, timeout)
        return [event.type, getattr(event.payload, field), getattr(event.unpack(type_name), field),
                event.unpack("backplane.events.v1.Quote") is None]

    def open_publisher(self, source, event_bytes_max, options=None):
        self.publisher = aio.Publisher(source, ingress=self.endpoints["ingress"], control=self.endpoints["control"],
                                       event_bytes_max=event_bytes_max, **(options or {}))

    async def wait_ready(self, timeout):
        await self.publisher.wait_ready(timeout)

    async def publish(self, topic, payload, attributes, time_ns):
        await self.publisher.publish(topic, payload_of(*payload), attributes=attributes, time_ns=int(time_ns))

    async def publish_message(self, topic, type_name, fields):
        await self.publisher.publish(topic, python_driver.backplane.message(type_name, **fields))

    async def publish_quote(self, topic, symbol, price):
        await self.publisher.publish(topic, quote_pb2.Quote(symbol=symbol, price=price))

    async def close_publisher(self):
        await self.publisher.close()

    async def burst(self, topic, count, size):
        for number in range(count):
            await self.publisher.publish(topic, str(number + 1).rjust(size, "."))

    async def flush(self, timeout):
        await self.publisher.flush(timeout)

    def open_control(self, options=None):
        self.control = aio.Control(self.endpoints["control"][0], **(options or {}))

    async def last(self, pattern, timeout):
        return [show(event) for event in await self.control.last(pattern, timeout)]

    async def last_json(self, pattern, timeout):
        return [event.to_dict() for event in await self.control.last(pattern, timeout)]

    async def replay(self, pattern, start, timeout):
        return [show(event) async for event in self.control.replay(pattern, **start, timeout=timeout)]

    def threads(self):
        return threading.active_count()

    async def turns_while_reading(self, count):
        """How often another task had its turn while one read this many items."""
        turns, reading = 0, asyncio.ensure_future(self.items(count, 60))
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        await reading
        return turns

    async def close_while_waiting(self):
        """What tasks get that wait when their objects are closed."""
        reading = asyncio.ensure_future(self.subscriber.receive(60))
        asking = asyncio.ensure_future(self.control.ask(60, stats={}))
        await asyncio.sleep(0)
        self.subscriber.close()
        self.control.close()
        return [type(each).__name__ for each in await asyncio.gather(reading, asking, return_exceptions=True)]

    async def cancelled(self, timeout):
        """The number of cancelled calls before the one that received something, and that."""
        for count in range(10_000):
            try:
                return [count, show(await asyncio.wait_for(self.subscriber.receive(timeout), 0.001))]
            except asyncio.TimeoutError:
                pass

    async def two_at_once(self):
        first = asyncio.ensure_future(self.subscriber.receive(0.2))
        await asyncio.sleep(0.01)
        try:
            await self.subscriber.receive(0.1)
        finally:
            await first

    async def close(self):
        if self.subscriber:
            self.subscriber.close()
        if self.publisher:
            await self.publisher.close()
        if self.control:
            self.control.close()


async def main():
    driver = Driver(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        name, *arguments = json.loads(line)
        try:
            value = getattr(driver, name)(*arguments)
            answer = {"value": await value if asyncio.iscoroutine(value) else value}
        except Exception as error:  # the test checks all of them
            answer = python_driver.describe(error)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(), debug=True)
