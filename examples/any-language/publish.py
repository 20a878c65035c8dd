"""Publishes two events over ZeroMQ without our module, and waits until the broker has confirmed them."""

import os
import sys
import time

import zmq
from backplane.v1 import control_pb2, event_pb2

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
context = zmq.Context()
publisher, control = context.socket(zmq.XPUB), context.socket(zmq.REQ)
publisher.setsockopt(zmq.XPUB_NODROP, 1)
for socket, port in ((publisher, 5570), (control, 5572)):
    for option, value in {zmq.SNDTIMEO: 5000, zmq.RCVTIMEO: 5000, zmq.LINGER: 0}.items():
        socket.setsockopt(option, value)
    socket.connect(f"tcp://{host}:{port}")

assert publisher.recv() == b"\x01"  # the broker subscribes to everything: connected
source, session = "weather@roof", int.from_bytes(os.urandom(8), "little")
for sequence, text in enumerate(("21.5", "21.7"), 1):
    event = event_pb2.Event(source=source, session=session, sequence=sequence, text=text)
    event.time.GetCurrentTime()
    publisher.send_multipart([b"weather.roof", event.SerializeToString()])

request = control_pb2.ControlRequest(version=1, id=1)
request.admitted.source, request.admitted.session = source, session
while True:
    control.send(request.SerializeToString())
    admitted = control_pb2.ControlReply.FromString(control.recv()).admitted
    if max(admitted.sequence, admitted.refused_sequence) >= sequence:
        break
    time.sleep(0.1)
print(f"admitted up to {admitted.sequence}, refused {admitted.refused} {admitted.refused_reason}")
