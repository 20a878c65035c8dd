"""The end of a gateway, asked for: its clients get what it had accepted for them, and are told."""

import os
import select
import signal
import socket
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, CommandClient, LineClient

TEXT = "x" * 1000
COUNT = 3000  # megabytes, well below a backlog and well above what the kernel takes for a client


class SlowClient(LineClient):
    """One for which the kernel takes only a little."""

    def __init__(self):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT_S)
        connection.connect((HOST, int(GATEWAY.rsplit(":", 1)[1])))
        CommandClient.__init__(self, connection)


class GatewayEnd(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def start_with_backlog(self, goodbye_limit):
        """A gateway, and a client for which it has all that was published, most of it unread."""
        self.gateway = self.start_gateway(
            "--config", self.config_file(f'[gateway]\ngoodbye_limit = "{goodbye_limit}"\n'))
        slow, self.witness = SlowClient(), self.client()
        self.addCleanup(slow.close)
        for client in (slow, self.witness):
            client.command("FORMAT text+offset")
            client.subscribe("n")
        publisher = self.ready_writer()
        for _ in range(COUNT):
            publisher.send("n", TEXT)
        publisher.send("n", "end")
        self.witness.events_until(f"n {COUNT + 1} end")
        return slow

    def test_a_slow_reader_gets_all_that_was_accepted_and_is_told(self):
        slow = self.start_with_backlog("10m")
        self.gateway.signal(signal.SIGTERM)
        self.assertEqual(self.witness.notice(), "!BYE drain")
        self.witness.wait_closed()
        with self.assertRaises(ConnectionRefusedError):
            LineClient(GATEWAY)
        # It waits for the one that has not read yet. (One that doesn't would not be seen where all is slow.)
        process = os.pidfd_open(self.gateway.pid)
        self.addCleanup(os.close, process)
        self.assertEqual(select.select([process], [], [], 2.0)[0], [], "it did not wait")
        for offset in range(1, COUNT + 1):
            self.assertEqual(slow.event(), f"n {offset} {TEXT}")
        self.assertEqual(slow.event(), f"n {COUNT + 1} end")
        self.assertEqual(slow.notice(), "!BYE drain")
        slow.wait_closed()
        self.assertEqual(self.gateway.wait_exit(), 0, self.gateway.transcript())

    def test_who_never_reads_does_not_hold_it_up(self):
        self.start_with_backlog("100ms")
        self.gateway.signal(signal.SIGTERM)
        self.assertEqual(self.witness.notice(), "!BYE drain")
        self.assertEqual(self.gateway.wait_exit(), 0, self.gateway.transcript())


if __name__ == "__main__":
    unittest.main()
