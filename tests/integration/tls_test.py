"""The gateway over TLS: who is served, who is refused, and that nothing is lost on the way."""

import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

from harness import ENDPOINTS, GATEWAY, HOST, TIMEOUT_S, BackplaneTest, CommandClient, Deadline, LineClient, gateway_figures
from websocket_peer import WebSocketPeer

METRICS_GATEWAY = f"{HOST}:9571"
FEED = f"{HOST}:1602"
REFUSED = ["-ERR tls_required this port requires TLS", "!BYE tls_required"]
SANITIZED = bool(os.environ.get("SANITIZED"))


class Certificates:
    """Authorities and what they sign, in files. Their folder is deleted with the test class."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self._folder.name)
        for authority in ("ca", "other"):
            self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                          f"{authority}.key", "-out", f"{authority}.pem", "-days", "365", "-subj", f"/CN={authority}")
        self.sign("gw", "ca", f"DNS:gw.test,IP:{HOST}")
        self.sign("second", "ca", "DNS:second.test")
        self.sign("soon", "ca", f"IP:{HOST}", days=5)
        self.sign("dashboard", "ca", "DNS:client.test")
        self.sign("stranger", "other", "DNS:client.test")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.path, check=True, capture_output=True)

    def sign(self, name, authority, names, days=365):
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                      "-out", f"{name}.csr", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                      "-CAcreateserial", "-days", str(days), "-copy_extensions", "copy", "-out", f"{name}.pem")
        (self.path / f"{name}.key").chmod(0o600)

    def file(self, name):
        return str(self.path / name)

    def serial(self, name):
        shown = subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", self.file(name)], check=True,
                               capture_output=True, text=True)
        return shown.stdout.strip().partition("=")[2]

    def options(self, name="gw"):
        return ["--tls-certificate", self.file(f"{name}.pem"), "--tls-key", self.file(f"{name}.key")]

    def cleanup(self):
        self._folder.cleanup()


class TlsTest(BackplaneTest):
    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.cleanup)

    def start(self, *options, certificate="gw", config=""):
        self.broker = self.start_broker()
        self.gateway = self.start_gateway("--metrics", METRICS_GATEWAY, *self.certificates.options(certificate), *options,
                                          "--config", self.config_file(config))
        return self.gateway

    def tls(self, client=None, **changes):
        context = ssl.create_default_context(cafile=self.certificates.file("ca.pem"))
        if client:
            context.load_cert_chain(self.certificates.file(f"{client}.pem"), self.certificates.file(f"{client}.key"))
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def socket(self, context=None, address=GATEWAY, name=HOST, receive_bytes=None):
        host, port = address.rsplit(":", 1)
        plain = socket.socket()
        self.addCleanup(plain.close)
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.settimeout(TIMEOUT_S)
        plain.connect((host, int(port)))
        secure = (context or self.tls()).wrap_socket(plain, server_hostname=name)
        self.addCleanup(secure.close)
        return secure

    def tls_client(self, **options):
        return TlsClient(self.socket(**options))

    def figures(self):
        return gateway_figures(METRICS_GATEWAY)

    def wait_figure(self, name, value):
        deadline = Deadline()
        while (got := self.figures())[name] != value:
            self.assertTrue(deadline.left(), f"expected {name} {value}, got {got[name]}")

    def curl(self, *arguments, address=GATEWAY, code=0):
        process = self.run_process(["curl", "-sS", "--max-time", "60", "--cacert", self.certificates.file("ca.pem"),
                                    *arguments])
        self.assertEqual(process.wait_exit(), code, process.transcript())
        return process.out


class TlsClient(LineClient):
    """The line protocol over a socket that has done its handshake."""

    def __init__(self, connection):
        CommandClient.__init__(self, connection)

    def _read(self, deadline):
        # What OpenSSL has decrypted, select() does not see.
        if not self._socket.pending():
            super()._read(deadline)
            return
        self._buffer += self._socket.recv(65536)


class Protocols(TlsTest):
    def test_the_line_protocol(self):
        self.start()
        writer = self.ready_writer()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                client = self.tls_client(context=self.tls(minimum_version=version, maximum_version=version))
                client.subscribe("a.>")
                writer.send("a.b", f"over {version.name}")
                self.assertEqual(client.event(), f"a.b over {version.name}")
                self.assertEqual(client.command("PUB a.c long " + "x" * 100_000), "+OK PUB a.c")
                self.assertEqual(client.event(), "a.c long " + "x" * 100_000)
                client.close()
        self.wait_figure("tls_handshakes_total", 2)
        self.wait_figure("tls_clients", 0)

    def test_openssl_s_client(self):
        self.start()
        process = self.run_process(["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile",
                                    self.certificates.file("ca.pem"), "-connect", GATEWAY], stdin=subprocess.PIPE)
        process.stdin.write("SUB a.>\n")
        process.stdin.flush()
        process.wait_line(process.out, r"^\+OK SUB a\.>$")
        writer = self.ready_writer()
        writer.send("a.b", "hello")
        process.wait_line(process.out, "^a.b hello$")
        process.kill()

    def test_http_events_and_the_page(self):
        self.start()
        url = f"https://{GATEWAY}"
        self.assertEqual(self.curl(f"{url}/healthz"), ["ok"])
        self.assertIn("<!doctype html>", "\n".join(self.curl(url)).lower())
        events = self.run_process(["curl", "-sSN", "--cacert", self.certificates.file("ca.pem"),
                                   f"{url}/v1/events?topic=a.>"])
        deadline = Deadline()
        while not any(line.startswith("data:") for line in events.out) and deadline.left():
            self.assertIn('"a.b"', "\n".join(self.curl("--data", "hello", f"{url}/v1/topics/a.b")))
        events.wait_line(events.out, '^data:.*"hello"')
        events.kill()
        # A name in the certificate is a name of the gateway; others are not.
        to_gateway = ["--connect-to", f"::{GATEWAY}"]
        self.assertEqual(self.curl(*to_gateway, "https://gw.test/v1/status", "-o", "/dev/null", "-w", "%{http_code}"), ["200"])
        self.assertEqual(self.curl(*to_gateway, "-H", "Host: evil.test", "https://gw.test/v1/status", "-o", "/dev/null", "-w",
                                   "%{http_code}"), ["403"])

    def test_only_pages_that_came_by_tls_may_use_it(self):
        self.start("--no-tls-required")
        for scheme, origin, code in (("https", f"https://{GATEWAY}", "200"), ("https", f"http://{GATEWAY}", "403"),
                                     ("http", f"http://{GATEWAY}", "200"), ("https", "https://evil.test", "403")):
            with self.subTest(f"{origin} to {scheme}"):
                self.assertEqual(self.curl("-H", f"Origin: {origin}", f"{scheme}://{GATEWAY}/v1/status", "-o", "/dev/null",
                                           "-w", "%{http_code}"), [code])

    def test_websocket(self):
        self.start()
        context = self.tls()
        peer = WebSocketPeer(wrap=lambda plain: context.wrap_socket(plain, server_hostname=HOST),
                             Origin=f"https://{GATEWAY}")
        self.addCleanup(peer.close)
        self.assertEqual(peer.status, 101)
        peer.subscribe("a.>")
        self.ready_writer().send("a.b", "hello")
        self.assertEqual(peer.event()["text"], "hello")

    def test_alpn(self):
        self.start()
        context = self.tls()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(self.socket(context=context).selected_alpn_protocol(), "http/1.1")
        context.set_alpn_protocols(["h2"])
        with self.assertRaises(ssl.SSLError):
            self.socket(context=context)
        self.wait_figure("tls_handshakes_failed_total.version", 1)

    def test_the_certificate_of_the_host_that_the_client_names(self):
        self.start(*self.certificates.options("second"))
        for name, certificate in (("gw.test", "gw.pem"), ("second.test", "second.pem"), (HOST, "gw.pem")):
            with self.subTest(name):
                peer = self.socket(name=name).getpeercert()
                self.assertEqual(peer["serialNumber"], self.certificates.serial(certificate))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.socket(name="unknown.test")

    def test_feeds(self):
        self.start("--no-tls-required", config=f'[[gateway.feed]]\nlisten = "{FEED}"\ntopics = ["a.>"]\n')
        writer = self.ready_writer()
        plain = LineClient(FEED)
        self.addCleanup(plain.close)
        secure = self.tls_client(address=FEED)
        self.wait_figure("subscriptions", 2)
        writer.send("a.b", "hello")
        self.assertEqual((plain.event(), secure.event()), ("a.b hello", "a.b hello"))


class Refused(TlsTest):
    def test_plaintext_if_tls_is_required(self):
        self.start("--tls-required")
        for sent in ("SUB a.>\n", "PUB a.b x\nSUB >\n", "SUB a", "\xff\xfd\x01 x\r\n", "x" * 5000):
            with self.subTest(sent[:10]):
                client = self.client()
                client.send_bytes(sent.encode("latin-1"))
                client.wait_closed()
                self.assertEqual(client.lines, REFUSED)
        for sent, status in (("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"), ("POST /v1/topics/a HTTP/1.1\r\n", "400"),
                             ("PROPFIND / HTTP/1.1\r\n", "400")):
            with self.subTest(sent), socket.create_connection(GATEWAY.rsplit(":", 1), timeout=TIMEOUT_S) as client:
                client.sendall(sent.encode())
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
                self.assertRegex(answer.decode(), f"(?s)^HTTP/1.1 {status} .*tls_required.*use https://")
        self.wait_figure("plaintext_refused_total", 8)
        self.assertEqual(self.figures()["matched_total"], 0)

    def test_a_silent_client_and_a_feed_without_tls(self):
        timeout = "3s" if SANITIZED else "500ms"
        self.start(config=f'[gateway]\ntls_handshake_timeout = "{timeout}"\n[[gateway.feed]]\nlisten = "{FEED}"\n'
                          'topics = ["a.>"]\n')
        writer = self.ready_writer()
        for address in (GATEWAY, FEED):
            client = LineClient(address)
            self.addCleanup(client.close)
            writer.send("a.b", "secret")
            client.wait_closed()
            self.assertEqual(client.lines, REFUSED)
        self.assertEqual(self.tls_client().command("PING"), "+PONG")

    def test_served_if_tls_is_not_required(self):
        self.start("--no-tls-required")
        client = self.client()
        self.assertEqual(client.command("PING"), "+PONG")
        self.assertEqual(self.tls_client().command("PING"), "+PONG")
        self.assertEqual(self.curl(f"http://{GATEWAY}/healthz"), ["ok"])
        self.assertEqual(self.curl(f"https://{GATEWAY}/healthz"), ["ok"])
        self.assertEqual(self.figures()["plaintext_refused_total"], 0)

    def test_old_versions(self):
        self.start()
        openssl = self.run_process(["openssl", "s_client", "-connect", GATEWAY, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        self.assertEqual(openssl.wait_exit(), 1)
        self.wait_figure("tls_handshakes_failed_total.version", 1)
        self.gateway.wait_line(self.gateway.err, r"TLS handshake with [\d.]+:\d+ failed: version \(unsupported protocol\)")

    def test_a_client_that_does_not_trust_the_gateway(self):
        self.start()
        context = ssl.create_default_context(cafile=self.certificates.file("other.pem"))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.socket(context=context)
        self.wait_figure("tls_handshakes_failed_total.rejected", 1)

    def test_garbage(self):
        self.start()
        with socket.create_connection(GATEWAY.rsplit(":", 1), timeout=TIMEOUT_S) as client:
            client.sendall(b"\x16" + b"garbage" * 100)
            while client.recv(65536):
                pass
        self.wait_figure("tls_handshakes_failed_total.protocol", 1)

    def test_certificates_of_clients(self):
        self.start("--tls-client-ca", self.certificates.file("ca.pem"))
        for client in (None, "dashboard"):
            self.assertEqual(self.tls_client(context=self.tls(client)).command("PING"), "+PONG")
        with self.assertRaises(ssl.SSLError):
            # With TLS 1.3, the handshake ends for the client before the gateway has verified its certificate.
            self.socket(context=self.tls("stranger")).recv(1)
        self.wait_figure("tls_handshakes_failed_total.client_certificate", 1)
        self.wait_figure("tls_handshakes_total", 2)

    def test_without_its_authority_no_certificate_is_requested(self):
        self.start()
        self.assertEqual(self.tls_client(context=self.tls("stranger")).command("PING"), "+PONG")

    def test_a_refused_connection_gets_an_alert(self):
        self.start(config="[gateway]\nconnections_max = 1\n")
        self.assertEqual(self.tls_client().command("PING"), "+PONG")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)internal.error"):
            self.socket()


class Handshakes(TlsTest):
    def stalled(self, count, sent=b"\x16\x03\x01\x02\x00\x01"):
        peers = [socket.create_connection(GATEWAY.rsplit(":", 1), timeout=TIMEOUT_S) for _ in range(count)]
        for peer in peers:
            self.addCleanup(peer.close)
            peer.sendall(sent)
        return peers

    def test_a_stalled_one_times_out(self):
        self.start(config=f'[gateway]\ntls_handshake_timeout = "{"3s" if SANITIZED else "1s"}"\n')
        peers = self.stalled(5)
        self.assertEqual(self.tls_client().command("PING"), "+PONG")
        for peer in peers:
            self.assertEqual(peer.recv(100), b"")
        self.wait_figure("tls_handshakes_failed_total.timed_out", 5)

    def test_too_many_at_once_end_the_oldest(self):
        self.start("--workers", "1", config="[gateway]\ntls_handshakes_max = 20\n")
        self.stalled(200)
        self.assertEqual(self.tls_client().command("PING"), "+PONG")
        self.wait_figure("tls_handshakes_failed_total.too_many", 181)

    def test_one_that_the_client_leaves(self):
        self.start()
        for peer in self.stalled(3):
            peer.close()
        self.wait_figure("tls_handshakes_failed_total.closed", 3)
        self.wait_figure("clients", 0)

    def test_a_slow_one_byte_by_byte(self):
        self.start()
        context, incoming, outgoing = self.tls(), ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        with socket.create_connection(GATEWAY.rsplit(":", 1), timeout=TIMEOUT_S) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def run(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        for byte in outgoing.read():
                            peer.send(bytes([byte]))
                        incoming.write(peer.recv(65536))
            run(secure.do_handshake)
            secure.write(b"PING\n")
            self.assertEqual(run(lambda: secure.read(100)), b"+PONG\n")


class Reload(TlsTest):
    def reload(self, pattern):
        seen = len(self.gateway.err)
        self.gateway.signal(signal.SIGHUP)
        self.gateway.wait_line(self.gateway.err, pattern, since=seen)

    def serial(self):
        return self.socket().getpeercert()["serialNumber"]

    def copy(self, source, *kinds):
        for kind in kinds:
            text = pathlib.Path(self.certificates.file(f"{source}.{kind}")).read_text(encoding="utf-8")
            path = pathlib.Path(self.certificates.file(f"live.{kind}"))
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)

    def test_new_connections_get_the_new_certificate(self):
        self.certificates.sign("renewed", "ca", f"IP:{HOST}")
        self.copy("gw", "pem", "key")
        self.start(certificate="live")
        client = self.tls_client()
        self.assertEqual(client.command("PING"), "+PONG")
        self.assertEqual(self.serial(), self.certificates.serial("gw.pem"))
        self.copy("renewed", "pem")
        self.reload("reload: nothing applied: .*live.key: expected the key of .*live.pem, got another one")
        self.assertEqual(self.serial(), self.certificates.serial("gw.pem"))
        self.copy("renewed", "key")
        self.reload("reload: applied the TLS certificates")
        self.assertEqual(self.serial(), self.certificates.serial("renewed.pem"))
        self.assertEqual(client.command("PING"), "+PONG")
        pathlib.Path(self.certificates.file("live.key")).chmod(0o644)
        self.reload("nothing applied: .*live.key: expected a file that other users can neither read nor write, got mode 0644")
        self.assertEqual(self.serial(), self.certificates.serial("renewed.pem"))
        key = pathlib.Path(self.certificates.file("renewed.key")).read_text(encoding="utf-8")
        for line in key.splitlines()[1:-1]:
            self.assertNotIn(line, "\n".join(self.gateway.err))

    def test_without_tls_nothing_is_applied(self):
        self.start_broker()
        self.gateway = self.start_gateway()
        self.reload("reload: nothing applied, a gateway needs a restart for every change")


class Load(TlsTest):
    def test_a_slow_reader_gets_every_event_or_is_told_which_it_lost(self):
        self.start("--workers", "1", config='[gateway]\nbacklog_bytes_max = "64KiB"\nunsent_bytes_max = "16KiB"\n')
        writer = self.ready_writer()
        slow = self.tls_client(receive_bytes=4096)
        slow.subscribe("a.>")
        count = 3000
        for number in range(count):
            writer.send("a.b", f"{number} " + "x" * 500)
        self.wait_figure("unsent_clients", 1)
        self.wait_figure("matched_total", count)
        self.assertGreater(self.figures()["dropped_total.slow_consumer"], 0)
        self.balance()
        seen = []  # numbers of events, and how many a gap has
        deadline = Deadline()
        total = 0
        while total < count:
            self.assertTrue(deadline.left())
            if slow._notices:
                gap = re.match(r"!GAP a\.b (\d+) (\d+) slow_consumer$", slow.notice())
                total += int(gap[2]) - int(gap[1]) + 1
                seen += range(int(gap[1]) - 1, int(gap[2]))
            elif slow._events:
                seen.append(int(slow.event().split(" ")[1]))
                total += 1
            else:
                slow._pump(deadline)
        self.assertEqual(seen, list(range(count)))
        self.wait_figure("unsent_clients", 0)
        values = self.balance()
        self.assertEqual(values["delivered_total"] + values["dropped_total.slow_consumer"], count)
        self.assertEqual(values["pending"], 0)

    def balance(self):
        values = self.figures()
        ended = sum(value for name, value in values.items() if name.split(".")[0] in
                    ("delivered_total", "conflated_total", "dropped_total", "skipped_total", "pending"))
        self.assertEqual(values["matched_total"], ended, values)
        return values

    def test_a_slow_reader_that_is_cut_off(self):
        self.start("--workers", "1", config='[gateway]\nbacklog_bytes_max = "64KiB"\nunsent_bytes_max = "16KiB"\n')
        writer = self.ready_writer()
        slow = self.tls_client(receive_bytes=4096)
        slow.subscribe("a.>")
        for number in range(1000):
            writer.send("a.b", f"{number} " + "x" * 500)
        self.wait_figure("matched_total", 1000)
        slow.close()
        self.wait_figure("clients", 0)
        values = self.balance()
        self.assertEqual(values["pending"], 0)
        self.assertGreater(values["dropped_total.client_gone"], 0)

    def test_many_clients_get_every_event(self):
        clients, events = (60, 100) if SANITIZED else (300, 300)
        self.start("--workers", "2")
        writer = self.ready_writer()
        context = self.tls()
        poll = select.epoll()
        self.addCleanup(poll.close)
        peers, received = {}, {}
        for _ in range(clients):
            peer = self.socket(context=context)
            peer.sendall(b"SUB n.>\n")
            peer.setblocking(False)
            peers[peer.fileno()], received[peer.fileno()] = peer, b""
            poll.register(peer, select.EPOLLIN)

        def pump_until(enough):
            deadline = Deadline()
            while not all(enough(data) for data in received.values()):
                self.assertTrue(deadline.left(), sorted(len(data) for data in received.values())[:3])
                for fd, _ in poll.poll(0.1):
                    try:
                        while piece := peers[fd].recv(65536):
                            received[fd] += piece
                        self.fail(f"a client was left; it had got {received[fd][-200:]}")
                    except ssl.SSLWantReadError:
                        pass

        pump_until(lambda data: data.endswith(b"\n"))
        for number in range(events):
            writer.send(f"n.{number % 7}", f"{number} " + "x" * (number % 50) * 20)
        expected = "+OK SUB n.>\n" + "".join(f"n.{n % 7} {n} " + "x" * (n % 50) * 20 + "\n" for n in range(events))
        pump_until(lambda data: len(data) >= len(expected))
        for data in received.values():
            self.assertEqual(data.decode(), expected)
        self.wait_figure("delivered_total", clients * events)
        self.wait_figure("tls_clients", clients)


class Configured(TlsTest):
    def check(self, options, code, error):
        process = self.run_program("gateway", "--check-config", *ENDPOINTS, *options)
        self.assertEqual(process.wait_exit(), code, process.transcript())
        self.assertRegex("\n".join(process.err), error)

    def test_what_is_wrong_with_the_files(self):
        file = self.certificates.file
        readable = pathlib.Path(file("readable.key"))
        readable.write_text(pathlib.Path(file("gw.key")).read_text(encoding="utf-8"), encoding="utf-8")
        readable.chmod(0o644)
        encrypted = file("encrypted.key")
        subprocess.run(["openssl", "ec", "-in", file("gw.key"), "-aes256", "-passout", "pass:x", "-out", encrypted], check=True,
                       capture_output=True)
        pathlib.Path(encrypted).chmod(0o600)
        certificate = ["--tls-certificate", file("gw.pem")]
        for options, error in (
                (certificate, "--tls-certificate: expected as many keys as certificates, got 0 keys for 1 certificates"),
                (["--tls-key", file("gw.key")], "--tls-key: expected as many keys as certificates"),
                (["--tls-required"], "--tls-required: expected a tls_certificate as well, got none"),
                (["--tls-required", "--no-tls-required"], "expected --tls-required or --no-tls-required, got both"),
                ([*certificate, "--tls-key", file("second.key")], "second.key: expected the key of .*gw.pem, got another one"),
                ([*certificate, "--tls-key", str(readable)], "readable.key: expected a file that other users can neither"),
                ([*certificate, "--tls-key", encrypted], "encrypted.key: expected a private key in PEM without a passphrase"),
                ([*certificate, "--tls-key", file("gw.pem")], "gw.pem: expected a file that other users can neither"),
                (["--tls-certificate", file("gw.key"), "--tls-key", file("gw.key")], "gw.key: expected a certificate in PEM"),
                ([*self.certificates.options(), "--tls-client-ca", file("gw.pem")], "gw.pem: expected certificates of auth"),
                (["--tls-certificate", file("none.pem"), "--tls-key", file("gw.key")], "cannot read .*none.pem: no such file")):
            with self.subTest(error):
                self.check(options, 2 if "cannot read" not in error else 1, error)

    def test_what_is_right(self):
        self.check(self.certificates.options(), 0, "^$")
        self.check(self.certificates.options("soon"), 0, r"warning: .*soon.pem: the certificate expires on 20\d\d-")
        config = self.config_file(f'[gateway]\ntls_certificate = "{self.certificates.file("soon.pem")}"\n'
                                  f'tls_key = "{self.certificates.file("soon.key")}"\ntls_required = false\n')
        process = self.run_program("config", "check", config)
        self.assertEqual((process.wait_exit(), process.out), (0, [f"{config}: ok"]))
        self.assertRegex("\n".join(process.err), "warning: .*soon.pem: the certificate expires on")

    def test_the_log_warns_of_the_end(self):
        self.start(certificate="soon")
        self.gateway.wait_line(self.gateway.err, "warning .*soon.pem: the certificate expires on")
        values = self.figures()
        self.assertGreater(values["tls_certificate_expires_seconds"], 1_700_000_000)


if __name__ == "__main__":
    unittest.main()
