"""The ground floor: the words and rules of Oh-LoRA herself.

Pure functions and small types that serving and training share. Knows nothing about Ray, torch, Redis or HTTP.
"""
