"""Server-sent events: how the events of a turn are written to a client, and comments while there are none.

Knows nothing about what the events mean.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi.responses import StreamingResponse

Events = AsyncGenerator[tuple[str, dict[str, Any]], None]
Render = Callable[[str, dict[str, Any]], str]


def described(text: str) -> dict[int | str, dict[str, Any]]:
    """What a route says of its stream in the schema, as FastAPI's ``responses``: the form of one event."""
    fields = {name: {"type": "string"} for name in ("event", "data")}
    event = {"type": "object", "properties": fields, "required": ["data"], "description": text}
    return {200: {"content": {"text/event-stream": {"schema": event}}}}


PING = ": ping\n\n"


def frame(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def response(
    events: Events, ping_s: float, render: Render, error: Callable[[Exception], dict[str, Any]]
) -> StreamingResponse:
    """A stream of ``events``. The first one is waited for, so that a refusal still has its own status."""
    headers = {"Cache-Control": "no-store"}
    first = await anext(events)
    if first[0] == "replayed":
        headers["idempotent-replayed"] = "true"
        first = await anext(events)
    return StreamingResponse(
        frames(first, events, ping_s, render, error), media_type="text/event-stream", headers=headers
    )


async def frames(
    first: tuple[str, dict[str, Any]],
    events: Events,
    ping_s: float,
    render: Render,
    error: Callable[[Exception], dict[str, Any]],
) -> AsyncGenerator[str, None]:
    """``first``, then the rest of ``events``, as ``render`` writes them; ``error`` turns an exception into the last event's data.

    Closing the generator closes ``events``, which ends the turn.
    """
    waiting: asyncio.Task[tuple[str, dict[str, Any]]] | None = None
    try:
        yield render(*first)
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waiting], timeout=ping_s)
            if not done:
                yield PING
                continue
            finished, waiting = waiting, None
            if text := render(*finished.result()):
                yield text
    except StopAsyncIteration:
        return
    except Exception as raised:
        yield render("error", error(raised))
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()
