#!/usr/bin/python3
"""Writes the seeds of corpus/mqtt, and those of corpus/session that speak MQTT.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
import pathlib

from make_session_seeds import write

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
VERSION_5, VERSION_3 = b"\x06", b"\x86"


def golden(name):
    text = (GOLDEN / f"mqtt_{name}.hex").read_text(encoding="utf-8")
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


SEEDS = {
    "empty": b"",
    "client_5": VERSION_5 + golden("client_5"),
    "server_5": VERSION_5 + golden("server_5"),
    "client_3": VERSION_3 + golden("client_3"),
    "server_3": VERSION_3 + golden("server_3"),
    "length_of_5_bytes": VERSION_5 + b"\x30\x80\x80\x80\x80\x01",
    "length_of_256_mib": VERSION_5 + b"\x30\xff\xff\xff\x7f",
    "length_not_shortest": VERSION_3 + b"\xc0\x80\x00\xc0\x00",
    "type_0": VERSION_5 + b"\x00\x00",
    "publish_surrogate": VERSION_3 + b"\x30\x05\x00\x03\xed\xa0\x80",
    "publish_wildcard": VERSION_3 + b"\x30\x03\x00\x01#",
    "property_twice": VERSION_5 + b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x04\x17\x01\x17\x01\x00\x00",
    "all_properties": VERSION_5 + b"\x31\x2f\x00\x01a\x2b\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x01c\x08\x00\x01r"
    b"\x09\x00\x02\x00\xff\x0b\x01\x0b\x80\x01\x23\x00\x09\x26\x00\x01k\x00\x01v\x26\x00\x00\x00\x00\x0b\x02x",
}


def packet(first, body):
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def text(value):
    return len(value).to_bytes(2, "big") + value


def connect(version, properties=b"", flags=2, rest=b""):
    return packet(0x10, text(b"MQTT") + bytes([version, flags, 0, 60]) + properties + text(b"c") + rest)


# A byte for the size of the pieces, then the stream. The first half is sent before events arrive.
SESSIONS = {
    "mqtt_3": b"\x0f" + connect(4) + packet(0x82, b"\x00\x01" + text(b"open/#") + b"\x02" + text(b"#") + b"\x00")
    + packet(0x32, text(b"open/in") + b"\x00\x05x") + packet(0x40, b"\x00\x01") + packet(0x50, b"\x00\x02")
    + packet(0x70, b"\x00\x02") + packet(0xA2, b"\x00\x02" + text(b"#")) + b"\xc0\x00\xe0\x00",
    "mqtt_5": b"\x0f" + connect(5, b"\x08\x21\x00\x01\x27\x00\x00\x01\x00", 0x2e, b"\x00" + text(b"open/in") + text(b"w"))
    + packet(0x82, b"\x00\x01\x02\x0b\x07" + text(b"open/a") + b"\x0d" + text(b"$SYS/gap") + b"\x00")
    + packet(0x34, text(b"open/in") + b"\x00\x05\x03\x23\x00\x01y") + packet(0x62, b"\x00\x05")
    + packet(0x40, b"\x00\x01") + packet(0x82, b"\x00\x02\x00" + text(b"$share/g/a") + b"\x01" + text(b"+/+") + b"\x02")
    + packet(0x30, text(b"hidden/in") + b"\x00z"),
    "mqtt_5_plain": b"\x0f" + connect(5, b"\x00") + packet(0x82, b"\x00\x01\x00" + text(b"#") + b"\x00") + b"\xc0\x00"
    + packet(0x82, b"\x00\x02\x00" + text(b"#") + b"\x01") + b"\xf0\x00",
    "mqtt_fault": b"\x0f" + connect(5, b"\x00") + b"\x30\xff\xff\xff\x7f",
    "mqtt_half": b"\x0f" + connect(4)[:-2],
}


if __name__ == "__main__":
    write("mqtt", SEEDS)
    write("session", SESSIONS)
