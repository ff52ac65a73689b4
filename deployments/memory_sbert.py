"""MemorySBERT: vectors of prompts and of remembered items, in one space. Items are embedded once, when they are written."""

from ray import serve

from deployments.encoder import Encoder


@serve.deployment(max_ongoing_requests=256)
class MemorySBERT(Encoder):
    pass
