"""Backplane from Python: subscribe, publish, read last values and history. See docs/python.md.

    from backplane import Control, Event, Gap, Publisher, Reset, Subscriber

Requires pyzmq and the classes that protoc generates from `proto/`. A Subscriber or Control belongs to one thread at a time
and starts no threads: it works only while one of its methods runs. A Publisher has a thread of its own, and several threads
may use it. Every method that waits has a timeout, in seconds. `backplane.aio` has the same for asyncio.
"""

import pkgutil

# The generated classes belong to this package but are in another folder: backplane.v1, backplane.events.v1.
__path__ = pkgutil.extend_path(__path__, __name__)

from backplane.control import DEFAULT_CONTROL, Control, ControlError, HistoryGone
from backplane.handshake import AuthenticationError
from backplane.publisher import DEFAULT_INGRESS, Publisher, Refused
from backplane.subscriber import DEFAULT_EGRESS, Subscriber
from backplane.text import escape, unescape
from backplane.topic import Pattern, check_topic
from backplane.types import find_type, load_types, message
from backplane.wire import Event, Gap, Reset, Stamp, read_stamp

__all__ = [
    "AuthenticationError", "Control", "ControlError", "DEFAULT_CONTROL", "DEFAULT_EGRESS", "DEFAULT_INGRESS", "Event",
    "Gap", "HistoryGone", "Pattern", "Publisher", "Refused", "Reset", "Stamp", "Subscriber", "check_topic", "escape",
    "find_type", "load_types", "message", "read_stamp", "unescape",
]
