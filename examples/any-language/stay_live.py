"""Reads events over ZeroMQ, and knows at any time whether its subscriptions are active, without a socket monitor: it
subscribes to a new nonce each second. The offsets come from the stamp, without protobuf."""

import os
import struct
import sys
import time

import zmq


def read_stamp(body):
    """Returns stream, position, offset, previous and received (Unix time in ns)."""
    return struct.unpack("<3xQxQxQxQxq", body[-47:])


def main(host):
    subscriber = zmq.Context().socket(zmq.SUB)
    for option, value in {zmq.SNDHWM: 0, zmq.RCVHWM: 100_000, zmq.TCP_KEEPALIVE: 1, zmq.RECONNECT_IVL: 50}.items():
        subscriber.setsockopt(option, value)
    subscriber.connect(f"tcp://{host}:5571")
    subscriber.subscribe("stock.")

    nonce, is_live, due = "", False, 0.0
    while True:
        now = time.monotonic()
        if not nonce and now >= due:
            nonce, due = f"$SYS.live.{os.urandom(8).hex()}", now + 2
            subscriber.subscribe(nonce)
        if subscriber.poll(100):
            topic, body = subscriber.recv_multipart()
            if topic.decode() != nonce:
                print(topic.decode(), read_stamp(body)[2], flush=True)
                continue
            if not is_live:
                print("live", flush=True)  # the moment to request tails
            is_live, due = True, time.monotonic() + 1
        elif not nonce or now < due:
            continue
        elif is_live:  # everything received has been read, and there is no reply
            print("not live", flush=True)
            is_live = False
        subscriber.unsubscribe(nonce)
        nonce = ""


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1")
