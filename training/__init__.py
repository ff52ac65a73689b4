"""Training of every model of Oh-LoRA: data, presets, one command per kind of model, evaluation.

Imports the formats from ``ohlora`` and nothing from serving.
"""

import os

# The presets' batches and steps are those of one GPU; two would be joined without a word. Set it yourself for another one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
