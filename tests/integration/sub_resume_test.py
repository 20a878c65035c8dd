"""`backplane sub --gateway` whose connection is cut: no event is missing, none comes twice, and --strict is right."""

import signal
import socket
import threading
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline

MANY, FEW = 6000, 10


class Cutter:
    """Passes on lines (or chunks of bytes) between clients and the gateway. The n-th connection is cut after
    `cuts[n]` lines from the gateway, which is exact; later connections are not cut."""

    def __init__(self, cuts):
        self.cuts_left = list(cuts)
        self.lines = 0  # from the gateway, over all connections
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        self._sockets = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            host, port = GATEWAY.rsplit(":", 1)
            try:
                gateway = socket.create_connection((host, int(port)), TIMEOUT_S)
            except OSError:
                client.close()
                continue
            cut = self.cuts_left.pop(0) if self.cuts_left else None
            self._sockets += [client, gateway]
            threading.Thread(target=self._up, args=(client, gateway), daemon=True).start()
            threading.Thread(target=self._down, args=(client, gateway, cut), daemon=True).start()

    @staticmethod
    def _end(*sockets):
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _up(self, client, gateway):
        try:
            while data := client.recv(65536):
                gateway.sendall(data)
        except OSError:
            pass
        self._end(client, gateway)

    def _down(self, client, gateway, cut):
        left = cut
        try:
            while data := gateway.recv(65536):
                if left is not None:
                    lines = data.split(b"\n")
                    if len(lines) > left:
                        client.sendall(b"\n".join(lines[:left] + [b""]))
                        break
                    left -= len(lines) - 1
                client.sendall(data)
                self.lines += data.count(b"\n")
        except OSError:
            pass
        self._end(client, gateway)

    def close(self):
        self._end(self._listener)
        self._listener.close()
        for each in self._sockets:
            each.close()


class SubResumes(BackplaneTest):
    def cutter(self, cuts):
        cutter = Cutter(cuts)
        self.addCleanup(cutter.close)
        return cutter

    def start_with_history(self):
        """Many events of one topic, then a few of another."""
        self.start_broker()
        self.start_gateway()
        self.writer = self.ready_writer()
        for number in range(1, MANY + 1):
            self.writer.send("h.many", str(number))
        for number in range(1, FEW + 1):
            self.writer.send("h.few", str(number))
        self.wait_admitted(self.writer)

    def expect_all(self, sub, topics, code=0):
        self.assertEqual(sub.wait_exit(), code, sub.transcript()[-3000:])
        for topic, count in topics.items():
            got = [line.split(" ")[1] for line in sub.out if line.startswith(topic + " ")]
            self.assertEqual(got, [str(number) for number in range(1, count + 1)], topic)

    def test_history_of_two_topics_is_complete_wherever_it_is_cut(self):
        self.start_with_history()
        for cuts in ([4], [5, 6], [500, 1000], [3000], [5500, 15], [MANY], [MANY + FEW + 3, 1, 0]):
            for patterns in (["h.many", "h.few"], ["h.>"]):
                with self.subTest(cuts=cuts, patterns=patterns):
                    cutter = self.cutter(cuts)
                    sub = self.run_program("sub", *patterns, "--since", "1h", "--strict", "--count", str(MANY + FEW),
                                           "--gateway", cutter.address)
                    self.expect_all(sub, {"h.many": MANY, "h.few": FEW})

    def test_events_of_two_topics_arrive_once_wherever_the_connection_is_cut(self):
        self.start_broker()
        self.start_gateway()
        writer = self.ready_writer()
        # The lines of a connection: +PONG, +OK FORMAT, two times +OK SUB, two times +OK POSITION, and events.
        cutter = self.cutter([7, 8, 5, 9, 7])
        sub = self.run_program("sub", "l.a", "l.b", "--strict", "--gateway", cutter.address)
        # Until it knows its position, there is nothing that it could resume at.
        deadline = Deadline()
        while cutter.lines < 6:
            self.assertTrue(deadline.left(), sub.transcript())
        for number in range(1, 41):
            writer.send("l.a" if number % 4 else "l.b", str(number))
            self.wait_admitted(writer)
            if number % 8 == 0:
                sub.wait_line(sub.out, f"^l.b {number}$")
        sub.wait_line(sub.out, "^l.b 40$")
        got = [line.split(" ") for line in sub.out]
        for topic in ("l.a", "l.b"):
            self.assertEqual([int(text) for of, text in got if of == topic],
                             [number for number in range(1, 41) if (number % 4 == 0) == (topic == "l.b")])
        self.assertEqual(cutter.cuts_left, [])
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0, "nothing was missed")

    def test_last_values_are_resumed(self):
        self.start_broker()
        self.start_gateway()
        writer = self.ready_writer()
        for number in range(1, 4):
            writer.send(f"v.{number}", "old")
        self.wait_admitted(writer)
        # +PONG, +OK FORMAT, +OK SUB, three values, and twice +OK POSITION: the second confirms the first
        cutter = self.cutter([8])
        sub = self.run_program("sub", "v.*", "--last", "--strict", "--count", "6", "--gateway", cutter.address)
        sub.wait_line(sub.out, "^v.3 old$")
        for number in range(1, 4):
            writer.send(f"v.{number}", "new")
        code = sub.wait_exit()
        # A connection that is cut can take with it the line that confirms the position. Then `sub` says so.
        unconfirmed = any("events may have been missed" in line for line in sub.err)
        self.assertEqual(code, 3 if unconfirmed else 0, sub.transcript())
        self.assertEqual(sorted(sub.out), sorted(f"v.{number} {age}" for number in range(1, 4) for age in ("old", "new")))

    def test_a_broker_that_begins_again_is_reported_once_and_read_from_its_beginning(self):
        broker = self.start_broker()
        self.start_gateway()
        cutter = self.cutter([])
        sub = self.run_program("sub", "r.>", "--strict", "--gateway", cutter.address)
        self.publish_until_received("r.a", sub)
        broker.kill()
        self.start_broker()
        writer = self.ready_writer()
        for number in range(1, 4):
            writer.send("r.a", str(number))
        sub.wait_line(sub.out, "^r.a 3$")
        after = sub.out[sub.out.index("!RESET r.a"):]
        self.assertEqual(after, ["!RESET r.a", "r.a 1", "r.a 2", "r.a 3"])
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 3, "a reset was seen")


if __name__ == "__main__":
    unittest.main()
