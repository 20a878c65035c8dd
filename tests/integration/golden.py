"""Reads tests/golden: the bytes and cases that the code in every language must agree with."""

import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "golden"


def golden(name):
    """The bytes of a .hex file."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return bytes.fromhex("".join(line.split("#")[0] for line in lines))


def cases(name):
    """The fields of each case of a .tsv file."""
    lines = (FOLDER / name).read_text(encoding="utf-8").split("\n")
    return [line.split("\t") for line in lines if line and not line.startswith("# ")]
