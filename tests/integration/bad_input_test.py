"""Bad input gets one clear error; the connection and the process continue."""

import os
import pathlib
import socket
import tempfile
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, METRICS, PROGRAM, RAW, BackplaneTest


class OverTcp(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.gateway = self.start_gateway()

    def assert_error(self, client, command, *words):
        reply = client.command(command)
        self.assertRegex(reply, r"^-ERR [a-z_]+ .+", command)
        for word in words:
            self.assertIn(word, reply)

    def test_each_mistake_gets_its_own_error_and_the_session_continues(self):
        client = self.client()
        self.assertEqual(client.command("SUB stock..MSFT"), '-ERR bad_topic a token is empty: "stock..MSFT"')
        self.assert_error(client, "FROBNICATE now", "FROBNICATE")
        self.assert_error(client, "SUB")
        self.assert_error(client, "SUB a.>.b", "a.>.b")
        self.assert_error(client, "SUB " + "x" * 256)
        self.assert_error(client, "SUB a frobnicate=1", "frobnicate")
        self.assert_error(client, "UNSUB never.subscribed", "never.subscribed")
        self.assert_error(client, "PUB")
        self.assert_error(client, "FORMAT klingon", "klingon")
        self.assertEqual(client.command("PING"), "+PONG")
        client.subscribe("still.works")

    def test_random_bytes_get_a_reply_and_do_not_harm_the_gateway(self):
        client = self.client()
        client.send_bytes(b"\x00\xff\xfe\x01 rubbish \x80\n")
        self.assertRegex(client.reply(), r"^-ERR [a-z_]+ .+")
        self.assertEqual(client.command("PING"), "+PONG")
        noise = self.client()
        # One line: without the bytes that end one, and without telnet's commands.
        line = bytes(byte for byte in os.urandom(50_000) if byte not in b"\r\n\x16\xff")
        noise.send_bytes(line + b"\nPING\n")
        self.assertRegex(noise.reply(), r"^-ERR [a-z_]+ .+")
        self.assertEqual(noise.reply(), "+PONG")

    def test_input_from_a_client_cannot_forge_a_line(self):
        client = self.client()
        client.send_bytes(b"WHAT\r+PONG\x1b[2J\n")
        reply = client.reply()
        self.assertRegex(reply, r"^-ERR [a-z_]+ .+")
        self.assertFalse(any(ord(character) < 0x20 for character in reply), reply)

    def test_a_line_that_is_too_long_gets_one_error_and_the_next_is_executed(self):
        client = self.client()
        client.send_bytes(b"SUB " + b"a" * 8_000_000 + b"\nPING\n")
        self.assertRegex(client.reply(), "^-ERR line_too_long .+")
        self.assertEqual(client.reply(), "+PONG")
        client.send_bytes(b"PUB n " + b"a" * 8_000_000 + b"\nPING\n")
        self.assertRegex(client.reply(), "^-ERR line_too_long .+")
        self.assertEqual(client.reply(), "+PONG")

    def test_half_a_line_publishes_nothing(self):
        client, watcher = self.client(), self.client()
        watcher.subscribe("n", "the.end")
        client.send_bytes(b"PUB n half")
        client.half_close()
        self.assertRegex(client.reply(), "^-ERR half_line .+")
        client.wait_closed()
        self.assertEqual(watcher.command("PUB the.end x"), "+OK PUB the.end")
        self.assertEqual(watcher.events_until("the.end x"), [])

    def test_a_command_in_pieces_is_one_command(self):
        client = self.client()
        client.send_bytes(b"PI")
        self.assertEqual(self.client().command("PING"), "+PONG")
        client.send_bytes(b"NG\r\n")
        self.assertEqual(client.reply(), "+PONG")

    def test_silent_connections_delay_no_other(self):
        silent = [self.client() for _ in range(200)]
        speaker = self.client()
        speaker.subscribe("n")
        self.assertEqual(speaker.command("PUB n x"), "+OK PUB n")
        self.assertEqual(speaker.event(), "n x")
        for client in silent:
            client.close()
        self.assertEqual(speaker.command("PING"), "+PONG")


class AtStart(BackplaneTest):
    def ends_with(self, code, *arguments):
        """Runs the program until it ends. Returns its standard error."""
        program = self.run_program(*arguments)
        self.assertEqual(program.wait_exit(), code, program.transcript())
        self.assertEqual(program.out, [])
        return "\n".join(program.err)

    def occupied_port(self):
        listener = socket.create_server((HOST, 0))
        self.addCleanup(listener.close)
        return listener.getsockname()[1]

    def config(self, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "backplane.toml")
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_an_unknown_flag_or_subcommand_is_wrong_usage(self):
        self.assertIn("--frobnicate", self.ends_with(2, "broker", "--frobnicate"))
        self.assertIn("frobnicate", self.ends_with(2, "frobnicate"))
        self.assertIn("frobnicate", self.ends_with(2, "publish", "frobnicate"))
        self.ends_with(2, "pub", "topic.without.text")
        self.assertIn("subcommand", self.ends_with(2))

    def test_an_invalid_value_is_wrong_usage_and_named(self):
        self.assertIn("soon", self.ends_with(2, "publish", "clock", "--every", "soon", *ENDPOINTS))
        self.assertIn("nowhere", self.ends_with(2, "broker", "--ingress", "nowhere"))
        self.assertIn("99999", self.ends_with(2, "gateway", "--listen", f"{HOST}:99999", *ENDPOINTS))
        self.assertIn("a..b", self.ends_with(2, "sub", "a..b", *ENDPOINTS))
        self.assertIn("a..b", self.ends_with(2, "pub", "a..b", "text", *ENDPOINTS))

    def test_the_brokers_port_in_use_is_named(self):
        port = self.occupied_port()
        said = self.ends_with(1, "broker", "--ingress", f"tcp://{HOST}:{port}", "--egress", EGRESS,
                              "--control", CONTROL, "--raw", RAW, "--metrics", METRICS)
        self.assertIn(f"{HOST}:{port}", said)
        self.assertIn("in use", said)

    def test_the_gateways_port_in_use_is_named(self):
        port = self.occupied_port()
        said = self.ends_with(1, "gateway", "--listen", f"{HOST}:{port}", *ENDPOINTS)
        self.assertIn(f"{HOST}:{port}", said)
        self.assertIn("in use", said)

    def test_a_missing_file_is_named(self):
        self.assertIn("no/such.toml", self.ends_with(2, "broker", "--config", "no/such.toml"))
        self.assertIn("no/such.csv", "".join(
            self.run_until_it_ends("publish", "quotes", "--csv", "no/such.csv", *ENDPOINTS)))

    def run_until_it_ends(self, *arguments):
        program = self.run_program(*arguments)
        self.assertIn(program.wait_exit(), (1, 2), program.transcript())
        return program.err

    def test_all_mistakes_in_a_configuration_are_reported_at_once_by_line(self):
        path = self.config('[[backplane]]\nname = "default"\ningres = "tcp://127.0.0.1:1"\n'
                           'egress = "nowhere"\nmax_event_bytes = "many"\n')
        said = self.ends_with(2, "broker", "--config", path)
        for line, word in ((3, "ingres"), (4, "nowhere"), (5, "max_event_bytes")):
            self.assertRegex(said, rf"backplane\.toml:{line}\b.*{word}")

    def test_a_configuration_that_is_no_toml_is_reported_by_line(self):
        self.assertRegex(self.ends_with(2, "broker", "--config", self.config("[[backplane]\n")),
                         r"backplane\.toml:1\b")

    def test_the_same_name_or_endpoint_twice_is_reported_with_both_lines(self):
        path = self.config('[[backplane]]\nname = "a"\n\n[[backplane]]\nname = "a"\ningress = "tcp://127.0.0.1:5571"\n')
        said = self.ends_with(2, "broker", "--config", path)
        self.assertRegex(said, r"backplane\.toml:5\b.*\b2\b")


    def test_output_to_a_closed_stream_goes_to_no_socket(self):
        closed = self.run_process(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', PROGRAM, "broker", *ENDPOINTS,
                                   "--raw", RAW, "--metrics", METRICS])
        self.control_client().request(stats={})  # the broker is running
        streams = [os.readlink(f"/proc/{closed.pid}/fd/{number}") for number in range(3)]
        self.assertEqual(streams, ["/dev/null"] * 3)


class BeforeTheBroker(BackplaneTest):
    def test_a_gateway_waits_and_says_so(self):
        gateway = self.start_gateway()
        gateway.wait_line(gateway.err, f"{HOST}:557")
        client = self.client()
        client.send("SUB n")
        self.assertEqual(client.notice(), "!WAIT broker")
        self.start_broker()
        self.assertEqual(client.reply(), "+OK SUB n")
        self.ready_writer().send("n", "x")
        self.assertEqual(client.event(), "n x")

    def test_a_publisher_waits_and_says_so(self):
        clock = self.start_clock()
        clock.wait_line(clock.err, f"{HOST}:557")
        self.assertTrue(clock.running())
        self.assertEqual(clock.out, [])
        self.start_broker()
        clock.ready()
        self.assertEqual(self.live_reader("clock").receive()[0], "clock")

    def test_sub_waits_and_says_so(self):
        sub = self.run_program("sub", "n", "--count", "1", *ENDPOINTS)
        sub.wait_line(sub.err, f"{HOST}:557")
        self.start_broker()
        self.publish_until_received("n", sub)
        self.assertEqual(sub.wait_exit(), 0)
        self.assertEqual(sub.out, ["n knock"])

    def test_pub_fails_after_some_seconds_and_names_the_broker(self):
        pub = self.run_program("pub", "n", "x", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 1)
        self.assertIn(HOST, "\n".join(pub.err))
        self.assertIn(INGRESS.rsplit(":", 1)[0][6:], "\n".join(pub.err))


if __name__ == "__main__":
    unittest.main()
