#!/usr/bin/python3
"""Writes the seeds of corpus/control: one small file for each request, good and bad, and some conversations.

Run it with the generated Python of proto/ on PYTHONPATH (build/dev/proto/python). Files that a fuzzer found
and that were put beside the seeds are left alone.
"""
import pathlib
import struct

from google.protobuf import descriptor_pb2

from backplane.v1 import control_pb2 as control

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus" / "control"
STREAM = 0x0102030405060708


def request(**of):
    return control.ControlRequest(version=1, id=1, **of).SerializeToString()


def cursor(kind, place):
    return kind + struct.pack("<Q", STREAM) + place


def conversation(*requests):
    return b"".join(struct.pack("<H", len(each)) + each for each in requests)


def file_set(*files):
    made = descriptor_pb2.FileDescriptorSet()
    for name, package, message, imports in files:
        file = made.file.add(name=name, package=package, syntax="proto3", dependency=imports)
        field = file.message_type.add(name=message).field.add(name="f", number=1, label=1, type=9)
        field.json_name = "f"
        file.enum_type.add(name=message + "Kind").value.add(name=message.upper(), number=0)
    return made


def seeds():
    position = control.ReplayRequest.AfterPosition(stream=STREAM, position=1)
    hello = request(hello=control.HelloRequest(name="clock@host7", session=7, role=1, counters={"sent": 3}))
    closing = request(hello=control.HelloRequest(name="clock@host7", session=7, role=1, closing=True))
    odd = request(hello=control.HelloRequest(name="*. .>\u0085.", session=8, role=1))
    register = request(types=control.TypesRequest(register_files=file_set(
        ("b.proto", "shop.v1", "B", ["a.proto"]), ("a.proto", "shop.v1", "A", []))))
    clash = request(types=control.TypesRequest(register_files=file_set(("c.proto", "shop.v1", "A", []))))
    circle = request(types=control.TypesRequest(register_files=file_set(
        ("x.proto", "x", "X", ["y.proto"]), ("y.proto", "y", "Y", ["x.proto"]))))
    fetch = request(types=control.TypesRequest(names=["shop.v1.B", "type.googleapis.com/shop.v1.A", "no"]))
    return {
        "empty": b"",
        "hello": conversation(hello, hello, closing, closing),
        "hello_odd_name": conversation(odd),
        "retained": conversation(request(retained=control.RetainedRequest(pattern=">"))),
        "retained_cursor": conversation(request(retained=control.RetainedRequest(
            pattern=">", cursor=cursor(b"r", b"forged")))),
        "replay_position": conversation(request(replay=control.ReplayRequest(
            pattern=">", after_position=position, until_position=3))),
        "replay_partial": conversation(request(replay=control.ReplayRequest(
            pattern=">", after_position=position, partial=True))),
        "replay_offset": conversation(request(replay=control.ReplayRequest(pattern="a", after_offset=1))),
        "replay_since": conversation(request(replay=control.ReplayRequest(pattern="b.*", since_ns=1))),
        "replay_other_stream": conversation(request(replay=control.ReplayRequest(
            pattern=">", after_position=control.ReplayRequest.AfterPosition(stream=1)))),
        "replay_cursor": conversation(request(replay=control.ReplayRequest(
            pattern=">", since_ns=0, cursor=cursor(b"h", b"\0" * 48)))),
        "tails": conversation(request(tails=control.TailsRequest(patterns=["a", "b.>"], after_position=1)),
                              request(tails=control.TailsRequest(patterns=["a"], cursor=cursor(b"t", b"2")))),
        "admitted": conversation(request(admitted=control.AdmittedRequest(source="clock", session=1))),
        "topics": conversation(request(topics=control.TopicsRequest(pattern="*")),
                               request(topics=control.TopicsRequest(pattern=">", cursor=cursor(b"n", b"a")))),
        "types": conversation(register, register, clash, circle, fetch, request(types=control.TypesRequest()),
                              request(types=control.TypesRequest(cursor=cursor(b"d", b"9")))),
        "stats": conversation(hello, request(stats=control.StatsRequest()),
                              request(stats=control.StatsRequest(cursor=cursor(b"p", b"1")))),
        "drain": conversation(request(drain=control.DrainRequest())),
        "other_version": conversation(control.ControlRequest(version=2).SerializeToString()),
        "no_request": conversation(request()),
        "truncated": conversation(hello[:-3]),
        "pattern_not_utf8": conversation(b"\x08\x01\x62\x03\x0a\x01\xff"),
        "giant_pattern": conversation(request(topics=control.TopicsRequest(pattern="x." * 5000))),
    }


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in seeds().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
