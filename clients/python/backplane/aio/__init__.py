"""Backplane from asyncio: the same as `backplane`, with `await` and `async for`.

    from backplane import aio

    async with aio.Subscriber("stock.>") as subscriber:
        async for item in subscriber:
            …

An object of this package belongs to the event loop in which it is first awaited. Subscriber and Control start no thread:
they work in the loop, while one of their methods is awaited. A Publisher has one thread, as backplane.Publisher. Every
method that waits has a timeout, in seconds, and may be cancelled: nothing is lost then.
"""

from backplane.aio.control import Control
from backplane.aio.publisher import Publisher
from backplane.aio.subscriber import Subscriber

__all__ = ["Control", "Publisher", "Subscriber"]
