"""The Python libraries as processes, for fault tests: as library_driver.cpp is for C++."""

import json
import select
import signal
import sys
import time

import backplane

FLUSH_LIMIT_S = 30.0


def say(**fields):
    print(json.dumps(fields), flush=True)


def record(item):
    if isinstance(item, backplane.Reset):
        return {"reset": {"old": f"{item.old_stream:016x}", "stream": f"{item.new_stream:016x}"}}
    if isinstance(item, backplane.Gap):
        return {"gap": {"topic": item.topic, "stream": f"{item.stream:016x}", "first": item.first, "last": item.last,
                        "reason": item.reason}}
    return {"topic": item.topic, "stream": f"{item.stamp.stream:016x}", "position": item.stamp.position,
            "offset": item.stamp.offset, "text": item.text}


def subscribe(pace_us, *arguments):
    endpoints, patterns = (arguments[:(at := arguments.index("--"))], arguments[at + 1:])
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    with backplane.Subscriber(*patterns, egress=endpoints[::2], control=endpoints[1::2]) as subscriber:
        while running:
            item = subscriber.receive(timeout=0.2)
            if item is None:
                continue
            say(**record(item))
            if isinstance(item, backplane.Event) and pace_us != "0":
                time.sleep(int(pace_us) / 1e6)
        say(recovered=subscriber.recovered)


def publish(name, topics, rate, padding, *endpoints):
    topics, rate, padding = int(topics), int(rate), "." * int(padding)
    publisher = backplane.Publisher(name, ingress=endpoints[::2], control=endpoints[1::2])
    begun, offered, flushed = time.monotonic(), 0, False
    while not select.select([sys.stdin], [], [], max(0.0, begun + (offered + 1) / rate - time.monotonic()))[0]:
        try:
            publisher.publish(f"load.{name}.{(offered + 1) % topics}", f"{name} {offered + 1}{padding}")
        except TimeoutError:
            continue  # no room: nothing was kept
        offered = publisher.offered
    try:
        publisher.flush(FLUSH_LIMIT_S)
        flushed = True
    except (TimeoutError, backplane.Refused) as error:
        print(error, file=sys.stderr)
    say(offered=publisher.offered, confirmed=publisher.confirmed, refused=publisher.refused,
        in_doubt=publisher.in_doubt, flushed=flushed)
    publisher._close()  # without another flush


if __name__ == "__main__":
    {"subscribe": subscribe, "publish": publish}[sys.argv[1]](*sys.argv[2:])
