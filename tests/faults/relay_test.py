"""The relay itself: each fault is what it says, on its own path and on no other."""

import socket
import struct
import threading
import time
import unittest

from harness import HOST, TIMEOUT_S
from relay import Relay, RelayThread, split_endpoint


class Echo:
    """A server that sends back what it gets, and closes when its peer has closed its sending side."""

    def __init__(self):
        self._listener = socket.create_server((HOST, 0))
        self.endpoint = f"tcp://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    @staticmethod
    def _serve(peer):
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
            except OSError:
                pass

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class RelayFaults(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.thread = RelayThread()
        self.addCleanup(self.thread.close)

    def relay(self, **options):
        relay = Relay(self.echo.endpoint, thread=self.thread, **options)
        self.addCleanup(relay.close)
        return relay

    def connect(self, relay):
        peer = socket.create_connection(split_endpoint(relay.endpoint), timeout=TIMEOUT_S)
        self.addCleanup(peer.close)
        return peer

    def exchange(self, peer, data=b"hello"):
        """How long the data took to come back."""
        begun = time.monotonic()
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        back = b""
        while len(back) < len(data):
            piece = peer.recv(65536)
            self.assertTrue(piece, "the connection has ended")
            back += piece
        sender.join()
        self.assertEqual(back, data)
        return time.monotonic() - begun

    def assert_nothing_comes(self, peer, seconds=0.3):
        peer.settimeout(seconds)
        with self.assertRaises(TimeoutError):
            peer.recv(1)
        peer.settimeout(TIMEOUT_S)

    def test_bytes_pass_in_order_however_many_there_are(self):
        data = bytes(range(256)) * 40_000
        self.exchange(self.connect(self.relay()), data)

    def test_the_end_of_one_direction_is_passed_on_behind_its_bytes(self):
        relay = self.relay()
        relay.delay(0.05, jitter=0.05)
        peer = self.connect(relay)
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.recv(100), b"last words")
        self.assertEqual(peer.recv(100), b"")

    def test_a_reset_is_passed_on_behind_the_bytes_before_it(self):
        with socket.create_server((HOST, 0)) as server:
            relay = Relay(f"tcp://{HOST}:{server.getsockname()[1]}", thread=self.thread)
            self.addCleanup(relay.close)
            relay.delay(0.2)
            peer = self.connect(relay)
            with server.accept()[0] as other:
                peer.sendall(b"last words")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                other.settimeout(TIMEOUT_S)
                self.assertEqual(other.recv(100), b"last words")
                with self.assertRaises(ConnectionResetError):
                    other.recv(1)

    def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_mended(self):
        relay, other = self.relay(), self.relay()
        cut, bystander = self.connect(relay), self.connect(other)
        self.exchange(cut)
        relay.cut()
        self.assertEqual(cut.recv(1), b"")
        with self.assertRaises(ConnectionRefusedError):
            self.connect(relay)
        self.exchange(bystander)
        relay.mend()
        self.exchange(self.connect(relay))
        self.assertEqual((relay.cuts, other.cuts), (1, 0))

    def test_a_cut_by_reset_is_a_reset(self):
        relay = self.relay()
        peer = self.connect(relay)
        self.exchange(peer)
        relay.cut(reset=True)
        with self.assertRaises(ConnectionResetError):
            peer.recv(1)

    def test_after_a_drop_new_connections_are_accepted_at_once(self):
        relay = self.relay()
        peer = self.connect(relay)
        self.exchange(peer)
        relay.drop()
        self.assertEqual(peer.recv(1), b"")
        self.exchange(self.connect(relay))

    def test_refusing_leaves_existing_connections_alone(self):
        relay = self.relay()
        peer = self.connect(relay)
        self.exchange(peer)
        relay.refuse()
        self.exchange(peer)
        with self.assertRaises(ConnectionRefusedError):
            self.connect(relay)

    def test_a_delay_is_that_long_in_each_direction(self):
        relay = self.relay()
        peer = self.connect(relay)
        relay.delay(0.1)
        self.assertGreaterEqual(self.exchange(peer), 0.2)
        relay.delay(0.05, jitter=0.05)
        self.assertGreaterEqual(self.exchange(peer, b"x" * 500_000), 0.1)  # in order, whatever the jitter

    def test_a_mended_delay_passes_on_at_once_what_waited(self):
        relay = self.relay()
        peer = self.connect(relay)
        self.exchange(peer)
        relay.delay(TIMEOUT_S)
        peer.sendall(b"x")
        self.assert_nothing_comes(peer)
        relay.mend()
        self.assertEqual(peer.recv(1), b"x")

    def test_a_silenced_connection_stays_so_and_new_ones_are_not_concerned(self):
        relay = self.relay()
        before = self.connect(relay)
        self.exchange(before)
        relay.silence()
        relay.mend()
        before.sendall(b"hello")
        self.assert_nothing_comes(before)
        self.exchange(self.connect(relay))

    def test_a_stall_accepts_and_passes_nothing_in_its_direction(self):
        for directions in ((), (Relay.UP,), (Relay.DOWN,)):
            with self.subTest(directions):
                relay = self.relay()
                before = self.connect(relay)
                self.exchange(before)
                relay.stall(*directions)
                during = self.connect(relay)
                for peer in (before, during):
                    peer.sendall(b"x")
                    self.assert_nothing_comes(peer)
                relay.mend()
                self.assertEqual((before.recv(1), during.recv(1)), (b"x", b"x"))

    def test_a_stall_in_one_direction_leaves_the_other_alone(self):
        with socket.create_server((HOST, 0)) as server:
            relay = Relay(f"tcp://{HOST}:{server.getsockname()[1]}", thread=self.thread)
            self.addCleanup(relay.close)
            client = self.connect(relay)
            with server.accept()[0] as target:
                target.settimeout(TIMEOUT_S)
                for direction, stalled, free in ((Relay.UP, (client, target), (target, client)),
                                                 (Relay.DOWN, (target, client), (client, target))):
                    relay.stall(direction)
                    for sender, _ in (stalled, free):
                        sender.sendall(b"x")
                    self.assertEqual(free[1].recv(1), b"x")
                    self.assert_nothing_comes(stalled[1])
                    relay.mend()
                    self.assertEqual(stalled[1].recv(1), b"x")

    def test_a_limit_is_kept(self):
        relay = self.relay()
        peer = self.connect(relay)
        relay.limit(100_000)
        self.assertGreaterEqual(self.exchange(peer, b"x" * 50_000), 0.4)

    def test_a_target_that_is_not_there_resets_the_client_and_harms_nobody(self):
        other = self.relay()
        with socket.create_server((HOST, 0)) as gone:
            port = gone.getsockname()[1]
        relay = Relay(f"tcp://{HOST}:{port}", thread=self.thread)
        self.addCleanup(relay.close)
        with self.assertRaises(ConnectionResetError):
            self.connect(relay).recv(1)
        self.exchange(self.connect(other))

    def test_the_bytes_at_which_it_cuts_are_not_passed_on(self):
        relay = self.relay(cut_once_after=1000)
        peer = self.connect(relay)
        self.exchange(peer, b"x" * 500)
        peer.sendall(b"y" * 500)
        self.assertEqual(peer.recv(1), b"")
        self.exchange(self.connect(relay), b"z" * 5000)
        self.assertEqual(relay.cuts, 1)


if __name__ == "__main__":
    unittest.main()
