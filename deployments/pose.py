"""Pose: her face while she says an answer. The engine is held to the 36 poses, so nothing is tried again."""

from ray import serve

from deployments.config import PoseSettings
from deployments.engines.base import collect
from deployments.language_model import LanguageModel
from ohlora import prompts
from ohlora.pose import Pose as Expression


@serve.deployment(max_ongoing_requests=64)
class Pose(LanguageModel):
    deployment = "Pose"
    task = prompts.Task.POSE
    settings_type = PoseSettings

    async def express(self, answer: str) -> str:
        """One of the 36 poses, as text; the default one when the output can't be read."""
        settings: PoseSettings = self.settings
        request = self.request(
            prompts.pose_prompt(answer),
            max_tokens=settings.max_new_tokens,
            choices=Expression.CHOICES,
        )
        return str(Expression.parse(await collect(self.engine.generate(request))) or Expression())
