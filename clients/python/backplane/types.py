"""Types of messages, by their full names: compiled ones, ones from files, and ones that a broker has."""

import base64
import importlib
import pkgutil
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2, json_format,
                             message_factory, struct_pb2, symbol_database, timestamp_pb2, wrappers_pb2)
from google.protobuf.message import DecodeError, EncodeError, Message

# Files that others import without carrying them along. Naming them keeps them in protobuf's pool.
_WELL_KNOWN = (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)

_NAME = re.compile(r"[A-Za-z0-9_.]{1,511}")
_ADDED_BYTES_MAX = 64 << 20  # definitions of all types that are added
_UNKNOWN_MAX = 4096          # names that protobuf's pool is searched for in vain; it remembers each of them
_RETRY_S = 10.0              # then they may have been imported


class _Types:
    """The types of this process. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, type[Message]] = {}
        self._added: dict[str, descriptor_pool.DescriptorPool] = {}  # by type
        self._added_bytes = 0
        self._events_imported = False
        self._unknown: set[str] = set()
        self._retry_at = 0.0

    def find(self, name: str) -> type[Message] | None:
        if kind := self._known.get(name):
            return kind
        with self._lock:
            kind = self._find(name)
            if kind:
                self._known[name] = kind
        return kind

    def _find(self, name: str) -> type[Message] | None:
        if pool := self._added.get(name):
            return _class_of(pool, name)
        now = time.monotonic()
        if now >= self._retry_at:
            self._unknown.clear()
            self._retry_at = now + _RETRY_S
        if name in self._unknown or len(self._unknown) >= _UNKNOWN_MAX or not _NAME.fullmatch(name):
            return None
        if not self._events_imported and name.startswith("backplane."):
            self._events_imported = True
            _import_events()
        kind = _class_of(descriptor_pool.Default(), name)
        if not kind:
            self._unknown.add(name)
        return kind

    def add(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        pool, size = descriptor_pool.DescriptorPool(), files.ByteSize()
        if self._added_bytes + size > _ADDED_BYTES_MAX:
            raise ValueError(f"types: expected definitions of at most {_ADDED_BYTES_MAX} bytes in all")
        given = {file.name: file for file in files.file}
        done: set[str] = set()

        def add(name: str) -> None:
            if name in done:
                return
            done.add(name)
            file = given.get(name) or _file_of_default_pool(name)
            for needed in file.dependency:
                add(needed)
            pool.AddSerializedFile(file.SerializeToString())
        try:
            for name in given:
                add(name)
            names = [name for file in files.file for name in _names_in(file)]
            for name in names:
                pool.FindMessageTypeByName(name)
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"types: expected valid definitions with everything that they import: {error}") from error
        with self._lock:
            self._added_bytes += size
            self._unknown.difference_update(names)
            for name in names:
                if not self._find(name):
                    self._added[name] = pool
            self._unknown.difference_update(names)


def _class_of(pool: descriptor_pool.DescriptorPool, name: str) -> type[Message] | None:
    try:
        descriptor = pool.FindMessageTypeByName(name)
    except KeyError:
        return None
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    if pool is descriptor_pool.Default():
        return symbol_database.Default().GetPrototype(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def _file_of_default_pool(name: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    return file


def _names_in(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    def names(messages: Iterable[descriptor_pb2.DescriptorProto], scope: str) -> Iterator[str]:
        for each in messages:
            name = f"{scope}.{each.name}" if scope else each.name
            yield name
            yield from names(each.nested_type, name)
    return names(file.message_type, file.package)


def _import_events() -> None:
    try:
        events = importlib.import_module("backplane.events.v1")
    except ImportError:
        return
    for module in pkgutil.iter_modules(events.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"backplane.events.v1.{module.name}")


_types = _Types()


def type_name(type_url: str) -> str:
    """The full name in the URL of an Any."""
    return type_url.rpartition("/")[2]


def find_type(name: str) -> type[Message] | None:
    """The class of the type with this full name, such as "backplane.events.v1.Quote"; None if it is not known. Known are
    Backplane's own types, those of modules that the program has imported, those of load_types(), and those that a
    Subscriber or Control has fetched from a broker. Does not block. May be called by any thread."""
    return _types.find(name)


def message(type_name: str, /, **fields: Any) -> Message:
    """A message of the type with this full name: message("backplane.events.v1.Quote", symbol="MSFT", price=39.81). A field
    that is a message accepts a dictionary, too. Raises ValueError if the type or a field is not known."""
    kind = find_type(type_name)
    if not kind:
        raise ValueError(f"expected the name of a known type, got {type_name!r}; see load_types()")
    return kind(**fields)


def load_types(*files: str | Path) -> None:
    """Adds the types of files that `protoc --include_imports --descriptor_set_out=FILE` has written: for message(),
    Event.payload and Event.to_dict(). Types that are known stay as they are. Reads the files, which may block. Raises
    OSError for a file that cannot be read, ValueError for one that has something else."""
    for path in files:
        try:
            add_types(descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes()))
        except (DecodeError, ValueError) as error:
            raise ValueError(f"{path}: expected a file that protoc --descriptor_set_out has written: {error}") from error


def add_types(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Adds definitions, in any order, with everything that they import. Raises ValueError if they are not valid."""
    _types.add(files)


def unpack_any(packed: any_pb2.Any) -> Message | None:
    """The message, if its type is known and its bytes are valid."""
    kind = find_type(type_name(packed.type_url))
    if not kind:
        return None
    try:
        return kind.FromString(packed.value)
    except DecodeError:
        return None


def json_of_any(packed: any_pb2.Any) -> Any:
    """The message as protobuf's JSON, with its fields by their names in the definition and defaults included. If its type
    is not known, or its bytes are not of the type, an object with its "@type" and "value" (base64)."""
    if (unpacked := unpack_any(packed)) is not None:
        try:
            return _json_of(unpacked)
        except (json_format.Error, EncodeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # a time outside the calendar, an Any of an unknown type within it
    return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}


class _AllTypes:
    """What json_format needs of a pool, for messages in an Any: all known types."""

    def FindMessageTypeByName(self, name: str) -> Any:  # the name that it has in a pool
        if not (kind := find_type(name)):
            raise KeyError(name)
        return kind.DESCRIPTOR


def _json_of(unpacked: Message) -> Any:
    options: dict[str, Any] = {"preserving_proto_field_name": True, "descriptor_pool": _AllTypes()}
    try:
        return json_format.MessageToDict(unpacked, including_default_value_fields=True, **options)
    except TypeError as error:
        if "including_default_value_fields" not in str(error):
            raise
        return json_format.MessageToDict(unpacked, always_print_fields_with_no_presence=True, **options)  # protobuf 5
