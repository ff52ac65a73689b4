"""A terminal client of Oh-LoRA Serve. Knows the HTTP contract and nothing of the server's code."""
