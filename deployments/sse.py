"""Server-sent events: how the events of a turn are written to a client, and comments while there are none.

Knows nothing about what the events mean.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

Events = AsyncGenerator[tuple[str, dict[str, Any]], None]
PING = ": ping\n\n"


def frame(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def frames(
    first: tuple[str, dict[str, Any]], events: Events, ping_s: float, error: Callable[[Exception], dict[str, Any]]
) -> AsyncGenerator[str, None]:
    """``first``, then the rest of ``events``; ``error`` turns an exception into the data of the last event.

    Closing the generator closes ``events``, which ends the turn.
    """
    waiting: asyncio.Task[tuple[str, dict[str, Any]]] | None = None
    try:
        yield frame(*first)
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waiting], timeout=ping_s)
            if not done:
                yield PING
                continue
            finished, waiting = waiting, None
            yield frame(*finished.result())
    except StopAsyncIteration:
        return
    except Exception as raised:
        yield frame("error", error(raised))
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()
