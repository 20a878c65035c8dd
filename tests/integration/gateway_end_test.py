"""A gateway that is stopped: its clients get what it had accepted for them, and a notice."""

import os
import select
import signal
import socket
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, CommandClient, LineClient

TEXT = "x" * 1000
COUNT = 3000  # megabytes: well below a backlog, and well above what the kernel buffers for a client


class SlowClient(LineClient):
    """A client with a small kernel buffer."""

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
        """Starts a gateway, and a client that has not read most of its events."""
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

    def test_a_slow_reader_gets_all_accepted_events_and_a_notice(self):
        slow = self.start_with_backlog("10m")
        self.gateway.signal(signal.SIGTERM)
        self.assertEqual(self.witness.notice(), "!BYE drain")
        self.witness.wait_closed()
        with self.assertRaises(ConnectionRefusedError):
            LineClient(GATEWAY)
        # The gateway waits for the client that has not read yet. (On a slow machine, a gateway that does not wait would
        # pass, too.)
        process = os.pidfd_open(self.gateway.pid)
        self.addCleanup(os.close, process)
        self.assertEqual(select.select([process], [], [], 2.0)[0], [], "it did not wait")
        for offset in range(1, COUNT + 1):
            self.assertEqual(slow.event(), f"n {offset} {TEXT}")
        self.assertEqual(slow.event(), f"n {COUNT + 1} end")
        self.assertEqual(slow.notice(), "!BYE drain")
        slow.wait_closed()
        self.assertEqual(self.gateway.wait_exit(), 0, self.gateway.transcript())

    def test_a_client_that_never_reads_does_not_delay_the_end(self):
        self.start_with_backlog("100ms")
        self.gateway.signal(signal.SIGTERM)
        self.assertEqual(self.witness.notice(), "!BYE drain")
        self.assertEqual(self.gateway.wait_exit(), 0, self.gateway.transcript())


if __name__ == "__main__":
    unittest.main()
