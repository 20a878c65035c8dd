#!/usr/bin/python3
"""Writes the seeds of corpus/proto_protocol, corpus/payload_types, corpus/session and some of corpus/line_protocol.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
import pathlib

from make_seeds import delimited, fixed64, golden, number, varint

HERE = pathlib.Path(__file__).resolve().parent


def message(command, content=b""):
    """A ClientMessage behind its length."""
    return framed(delimited(command, content))


def framed(content):
    return varint(len(content)) + content


PATTERN = delimited(1, "stock.>")
EVERY = number(1, 5)  # a google.protobuf.Duration of 5 s

# A byte for the size of the pieces, then the stream.
PROTO = {
    "golden": golden("client_messages.hex"),
    "subscribe": message(1, PATTERN + number(2, 1) + delimited(3, EVERY) + delimited(5, EVERY) + number(7, 2)),
    "subscribe_resume": message(1, PATTERN + delimited(4, "00c0ffee0000002a:9,0000000100000002:0")),
    "subscribe_offset": message(1, delimited(1, "clock") + fixed64(6, 17)),
    "subscribe_offset_of_many": message(1, PATTERN + fixed64(6, 17)),
    "durations_out_of_range": message(1, PATTERN + delimited(3, number(1, 2**64 - 1))
                                      + delimited(5, number(1, 2**63 - 1) + number(2, 2**64 - 1))),
    "unsubscribe": message(2, PATTERN),
    "publish": message(3, delimited(1, "news.uk") + delimited(2, "grüße")),
    "publish_without_text": message(3, delimited(1, "news.uk")),
    "publish_system": message(3, delimited(1, "$SYS.x") + delimited(2, "x")),
    "ping_pong": message(4) * 20,
    "policy": message(5, number(1, 3)) + message(5, number(1, 99)) + message(5),
    "topics": message(6) + message(6, PATTERN) + message(6, delimited(1, "a..b")),
    "quit": message(7) + message(4),
    "authenticate": message(9, delimited(1, "anna:secret")) + message(9) + message(9, delimited(1, "a b")),
    "unknown_command": message(12) + framed(b""),
    "not_utf8": message(1, delimited(1, b"\xff")),
    "half": message(1, PATTERN)[:-1],
    "length_endless": message(4) + b"\xff" * 6,
    "length_too_large": message(4) + varint(5000) + b"x" * 100,
    "lines": b"PING\nSUB clock\n",
}


def field(name, field_number, kind, type_name=None, label=1):
    content = delimited(1, name) + number(3, field_number) + number(4, label) + number(5, kind)
    return delimited(2, content + (delimited(6, type_name) if type_name else b""))


def types(*files):
    return b"".join(delimited(1, each) for each in files)


def file(name, *parts, package="acme", syntax="proto3"):
    return delimited(1, name) + delimited(2, package) + b"".join(parts) + delimited(12, syntax)


def type_(name, *parts):
    return delimited(4, delimited(1, name) + b"".join(parts))


def with_message(files, value=b""):
    return len(files).to_bytes(2, "little") + files + value


DOUBLE, INT64, STRING, GROUP, MESSAGE, BYTES, ENUM = 1, 3, 9, 10, 11, 12, 14
TIMESTAMP, ANY = "google/protobuf/timestamp.proto", "google/protobuf/any.proto"
ORDER = file("order.proto", delimited(3, TIMESTAMP), delimited(3, ANY), type_(
    "Order", field("item_name", 1, STRING), field("count", 2, INT64),
    field("at", 3, MESSAGE, ".google.protobuf.Timestamp"), field("parts", 4, MESSAGE, ".acme.Order", label=3),
    field("extra", 5, MESSAGE, ".google.protobuf.Any"), field("price", 6, DOUBLE), field("raw", 7, BYTES)))
ORDER_VALUE = (delimited(1, 'cog "2"\n') + number(2, 7) + delimited(3, number(1, 946684800))
               + delimited(4, delimited(1, "tooth")) + delimited(7, b"\xff\x00"))
IN_ANY = delimited(1, "type.googleapis.com/acme.Order") + delimited(2, ORDER_VALUE)
WIDE = file("wide.proto", type_("Many", field("wide", 1, MESSAGE, ".acme.Wide", label=3)),
            type_("Wide", *[field(f"field_{i}", i, INT64) for i in range(1, 200)]))
OLD = file("old.proto",
           type_("Old", field("s", 1, STRING), field("needed", 2, INT64, label=2),
                 delimited(5, number(1, 100) + number(2, 200))),
           type_("Set", delimited(7, number(1, 1)), delimited(5, number(1, 4) + number(2, 100))),
           syntax="proto2")
MAP = file("map.proto", type_(
    "Map", field("entries", 1, MESSAGE, ".acme.Map.EntriesEntry", label=3),
    delimited(3, delimited(1, "EntriesEntry") + field("key", 1, STRING) + field("value", 2, MESSAGE, ".acme.Map")
              + delimited(7, number(7, 1)))))

PAYLOADS = {
    "empty": with_message(b""),
    "order": with_message(types(ORDER), ORDER_VALUE),
    "order_in_order": with_message(types(ORDER), delimited(5, IN_ANY)),
    "order_any_unknown": with_message(types(ORDER), delimited(5, delimited(1, "x/acme.Other") + delimited(2, "x"))),
    "order_any_of_ours": with_message(types(ORDER), delimited(5, delimited(
        1, "type.googleapis.com/backplane.events.v1.Quote") + delimited(2, delimited(1, "MSFT")))),
    "order_wrong_wire_types": with_message(types(ORDER), number(1, 5) + delimited(2, "x")),
    "order_time_outside_the_calendar": with_message(types(ORDER), delimited(3, number(1, 2**62))),
    "wide": with_message(types(WIDE), delimited(1, b"") * 50),
    "old": with_message(types(OLD), delimited(1, b"\xff") + number(2, 1)),
    "map": with_message(types(MAP), delimited(1, delimited(1, "key") + delimited(2, b""))),
    "map_twice": with_message(types(MAP), delimited(1, delimited(1, "k")) * 2),
    "google_redefined": with_message(types(file("mine.proto", type_("Timestamp"), package="google.protobuf"))),
    "conflict": with_message(types(ORDER, file("other.proto", type_("Order")))),
    "imports_itself": with_message(types(file("a.proto", delimited(3, "a.proto"), type_("A")))),
    "undefined": with_message(types(file("a.proto", type_("A", field("b", 1, MESSAGE, ".acme.B"))))),
    "rubbish": with_message(b"\xff\xfe\xfd", b"\xff"),
}

LINES = {
    "authenticate": b"AUTH anna:secret\nauth a:b:c\r\nAUTH\nAUTH a b\nAUTH \xff:x\nAUTH  :\nAUTHX a:b\n",
    "subscribe_options": b"SUB a every=5s last since=10m policy=latest\nSUB a.> since=17\nSUB a since=17\n"
                         b"SUB > since=00c0ffee0000002a:9,0000000100000002:0\nSUB a every=0\nSUB a since=::\n",
    "topics": b"TOPICS\nTOPICS stock.>\nTOPICS a b\nPOLICY latest\n",
    "auth": b"AUTH 3fVQ9wqmN7s\nAUTH\nauth \nAUTH a b\nAUTH " + b"x" * 600 + b"\nAUTH t\xff\nAUTH t\x1b[2J\nSUB a\n",
    "format_proto": b"FORMAT proto\n\x02\x22\x00",
    "carriage_returns": b"ping\rsub a\r\0pub a x\r\nPING\n\rFORMAT proto\r\n\x02\x22\x00",
    "telnet": b"\xff\xfb\x1f\xff\xfd\x03pi\xff\xfa\x18\0vt\xff\xff\xff\xf0ng\r\xff\xf1\n\xff\xfd\x06pub a \xff\xff\xffx\n\xff",
}


def http(line, *fields, body=b""):
    return "\r\n".join([line + " HTTP/1.1", "Host: localhost", *fields, "", ""]).encode() + body


def frame(content, opcode=1):
    """A frame of a WebSocket client, with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(content)]) + bytes(4) + content


UPGRADE = http("GET /v1/socket", "Upgrade: websocket", "Connection: Upgrade",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
SUBSCRIBE_ALL = framed(delimited(1, delimited(1, ">") + number(2, 1)))

# To a whole gateway. What comes in the second half comes after its events.
SESSIONS = {
    "lines": b"SUB > last\nSUB open.> since=1h\nTOPICS\nPUB open.in x\nFORMAT json\nPING\nSTATUS\nHELP\nUNSUB >\n"
             b"POLICY latest\nSUB open.a every=1s\nAUTH anna:b1\nPUB hidden x\nSUB hidden\nTOPICS hidden\nQUIT\n",
    "lines_since": b"SUB > since=1h\nSUB *.* last\n" + b"PING\n" * 20 + b"FORMAT text+offset\nSUB > last\n",
    "auth": b"AUTH anna:a1\nSUB >\nAUTH x\nAUTH\n" + b"PING\n" * 10,
    "proto": b"FORMAT proto\n" + SUBSCRIBE_ALL + message(6) + message(3, delimited(1, "open.in") + delimited(2, "x"))
             + message(4) * 20 + message(9, delimited(1, "anna:a1")) + message(2, delimited(1, ">")) + message(7),
    "telnet": b"\xff\xfd\x03SUB >\r\n" + b"PING\r\n" * 5 + b"\xff\xf4SUB open.a\r\n",
    "events": http("GET /v1/events?topic=%3E&last&since=1h", "Last-Event-ID: 00c0ffee0000002a:9"),
    "events_of_two": http("GET /v1/events?topic=open.%3E&topic=*.*&last"),
    "topics": http("GET /v1/topics") + http("GET /v1/topics?pattern=open.%3E") + http("GET /v1/status"),
    "publish": http("POST /v1/topics/open.in", "Content-Length: 2", body=b"hi")
               + http("POST /v1/topics/other", "Content-Length: 2", body=b"hi"),
    "token": http("GET /v1/topics", "Authorization: Bearer anna:a1") + http("GET /v1/events?topic=a&access_token=a:b"),
    "pages": http("GET /healthz") + http("GET /readyz") + http("GET /metrics") + http("HEAD /"),
    "websocket": UPGRADE + frame(b"SUB > last") + frame(b"TOPICS") + frame(b"", 9) + frame(b"FORMAT json")
                 + frame(b"SUB open.> since=1h") + frame(b"PUB open.in x") + frame(b"AUTH anna:a1") + frame(b"", 8),
    "websocket_events": http("GET /v1/socket?topic=%3E&last", "Upgrade: websocket", "Connection: Upgrade",
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
                        + frame(b"PING") * 20,
    "half_a_line": b"SUB op",
    "half_a_head": b"GET / HTTP/1.1\r\nHo",
    "rubbish": b"\x00\x16\xff\n\r" * 9,
}


def write(target, seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (folder / name).write_bytes(content)
    print(f"{folder.relative_to(HERE)}: {len(seeds)} seeds")


def main():
    write("proto_protocol", {name: b"\x06" + content for name, content in PROTO.items()})
    write("payload_types", PAYLOADS)
    write("session", {name: b"\x0f" + content for name, content in SESSIONS.items()})
    write("line_protocol", {name: b"\x06" + content for name, content in LINES.items()})


if __name__ == "__main__":
    main()
