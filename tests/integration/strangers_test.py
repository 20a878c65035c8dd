"""What a stranger can send to each port, and what happens.

The table at the end of this file is the answer for each port and greeting. None of it publishes (but for a ZeroMQ
publisher at the gateway, which may), reads, stops anything, or leaks a descriptor.
"""

import os
import pathlib
import select
import socket
import struct
import unittest

from harness import CONTROL, EGRESS, GATEWAY, HOST, INGRESS, METRICS, TIMEOUT_S, RAW, BackplaneTest, Deadline

FEED = f"{HOST}:1500"
GATEWAY_METRICS = f"{HOST}:9571"
PORTS = {
    "ingress": INGRESS, "egress": EGRESS, "control": CONTROL, "raw": RAW, "broker metrics": METRICS,
    "gateway": GATEWAY, "feed": FEED, "gateway metrics": GATEWAY_METRICS,
}
ZEROMQ = ("ingress", "egress", "control", "raw")


def zmtp_greeting(major, minor, mechanism=b"NULL"):
    return b"\xff" + bytes(8) + b"\x7f" + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def zmtp1_frame(body, more=False):
    """A frame as ZMTP 1.0 has it, whose first byte is a length."""
    return bytes([len(body) + 1, int(more)]) + body


# What a page of another origin can make a browser send: a body whose bytes ZMTP 1.0 would take for frames.
FORM = zmtp1_frame(b"stranger", more=True) + zmtp1_frame(b"from a web page")
DRAIN = zmtp1_frame(b"") + zmtp1_frame(b"\x08\x01\x10\x07\x6a\x00")
GREETINGS = {
    "HTTP GET": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP POST": b"POST / HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (len(FORM + DRAIN), FORM + DRAIN),
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "SMTP": b"EHLO stranger\r\nMAIL FROM:<a@b>\r\nDATA\r\n",
    "Redis": b"*3\r\n$7\r\nPUBLISH\r\n$8\r\nstranger\r\n$2\r\nhi\r\n",
    "MQTT": b"\x10\x13\x00\x04MQTT\x04\x02\x00\x3c\x00\x07strange",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "PROXY v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "PROXY v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    "ZMTP 1.0": zmtp1_frame(b"identity") + FORM,
    "ZMTP 1.0 drain": zmtp1_frame(b"") + DRAIN,
    "ZMTP 2.0": b"\xff" + bytes(8) + b"\x7f\x01\x01" + b"\0\0" + b"\x01\x08stranger\x00\x02hi",
    "ZMTP 3.0 unknown mechanism": zmtp_greeting(3, 0, b"GSSAPI"),
    "ZMTP 3.1 without READY": zmtp_greeting(3, 1) + b"\x00\x02hi",
}


class Strangers(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.gateway = self.start_gateway(
            "--metrics", GATEWAY_METRICS, "--config",
            self.config_file(f'[[gateway.feed]]\nlisten = "{FEED}"\ntopics = ["friend"]\n'))
        self.friend = self.live_reader("")
        self.writer = self.ready_writer()
        self.writer.send("friend", "before")
        self.assertEqual(self.next_event(), ("friend", "before"))

    def next_event(self):
        """The next event that is not the system's: the live checks of others are seen, too."""
        while (received := self.friend.receive())[0].startswith("$SYS."):
            pass
        return received[0], received[1].text

    def connect(self, port):
        host, number = PORTS[port].removeprefix("tcp://").rsplit(":", 1)
        return socket.create_connection((host, int(number)), timeout=TIMEOUT_S)

    def answer(self, port, greeting):
        """(what came back, whether the connection was closed), after the greeting and the end of input."""
        with self.connect(port) as peer:
            try:
                peer.sendall(greeting)
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # closed already
            # A feed sends nothing until something is published.
            received, deadline = b"", Deadline(0.2 if port == "feed" else 5)
            while deadline.left() and select.select([peer], [], [], deadline.left())[0]:
                try:
                    data = peer.recv(65536)
                except ConnectionResetError:
                    return received, True
                if not data:
                    return received, True
                received += data
                if port not in ZEROMQ and b"\n" in received:
                    break  # its first reply is enough
            return received, False

    def descriptors(self, process):
        return len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))

    def open_files(self, process):
        files = [os.readlink(each) for each in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()]
        return process.pid, len(files), sorted(files)

    def assert_unharmed(self, before):
        """Nothing was published, both programs run, and what they had open is what they have open."""
        self.writer.send("friend", "after")
        self.assertEqual(self.next_event(), ("friend", "after"))
        deadline = Deadline()
        while any(self.descriptors(process) > count for process, count in before.items()):
            if not deadline.left():
                self.fail(f"descriptors were leaked: {before}, and now {[self.open_files(each) for each in before]}")
            select.select([], [], [], 0.02)
        self.assertTrue(self.broker.running() and self.gateway.running())
        self.assertEqual(self.counters()["draining"], 0)

    def open_now(self):
        """How many descriptors both programs have, once the last connections of our own are accepted."""
        deadline, before, same = Deadline(), None, 0
        while same < 25:
            now = {process: self.descriptors(process) for process in (self.broker, self.gateway)}
            same = same + 1 if now == before else 0
            before = now
            self.assertTrue(deadline.left(), "descriptors come and go")
            select.select([], [], [], 0.02)
        return before

    def test_each_greeting_on_each_port(self):
        before = self.open_now()
        for port in PORTS:
            for name, greeting in GREETINGS.items():
                with self.subTest(port=port, greeting=name):
                    received, closed = self.answer(port, greeting)
                    self.assertEqual(self.kind(port, received, closed), expected(port, name))
                    if (port, name) == ("gateway", "ZMTP 2.0"):
                        # A publisher is no stranger there.
                        self.assertEqual(self.next_event(), ("stranger", "hi"))
        self.assert_unharmed(before)

    def test_each_first_byte_on_each_zeromq_port(self):
        before = self.open_now()
        refused = self.refused()
        for port in ZEROMQ:
            for byte in range(256):
                with self.subTest(port=port, byte=byte):
                    received, closed = self.answer(port, bytes([byte]) + b"\x01\x7f\x7f" + b"x" * 80)
                    self.assertEqual(self.kind(port, received, closed), "closed")
        self.assert_unharmed(before)
        deadline = Deadline()
        while self.refused() - refused < 4 * 256:
            self.assertTrue(deadline.left(), f"{self.refused() - refused} of {4 * 256} connections were counted")
            select.select([], [], [], 0.1)

    def test_each_first_byte_on_the_other_ports(self):
        before = self.open_now()
        for port in PORTS:
            if port in ZEROMQ or port == "feed":
                continue
            for byte in range(256):
                with self.subTest(port=port, byte=byte):
                    received, _ = self.answer(port, bytes([byte]) + b"\x01\x7f\x7f" + b"x" * 80)
                    self.assertNotIn(b"before", received)
        self.assert_unharmed(before)

    def refused(self):
        return self.counters()["handshakes_failed_total"]

    @staticmethod
    def kind(port, received, closed):
        """What happened, in a word."""
        if port in ZEROMQ:
            # libzmq sends its own greeting first; no event and no reply may follow it.
            if not closed:
                return "open"
            return "closed" if len(received) <= 64 and b"friend" not in received else f"got {received!r}"
        if received.startswith(b"HTTP/1."):
            return "HTTP " + received.split(b" ", 2)[1].decode()
        if received.startswith((b"-ERR", b"!BYE")):
            return received.split(b" ")[0].decode() + (" closed" if closed else "")
        if received.startswith(b"\x20\x02"):
            return "CONNACK"
        if received.startswith(b"\xff"):
            return "ZMTP"
        if not received:
            return "closed" if closed else "silent"
        return received[:40].decode(errors="replace").split(" ")[0]


def expected(port, greeting):
    """The table: port × greeting → what happens."""
    if port in ZEROMQ:
        return "closed"
    return TABLE[port].get(greeting, TABLE[port]["*"])


# "closed" is a closed connection without a byte; "-ERR" and "!BYE" are the first word of the reply,
# "CONNACK" is the packet of MQTT, and "ZMTP" is a greeting.
TABLE = {
    "broker metrics": {"HTTP GET": "HTTP 404", "HTTP POST": "HTTP 413", "*": "HTTP 400"},
    "gateway metrics": {"HTTP GET": "HTTP 404", "HTTP POST": "HTTP 413", "*": "HTTP 400"},
    "gateway": {"HTTP GET": "HTTP 403", "HTTP POST": "HTTP 403", "MQTT": "CONNACK", "ZMTP 2.0": "ZMTP",
                "ZMTP 3.0 unknown mechanism": "ZMTP", "ZMTP 3.1 without READY": "ZMTP", "*": "-ERR"},
    "feed": {"*": "silent"},
}


if __name__ == "__main__":
    unittest.main()
