"""A message until it is answered: tried again while the trouble passes by itself, for a minute at the most.

Knows neither HTTP nor a terminal: it is given what sends the message once, and it tells each second of waiting.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from ohlora_chat.client import Event, Failure, Lost

PATIENCE_S = 60.0
LONGEST_PAUSE_S = 8.0  # where the server names no time
Trouble = Failure | Lost


@dataclass(frozen=True)
class Waiting:
    """It is tried again in ``seconds``, of ``total``; 0 means now."""

    seconds: int
    total: int
    trouble: Trouble


class GaveUp(Exception):
    """No answer for a minute, or none to be had within it. ``trouble`` is the last one."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def deliver(
    send: Callable[[], Iterator[Event]],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Event | Waiting, None, None]:
    """The events of ``send``, called until it ends well. After a ``Waiting`` the events begin from the start.

    Every call must send the same message under the same idempotency key. Raises a ``Failure`` that does not pass, or ``GaveUp``.
    """
    began: float | None = None
    pause = 1.0
    while True:
        try:
            yield from send()
            return
        except (Failure, Lost) as error:
            if isinstance(error, Failure) and not error.passing:
                raise
            trouble: Trouble = error
        named = trouble.retry_after if isinstance(trouble, Failure) else None
        # At least a second: `Retry-After: 0` from a server that stays away would be asked without pause.
        seconds = max(1, math.ceil(pause if named is None else named))
        pause = min(2 * pause, LONGEST_PAUSE_S)
        now = clock()
        began = now if began is None else began
        if now + seconds - began > patience_s:
            raise GaveUp(trouble)
        for left in range(seconds, 0, -1):
            yield Waiting(left, seconds, trouble)
            sleep(1.0)
        yield Waiting(0, seconds, trouble)
