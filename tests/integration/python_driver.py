"""Runs the Python client for client_scenarios.py: executes commands from standard input, one JSON array per line, and
replies to each with one line. node_driver.mjs does the same for Node."""

import datetime
import json
import sys

import backplane
from backplane import broker_reader
from backplane.events.v1 import quote_pb2


def show(item):
    if isinstance(item, backplane.Gap):
        return ["gap", item.topic, item.first, item.last, item.reason]
    if isinstance(item, backplane.Reset):
        return ["reset", f"{item.old_stream:016x}", f"{item.new_stream:016x}"]
    if item is None:
        return None
    kind = item.body.WhichOneof("payload")
    if kind == "message":
        quote = item.unpack(quote_pb2.Quote)
        payload = ["quote", quote.symbol, quote.price]
    else:
        payload = [kind or "none", {"text": item.text, "binary": item.body.binary.hex(), None: ""}[kind]]
    return ["event", item.topic, item.stamp.offset, payload]


def payload_of(kind, *values):
    return {"text": lambda text: text, "binary": bytes.fromhex, "none": lambda: None,
            "quote": lambda symbol, price: quote_pb2.Quote(symbol=symbol, price=price)}[kind](*values)


def reading_options(options):
    options = dict(options or {})
    if "since_time" in options:
        options["since"] = datetime.datetime.fromtimestamp(options.pop("since_time"), datetime.timezone.utc)
    return options


class Driver:
    def __init__(self, ingress, egress, control):
        # Each is a list: one endpoint per broker.
        self.endpoints = {"ingress": ingress.split(","), "egress": egress.split(","), "control": control.split(",")}
        self.subscriber = self.publisher = self.control = None

    def subscribe(self, patterns, timeout, options=None):
        """`options`: last, since, since_time (Unix, seconds), every (seconds), name, key_file, server_key_file."""
        self.subscriber = backplane.Subscriber(*patterns, egress=self.endpoints["egress"],
                                               control=self.endpoints["control"], **reading_options(options))
        self.subscriber.wait_live(timeout)

    def wait_live(self, timeout):
        self.subscriber.wait_live(timeout)

    def limit_received(self, messages):
        """Of subscribers: in libzmq's queue."""
        broker_reader.BrokerReader.received_max = messages

    def resume_token(self):
        return self.subscriber.resume_token()

    def close_subscriber(self):
        self.subscriber.close()

    def receive(self, count, timeout):
        return [show(self.subscriber.receive(timeout)) for _ in range(count)]

    def receive_json(self, count, timeout):
        """As json.dumps() writes them."""
        return [item and item.to_dict() for item in (self.subscriber.receive(timeout) for _ in range(count))]

    def receive_flags(self, count, timeout):
        """The topic of each event, whether it is from history, and whether it is late."""
        items = [self.subscriber.receive(timeout) for _ in range(count)]
        return [[item.topic, item.from_history, item.late] for item in items]

    def receive_field(self, type_name, field, timeout):
        """The type of the next event's payload, and a field of it."""
        event = self.subscriber.receive(timeout)
        return [event.type, getattr(event.payload, field), getattr(event.unpack(type_name), field),
                event.unpack("backplane.events.v1.Quote") is None]

    def subscriber_status(self):
        return {name: getattr(self.subscriber, name) for name in ("recovered", "duplicates", "undecodable", "live")}

    def open_publisher(self, source, event_bytes_max, options=None):
        """`options`: key_file, server_key_file."""
        self.publisher = backplane.Publisher(source, ingress=self.endpoints["ingress"], control=self.endpoints["control"],
                                             event_bytes_max=event_bytes_max, **(options or {}))

    def wait_ready(self, timeout):
        self.publisher.wait_ready(timeout)

    def publish(self, topic, payload, attributes, time_ns):
        self.publisher.publish(topic, payload_of(*payload), attributes=attributes, time_ns=int(time_ns))

    def publish_message(self, topic, type_name, fields):
        self.publisher.publish(topic, backplane.message(type_name, **fields))

    def publish_quote(self, topic, symbol, price):
        self.publisher.publish(topic, quote_pb2.Quote(symbol=symbol, price=price))

    def close_publisher(self):
        self.publisher.close()

    def burst(self, topic, count, size):
        for number in range(count):
            self.publisher.publish(topic, str(number + 1).rjust(size, "."))

    def flush(self, timeout):
        self.publisher.flush(timeout)

    def publisher_status(self):
        names = ("offered", "confirmed", "refused", "resent", "in_doubt")
        return {name: getattr(self.publisher, name) for name in names}

    def last_problem(self):
        return (self.publisher or self.subscriber).last_problem

    def open_control(self, options=None):
        """`options`: key_file, server_key_file."""
        self.control = backplane.Control(self.endpoints["control"][0], **(options or {}))

    def last(self, pattern, timeout):
        return [show(event) for event in self.control.last(pattern, timeout)]

    def replay(self, pattern, start, timeout):
        """`start`: after_offset, since_ns or since_ago (seconds)."""
        return [show(event) for event in self.control.replay(pattern, **start, timeout=timeout)]

    def last_json(self, pattern, timeout):
        return [event.to_dict() for event in self.control.last(pattern, timeout)]

    def close(self):
        for one in (self.subscriber, self.publisher, self.control):
            if one:
                one.close()


def describe(error):
    kinds = {"HistoryGone": "gone", "Refused": "refused", "TimeoutError": "timeout", "ControlError": "control",
             "ZMQError": "endpoint", "AuthenticationError": "authentication"}
    kind = "invalid" if isinstance(error, ValueError) else kinds.get(type(error).__name__, type(error).__name__)
    answer = {"error": kind, "text": str(error)}
    if kind == "gone":
        answer["value"] = error.first_available_offset
    elif kind in ("authentication", "control"):
        answer["value"] = error.code
    return answer


def main():
    driver = Driver(*sys.argv[1:])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(driver, name)(*arguments)}
        except Exception as error:  # the test checks all of them
            answer = describe(error)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
