#!/usr/bin/python3
"""Writes the seeds of corpus/resume_token, corpus/cursor, corpus/http_rules, corpus/zap and corpus/greeting.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
from make_session_seeds import write

ONE, OTHER = "00c0ffee0000002a:9", "0000000100000002:0"
STREAM = bytes.fromhex("0807060504030201")

TOKENS = {
    "one": ONE,
    "two": f"{ONE},{OTHER}",
    "twice_the_same": f"{ONE},{ONE}",
    "upper_case": ONE.upper(),
    "largest": f"{'f' * 16}:{2**64 - 1}",
    "too_large": f"{'f' * 16}:{2**64}",
    "sixty_four": ",".join(f"{number:016x}:{number}" for number in range(1, 65)),
    "sixty_five": ",".join(f"{number:016x}:{number}" for number in range(1, 66)),
    "ends_in_a_comma": f"{ONE},",
    "signs": "+0c0ffee0000002a:+9",
    "escape": "\x1b[2J",
    "empty": "",
}

CURSORS = {kind: kind.encode() + STREAM + place
           for kind, place in {"r": b"\x07" + bytes(7), "h": bytes(8), "t": b"stock.MSFT", "n": b"stock.MSFT",
                               "d": b"17", "p": b"clock@host"}.items()}
CURSORS |= {
    "other_stream": b"h" + bytes(8) + bytes(8),
    "other_kind": b"x" + STREAM + b"17",
    "without_place": b"h" + STREAM,
    "half": b"h" + STREAM[:4],
    "long": b"n" + STREAM + b"a" * 1000,
    "number": b"18446744073709551615",
    "number_too_large": b"18446744073709551616",
}

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ["Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]


def rules(query="", token="", host="localhost:1601", origin="", *fields):
    return "\n".join([query, token, host, origin, *fields])


RULES = {
    "events": rules("topic=stock.%3E&topic=news.*&last&since=10m&every=1s"),
    "resumes": rules("topic=clock", f"{ONE},{OTHER}"),
    "resumes_in_query": rules(f"topic=clock&lastEventId={ONE}"),
    "ignored": rules("topic=clock&utm_source=%1b%5b2J&access_token=secret"),
    "bad_escape": rules("topic=%zz"),
    "half_escape": rules("topic=%4"),
    "control_characters": rules("topic=a%0d%0ab&policy=%00"),
    "no_topic": rules("last=1&every=0"),
    "socket": rules("", "", "LOCALHOST.:1601", "http://localhost:1601", *HANDSHAKE, KEY),
    "socket_other_page": rules("topic=a", "", "127.0.0.1:1601", "https://evil.example", *HANDSHAKE, KEY),
    "socket_allowed_page": rules("", "", "broker.example", "https://page.example", *HANDSHAKE, KEY),
    "socket_two_keys": rules("", "", "[::1]:1601", "", *HANDSHAKE, KEY, KEY),
    "socket_old": rules("", "", "[::1", "", *HANDSHAKE[:2], "Sec-WebSocket-Version: 8", KEY),
    "socket_bad_key": rules("", "", "[]", "null", *HANDSHAKE, "Sec-WebSocket-Key: x"),
    "host_rebound": rules("", "", "127.0.0.1.evil.example:80", "http://127.0.0.1.evil.example:80"),
    "host_with_user": rules("", "", "localhost@evil.example"),
    "host_with_nul": rules("", "", "127.0.0.1\0.evil.example"),
    "host_two_colons": rules("", "", "localhost:1:2"),
}


# The keys of zap.cpp.
READER, SENSOR = bytes(range(1, 33)), bytes(range(64, 96))


def zap(*frames):
    return b"".join(bytes([len(frame)]) + frame for frame in frames)


def curve(domain, key, version=b"1.0", mechanism=b"CURVE"):
    return zap(version, b"17", domain, b"192.0.2.7", b"", mechanism, key)


ZAP = {
    "reader_at_egress": curve(b"egress", READER),
    "reader_at_ingress": curve(b"ingress", READER),
    "sensor_at_ingress": curve(b"ingress", SENSOR),
    "sensor_at_egress": curve(b"egress", SENSOR),
    "unknown_key": curve(b"ingress", bytes(32)),
    "unknown_domain": curve(b"other", READER),
    "short_key": curve(b"ingress", READER[:31]),
    "long_key": curve(b"ingress", READER + b"!"),
    "other_version": curve(b"ingress", READER, version=b"1.1"),
    "null": zap(b"1.0", b"17", b"ingress", b"192.0.2.7", b"", b"NULL"),
    "plain": zap(b"1.0", b"17", b"ingress", b"192.0.2.7", b"", b"PLAIN", b"reader", b"secret"),
    "plain_with_a_key": curve(b"ingress", READER, mechanism=b"PLAIN"),
    "one_frame": zap(b"1.0"),
    "many_frames": curve(b"egress", READER) + zap(b"", b"more", b"x" * 40),
    "empty": b"",
}


def greeting(mechanism, signature=b"\xff" + bytes(8) + b"\x7f", version=b"\x03\x01", rest=bytes(32)):
    return signature + version + mechanism.ljust(20, b"\0") + rest


GREETINGS = {
    "curve": greeting(b"CURVE"),
    "null": greeting(b"NULL"),
    "plain": greeting(b"PLAIN"),
    "longer_name": greeting(b"CURVES"),
    "full_name": greeting(b"N" * 20),
    "no_name": greeting(b""),
    "half": greeting(b"CURVE")[:40],
    "more": greeting(b"NULL") + b"\x04\x19\x05READY",
    "version_2": greeting(b"NULL", version=b"\x01\x00"),
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
}


def main():
    write("resume_token", {name: content.encode() for name, content in TOKENS.items()})
    write("cursor", CURSORS)
    write("http_rules", {name: content.encode() for name, content in RULES.items()})
    write("zap", ZAP)
    write("greeting", GREETINGS)


if __name__ == "__main__":
    main()
