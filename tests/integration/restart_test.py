"""kill -9 of one process and its restart, while the others continue."""

import unittest

from harness import BackplaneTest


class Restart(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.gateway = self.start_gateway()
        self.clock = self.start_clock("--source-name", "clock@test")

    def test_the_broker(self):
        client = self.client()
        client.subscribe("clock")
        self.tick(client.event())
        self.broker.kill()
        client.wait_notice("!WAIT broker")
        self.assertEqual(client.command("PING"), "+PONG")
        broker = self.start_broker()
        client.wait_notice("!LIVE broker")
        # The subscription is active again, the reset is announced, and a new subscription works.
        ticks = [self.tick(line) for line in (client.event(), client.event(), client.event())]
        self.assertLess(int(ticks[0]["tick"]), int(ticks[2]["tick"]))
        self.assertIn("!RESET clock", client.lines)
        client.subscribe("news.uk")
        self.assertEqual(client.command("PUB news.uk back"), "+OK PUB news.uk")
        self.assertEqual(client.event_like("^news.uk")[0], "news.uk")
        self.assertTrue(broker.running() and self.gateway.running() and self.clock.running())

    def test_the_broker_more_than_once(self):
        client = self.client()
        client.subscribe("clock")
        broker = self.broker
        for _ in range(3):
            client.event_like("^clock ")
            broker.kill()
            client.wait_notice("!WAIT broker")
            broker = self.start_broker()
            client.wait_notice("!LIVE broker")
            # Reads what was in flight when the broker died; then come new ticks.
            last = int(self.tick(client.event())["tick"])
            while int(self.tick(client.event())["tick"]) <= last + 3:
                pass

    def test_a_subscription_made_while_there_is_no_broker_is_kept(self):
        client = self.client()
        client.subscribe("the.first")
        self.broker.kill()
        client.wait_notice("!WAIT broker")
        client.send("SUB clock")
        self.start_broker()
        self.assertEqual(client.reply(), "+OK SUB clock")
        self.tick(client.event())

    def test_zeromq_subscribers_continue_after_the_brokers_restart(self):
        reader = self.live_reader("clock")
        stream = reader.receive()[1].stamp.stream
        self.broker.kill()
        self.start_broker()
        while (event := reader.receive()[1]).stamp.stream == stream:
            pass
        # A new incarnation of the same broker: its numbering starts again.
        self.assertEqual(event.stamp.stream >> 32, stream >> 32)
        self.assertGreaterEqual(event.stamp.offset, 1)
        self.assertEqual(reader.receive()[1].stamp.offset, event.stamp.offset + 1)

    def test_the_gateway(self):
        reader, client = self.live_reader("clock"), self.client()
        client.subscribe("clock")
        self.tick(client.event())
        self.gateway.kill()
        client.wait_closed()
        self.start_gateway()
        again = self.client()
        again.subscribe("clock")
        last = int(self.tick(again.event())["tick"])
        # The direct reader saw every tick.
        offset = 0
        sequence = None
        while sequence != last:
            _, event = reader.receive()
            self.assertEqual(event.stamp.offset, offset + 1 if offset else event.stamp.offset)
            offset, sequence = event.stamp.offset, event.sequence

    def test_a_publisher(self):
        reader, client = self.live_reader("clock"), self.client()
        client.subscribe("clock")
        first = reader.receive()[1]
        self.tick(client.event())
        self.clock.kill()
        self.start_clock("--source-name", "clock@test")
        offset = first.stamp.offset
        while (event := reader.receive()[1]).session == first.session:
            offset = event.stamp.offset
        # A new session of the same source, after the old one's events on the same topic.
        self.assertEqual((event.source, event.sequence, event.stamp.offset), ("clock@test", 1, offset + 1))
        while int(self.tick(client.event())["tick"]) != 1:
            pass


if __name__ == "__main__":
    unittest.main()
