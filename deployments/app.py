"""build(args) -> Application: the one place that knows every deployment. Named in serve_config.yaml.

No `from __future__ import annotations` here: Serve reads the type of `args` to turn the file's dict into an AppConfig.
"""

from typing import Any, Literal

import ray
from ray.serve import Application, Deployment

from deployments import checkpoints
from deployments.answer import Answer
from deployments.config import AppConfig, EncoderConfig, LanguageModelConfig
from deployments.ethics_sbert import EthicsSBERT
from deployments.ingress import Ingress
from deployments.memory import Memory
from deployments.memory_sbert import MemorySBERT
from deployments.pose import Pose
from deployments.rag_sbert import RagSBERT
from deployments.summary import Summary

# By the names of the sections in the config.
DEPLOYMENTS: dict[str, Any] = {
    "answer": Answer,
    "summary": Summary,
    "memory": Memory,
    "pose": Pose,
    "memory_sbert": MemorySBERT,
    "ethics_sbert": EthicsSBERT,
    "rag_sbert": RagSBERT,
}
# Bookkeeping only: the models share all cores, and a machine of two must be able to place every replica.
NUM_CPUS = 0.1


def build(args: AppConfig) -> Application:
    """The application. Raises CheckpointError or ValueError with a sentence that names the setting."""
    profile = chosen_profile(args, gpus=ray.cluster_resources().get("GPU", 0) if ray.is_initialized() else 0)
    models = args.models(profile)
    checkpoints.check_local(models, profile)
    bound = {
        DEPLOYMENTS[name].name: _placed(DEPLOYMENTS[name], model).bind(model, f"{profile}.{name}")
        for name, model in models.items()
    }
    tokenizer = (
        None
        if models.answer.engine == "fake"
        else str(checkpoints.resolve(models.answer.base, f"{profile}.answer.base") / "tokenizer.json")
    )
    embedder = checkpoints.identity(models.memory_sbert.model)
    if models.memory_sbert.engine == "fake":
        embedder = "fake"
    ingress: Any = Ingress  # a Deployment; Serve's decorator hides it from type checkers
    return ingress.options(ray_actor_options={"num_cpus": NUM_CPUS}).bind(args, profile, tokenizer, embedder, bound)


def chosen_profile(args: AppConfig, gpus: float) -> Literal["cpu", "gpu"]:
    """`auto` is gpu where the cluster has a GPU and the file a section for it."""
    if args.profile == "auto":
        return "gpu" if gpus and args.gpu else "cpu"
    return args.profile


def _placed(deployment: Deployment, model: LanguageModelConfig | EncoderConfig) -> Deployment:
    """``deployment`` with the resources of its model. Serve stops the old replica before it starts the new one (its
    `max_surge_percent` is 0 unless a file says otherwise), which a full GPU needs."""
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": NUM_CPUS, "num_gpus": model.num_gpus}}
    return deployment.options(**options)
