"""`backplane sub` and `backplane pub` through a gateway."""

import pathlib
import signal
import socket
import threading
import unittest

from harness import ENDPOINTS, GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline


class ThroughAGateway(BackplaneTest):
    def sub(self, *arguments):
        return self.run_program("sub", *arguments, "--gateway", GATEWAY)

    def live_sub(self, topic, *arguments):
        """A sub with an active subscription: it has printed something."""
        sub = self.sub(topic, *arguments)
        self.publish_until_received(topic, sub)
        return sub

    def test_sub_prints_the_same_as_at_the_broker(self):
        self.start_broker()
        self.start_gateway()
        writer = self.ready_writer()
        for text in ("plain", 'say "so"\n\ttab \\ \x01', "ünï", ""):
            writer.send("n", text)
        writer.send_frames(b"n", writer.event(binary=b"\xff\x00").SerializeToString())
        event = writer.event()
        event.message.type_url = "type.googleapis.com/backplane.events.v1.Quote"
        event.message.value = b"\x0a\x04MSFT\x11\x14\xae\x47\xe1\x7a\xe8\x43\x40"
        writer.send_frames(b"n", event.SerializeToString())
        self.wait_admitted(writer)
        for form in ("text", "text+offset", "json", "value", "proto"):
            with self.subTest(form):
                arguments = ["n", "--since", "0", "--count", "6", "--format", form]
                through, direct = self.sub(*arguments), self.run_program("sub", *arguments, *ENDPOINTS)
                self.assertEqual((through.wait_exit(), direct.wait_exit()), (0, 0), through.transcript())
                self.assertEqual(through.out, direct.out)

    def test_last_and_every_work_as_in_the_gateway(self):
        self.start_broker()
        self.start_gateway()
        writer = self.ready_writer()
        writer.send("n", "1")
        writer.send("n", "2")
        self.wait_admitted(writer)
        sub = self.sub("n", "--last", "--count", "1")
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        self.assertEqual(sub.out, ["n 2"])
        self.start_clock(every="5ms")
        sub = self.sub("clock", "--every", "1s", "--count", "3")
        self.assertEqual(sub.wait_exit(), 0, sub.transcript())
        ticks = [int(self.tick(line)["tick"]) for line in sub.out]
        self.assertLess(ticks[0] + 1, ticks[1])

    def test_sub_resumes_after_a_restart_of_the_gateway(self):
        self.start_broker()
        gateway = self.start_gateway()
        sub = self.live_sub("n", "--strict")
        gateway.end()
        sub.wait_line(sub.err, "^backplane sub: .*; reconnecting$")
        writer = self.ready_writer()
        for text in ("missed 1", "missed 2"):
            writer.send("n", text)
        self.wait_admitted(writer)
        self.start_gateway()
        sub.wait_line(sub.err, "^backplane sub: connected to the gateway at .*$")
        writer.send("n", "after")
        sub.wait_line(sub.out, "^n after$")
        self.assertEqual([line for line in sub.out if line != "n knock"], ["n missed 1", "n missed 2", "n after"])
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0, "nothing was missed")

    def test_sub_waits_for_a_gateway(self):
        self.start_broker()
        sub = self.sub("n", "--count", "1")
        sub.wait_line(sub.err, "^backplane sub: cannot reach a gateway at .*: nothing listens there; reconnecting$")
        self.start_gateway()
        self.publish_until_received("n", sub)
        self.assertEqual(sub.wait_exit(), 0)

    def test_the_loss_of_the_broker_is_reported(self):
        broker = self.start_broker()
        self.start_gateway()
        sub = self.live_sub("n")
        broker.kill()
        sub.wait_line(sub.err, "^backplane sub: the gateway at .* is waiting for a broker$")
        self.start_broker()
        sub.wait_line(sub.err, "^backplane sub: the gateway at .* is connected to a broker again$")

    def test_pub_exits_when_the_broker_has_admitted_the_event(self):
        self.start_broker()
        self.start_gateway()
        reader = self.live_reader("news.uk")
        pub = self.run_program("pub", "news.uk", 'It\nrains "much" \\', "--gateway", GATEWAY)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        self.assertEqual(reader.receive()[1].text, 'It\nrains "much" \\')

    def test_pub_fails_at_a_signal_if_an_event_is_unconfirmed(self):
        self.start_broker()
        gateway = self.start_gateway()
        reader = self.live_reader("n")
        pub = self.run_program("pub", "n", "x", "--count", "1000000", "--gateway", GATEWAY)
        reader.receive()
        gateway.signal(signal.SIGSTOP)
        self.addCleanup(gateway.signal, signal.SIGCONT)
        while reader.poll_now():
            reader.receive()
        self.wait_state(gateway, "T")
        self.wait_state(pub, "S")  # it sends an event as soon as one is confirmed, and then waits for the gateway
        pub.signal(signal.SIGTERM)
        self.assertEqual(pub.wait_exit(), 1, pub.transcript())
        self.assertEqual(pub.err, [f"backplane pub: the gateway at {GATEWAY} has not confirmed the last event"])

    def wait_state(self, process, state):
        """Until all threads of the process are in this state of /proc/PID/stat."""
        deadline = Deadline()
        while any(path.read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != state
                  for path in pathlib.Path(f"/proc/{process.pid}/task").glob("*/stat")):
            self.assertTrue(deadline.left(), f"a thread of {process.pid} is not in the state {state}")

    def test_pub_with_count_and_every(self):
        self.start_broker()
        self.start_gateway()
        pub = self.run_program("pub", "n", "x", "--count", "50", "--gateway", GATEWAY)
        self.assertEqual(pub.wait_exit(), 0, pub.transcript())
        self.assertEqual(self.counters()["published_total"], 50)

    def test_pub_without_a_broker_is_an_error(self):
        self.start_gateway()
        pub = self.run_program("pub", "n", "x", "--gateway", GATEWAY)
        self.assertEqual(pub.wait_exit(), 1)
        self.assertRegex(pub.err[0], "^backplane pub: the gateway at .* refused the event: unavailable ")
        self.assertEqual(len(pub.err), 1)


class Impostor:
    """Listens at the gateway's address and sends each client the same text."""

    def __init__(self, greeting, closes=False):
        self._listener = socket.create_server((HOST, int(GATEWAY.rsplit(":", 1)[1])))
        self._greeting, self._closes, self._clients = greeting, closes, []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.sendall(self._greeting)
            if self._closes:
                client.close()
            else:
                self._clients.append(client)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT_S)
        for client in self._clients:
            client.close()


class NotAGateway(BackplaneTest):
    def expect_told(self, pattern, greeting, **options):
        """sub and pub end with code 1 and one line."""
        impostor = Impostor(greeting, **options)
        self.addCleanup(impostor.close)
        for command in (["sub", "n"], ["pub", "n", "x"]):
            with self.subTest(command[0]):
                process = self.run_program(*command, "--gateway", GATEWAY)
                self.assertEqual(process.wait_exit(), 1, process.transcript())
                self.assertRegex(process.err[0], pattern)
                self.assertEqual((len(process.err), process.out), (1, []))

    def test_a_web_server(self):
        self.expect_told("is not a gateway: expected .PONG, got .*HTTP/1.1 400", b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def test_a_server_that_speaks_first(self):
        self.expect_told("is not a gateway: expected .PONG, got .*SSH-2.0", b"SSH-2.0-OpenSSH_9.2\r\n")

    def test_a_server_that_hangs_up(self):
        self.expect_told("is not a gateway: it closed the connection$", b"", closes=True)

    def test_a_broker(self):
        self.start_broker()
        for place in (f"{HOST}:5570", f"{HOST}:9570"):
            sub = self.run_program("sub", "n", "--gateway", place)
            self.assertEqual(sub.wait_exit(), 1, sub.transcript())
            self.assertRegex(sub.err[0], "is not a gateway")
            self.assertEqual(len(sub.err), 1)

    def test_a_server_that_sends_garbage_later(self):
        impostor = Impostor(b"+PONG\n+OK FORMAT json\n+OK SUB n\n{\"topic\":5}\n")
        self.addCleanup(impostor.close)
        sub = self.run_program("sub", "n", "--gateway", GATEWAY)
        sub.wait_line(sub.err, "expected a gateway's message, got")


if __name__ == "__main__":
    unittest.main()
