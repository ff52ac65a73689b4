"""Text generation behind one small contract, and the choice of what implements it."""

from deployments.engines.base import EngineSpec, TextEngine


def make_engine(kind: str, spec: EngineSpec) -> TextEngine:
    """The engine called ``kind``. Each is imported here, so that a replica loads the libraries of its own engine only."""
    if kind == "vllm":
        from deployments.engines.vllm import VLLMEngine

        return VLLMEngine(spec)
    if kind == "transformers":
        from deployments.engines.hf import HFEngine

        return HFEngine(spec)
    from deployments.engines.fake import FakeEngine

    return FakeEngine(spec)
