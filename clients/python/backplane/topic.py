"""Topic names, and patterns that match them."""

import itertools
import re

TOPIC_BYTES_MAX = 255
SYSTEM_PREFIX = "$SYS."

_FORBIDDEN = re.compile("[\x00-\x20\x7f-\x9f]")


def check_topic(name: str) -> str:
    """Returns `name` if it is a valid topic (including $SYS. topics). Otherwise raises ValueError with the reason."""
    _check(name, name.split("."))
    return name


def _check(name: str, tokens: list[str]) -> None:
    size = len(name.encode())  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
    if not 1 <= size <= TOPIC_BYTES_MAX:
        raise ValueError(f"expected a name of 1 to {TOPIC_BYTES_MAX} bytes, got {size}: {name[:80]!r}")
    if name[0] in "+-!{" or (name[0] == "$" and not name.startswith(SYSTEM_PREFIX)):
        raise ValueError(f"must not begin with + - ! {{ or $ (except $SYS.): {name!r}")
    for token in tokens:
        if not token:
            raise ValueError(f"a token is empty: {name!r}")
        if _FORBIDDEN.search(token):
            raise ValueError(f"white space or a control character: {name!r}")
        if "*" in token or ">" in token:
            raise ValueError(f"* and > are for patterns only, each as a whole token, > as the last: {name!r}")


class Pattern:
    """A topic in which `*` stands for exactly one token and a final `>` for one or more. A value."""

    def __init__(self, text: str):
        """Raises ValueError, with the reason, if `text` is not a valid pattern."""
        self.text = text
        tokens = text.split(".")
        self._open = tokens[-1] == ">"
        self._tokens = tokens[:-1] if self._open else tokens
        _check(text, [token for token in self._tokens if token != "*"])

    @property
    def is_exact(self) -> bool:
        """Whether the pattern is a topic, without wildcards."""
        return not self._open and "*" not in self._tokens

    @property
    def prefix(self) -> str:
        """The prefix to subscribe to with a ZeroMQ socket: the text before the first wildcard."""
        literal = list(itertools.takewhile("*".__ne__, self._tokens))
        return ".".join(literal + [""] if self._open or len(literal) < len(self._tokens) else literal)

    def matches(self, topic: str) -> bool:
        """Whether the pattern matches `topic`, which must be a valid topic."""
        tokens = topic.split(".")
        wild_first = not self._tokens or self._tokens[0] == "*"
        if wild_first and topic.startswith(SYSTEM_PREFIX):
            return False
        if len(tokens) <= len(self._tokens) if self._open else len(tokens) != len(self._tokens):
            return False
        return all(own in ("*", token) for own, token in zip(self._tokens, tokens))
