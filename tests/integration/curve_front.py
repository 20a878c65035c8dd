"""CURVE in front of a broker that has no keys: sockets that require keys, and pass everything on to the broker's."""

import threading

import zmq
from backplane.v1 import control_pb2
from zmq.utils import z85
from harness import CONTROL, EGRESS, INGRESS


class CurveFront:
    """Admits the public keys in `users`. Everybody else's get `status` as ZAP's reply. Has a thread of its own."""

    def __init__(self, secret_key, users, endpoints, status=b"400", forbidden=()):
        """`endpoints`: those to bind for ingress, egress and control. The keys are in Z85. `forbidden`: the names of
        requests that get the error not_permitted, and patterns of `tails` that do."""
        self._forbidden = forbidden
        self._secret_key, self._endpoints, self._status = secret_key, endpoints, status
        self._users = {z85.decode(user) for user in users}
        self._context = zmq.Context()
        self._stop, told = self._pair()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(told, ready), daemon=True)
        self._thread.start()
        ready.wait()

    def close(self):
        """Ends all connections."""
        self._stop.send(b"")
        self._thread.join()
        self._stop.close()
        self._context.term()

    def _pair(self):
        ends = [self._context.socket(zmq.PAIR) for _ in range(2)]
        ends[0].bind("inproc://stop")
        ends[1].connect("inproc://stop")
        return ends

    def _socket(self, kind):
        socket = self._context.socket(kind)
        for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
            socket.setsockopt(option, 0)
        return socket

    def _bound(self, kind, endpoint):
        socket = self._socket(kind)
        socket.curve_server, socket.curve_secretkey, socket.zap_domain = True, self._secret_key, b"backplane"
        socket.bind(endpoint)
        return socket

    def _connected(self, kind, endpoint):
        socket = self._socket(kind)
        socket.connect(endpoint)
        return socket

    def _run(self, told, ready):
        zap = self._context.socket(zmq.REP)
        zap.bind("inproc://zeromq.zap.01")
        ingress, egress, control = self._endpoints
        pairs = [(self._bound(zmq.XSUB, ingress), self._connected(zmq.XPUB, INGRESS)),
                 (self._bound(zmq.XPUB, egress), self._connected(zmq.XSUB, EGRESS)),
                 (self._bound(zmq.ROUTER, control), self._connected(zmq.DEALER, CONTROL))]
        other = {one: two for pair in pairs for one, two in (pair, pair[::-1])}
        poller = zmq.Poller()
        for each in (told, zap, *other):
            poller.register(each, zmq.POLLIN)
        ready.set()
        readable = {}
        while told not in readable:
            readable = dict(poller.poll())
            for each in readable:
                if each in other:
                    frames = each.recv_multipart()
                    if each is pairs[2][0] and (reply := self._refusal(frames[-1])):
                        each.send_multipart([*frames[:-1], reply])
                    else:
                        other[each].send_multipart(frames)
            if zap in readable:
                self._answer(zap)
        for each in (told, zap, *other):
            each.close(0)

    def _refusal(self, request):
        request = control_pb2.ControlRequest.FromString(request)
        name = request.WhichOneof("request")
        alone = list(request.tails.patterns) if len(request.tails.patterns) == 1 else []
        refused = [each for each in (name, *alone) if each in self._forbidden]
        if not refused:
            return None
        error = {"code": "not_permitted", "text": refused[0]}
        return control_pb2.ControlReply(version=1, id=request.id, stream=1, error=error).SerializeToString()

    def _answer(self, zap):
        version, number, _, _, _, _, key = zap.recv_multipart()
        status = b"200" if key in self._users else self._status
        zap.send_multipart([version, number, status, b"", b"user", b""])
