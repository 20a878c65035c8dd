"""The kinds of hostile peers. Full size: ./dev hostile [KIND]. A hundredth of it runs with every ./dev test."""

import os
import re
import subprocess
import sys

from scenario import CONTROL, EGRESS, FULL, GATEWAY, HERE, HOST, INGRESS, MIB, RAW, HostileTest, scaled, seconds, unittest

# What docs/operations.md ("What a hostile peer can cost") states. Per connection:
GATEWAY_CONNECTION = 8 << 10
TLS_CONNECTION = 16 << 10
TLS_HANDSHAKE = 45 << 10
LINE = 64 << 10
BROKER_CONNECTION = 24 << 10
EVENT = 1 << 20
HISTORY = 256 << 20
INGRESS_QUEUE = 512 << 20  # of each publisher
# Others:
GATEWAY_SUBSCRIPTION = 1024
BROKER_PREFIX = 256
BROKER_TOPIC = 1024
VERIFICATION = 64 << 20
COMMANDS = 2 << 20  # that wait to be executed
GATEWAY_QUEUE = 768 << 20  # events that were received and wait
ZEROMQ_ENDPOINTS = [INGRESS, EGRESS, CONTROL, RAW]
SOURCES = 40  # addresses that the peers have

full_size = unittest.skipUnless(FULL, "at full size only")


class Silent(HostileTest):
    """10,000 connections that never send a byte."""

    def test_at_the_gateway(self):
        count = scaled(10_000)
        self.run_attack(f"silent, {count} at the gateway", [("silent", {"targets": [GATEWAY], "count": count, "sources": SOURCES})],
                        seconds(25), 0, count * GATEWAY_CONNECTION, counted=["goodbyes_total.silent"] if FULL else [])

    def test_at_the_broker(self):
        count = scaled(10_000)
        self.run_attack(f"silent, {count} at the broker",
                        [("silent", {"targets": ZEROMQ_ENDPOINTS, "count": count, "sources": SOURCES})],
                        seconds(40), count * BROKER_CONNECTION, 0, counted=["handshakes_failed_total"])

    @full_size
    def test_after_a_greeting_at_the_broker(self):
        count = scaled(10_000)
        self.run_attack(f"silent, {count} at the broker after the greeting",
                        [("silent", {"targets": ZEROMQ_ENDPOINTS, "count": count, "sources": SOURCES, "first": "greeting"})],
                        seconds(25), count * BROKER_CONNECTION, 0, counted=["handshakes_failed_total"])


class SilentTls(HostileTest):
    tls = True

    def test_at_the_gateway(self):
        count = scaled(10_000)
        self.run_attack(f"silent, {count} at the gateway with TLS",
                        [("silent", {"targets": [GATEWAY], "count": count, "sources": SOURCES})],
                        seconds(25), 0, count * (GATEWAY_CONNECTION + TLS_CONNECTION) + 1024 * TLS_HANDSHAKE,
                        counted=["plaintext_refused_total"] if FULL else [])


class SilentCurve(HostileTest):
    policy = True

    def test_at_the_broker(self):
        count = scaled(10_000)
        self.run_attack(f"silent, {count} at the broker with CURVE",
                        [("silent", {"targets": ZEROMQ_ENDPOINTS, "count": count // 2, "sources": SOURCES}),
                         ("silent", {"targets": ZEROMQ_ENDPOINTS, "count": count // 2, "sources": SOURCES, "first": "curve"})],
                        seconds(25), count * BROKER_CONNECTION, 0, counted=["handshakes_failed_total"])


class SilentAddress(unittest.TestCase):
    """Connections that are not from loopback: in a network of its own, whose loopback device has other addresses."""

    def test_one_address_takes_its_share_only(self):
        script = ("ip link set lo up && for n in 1 2 3; do ip addr add 198.51.100.$n/32 dev lo; done && "
                  f"exec /usr/bin/python3 -B -W error {HERE / 'kinds_test.py'} --verbose ElsewhereAddresses")
        command = ["unshare", "--map-root-user", "--net", "sh", "-c"]
        try:
            possible = subprocess.run([*command, "ip addr show lo"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            possible = False
        if not possible:
            self.skipTest("no network of its own: unshare --net or ip is not permitted here")
        ran = subprocess.run([*command, script], env={**os.environ, "HOSTILE_ELSEWHERE": "1"}, capture_output=True, text=True,
                             check=False)
        print(ran.stderr, file=sys.stderr)
        self.assertEqual(ran.returncode, 0, ran.stdout)


@unittest.skipUnless(os.environ.get("HOSTILE_ELSEWHERE"), "run by SilentAddress")
class ElsewhereAddresses(HostileTest):
    gateway_config = "insecure = true\n"
    listen = (GATEWAY, "198.51.100.1:1601")

    def test_at_the_gateway(self):
        count = scaled(10_000, least=400)
        stats, before, after = self.run_attack(
            f"silent, {count} of one address", [("silent", {"targets": ["198.51.100.1:1601"], "count": count, "reopen": False,
                                                            "sources_from": ["198.51.100.2"]})],
            seconds(8), 0, count * GATEWAY_CONNECTION, counted=["connections_refused_total.too_many_connections_from_address"])
        self.assertLess(after["accepted_total"] - before["accepted_total"], 400)
        self.assertLess(stats[0]["errors"], 10)


class Slowloris(HostileTest):
    """2,000 peers that send a byte per second: requests, commands and frames."""

    def test_at_the_gateway(self):
        count = scaled(2000)
        self.run_attack(f"slowloris of {count}", [("slowloris", {"targets": [GATEWAY], "count": count, "sources": SOURCES})],
                        seconds(45), 0, count * (GATEWAY_CONNECTION + LINE),
                        counted=["http_refused_total.timed_out"] if FULL else ["accepted_total"])


    def test_events_that_never_end(self):
        count = scaled(300)
        self.run_attack(f"slowloris, {count} events without an end",
                        [("half", {"targets": [GATEWAY], "count": count, "size": 900_000, "sources": SOURCES})],
                        seconds(15), 0, count * (GATEWAY_CONNECTION + 2 * EVENT))


@full_size
class SlowlorisTls(HostileTest):
    """The bytes are those of TLS handshakes."""
    tls = True

    def test_at_the_gateway(self):
        count = scaled(2000)
        self.run_attack(f"slowloris of {count} with TLS", [("slowloris", {"targets": [GATEWAY], "count": count, "sources": SOURCES})],
                        seconds(20), 0, count * (GATEWAY_CONNECTION + TLS_CONNECTION) + 1024 * TLS_HANDSHAKE,
                        counted=["plaintext_refused_total"])


class Tls(HostileTest):
    """2,000 handshakes that stall, and bytes that are none; clients that renegotiate."""
    tls = True

    def test_stalled_handshakes(self):
        count = scaled(2000)
        self.run_attack(f"tls, {count} stalled", [("tls", {"targets": [GATEWAY], "count": count, "sources": SOURCES})],
                        seconds(25), 0, count * (GATEWAY_CONNECTION + TLS_CONNECTION) + 1024 * TLS_HANDSHAKE,
                        counted=["tls_handshakes_failed_total.too_many"] if FULL else [])

    def test_renegotiation(self):
        count = scaled(100, least=3)
        for version, key in (("-tls1_2", "R"), ("-tls1_3", "K")):
            clients = []
            for _ in range(count if key == "R" else 3):
                clients.append(self.run_process(["openssl", "s_client", version, "-CAfile", self.certificates.file("ca.pem"), "-connect",
                                                 GATEWAY], stdin=subprocess.PIPE))
            for client in clients:
                client.wait_line(client.out, "Verify return code: 0")
                client.stdin.write(f"{key}\n")
                client.stdin.flush()
            for client in clients:
                if key == "R":
                    client.wait_line(client.err, "(?i)no renegotiation")
                    self.assertNotEqual(client.wait_exit(), 0)
                else:  # TLS 1.3 has new keys for the sender only, which is not a new handshake
                    client.wait_line(client.err, "KEYUPDATE")  # it reads one command at a time
                    client.stdin.write("PING\n")
                    client.stdin.flush()
                    client.wait_line(client.out, r"^\+PONG")
                    client.kill()


class Subscriptions(HostileTest):
    """Floods of subscriptions, by one client and by many, that also unsubscribe."""

    def test_of_one_client(self):
        each = scaled(120_000)
        self.run_attack(f"subscriptions, {each} of one client",
                        [("subscriptions", {"targets": [GATEWAY], "clients": 1, "each": each})],
                        seconds(20), 100_000 * BROKER_PREFIX, 100_000 * GATEWAY_SUBSCRIPTION,
                        counted=["commands_refused_total.too_many_subscriptions"] if FULL else [])

    @full_size
    def test_of_many_clients(self):
        clients, each = scaled(200), 2000 if FULL else 100
        self.run_attack(f"subscriptions, {each} of each of {clients} clients",
                        [("subscriptions", {"targets": [GATEWAY], "clients": clients, "each": each, "sources": SOURCES})],
                        seconds(25), clients * each * BROKER_PREFIX, clients * each * GATEWAY_SUBSCRIPTION)

    def test_that_come_and_go(self):
        clients, each = scaled(50, least=5), 200
        self.run_attack(f"subscriptions, {clients} clients that subscribe and unsubscribe",
                        [("subscriptions", {"targets": [GATEWAY], "clients": clients, "each": each, "sources": SOURCES, "churn": True})],
                        seconds(20), clients * each * BROKER_PREFIX, clients * (each * GATEWAY_SUBSCRIPTION + COMMANDS))

    @full_size
    def test_that_all_match_one_topic(self):
        patterns = 16_384 if FULL else 256
        self.run_attack(f"subscriptions, {patterns} that all match a topic which their client publishes",
                        [("overlapping", {"targets": [GATEWAY], "patterns": patterns, "tokens": 14 if FULL else 8})],
                        seconds(20), patterns * BROKER_PREFIX, patterns * GATEWAY_SUBSCRIPTION)

    def test_at_the_broker(self):
        each = scaled(1_000_000)
        self.run_attack(f"subscriptions, {each} at the broker", [("broker_subscriptions", {"endpoint": EGRESS, "clients": 4, "each": each // 4})],
                        seconds(25), each * BROKER_PREFIX, 0)

    def test_long_ones_at_the_broker(self):
        each = scaled(200, least=10)
        self.run_attack(f"subscriptions, {each} of a mebibyte at the broker",
                        [("long_subscriptions", {"endpoint": EGRESS, "count": each, "size": 1_000_000})],
                        seconds(15), 64 * MIB, 0)

    def test_messages_instead_of_subscriptions(self):
        self.run_attack("messages from a subscriber, 500,000/s", [("upstream", {"endpoint": EGRESS, "per_s": 500_000})], seconds(15), 64 * MIB, 0,
                        counted=["subscribers_disconnected_total"])


class Topics(HostileTest):
    """Events of 10 million distinct topics."""
    broker_config = '[[backplane]]\nmax_topics = 1000000\n' if FULL else '[[backplane]]\nmax_topics = 20000\n'

    def test_of_one_publisher(self):
        count, most = (10_000_000, 1_000_000) if FULL else (100_000, 20_000)
        _, before, after = self.run_attack(f"topics, {count} of one publisher", [("topics", {"endpoint": INGRESS, "count": count})],
                                           seconds(60), most * BROKER_TOPIC + HISTORY, 0,
                                           residue_bytes=most * BROKER_TOPIC + HISTORY, counted=["rejected_total.topics_full"])
        self.assertLessEqual(after["topics"], most)

    @full_size
    def test_through_the_gateway(self):
        most = 1_000_000 if FULL else 20_000
        self.run_attack("topics, through the gateway", [("gateway_topics", {"targets": [GATEWAY], "clients": 4})], seconds(30),
                        most * BROKER_TOPIC + HISTORY, 64 * MIB, residue_bytes=most * BROKER_TOPIC + HISTORY)


class Large(HostileTest):
    """Events of 1 MiB at full speed."""

    def test_of_one_publisher(self):
        self.run_attack("large, 1 MiB by one publisher", [("large", {"endpoint": INGRESS, "size": EVENT})], seconds(20),
                        HISTORY + INGRESS_QUEUE, 0, residue_bytes=HISTORY)

    @full_size
    def test_of_many_publishers(self):
        self.run_attack("large, 1 MiB by 8 publishers", [("large", {"endpoint": INGRESS, "size": EVENT, "publishers": 8})], seconds(20),
                        HISTORY + 8 * INGRESS_QUEUE, 0, residue_bytes=HISTORY)

    @full_size
    def test_through_the_gateway(self):
        self.run_attack("large, 1 MiB through the gateway", [("gateway_large", {"targets": [GATEWAY], "clients": 4, "size": EVENT})],
                        seconds(20), HISTORY + 64 * MIB, 4 * 4 * EVENT + 64 * MIB, residue_bytes=HISTORY)


    # Queues of ZeroMQ have a limit of messages, not of bytes: the broker keeps egress_hwm events for a gateway that is slower
    # than the publisher. These publish as many as the memory of any machine has room for.
    UNREAD = 2000

    def publish_to(self, name, **reader):
        self.run_attack(f"large, {self.UNREAD} of 1 MiB, and a subscriber of the gateway that {name}",
                        [("lines_reader", {"targets": [GATEWAY], **reader}),
                         ("large", {"endpoint": INGRESS, "size": EVENT, "count": self.UNREAD})], seconds(20),
                        HISTORY + INGRESS_QUEUE + self.UNREAD * EVENT, 1024 * MIB + GATEWAY_QUEUE,
                        residue_bytes=HISTORY + 1024 * MIB)

    @full_size
    def test_with_a_subscriber(self):
        self.publish_to("reads")

    @full_size
    def test_with_a_deaf_subscriber(self):
        self.publish_to("does not read", reads=False)


class LargeDeaf(HostileTest):
    """The same, beside a subscriber that does not read them."""
    broker_config = "[[backplane]]\negress_hwm = 200\n"

    def test_of_one_publisher(self):
        self.run_attack("large, 1 MiB, and a subscriber that does not read",
                        [("deaf", {"endpoint": EGRESS}), ("large", {"endpoint": INGRESS, "size": EVENT})],
                        seconds(20), HISTORY + INGRESS_QUEUE + 200 * EVENT, 0, residue_bytes=HISTORY)


class Tokens(HostileTest):
    """Wrong tokens, 1,000 per second, and keys that no user has."""
    policy = True

    def test_of_one_address(self):
        self.run_attack("tokens, of one address", [("tokens", {"targets": [GATEWAY], "per_s": scaled(1000, least=100)})], seconds(25),
                        0, VERIFICATION + 100 * (GATEWAY_CONNECTION + LINE), residue_bytes=VERIFICATION, counted=["authentications_total.wrong", *(["authentications_total.throttled"] if FULL else [])])

    @full_size
    def test_of_many_addresses(self):
        self.run_attack("tokens, of many addresses",
                        [("tokens", {"targets": [GATEWAY], "per_s": scaled(1000, least=100), "clients": scaled(500), "sources": 500})],
                        seconds(25), 0, VERIFICATION + 500 * (GATEWAY_CONNECTION + LINE), residue_bytes=VERIFICATION,
                        counted=["authentications_total.busy" if FULL else "authentications_total.wrong"])

    def test_keys(self):
        self.run_attack("keys that no user has", [("keys", {"endpoint": EGRESS, "per_s": scaled(1000, least=20),
                                                            "server_key": self.server_key})],
                        seconds(20), 2000 * BROKER_CONNECTION, 0, counted=["connections_unknown_key_total"])


if __name__ == "__main__":
    unittest.main()
