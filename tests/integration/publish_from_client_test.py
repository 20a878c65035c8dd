"""PUB from a client of the gateway: +OK means that the broker has admitted it."""

import unittest

from harness import BackplaneTest
from websocket_peer import TEXT, WebSocketPeer, frame


class PublishFromClient(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()
        self.start_gateway()
        # When a subscription is active, the gateway has its broker.
        self.client().subscribe("warm.up")

    def test_pub_reaches_a_zeromq_subscriber(self):
        reader, client = self.live_reader("news.uk"), self.client()
        self.assertEqual(client.command("PUB news.uk It rains, as ever"), "+OK PUB news.uk")
        topic, event = reader.receive()
        self.assertEqual((topic, event.text, event.stamp.offset), ("news.uk", "It rains, as ever", 1))
        self.assertNotEqual(event.source, "")

    def test_pub_reaches_other_clients_and_the_one_who_published(self):
        client, other = self.client(), self.client()
        for each in (client, other):
            each.subscribe("news.>")
        client.command("PUB news.uk hello")
        self.assertEqual([client.event(), other.event()], ["news.uk hello", "news.uk hello"])

    def test_a_client_gets_its_own_event_if_sub_and_pub_arrive_together(self):
        for number in range(200):
            with self.subTest(number):
                client = self.client()
                client.send_bytes(f"SUB own.{number}\nPUB own.{number} mine\n".encode())
                self.assertEqual([client.reply(), client.reply()], [f"+OK SUB own.{number}", f"+OK PUB own.{number}"])
                self.assertEqual(client.event(), f"own.{number} mine")
                client.close()

    def test_a_websocket_gets_its_own_event_if_sub_and_pub_arrive_together(self):
        for number in range(200):
            with self.subTest(number):
                peer = WebSocketPeer()
                self.addCleanup(peer.close)
                peer.send_bytes(frame(TEXT, f"SUB own.{number}") + frame(TEXT, f"PUB own.{number} mine"))
                event = peer.event()
                self.assertEqual((event["topic"], event["text"]), (f"own.{number}", "mine"))
                peer.close()

    def test_pubs_behind_a_sub_stay_in_order(self):
        client = self.client()
        lines = [f"SUB a.{number}\nPUB a.{number} {number}\nPUB a.{number} again\n" for number in range(300)]
        client.send_bytes("".join(lines).encode())
        for number in range(300):
            self.assertEqual([client.event(), client.event()], [f"a.{number} {number}", f"a.{number} again"])

    def test_a_pub_behind_a_sub_gets_an_error_without_a_broker(self):
        self.broker.end()
        client = self.client()
        client.send_bytes(b"SUB late\nPUB late x\n")
        self.assertRegex(client.reply(), "^-ERR unavailable late: timeout: no broker is connected")

    def test_a_pub_that_got_ok_is_admitted(self):
        client = self.client()
        for number in range(1, 21):
            self.assertEqual(client.command(f"PUB n {number}"), "+OK PUB n")
            self.assertEqual(self.counters()["published_total"], number)

    def test_many_pubs_without_waiting_get_replies_and_arrive_in_order(self):
        reader, client = self.live_reader("n"), self.client()
        client.send_bytes("".join(f"PUB n {number}\n" for number in range(500)).encode())
        for number in range(500):
            self.assertEqual(client.reply(), "+OK PUB n")
        self.assertEqual([reader.receive()[1].text for _ in range(500)], [str(number) for number in range(500)])

    def test_text_is_published_as_it_is_read(self):
        reader, client = self.live_reader("n"), self.client()
        client.subscribe("n")
        client.command(r"PUB n two\nlines \\ and \x01, \q")
        self.assertEqual(reader.receive()[1].text, "two\nlines \\ and \x01, \\q")
        self.assertEqual(client.event(), r"n two\nlines \\ and \x01, \\q")

    def test_pub_without_a_broker_does_not_get_ok(self):
        client = self.client()
        client.subscribe("n")
        self.broker.kill()
        self.assertEqual(client.notice(), "!WAIT broker")
        self.assertRegex(client.command("PUB n lost?"), "^-ERR unavailable .+")

    def test_topics_of_the_system_are_refused(self):
        client = self.client()
        for topic in ("$SYS.broker", "a..b", "a.*", "+a"):
            with self.subTest(topic):
                self.assertRegex(client.command(f"PUB {topic} x"), r"^-ERR \w+ .+")
        self.assertEqual(client.command("PING"), "+PONG")
        self.assertEqual(self.counters()["received_total"], 0)


if __name__ == "__main__":
    unittest.main()
