"""Real nats-servers with JetStream, for tests of brokers that share a log."""

import json
import pathlib
import shutil
import socket
import tempfile

from harness import HOST, TIMEOUT_S, Deadline, Process

CLIENTS, ROUTES = 4222, 6222


def is_installed():
    return shutil.which("nats-server") is not None


class NatsServers:
    """One server, or several that replicate. They keep their files when they are killed and started again."""

    def __init__(self, count=1, jetstream=True, max_payload="4MB", max_file_store="2GB", authorization=""):
        self._folder = tempfile.TemporaryDirectory()
        self._servers = [None] * count
        for number in range(count):
            self._write(number, count, jetstream, max_payload, max_file_store)
            if authorization:
                with open(f"{self._folder.name}/{number}.conf", "a", encoding="utf-8") as config:
                    config.write(f"\nauthorization {{ {authorization} }}\n")

    def start_all(self):
        for number in range(len(self._servers)):
            self._launch(number)
        for number in range(len(self._servers)):
            self._wait_ready(number)

    def _write(self, number, count, jetstream, max_payload, max_file_store):
        lines = [f"server_name: n{number}", f"listen: {HOST}:{CLIENTS + number}", f"max_payload: {max_payload}"]
        if jetstream:
            lines.append(f'jetstream {{ store_dir: "{self._folder.name}/{number}", max_file_store: {max_file_store} }}')
        if count > 1:
            routes = ", ".join(f"nats://{HOST}:{ROUTES + other}" for other in range(count) if other != number)
            lines.append(f"cluster {{ name: test, listen: {HOST}:{ROUTES + number}, routes: [{routes}] }}")
        pathlib.Path(self._folder.name, f"{number}.conf").write_text("\n".join(lines), encoding="utf-8")

    def _launch(self, number):
        self._servers[number] = Process(["nats-server", "-c", f"{self._folder.name}/{number}.conf"])

    def _wait_ready(self, number):
        server = self._servers[number]
        server.wait_line(server.err, "Server is ready")
        deadline = Deadline()
        while len(self._servers) > 1 and not self._has_all_copies(number):
            if not deadline.left():
                raise AssertionError(f"no leader, or copies that are behind\n{server.transcript()}")

    def _has_all_copies(self, number):
        """Whether this server knows the leader, and no stream has a copy that is behind."""
        try:
            streams = self.request("STREAM.LIST", number=number, timeout=2)
        except TimeoutError:
            return False  # without a leader, there may be no reply
        if "error" in streams:
            return False
        return all(copy["current"] for stream in streams["streams"] or [] for copy in stream["cluster"]["replicas"])

    def start(self, number=0):
        self._launch(number)
        self._wait_ready(number)

    def kill(self, number=0):
        self._servers[number].kill()

    def url(self, number=0):
        return f"nats://{HOST}:{CLIENTS + number}"

    def request(self, subject, payload=b"", number=0, timeout=TIMEOUT_S):
        """Sends a request to JetStream, such as STREAM.PURGE.name, in NATS' own protocol. Returns its reply."""
        with socket.create_connection((HOST, CLIENTS + number), timeout=timeout) as connection:
            stream = connection.makefile("rwb")
            stream.readline()  # INFO
            stream.write(b'CONNECT {"verbose":false}\r\nSUB _INBOX.test 1\r\n')
            stream.write(f"PUB $JS.API.{subject} _INBOX.test {len(payload)}\r\n".encode() + payload + b"\r\n")
            stream.flush()
            while not (line := stream.readline()).startswith(b"MSG "):
                if not line:
                    raise AssertionError("the nats-server has closed the connection")
            return json.loads(stream.read(int(line.split()[-1])))

    def urls(self):
        return ",".join(self.url(number) for number in range(len(self._servers)))

    def close(self):
        for server in self._servers:
            if server is not None and server.running():
                server.kill()
        self._folder.cleanup()
