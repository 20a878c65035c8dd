"""A TCP relay between a client and a broker, whose connections a test can cut."""

import selectors
import socket
import threading


class Relay:
    """Forwards bytes between the clients of `endpoint` and `target`, both of the form tcp://HOST:PORT. A thread of its
    own owns all sockets."""

    def __init__(self, target, cut_once_after=None):
        """`cut_once_after`: after this many bytes from clients, cuts all connections, once, without forwarding the last
        bytes: something is certainly lost."""
        self._target = self._address(target)
        self._cut_once_after = cut_once_after
        self._forwarded = 0
        self._open = True
        self.cuts = 0
        self._commands, self._ours = socket.socketpair()
        self._done = threading.Semaphore(0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ours, selectors.EVENT_READ)
        self._peers, self._clients = {}, set()
        self._listener = None
        self._listen((self._target[0], 0))
        self.endpoint = f"tcp://{self._target[0]}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self):
        """Cuts all connections, and refuses new ones until mend()."""
        self._command(b"c")

    def mend(self):
        """Accepts connections again."""
        self._command(b"m")

    def close(self):
        self._command(b"q")
        self._thread.join()
        self._commands.close()

    @staticmethod
    def _address(endpoint):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        return host, int(port)

    def _command(self, letter):
        self._commands.sendall(letter)
        self._done.acquire()

    def _listen(self, address):
        self._listener = socket.create_server(address)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _stop_listening(self):
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = None

    def _run(self):
        while self._open:
            for key, _ in self._selector.select():
                if key.fileobj is self._ours:
                    self._execute(self._ours.recv(1))
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._forward(key.fileobj)
        self._selector.close()

    def _execute(self, letter):
        if letter in b"cq":
            self._drop_all()
            if self._listener:
                self._stop_listening()
        if letter == b"m":
            self._listen(self._address(self.endpoint))
        if letter == b"q":
            self._open = False
            self._selector.unregister(self._ours)
            self._ours.close()
        self._done.release()

    def _accept(self):
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, sender):
        try:
            data = sender.recv(65536)
            self._forwarded += len(data) if sender in self._clients else 0
            if self._cut_once_after is not None and self._forwarded >= self._cut_once_after:
                self._cut_once_after = None
                self._drop_all()
            elif data:
                self._peers[sender].sendall(data)
            else:
                self._drop(sender)
        except OSError:
            self._drop(sender)

    def _drop(self, one):
        self.cuts += 1
        for end in (one, self._peers[one]):
            self._selector.unregister(end)
            self._clients.discard(end)
            del self._peers[end]
            end.close()

    def _drop_all(self):
        while self._clients:
            self._drop(next(iter(self._clients)))
