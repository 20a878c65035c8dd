"""Clients of the line protocol get what they subscribed to, and nothing else."""

import json
import unittest

from harness import BackplaneTest


class Subscribe(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()
        self.start_gateway()
        self.publisher = self.ready_writer()

    def received(self, patterns, topics):
        """Subscribes to `patterns` and publishes an event on each of `topics`. Returns the topics that the client
        receives."""
        client = self.client()
        client.subscribe(*patterns, "the.end")
        for topic in [*topics, "the.end"]:
            self.publisher.send(topic, "x")
        return [line.split(" ")[0] for line in client.events_until("the.end x")]

    def test_a_topic_does_not_match_a_longer_one(self):
        self.assertEqual(self.received(["time"], ["timezone", "time.zone", "tim", "time", "Time"]), ["time"])

    def test_a_star_matches_exactly_one_token(self):
        self.assertEqual(
            self.received(["stock.*.price"],
                          ["stock.IBM.price", "stock.price", "stock.A.B.price", "stock.IBM.price.x", "stock.GOOG.price"]),
            ["stock.IBM.price", "stock.GOOG.price"])

    def test_a_final_angle_matches_one_or_more_tokens(self):
        self.assertEqual(self.received(["stock.>"], ["stock", "stock.IBM", "stocks.IBM", "stock.A.B.C"]),
                         ["stock.IBM", "stock.A.B.C"])

    def test_a_wildcard_in_the_first_token_matches_all_but_system_topics(self):
        client = self.client()
        client.subscribe(">")
        # A reader that becomes live makes the broker publish on a system topic.
        self.live_reader("nothing")
        self.publisher.send("a", "1")
        self.publisher.send("b.c", "2")
        self.assertEqual([client.event(), client.event()], ["a 1", "b.c 2"])

    def test_an_event_that_matches_twice_comes_once(self):
        self.assertEqual(self.received(["stock.>", "stock.*", "stock.IBM"], ["stock.IBM"]), ["stock.IBM"])

    def test_each_client_gets_its_own_subscriptions(self):
        expected = {"a.>": ["a.1", "a.2"], "*.2": ["a.2", "b.2"], "b.1": ["b.1"]}
        clients = {pattern: self.client() for pattern in expected}
        for pattern, client in clients.items():
            client.subscribe(pattern, "the.end")
        for topic in ["a.1", "a.2", "b.1", "b.2", "c.1", "the.end"]:
            self.publisher.send(topic, "x")
        for pattern, topics in expected.items():
            self.assertEqual(clients[pattern].events_until("the.end x"), [f"{topic} x" for topic in topics])

    def test_after_unsub_no_more_events_come(self):
        client = self.client()
        client.subscribe("a", "b", "the.end")
        self.assertEqual(client.command("UNSUB a"), "+OK UNSUB a")
        for topic in ["a", "b", "the.end"]:
            self.publisher.send(topic, "x")
        self.assertEqual(client.events_until("the.end x"), ["b x"])

    def test_unsub_of_one_pattern_keeps_overlapping_ones(self):
        client = self.client()
        client.subscribe("stock.IBM", "stock.>", "the.end")
        self.assertEqual(client.command("UNSUB stock.>"), "+OK UNSUB stock.>")
        for topic in ["stock.IBM", "stock.MSFT", "the.end"]:
            self.publisher.send(topic, "x")
        self.assertEqual(client.events_until("the.end x"), ["stock.IBM x"])

    def test_json_has_every_field_of_an_event(self):
        client = self.client()
        self.assertEqual(client.command("FORMAT json"), "+OK FORMAT json")
        client.subscribe("news.uk")
        self.publisher.send("news.uk", 'say "so"\n')
        event = json.loads(client.event())
        self.assertEqual((event["topic"], event["text"], event["offset"], event["source"], event["sequence"]),
                         ("news.uk", 'say "so"\n', 1, "writer@test", 1))
        self.assertRegex(event["stream"], "^[0-9a-f]{16}$")
        self.assertGreaterEqual(event["position"], 1)

    def test_text_stays_on_one_line(self):
        client = self.client()
        client.subscribe("news.uk")
        self.publisher.send("news.uk", "one\ntwo\ttab\\ \x01")
        self.assertEqual(client.event(), r"news.uk one\ntwo\ttab\\ \x01")

    def test_with_last_the_retained_value_comes_at_once(self):
        first = self.client()
        first.subscribe("weather.>")
        self.publisher.send("weather.london", "rain")
        self.publisher.send("weather.london", "more rain")
        self.publisher.send("weather.rome", "sun")
        first.event_like("rome")
        late = self.client()
        self.assertTrue(late.command("SUB weather.> last").startswith("+OK SUB weather.>"))
        self.assertEqual(sorted([late.event(), late.event()]), ["weather.london more rain", "weather.rome sun"])

    def test_a_client_that_closes_its_sending_side_keeps_receiving(self):
        client = self.client()
        client.subscribe("news.uk")
        client.half_close()
        self.publisher.send("news.uk", "still here")
        self.assertEqual(client.event(), "news.uk still here")

    def test_a_client_that_does_not_read_delays_no_other(self):
        stalled, brisk = self.client(), self.client()
        for client in (stalled, brisk):
            client.subscribe("big.>")
        text = "x" * 50_000
        # Far more than the kernel and the gateway buffer for a client that does not read.
        for _ in range(100):
            for _ in range(10):
                self.publisher.send("big.one", text)
            for _ in range(10):
                self.assertEqual(brisk.event(), f"big.one {text}")
        self.publisher.send("big.end", "x")
        self.assertEqual(brisk.event(), "big.end x")
        # The slow client gets gaps for exactly what it missed.
        received = len(stalled.events_until("big.end x"))
        gaps = [line.split() for line in stalled.lines if line.startswith("!")]
        self.assertEqual({(word, topic, reason) for word, topic, _, _, reason in gaps},
                         {("!GAP", "big.one", "slow_consumer")})
        self.assertEqual(received + sum(int(last) - int(first) + 1 for _, _, first, last, _ in gaps), 1000)

    def test_replies_come_in_the_order_of_the_commands(self):
        client = self.client()
        client.subscribe("a")
        client.send_bytes(b"PING\r\nFORMAT json\nUNSUB a\nFORMAT text\nPING\nQUIT\n")
        self.assertEqual([client.reply() for _ in range(6)],
                         ["+PONG", "+OK FORMAT json", "+OK UNSUB a", "+OK FORMAT text", "+PONG", "+OK QUIT"])
        client.wait_closed()

    def test_help_names_every_command(self):
        client = self.client()
        client.send("HELP")
        client.send("PING")
        while client.reply() != "+PONG":
            pass
        said = "\n".join(client.lines)
        for command in ("SUB", "UNSUB", "PUB", "FORMAT", "PING", "HELP", "QUIT"):
            self.assertIn(command, said)


if __name__ == "__main__":
    unittest.main()
