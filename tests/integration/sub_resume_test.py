"""`backplane sub --gateway` whose connection is cut: no event is missing, none comes twice, and --strict is right."""

import signal
import socket
import threading
import unittest

from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline

MANY, FEW = 6000, 10


class Cutter:
    """Passes on lines (or chunks of bytes) between clients and the gateway. The n-th connection is cut after
    `cuts[n]` lines from the gateway, or after the first line that contains `cuts[n]`, which is exact; later
    connections are not cut. Without `open`, connections after the first wait until it is set."""

    def __init__(self, cuts):
        self.cuts_left = list(cuts)
        self.lines = 0  # from the gateway, over all connections
        self.accepted = 0
        self.open = threading.Event()
        self.open.set()
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
            self.accepted += 1
            if self.accepted > 1:
                self.open.wait(TIMEOUT_S)
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
                    if isinstance(left, str):
                        found = [number for number, line in enumerate(lines, 1) if left.encode() in line]
                        if not found:
                            client.sendall(data)
                            continue
                        left = found[0]
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
        # The lines of a connection: +PONG, +OK FORMAT, two times +OK SUB, two times +OK POSITION, and events. The
        # first connection also has +OK POSITION before its subscriptions.
        cutter = self.cutter([8, 8, 5, 9, 7])
        sub = self.run_program("sub", "l.a", "l.b", "--strict", "--gateway", cutter.address)
        # Until it knows its position, there may be nothing that it could resume at.
        deadline = Deadline()
        while cutter.lines < 7:
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

    def publish_while_cut(self, cutter, publish):
        """Calls `publish` after the first connection has been cut, and before the second one is possible."""
        deadline = Deadline()
        while cutter.accepted < 2:
            self.assertTrue(deadline.left())
        publish()
        cutter.open.set()

    def start_gateway_that_knows_a_position(self, topic):
        """Starts a gateway after an event on the topic: a gateway without subscribers learns the position only when it
        connects. Returns a writer."""
        writer = self.ready_writer()
        writer.send(topic, "0")
        self.wait_admitted(writer)
        self.start_gateway()
        client, deadline = self.client(), Deadline()
        client.send("POSITION")
        while client.reply() == "+OK POSITION":
            self.assertTrue(deadline.left())
            client.send("POSITION")
        return writer

    def test_a_first_connection_that_is_cut_before_it_knows_its_position_loses_nothing(self):
        self.start_broker()
        writer = self.start_gateway_that_knows_a_position("f.a")
        # `sub f.a f.b` is cut after the first or the second of its subscriptions is active.
        for topic in ("f.a", "f.b"):
            for options in ((), ("--format", "json")):
                with self.subTest(topic=topic, options=options):
                    cutter = self.cutter([f"+OK SUB {topic}"])
                    cutter.open.clear()
                    sub = self.run_program("sub", "f.a", "f.b", "--strict", "--gateway", cutter.address, *options)

                    def publish():
                        for number in range(1, 4):
                            writer.send("f.a", f"a{number}")
                            writer.send("f.b", f"b{number}")
                        self.wait_admitted(writer)

                    self.publish_while_cut(cutter, publish)
                    for number in range(1, 4):
                        sub.wait_line(sub.out, f"a{number}")
                        sub.wait_line(sub.out, f"b{number}")
                    sub.signal(signal.SIGINT)
                    self.assertEqual(sub.wait_exit(), 0, sub.transcript())

    def test_what_history_no_longer_has_after_a_first_connection_is_announced(self):
        self.start_broker("--config", self.config_file("[[backplane]]\nhistory_events = 2\n"))
        writer = self.start_gateway_that_knows_a_position("g.a")

        def publish(first):
            for number in range(first, first + 10):
                writer.send("g.a", str(number))
            self.wait_admitted(writer)

        cutter = self.cutter(["+OK SUB g.a"])
        cutter.open.clear()
        sub = self.run_program("sub", "g.a", "g.b", "--strict", "--gateway", cutter.address)
        self.publish_while_cut(cutter, lambda: publish(1))
        sub.wait_line(sub.out, "^g.a 10$")
        self.assertRegex("\n".join(sub.out), "(?m)^!GAP g.a .* history_gone$", sub.transcript())
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 3, sub.transcript())

        # With a period of history, the topic's offsets show it.
        cutter = self.cutter(['"text":"10"'])
        cutter.open.clear()
        sub = self.run_program("sub", "g.a", "--since", "1h", "--strict", "--gateway", cutter.address)
        self.publish_while_cut(cutter, lambda: publish(11))
        sub.wait_line(sub.out, "^g.a 20$")
        sub.wait_line(sub.err, "history no longer has all events since the connection was lost; some were missed$")
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 3, sub.transcript())

    def test_a_throttled_subscription_that_is_cut_before_all_are_active_says_so(self):
        self.start_broker()
        self.start_gateway()
        cutter = self.cutter(["+OK SUB e.a"])
        sub = self.run_program("sub", "e.a", "e.b", "--every", "10ms", "--strict", "--gateway", cutter.address)
        sub.wait_line(sub.err, "; events may have been missed$")
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 3, sub.transcript())

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
