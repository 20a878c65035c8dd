"""Publishers of every kind. Each knows which of its events were acknowledged, refused, or neither."""

import http.client
import json
import subprocess
import threading
import time

import zmq
from checker import Publications
from harness import TIMEOUT_S, PROGRAM
from network import endpoints
from subscribers import DRIVERS, connect, library_command

TOPICS = 3


def event(name, number, padding=0):
    """(topic, text) of a publisher's event."""
    return f"load.{name}.{number % TOPICS}", f"{name} {number}{'.' * padding}"


class LibraryPublisher:
    """A publisher library in a process."""

    def __init__(self, test, language, name, rate, padding):
        self.name, self._padding = name, padding
        self.problem = ""
        command = library_command(language, "publish", name, TOPICS, rate, padding,
                                  hosts=test.network.add("pub." + name), ports=("ingress", "control"))
        self.process = test.run_process(command, stdin=subprocess.PIPE)

    def begin_stop(self):
        if self.process.running():
            self.process.stdin.close()

    def stop(self):
        """Waits until it has flushed and ended. @returns what it published."""
        self.process.wait_exit()
        if not self.process.out:
            self.problem = f"{self.name}: died: {self.process.transcript()}"
            return Publications(self.name)
        status = json.loads(self.process.out[-1])
        if not status["flushed"]:
            self.problem = f"{self.name}: flush did not succeed: {status}"
        events = [event(self.name, number, self._padding) for number in range(1, status["offered"] + 1)]
        if status["refused"]:  # which of them, it does not say
            return Publications(self.name, unknown=events)
        return Publications(self.name, acknowledged=events[:status["confirmed"]], unknown=events[status["confirmed"]:])


class ThreadPublisher:
    """A publisher in a thread: publishes one event after the other, and notes what became of each."""

    def __init__(self, test, name, rate, padding):
        self.name, self._rate, self._padding = name, rate, padding
        self.problem = ""
        self.process = None
        self._published = Publications(name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        test.addCleanup(self._end)
        self._thread.start()

    def _end(self):
        self.begin_stop()
        self._thread.join()

    def _run(self):
        begun = time.monotonic()
        number = 0
        while not self._stopping.wait(max(0.0, begun + number / self._rate - time.monotonic())):
            number += 1
            each = event(self.name, number, self._padding)
            try:
                outcome = self.publish(*each)
            except (OSError, EOFError, http.client.HTTPException):
                self.disconnect()
                outcome = "unknown"
            getattr(self._published, outcome).append(each)
        self.disconnect()

    def disconnect(self):
        pass

    def begin_stop(self):
        self._stopping.set()

    def stop(self):
        self._end()
        return self._published


class CliPublisher(ThreadPublisher):
    """`backplane pub`, a process for each event."""

    def __init__(self, test, name, rate, padding):
        self._hosts = ",".join(test.network.add("pub." + name))
        super().__init__(test, name, rate, padding)

    def publish(self, topic, text):
        done = subprocess.run([PROGRAM, "pub", topic, text, "--broker", self._hosts], capture_output=True, check=False)
        return "acknowledged" if done.returncode == 0 else "unknown"


class LinePublisher(ThreadPublisher):
    """PUB in the line protocol."""

    def __init__(self, test, name, rate, padding):
        self._address, self._connection, self._lines = test.network.add_client("pub." + name), None, None
        super().__init__(test, name, rate, padding)

    def publish(self, topic, text):
        if not self._connection:
            self._connection = connect(self._address)
            self._lines = self._connection.makefile(encoding="utf-8")
        self._connection.sendall(f"PUB {topic} {text}\n".encode())
        while (line := self._lines.readline()).startswith("!"):
            pass
        if not line:
            raise EOFError
        if line.startswith("+OK PUB "):
            return "acknowledged"
        return "unknown" if line.startswith("-ERR unavailable") else "refused"

    def disconnect(self):
        if self._connection:
            self._lines.close()
            self._connection.close()
            self._connection = None


class PostPublisher(ThreadPublisher):
    """POST over HTTP."""

    def __init__(self, test, name, rate, padding):
        self._connection = http.client.HTTPConnection(test.network.add_client("pub." + name), timeout=TIMEOUT_S)
        super().__init__(test, name, rate, padding)

    def publish(self, topic, text):
        self._connection.request("POST", f"/v1/topics/{topic}", body=text)
        response = self._connection.getresponse()
        response.read()
        return {200: "acknowledged", 503: "unknown"}.get(response.status, "refused")

    def disconnect(self):
        self._connection.close()


class RawPublisher(ThreadPublisher):
    """A PUB at the raw port of the first broker: nobody acknowledges anything."""

    def __init__(self, test, name, rate, padding):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoints(test.network.add("pub." + name)[0])["raw"])
        super().__init__(test, name, rate, padding)

    def publish(self, topic, text):
        self._socket.send_multipart([topic.encode(), text.encode()], zmq.DONTWAIT)
        return "unknown"

    def _end(self):
        super()._end()
        # What is on its way still arrives: the load has ended only then.
        self._socket.close(linger=1000)
        self._context.term()


KINDS = {"cli": CliPublisher, "line": LinePublisher, "post": PostPublisher, "raw": RawPublisher}
# Events per second: a process for each event, or a round trip, takes its time.
RATES = {"cpp": 50, "python": 40, "node": 40, "cli": 2, "line": 20, "post": 10, "raw": 10}
DIRECT = ("cpp", "python", "node", "cli", "raw")
THROUGH_GATEWAY = ("line", "post")


def start(test, kind, rate=None, padding=0, name=None):
    rate = rate or RATES[kind]
    if kind in DRIVERS:
        return LibraryPublisher(test, kind, name or kind, rate, padding)
    return KINDS[kind](test, name or kind, rate, padding)


def stop_all(publishers):
    """Stops them all at once. @returns what they published, and which of them could not finish."""
    for each in publishers:
        each.begin_stop()
    published = [each.stop() for each in publishers]
    return published, [each.problem for each in publishers if each.problem]
