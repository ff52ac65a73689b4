"""What the four language-model deployments share: an engine, its settings, and a readable failure.

Knows nothing about prompts: each deployment says in its own file what it asks the engine for.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from deployments import checkpoints, gpu
from deployments.config import LanguageModelConfig, Settings
from deployments.engines import make_engine
from deployments.engines.base import EngineSpec, GenerationRequest, TextEngine
from ohlora.prompts import Task

logger = logging.getLogger("ray.serve")
S = TypeVar("S", bound=Settings)


class LanguageModel:
    """A replica of one language model. Loads in ``__init__`` and is ready only after its warm-up."""

    deployment: ClassVar[str]
    task: ClassVar[Task]
    settings_type: ClassVar[type[Settings]]

    async def __init__(self, config: LanguageModelConfig, setting: str) -> None:  # type: ignore[misc]  # Serve awaits it
        self.config = config
        self.profile = setting.partition(".")[0]
        self.share = gpu.assigned_share(config.num_gpus)
        self.settings: Any = self.settings_type()
        self._configured = False
        self.adapter: str | None = None
        self.engine: TextEngine = make_engine(config.engine, self._spec(setting))
        await self.engine.start()

    def _spec(self, setting: str) -> EngineSpec:
        config = self.config
        if checkpoints.is_local(config.base) and (config.adapter is None or checkpoints.is_local(config.adapter)):
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing to fetch, so no library waits for a hub out of reach
        base, adapter = (Path(), None) if config.engine == "fake" else checkpoints.check_language_model(config, setting)
        self.adapter = str(self.task) if adapter else None
        return EngineSpec(
            base=base,
            adapters={str(self.task): adapter} if adapter else {},
            dtype=config.dtype,
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            max_lora_rank=config.max_lora_rank,
            max_adapters=config.max_adapters,
            gpu_share=self.share,
            cpu_kv_cache_gib=config.cpu_kv_cache_gib,
            token_ms=config.token_ms,
        )

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Takes new settings from `user_config`, or keeps the old ones when the new are wrong."""
        current = self.settings if self._configured else None
        self.settings = checked(self.settings_type, user_config, self.deployment, current)
        self._configured = True

    def request(self, prompt: str, *, warmer: float = 0.0, **limits: Any) -> GenerationRequest:
        """A request for the task's adapter at the temperature in force, ``warmer`` added."""
        temperature = min(self.settings.temperature_of(self.profile) + warmer, 2.0)
        return GenerationRequest(
            prompt=prompt, adapter=self.adapter, temperature=temperature, stop=self.task.stop_mark, **limits
        )

    def describe(self) -> dict[str, Any]:
        """What runs here, for /readyz and the start-up banner; it also shows that the replica answers."""
        config = self.config
        return {
            "model": str(config.base),
            "adapter": str(config.adapter) if config.adapter else None,
            "engine": config.engine,
            "num_gpus": self.share,
        }

    def __del__(self) -> None:
        if hasattr(self, "engine"):  # a failed start has none
            self.engine.close()

    async def check_health(self) -> None:
        await self.engine.check()


def checked(settings_type: type[S], user_config: Mapping[str, Any], name: str, current: S | None) -> S:
    """``user_config`` as settings. A wrong one raises at the start, when ``current`` is None; later it is refused with an
    error in the log that names the field, and ``current`` goes on."""
    try:
        return settings_type.model_validate(user_config)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        if current is None:
            raise ValueError(f"deployments.{name}.user_config: {fields}") from None
        logger.error("deployments.%s.user_config was refused and the old one goes on: %s", name, fields)
        return current
