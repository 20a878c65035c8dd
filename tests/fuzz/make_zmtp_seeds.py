#!/usr/bin/env python3
"""Writes the seeds of corpus/zmtp: what peers of each version, mechanism and socket type send, and what is wrong.

    make_zmtp_seeds.py
"""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus" / "zmtp"
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f"


def greeting(mechanism=b"NULL", minor=1, as_server=0):
    return SIGNATURE + bytes([3, minor]) + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def frame(body, flags=0):
    if len(body) > 255:
        return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def command(name, data=b""):
    return frame(bytes([len(name)]) + name + data, 4)


def metadata(socket_type, identity=b""):
    return b"".join(bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
                    for name, value in ((b"Socket-Type", socket_type), (b"Identity", identity)))


def ready(socket_type, identity=b""):
    return command(b"READY", metadata(socket_type, identity))


def message(*frames):
    return b"".join(frame(each, 1) for each in frames[:-1]) + frame(frames[-1])


HELLO = command(b"HELLO", b"\x05alice\x06secret")
SUB = greeting() + ready(b"SUB")
SEEDS = {
    "sub": SUB + command(b"SUBSCRIBE", b"a.") + command(b"PING", b"\0\x0aabc") + command(b"CANCEL", b"a."),
    "sub_3_0": greeting(minor=0) + ready(b"XSUB") + message(b"\x01a.") + message(b"\0a."),
    "sub_2_0": SIGNATURE + b"\x01\x02" + message(b"me") + message(b"\x01a.") + message(b"\x01"),
    "pub": greeting() + ready(b"PUB") + message(b"topic", b"payload") + message(b"topic", b"x" * 300),
    "pub_with_ping": greeting() + ready(b"PUB") + frame(b"topic", 1) + command(b"PING", b"\0\0") + frame(b"end"),
    "dealer": greeting() + ready(b"DEALER", b"worker") + message(b"", b"request") + message(b""),
    "plain": greeting(b"PLAIN") + HELLO + command(b"INITIATE", metadata(b"SUB")) + message(b"\x01"),
    "curve_hello": greeting(b"CURVE") + command(b"HELLO", b"\x01\0" + bytes(192)),
    "error": greeting() + command(b"ERROR", b"\x03400"),
    "unknown_command": SUB + command(b"JOIN", b"group") + command(b"PONG", b"x"),
    "endless_more": greeting() + ready(b"PUB") + frame(b"", 1) * 9,
    "huge_frame": SUB + b"\x02\x7f" + b"\xff" * 7,
    "negative_frame": SUB + b"\x02" + b"\xff" * 8,
    "reserved_flags": SUB + b"\x08\x01x",
    "version_1_0": b"\x01\0",
    "version_1_0_long": b"\xff" + bytes(8) + b"\0",
    "bad_mechanism": greeting(b"GSSAPI"),
}

CORPUS.mkdir(parents=True, exist_ok=True)
for name, sent in SEEDS.items():
    (CORPUS / name).write_bytes(b"\0\x06" + sent)
(CORPUS / "refused").write_bytes(b"\x10\0" + greeting(b"PLAIN") + HELLO)
(CORPUS / "curve_only").write_bytes(b"\x03\0" + greeting(b"NULL"))
