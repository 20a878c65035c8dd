#!/usr/bin/python3
"""Writes the seeds of corpus/json_object.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
from make_session_seeds import write

SEEDS = {
    "empty": "",
    "object": '{"symbol":"MSFT","price":1.5,"n":-3,"ok":true,"none":null,"list":[1,"2",{"a":[]}]}',
    "spaces": ' {\t"a" :\r\n1 } ',
    "escapes": r'{"a\u0000\n":"\u00e9\ud83d\ude00\/\"\\"}',
    "half_surrogate": r'{"a":"\ud83d"}',
    "not_utf8": b'{"a":"\xff"}',
    "same_name_twice": '{"a":1,"a":"2"}',
    "numbers": '{"a":1e308,"b":-0.0,"c":18446744073709551615,"d":1E-400,"e":0.1}',
    "number_too_large": '{"a":1e400,"b":-1e400}',
    "number_with_zeros": '{"a":01}',
    "deep": '{"a":' + "[" * 40 + "]" * 40 + "}",
    "list": "[1]",
    "two": "{}{}",
    "half": '{"a":"b',
}


def main():
    write("json_object", {name: content if isinstance(content, bytes) else content.encode()
                          for name, content in SEEDS.items()})


if __name__ == "__main__":
    main()
