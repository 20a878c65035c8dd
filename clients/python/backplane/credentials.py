"""The keys with which a program connects to brokers that require them, from files."""

import os
import stat
from typing import NamedTuple

import zmq

from backplane.text import escape

KEY_VARIABLE = "BACKPLANE_KEY_FILE"
SERVER_KEY_VARIABLE = "BACKPLANE_SERVER_KEY_FILE"

_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {character: value for value, character in enumerate(_Z85)}
_KEY_TEXT_BYTES = 40
_FILE_BYTES_MAX = 256  # a key and its line ending

Path = str | os.PathLike[str]


class Keys:
    """The keys of connections to a broker, and the files that they come from. Keys are in Z85."""

    __slots__ = "_secret_key", "_public_key", "_server_key", "key_file", "server_key_file"

    def __init__(self, secret_key: bytes, server_key: bytes, key_file: str, server_key_file: str):
        self._secret_key, self._server_key = secret_key, server_key
        self._public_key = zmq.curve_public(secret_key)
        self.key_file, self.server_key_file = key_file, server_key_file

    def apply(self, socket: zmq.Socket) -> None:
        """Encrypts the connections that the socket begins after this."""
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._public_key)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_key)


class _Given(NamedTuple):
    where: str   # the option or variable
    file: str


def read_keys(key_file: Path | None, server_key_file: Path | None) -> Keys | None:
    """Reads the files that the options name, or, where an option is None, BACKPLANE_KEY_FILE and
    BACKPLANE_SERVER_KEY_FILE. None if nothing is given. Raises ValueError, with a text that begins with the option or
    variable and never contains a key: if one file is given without the other, if it has no key, or if other users can
    change it or read the secret key."""
    key = _given("key_file", key_file, KEY_VARIABLE)
    server_key = _given("server_key_file", server_key_file, SERVER_KEY_VARIABLE)
    if not key and not server_key:
        return None
    if not server_key:
        raise ValueError(f"{key.where}: expected a server key with it (server_key_file or {SERVER_KEY_VARIABLE}), got none")
    if not key:
        raise ValueError(f"{server_key.where}: expected a key with it (key_file or {KEY_VARIABLE}), got none")
    if not zmq.has("curve"):
        raise ValueError(f"{key.where}: expected a libzmq with CURVE, got one that was built without it")
    return Keys(_read_key(key, secret=True), _read_key(server_key, secret=False), key.file, server_key.file)


def _given(option: str, file: Path | None, variable: str) -> _Given | None:
    where, value = (variable, os.environ.get(variable)) if file is None else (option, os.fspath(file))
    if value == "":
        raise ValueError(f"{where}: expected a value, got none")
    return None if value is None else _Given(where, value)


def _read_key(given: _Given, secret: bool) -> bytes:
    name = escape(os.fsencode(given.file)).decode(errors="replace")
    try:
        text = _read_protected(given.file, name, secret).rstrip(b"\r\n ")
        _check_key(text, name)
    except ValueError as error:
        raise ValueError(f"{given.where}: {error}") from None
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ValueError(f"{given.where}: cannot read {name}: {reason}") from None
    return text


def _read_protected(file: str, name: str, secret: bool) -> bytes:
    # Without O_NONBLOCK, opening a named pipe waits for a writer.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_access(os.fstat(descriptor), file, name, secret)
        content = os.read(descriptor, _FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > _FILE_BYTES_MAX:
        raise ValueError(f"{name}: expected at most {_FILE_BYTES_MAX} bytes, got more")
    return content


def _check_access(found: os.stat_result, file: str, name: str, secret: bool) -> None:
    """Refuses a file that other users can change, or, if it is secret, read. The owner's group counts as other users;
    root does not."""
    if not stat.S_ISREG(found.st_mode):
        got = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
        raise ValueError(f"{name}: expected a regular file, got {got}")
    if found.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"{name}: expected a file of this user or of root, got one of user {found.st_uid}")
    mode = stat.S_IMODE(found.st_mode)
    if secret and mode & 0o066:
        raise ValueError(f"{name}: expected a file that other users can neither read nor write, got mode {mode:04o} "
                         "(use chmod 600)")
    if mode & 0o022:
        raise ValueError(f"{name}: expected a file that other users cannot write, got mode {mode:04o} (use chmod go-w)")
    for path in (os.path.abspath(file), os.path.realpath(file)):
        folder = os.path.dirname(path)
        folder_mode = os.stat(folder).st_mode
        if folder_mode & stat.S_IWOTH and not folder_mode & stat.S_ISVTX:
            raise ValueError(f"{name}: expected a folder in which other users cannot replace the file, got "
                             f"{escape(os.fsencode(folder)).decode(errors='replace')}")


def _check_key(text: bytes, name: str) -> None:
    expected = f"{name}: expected a key of {_KEY_TEXT_BYTES} Z85 characters, got "
    if len(text) != _KEY_TEXT_BYTES:
        raise ValueError(f"{expected}{len(text)} characters")
    for begin in range(0, len(text), 5):
        number = 0
        for place, character in enumerate(text[begin:begin + 5], begin + 1):
            if character not in _VALUES:
                raise ValueError(f"{expected}another character at {place}")
            number = number * 85 + _VALUES[character]
        if number >= 1 << 32:  # five digits can express more than 32 bits
            raise ValueError(f"{expected}too large a number at {begin + 1}")
