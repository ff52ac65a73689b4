"""Writing the answer of one turn: tries until one may be sent, and what of an unfinished one leaves already.

Knows nothing about what a prompt was made of, nor about verdicts: whoever asks says whether text must be held back.
"""

import datetime as dt
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from deployments.engines.base import PromptTooLong, before_stop
from deployments.models import AnswerCall, Models
from deployments.schemas.native import Sampling, Usage
from ohlora import answers

Send = Callable[[str], None]


class Answering:
    """One answer. ``usage``, ``finish_reason`` and ``first_token`` (by ``time.perf_counter``) stand for it afterwards."""

    def __init__(self, models: Models, *, tries: int, deadline: float, local: dt.datetime, send: Send | None) -> None:
        self._models, self._tries, self._deadline, self._local = models, tries, deadline, local
        self._send, self._sent = send, ""
        self.usage = Usage()
        self.finish_reason = "stop"
        self.first_token: float | None = None

    async def write(self, calls: list[AnswerCall], *, hold: bool) -> str:
        """The first fit answer; after the last try she leaves the message on read. A calendar mistake is tried warmer.

        ``calls`` are the prompt and shorter ones to fall back to, where the engine has no room for it. What no rule can refuse
        any more is sent on the way, unless the verdict has to be waited for (``hold``); once something was sent nothing is
        tried again, and an answer that turns out unfit ends where it was fit. Raises PromptTooLong, ModelUnavailable.
        """
        warmer = 0.0
        for _ in range(self._tries):
            try:
                text = await self._once(replace(calls[0], warmer=round(warmer, 1)), hold)
            except PromptTooLong:
                if len(calls) == 1:
                    raise
                calls = calls[1:]
                continue
            answer = answers.clean(text)
            refusal = answers.refusal(answer, self._local)
            if refusal is None and answer.startswith(self._sent):
                return answer
            if self._sent:
                return self._sent
            if refusal is answers.Refusal.CALENDAR:
                warmer += 0.1
        return answers.LEFT_ON_READ

    async def _once(self, call: AnswerCall, hold: bool) -> str:
        text = ""
        self.usage.prompt_tokens += self._models.count_tokens(call.prompt)
        async with aclosing(self._models.answer(call, self._deadline)) as chunks:
            async for chunk in chunks:
                self.first_token = self.first_token or time.perf_counter()
                self.usage.completion_tokens += chunk.tokens
                self.finish_reason = chunk.finish_reason or self.finish_reason
                text += chunk.text
                if not hold:
                    self.send(answers.sendable(_without_stop(text, call.stop), self._local))
        return before_stop(text, call.stop)[0]

    def send(self, answer: str) -> None:
        """Sends what ``answer`` has more than was sent before."""
        if self._send and len(answer) > len(self._sent) and answer.startswith(self._sent):
            self._send(answer[len(self._sent) :])
            self._sent = answer


def _without_stop(text: str, stops: tuple[str, ...]) -> str:
    """``text`` up to a stop, or without an end that may be the beginning of one."""
    text, stopped = before_stop(text, stops)
    if stopped:
        return text
    longest = max((size for stop in stops for size in range(1, len(stop) + 1) if text.endswith(stop[:size])), default=0)
    return text[: len(text) - longest] if longest else text


def call_for(prompt: str, adapter: str, max_total_tokens: int, sampling: Sampling) -> AnswerCall:
    return AnswerCall(
        prompt=prompt,
        adapter=adapter,
        max_total_tokens=max_total_tokens,
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        stop=sampling.stop,
    )
