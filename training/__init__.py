"""Training of every model of Oh-LoRA: data, presets, one command per kind of model, evaluation.

Imports the formats from ``ohlora`` and nothing from serving.
"""
