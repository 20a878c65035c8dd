#!/usr/bin/python3
"""Writes the seeds of corpus/scan_event and corpus/topic: one small file for each thing that can be met.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent


def golden(name):
    text = (HERE.parent / "golden" / name).read_text(encoding="utf-8")
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field, value):
    return varint(field << 3) + varint(value)


def fixed64(field, value):
    return varint(field << 3 | 1) + struct.pack("<Q", value)


def fixed32(field, value):
    return varint(field << 3 | 5) + struct.pack("<I", value)


ANY = delimited(1, "type.googleapis.com/backplane.events.v1.Quote") + delimited(2, delimited(1, "MSFT"))
TIME = number(1, 946684800) + number(2, 500000000)

EVENTS = {
    "empty": b"",
    "golden": golden("event.hex"),
    "golden_stamped": golden("stamped_event.hex"),
    "stamp_alone": golden("stamp.hex"),
    "stamp_zero": golden("stamp_zero.hex"),
    "stamp_damaged": golden("stamped_event.hex")[:-9] + b"\x2a" + bytes(8),
    "stamp_in_text": delimited(6, golden("stamp.hex")),
    "message": delimited(1, "quotes@host7") + delimited(5, ANY),
    "message_merged": delimited(5, delimited(1, "t")) + delimited(5, delimited(2, "v")),
    "message_then_text": delimited(5, ANY) + delimited(6, "text") + delimited(5, delimited(2, "v")),
    "message_bad": delimited(5, number(1, 1)),
    "type_url_not_utf8": delimited(5, delimited(1, b"\xff")),
    "binary": delimited(7, bytes(range(256))),
    "text_empty": delimited(6, ""),
    "text_not_utf8": delimited(6, b"\xed\xa0\x80"),
    "text_four_bytes": delimited(6, "\U0001f600 and \u20ac"),
    "source_not_utf8": delimited(1, b"a\xc3"),
    "time": delimited(4, TIME),
    "time_merged": delimited(4, number(1, 5)) + delimited(4, number(2, 7)),
    "time_negative": delimited(4, number(1, 2**64 - 1) + number(2, 2**64 - 2)),
    "time_bad": delimited(4, fixed64(1, 5)),
    "attributes": delimited(8, delimited(1, "unit") + delimited(2, "°C")),
    "attributes_swapped": delimited(8, delimited(2, "v") + delimited(1, "k") + number(3, 1)),
    "attributes_bad": delimited(8, delimited(1, b"\xff")),
    "golden_passed": golden("passed_event.hex"),
    "golden_lost": golden("lost_events.hex"),
    "lost_stamped": golden("lost_events.hex") + golden("stamp.hex"),
    "lost_too_many": fixed64(14, 2**32 + 1),
    "lost_beside_text": delimited(6, "text") + fixed64(14, 1),
    "lost_not_last": fixed64(14, 1) + number(3, 7),
    "lost_twice": fixed64(14, 1) + fixed64(14, 2),
    "lost_none": fixed64(14, 0) + delimited(6, "text"),
    "lost_wrong_wire_type": number(14, 1),
    "after_sequence": number(3, 9) + number(9, 2**64 - 1),
    "after_sequence_wrong_wire_type": fixed64(9, 1),
    "unknown_fields": number(13, 1) + fixed64(10, 1) + delimited(11, b"\xff") + fixed32(12, 1) + number(2**29 - 1, 1),
    "sequence_largest": number(3, 2**64 - 1),
    "session": fixed64(2, 2**64 - 1),
    "wrong_wire_type": number(2, 1),
    "varint_too_long": b"\x18" + b"\xff" * 10 + b"\x01",
    "varint_above_64_bits": b"\x18" + b"\xff" * 9 + b"\x02",
    "tag_padded": b"\x8a\x80\x80\x80\x00\x01a",
    "tag_of_six_bytes": b"\x8a\x80\x80\x80\x80\x00\x01a",
    "tag_above_32_bits": b"\x80\x80\x80\x80\x10\x00",
    "length_past_the_end": b"\x0a\x04abc",
    "length_of_4_gib": b"\x0a\xff\xff\xff\xff\x0fabc",
    "length_padded": b"\x0a\x81\x80\x80\x80\x00a",
    "field_zero": b"\x00\x00",
    "group": b"\x4b\x08\x01\x4c",
    "group_end": b"\x4c",
    "wire_type_7": b"\x4f",
}

# A pattern, a line feed, a topic.
TOPICS = {
    "exact": "stock.MSFT\nstock.MSFT",
    "star": "stock.*\nstock.MSFT",
    "star_first": "*.MSFT\nstock.MSFT",
    "star_in_the_middle": "a.*.c\na.b.c",
    "long": "stock.>\nstock.MSFT.close",
    "all": ">\nclock",
    "all_and_system": ">\n$SYS.drain",
    "system": "$SYS.source.*\n$SYS.source.clock",
    "prefix_only": "time\ntimezone",
    "wildcard_in_a_token": "a*.b\na>",
    "long_in_the_middle": "a.>.b\na.b.b",
    "empty_tokens": "a..b\n.a.",
    "reserved": "!a\n$a",
    "spaces": "a b\na\tb",
    "other_languages": "wetter.*\nwetter.münchen",
    "control_above_ascii": "a\u0085\nb\u009f",
    "not_utf8": b"a\xff.*\n\xc3",
    "longest": "a" * 255 + "\n" + "é" * 127 + "a",
    "too_long": "a" * 256 + "\n" + "é" * 128,
    "cut_within_a_character": "a" * 79 + "é" * 90 + "\n" + "a" * 78 + "€" * 60,
}


def main():
    for target, seeds in (("scan_event", EVENTS), ("topic", TOPICS)):
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        print(f"{folder.relative_to(HERE)}: {len(seeds)} seeds")


if __name__ == "__main__":
    main()
