#!/usr/bin/python3
"""Writes the seeds of corpus/websocket.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
import struct

from make_session_seeds import write

MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", final=True, reserved=0, masked=True, form=None):
    payload = payload.encode() if isinstance(payload, str) else payload
    form = form or (0 if len(payload) <= 125 else 2 if len(payload) <= 0xFFFF else 8)
    length = {0: len(payload), 2: 126, 8: 127}[form]
    head = bytes([final << 7 | reserved << 4 | opcode, masked << 7 | length])
    head += {0: b"", 2: struct.pack(">H", len(payload) & 0xFFFF), 8: struct.pack(">Q", len(payload))}[form]
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def close(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


KOSME = "κόσμε".encode()

SEEDS = {
    "empty": b"",
    "session": frame(TEXT, "SUB stock.> last") + frame(PING, "x") + frame(TEXT, "PUB news.uk grüße") + close(1000),
    "fragments": frame(TEXT, "PI", final=False) + frame(PING) + frame(CONTINUATION, "N", final=False)
    + frame(CONTINUATION, "G"),
    "publish_long": frame(TEXT, "PUB a " + "x" * 1000),
    "publish_too_long": frame(TEXT, "PUB a " + "x" * 5000),
    "line_too_long": frame(TEXT, "x" * 300),
    "binary": frame(TEXT, "PING") + frame(BINARY, b"\x00\xff"),
    "unmasked": frame(TEXT, "PING", masked=False),
    "reserved_bits": frame(TEXT, "PING", reserved=4),
    "reserved_opcode": frame(3),
    "reserved_control": frame(11),
    "ping_in_fragments": frame(PING, final=False),
    "ping_too_long": frame(PING, "x" * 126),
    "continuation_of_nothing": frame(CONTINUATION, "x"),
    "text_within_text": frame(TEXT, "x", final=False) + frame(TEXT, "y"),
    "length_not_shortest": frame(TEXT, "x", form=2),
    "length_of_8_not_shortest": frame(TEXT, "x", form=8),
    "length_above_63_bits": b"\x81\xff" + b"\xff" * 8 + MASK,
    "length_endless": b"\x81\xff\x7f" + b"\xff" * 7 + MASK + b"x" * 50,
    "half": frame(TEXT, "SUB stock.>")[:-3],
    "not_utf8": frame(TEXT, KOSME + b"\xed\xa0\x80edited"),
    "not_utf8_in_fragments": frame(TEXT, KOSME + b"\xf4", final=False) + frame(CONTINUATION, b"\x90\x80\x80"),
    "character_over_fragments": frame(TEXT, KOSME[:3], final=False) + frame(CONTINUATION, KOSME[3:]),
    "half_a_character": frame(TEXT, KOSME[:-1]),
    "close": frame(CLOSE),
    "close_half_a_code": frame(CLOSE, b"\x03"),
    "close_bad_code": close(1005),
    "close_bad_reason": close(1000, b"\xff"),
    "close_then_more": close(4000, b"done") + frame(TEXT, "PING"),
}


if __name__ == "__main__":
    write("websocket", {name: b"\x06" + content for name, content in SEEDS.items()})
