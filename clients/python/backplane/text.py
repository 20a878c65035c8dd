"""The escapes of the gateway's line protocol, which puts each event on one line."""

import re

_ESCAPED = re.compile(rb"[\x00-\x1f\x7f\\]")
_ESCAPE = re.compile(rb"\\(?:([nrt\\])|x([0-9a-fA-F]{2}))")
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}
_SHORT = {value: b"\\" + letter for letter, value in _LETTERS.items()}


def escape(text: bytes) -> bytes:
    r"""`text` on one line: \n, \r, \t and \\, and \xNN for the other bytes below 0x20 and for 0x7f."""
    return _ESCAPED.sub(lambda found: _SHORT.get(found[0]) or b"\\x%02x" % found[0][0], text)


def unescape(text: bytes) -> bytes:
    """Reverses escape(). Unknown escapes are left unchanged."""
    return _ESCAPE.sub(lambda found: _LETTERS[found[1]] if found[1] else bytes.fromhex(found[2].decode()), text)
