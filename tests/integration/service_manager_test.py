"""What a broker, a gateway and both in one process tell the service manager that started them (systemd's Type=notify)."""

import os
import signal
import socket
import tempfile
import time
import unittest

from harness import ENDPOINTS, GATEWAY, METRICS, BackplaneTest, Deadline


class Manager:
    """The service manager's socket."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.seen = []

    def next(self):
        """The first line of the next message that is no sign of life."""
        deadline = Deadline()
        while (line := self.any(deadline)) == "WATCHDOG=1":
            pass
        return line

    def any(self, deadline):
        self._socket.settimeout(max(0.001, deadline.left()))
        self.seen.append(self._socket.recv(4096).decode().split("\n")[0])
        return self.seen[-1]

    def nothing(self):
        """Whether no message is there."""
        self._socket.settimeout(0)
        try:
            self.seen.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return True
        return False

    def close(self):
        self._socket.close()


class ServiceManager(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="backplane-notify-")
        self.addCleanup(folder.cleanup)
        self.manager = Manager(folder.name)
        self.addCleanup(self.manager.close)
        self.environment = ["env", f"NOTIFY_SOCKET={self.manager.path}"]

    def start(self, *arguments, watchdog_us=None):
        variables = [f"WATCHDOG_USEC={watchdog_us}"] if watchdog_us else []
        return self.run_process([*self.environment, *variables, os.environ["BACKPLANE_PROGRAM"], *arguments])

    def start_broker_here(self, **options):
        return self.start("broker", *ENDPOINTS, "--raw", "off", "--metrics", METRICS, **options)

    def start_gateway_here(self, **options):
        return self.start("gateway", "--listen", GATEWAY, *ENDPOINTS, **options)

    def start_serve_here(self, **options):
        return self.start("serve", *ENDPOINTS, "--raw", "off", "--metrics", METRICS, "--listen", GATEWAY, **options)

    def check_steps(self, process):
        self.assertEqual(self.manager.next(), "READY=1")
        process.signal(signal.SIGHUP)
        self.assertEqual([self.manager.next() for _ in range(2)], ["RELOADING=1", "READY=1"])
        process.signal(signal.SIGTERM)
        self.assertEqual(self.manager.next(), "STOPPING=1")
        self.assertEqual(process.wait_exit(), 0)

    def test_a_broker_is_ready_when_it_listens_and_tells_of_reloads_and_its_end(self):
        broker = self.start_broker_here()
        broker.ready()
        self.check_steps(broker)

    def test_a_gateway_is_ready_when_it_listens_and_tells_of_reloads_and_its_end(self):
        # It does not wait for a broker.
        gateway = self.start_gateway_here()
        self.assertEqual(self.manager.next(), "READY=1")
        host, port = GATEWAY.rsplit(":", 1)
        socket.create_connection((host, int(port))).close()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(self.manager.next(), "STOPPING=1")
        self.assertEqual(gateway.wait_exit(), 0)
        self.check_steps(self.start_gateway_here())

    def test_both_in_one_process_are_ready_when_both_serve_and_tell_of_reloads_and_their_end(self):
        serve = self.start_serve_here()
        self.assertEqual(self.manager.next(), "READY=1")
        client = self.client()
        client.subscribe("news")
        self.assertEqual(client.command("PUB news x"), "+OK PUB news")
        serve.signal(signal.SIGTERM)
        self.assertEqual(self.manager.next(), "STOPPING=1")
        self.assertEqual(serve.wait_exit(), 0)
        self.check_steps(self.start_serve_here())

    def test_a_reload_that_is_refused_ends_too(self):
        for command in ("broker", "serve"):
            with self.subTest(command), tempfile.TemporaryDirectory() as folder:
                file = os.path.join(folder, "backplane.toml")
                open(file, "w", encoding="utf-8").close()
                process = self.start_with(command, file)
                self.assertEqual(self.manager.next(), "READY=1")
                with open(file, "w", encoding="utf-8") as config:
                    config.write("[[[")
                process.signal(signal.SIGHUP)
                self.assertEqual([self.manager.next() for _ in range(2)], ["RELOADING=1", "READY=1"])
                process.wait_line(process.err, "reload: not applied")
                process.end()
                while not self.manager.nothing():
                    pass

    def start_with(self, command, file):
        listen = ["--listen", GATEWAY] if command == "serve" else []
        return self.start(command, "--config", file, *ENDPOINTS, "--raw", "off", "--metrics", "off", *listen)

    def test_a_broker_that_cannot_listen_is_never_ready(self):
        self.start_broker()
        for start in (self.start_broker_here, self.start_serve_here):
            with self.subTest(start.__name__):
                process = start()
                self.assertEqual(process.wait_exit(), 1)
                self.assertTrue(self.manager.nothing(), self.manager.seen)

    def test_with_a_watchdog_each_reports_that_it_works_as_often_as_it_must(self):
        for start in (self.start_broker_here, self.start_gateway_here, self.start_serve_here):
            with self.subTest(start.__name__):
                process = start(watchdog_us=4_000_000)
                deadline = Deadline()
                times = []
                while len(times) < 4:
                    if self.manager.any(deadline) == "WATCHDOG=1":
                        times.append(time.monotonic())
                # Twice in the watchdog's time, on a machine that has time for it.
                self.assertGreater(times[-1] - times[0], 0.5)
                process.signal(signal.SIGTERM)
                self.assertEqual(process.wait_exit(), 0)
                while not self.manager.nothing():
                    pass

    def test_without_a_watchdog_there_are_no_signs_of_life(self):
        gateway = self.start_gateway_here()
        self.assertEqual(self.manager.next(), "READY=1")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(self.manager.next(), "STOPPING=1")
        self.assertNotIn("WATCHDOG=1", self.manager.seen)


if __name__ == "__main__":
    unittest.main()
