"""The gateway with npm's `ws`, Node's most common WebSocket client."""

import json
import subprocess
import unittest

from client_scenarios import Driver
from harness import GATEWAY
from web_harness import DRIVER_TIMEOUT_MS, HERE, NODE, SANITIZED, WebTest

SOCKET = f"ws://{GATEWAY}/v1/socket"


class WsClient(WebTest):
    def setUp(self):
        super().setUp()
        self.start_all()
        self.ws = Driver(self.run_process([NODE, str(HERE / "ws_driver.mjs"), str(DRIVER_TIMEOUT_MS)],
                                          stdin=subprocess.PIPE))
        self.addCleanup(self.ws.leave)

    def connect(self, name="one", **options):
        return self.ws.do("connect", name, SOCKET, options)

    def answer(self, command, name="one"):
        """Sends a command. Returns the next message."""
        self.ws.do("send", name, command)
        return self.take(name)

    def take(self, name="one"):
        message, = self.ws.do("take", name, 1)
        return message

    def event(self, name="one"):
        return json.loads(self.take(name))

    def test_offered_extensions_and_subprotocols_are_not_accepted(self):
        self.assertEqual(self.connect(perMessageDeflate=True), {"extensions": "", "protocol": ""})

    def test_retained_values_and_then_events_come_as_json_one_per_frame(self):
        self.publish(5)
        self.connect()
        self.assertEqual(self.answer("SUB n last"), "+OK SUB n")
        last = self.event()
        self.assertEqual((last["topic"], last["offset"], last["text"]), ("n", 5, "4"))
        self.assertRegex(last["stream"], "^[0-9a-f]{16}$")
        self.publish(1, first=5)
        live = self.event()
        self.assertEqual((live["offset"], live["text"], live["source"]), (6, "5", self.publisher.source))

    def test_a_thousand_events_come_complete_and_in_order(self):
        self.connect()
        self.assertEqual(self.answer("SUB n"), "+OK SUB n")
        for number in range(1000):
            # All forms of a length: below 126 bytes, below 64 KiB, above.
            self.publisher.send("n", str(number).ljust((5, 300, 70_000)[number % 50 // 24], "."))
        events = [json.loads(text) for text in self.ws.do("take", "one", 1000)]
        self.assertEqual([event["offset"] for event in events], list(range(1, 1001)))
        self.assertEqual([event["text"].rstrip(".") for event in events], [str(number) for number in range(1000)])

    def test_commands_get_replies_and_published_events_arrive(self):
        self.connect()
        self.assertEqual(self.answer("PING"), "+PONG")
        self.assertEqual(self.answer("SUB news.*"), "+OK SUB news.*")
        self.ws.do("send", "one", "PUB news.uk sunny spells")
        messages = self.ws.do("take", "one", 2)
        self.assertIn("+OK PUB news.uk", messages)
        messages.remove("+OK PUB news.uk")
        self.assertEqual(json.loads(messages[0])["text"], "sunny spells")
        self.assertRegex(self.answer("PUB stock..MSFT x"), "^-ERR bad_topic ")
        self.assertRegex(self.answer("NONSENSE"), "^-ERR unknown_command ")
        self.assertRegex(self.answer("FORMAT text"), "^-ERR ")
        self.assertEqual(self.answer("UNSUB news.*"), "+OK UNSUB news.*")
        self.assertEqual(self.answer("PING"), "+PONG")

    def test_a_line_may_be_fragmented_with_a_ping_in_between(self):
        self.connect()
        self.ws.do("send_pieces", "one", "PI", "N", "G")
        self.assertEqual(self.take(), "+PONG")
        self.ws.do("ping", "one", "still there?")
        self.assertEqual(self.ws.do("pong", "one"), "still there?")

    def test_binary_frames_are_refused(self):
        self.connect()
        self.ws.do("send_binary", "one", "50494e47")
        self.assertEqual(self.ws.do("closed", "one")["code"], 1003)

    def test_a_close_is_echoed_with_its_code(self):
        for code in (1000, 1001, 3000, 4999):
            self.connect(f"code {code}")
            self.assertEqual(self.ws.do("close_with", f"code {code}", code, "enough")["code"], code)

    def test_quit_closes_normally(self):
        self.connect()
        self.assertEqual(self.answer("QUIT"), "+OK QUIT")
        self.assertEqual(self.ws.do("closed", "one")["code"], 1000)

    def test_a_foreign_origin_is_refused(self):
        for origin in ("http://elsewhere.test", "null", "http://localhost:1601"):
            _, text, _ = self.ws.fails("connect", "elsewhere", SOCKET, {"origin": origin})
            self.assertEqual(text, "status 403", origin)
        self.connect("own", origin=f"http://{GATEWAY}")

    def test_many_clients_get_the_same_events(self):
        count, events = 40 if SANITIZED else 200, 100
        self.ws.do("crowd", count, SOCKET, "SUB n")
        for messages in self.ws.do("take_each", count, 1):
            self.assertEqual(messages, ["+OK SUB n"])
        self.publish(events)
        for messages in self.ws.do("take_each", count, events):
            self.assertEqual([json.loads(text)["offset"] for text in messages], list(range(1, events + 1)))

    def test_clients_that_vanish_harm_no_others(self):
        self.connect()
        self.assertEqual(self.answer("SUB n"), "+OK SUB n")
        others = Driver(self.run_process([NODE, str(HERE / "ws_driver.mjs"), str(DRIVER_TIMEOUT_MS)],
                                         stdin=subprocess.PIPE))
        others.do("crowd", 50, SOCKET, "SUB n")
        others.leave()
        self.publish(100)
        events = [json.loads(text) for text in self.ws.do("take", "one", 100)]
        self.assertEqual([event["offset"] for event in events], list(range(1, 101)))


if __name__ == "__main__":
    unittest.main()
