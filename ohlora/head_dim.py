"""Lets transformers load Kanana, a Llama whose heads have a size of their own.

Its width 1792 is no multiple of its 24 heads of 128. The attention of transformers (and of vLLM) takes that, but the check of
``LlamaConfig`` in transformers 5 refuses it: https://github.com/huggingface/transformers/issues/46082. Go when that is mended.
"""

from typing import Any


def accept_own_head_dim() -> None:
    """Replaces the check by one that refuses only where no head size is stated. Harmless when called again. vLLM calls it in each of
    its processes (entry point ``vllm.general_plugins`` in pyproject.toml)."""
    from transformers import LlamaConfig

    checks = getattr(LlamaConfig, "__class_validators__", [])
    for index, check in enumerate(checks):
        if check.__name__ == "validate_architecture":
            checks[index] = validate_architecture


def validate_architecture(settings: Any) -> None:
    """Raises ValueError where the head size is the width divided by the heads, rounded down."""
    width, heads = settings.hidden_size, settings.num_attention_heads
    if width % heads and settings.head_dim == width // heads:
        raise ValueError(
            f"hidden_size {width} is no multiple of num_attention_heads {heads}, and no head_dim is stated"
        )
