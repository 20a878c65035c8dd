"""Reads events over ZeroMQ without our module. Does not notice lost events."""

import os
import sys

import zmq
from backplane.v1 import event_pb2

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
subscriber = zmq.Context().socket(zmq.SUB)
subscriber.setsockopt(zmq.SNDHWM, 0)  # subscriptions are messages: at the default, many at once are lost
subscriber.connect(f"tcp://{host}:5571")
subscriber.subscribe("stock.")  # ZeroMQ matches by prefix: "stock" would get "stockholm" too
subscriber.subscribe(live := f"$SYS.live.{os.urandom(8).hex()}")
while True:
    topic, body = subscriber.recv_multipart()
    if topic.decode() == live:
        print("subscribed", flush=True)  # every subscription before this one is active
    else:
        event = event_pb2.Event.FromString(body)
        print(topic.decode(), event.stamp.offset, event.WhichOneof("payload"), flush=True)
