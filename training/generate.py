"""Generation for logs and evaluation: a batch of prompts in, the text up to the stop mark out. Serving has its own engines."""

from typing import Any

import torch

from ohlora.prompts import Task

NEW_TOKENS = {Task.ANSWER: 64, Task.TUTOR: 256, Task.SUMMARY: 64, Task.MEMORY: 24, Task.POSE: 36}


@torch.no_grad()
def outputs(
    model: Any, tokenizer: Any, prompts: list[str], task: Task, *, temperature: float = 0.0, batch: int = 32
) -> list[str]:
    """What the model writes after each prompt, without stop mark; the mark that never came shows as ``…``."""
    training = model.training
    model.eval()
    tokenizer.padding_side = "left"
    found = []
    for start in range(0, len(prompts), batch):
        encoded = tokenizer(prompts[start : start + batch], return_tensors="pt", padding=True)
        encoded = {key: encoded[key].to(model.device) for key in ("input_ids", "attention_mask")}
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        ids = model.generate(
            **encoded,
            max_new_tokens=NEW_TOKENS[task],
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **sampling,
        )
        for row in ids[:, encoded["input_ids"].shape[1] :]:
            text, mark, _ = tokenizer.decode(row, skip_special_tokens=True).partition(task.stop_mark)
            found.append(text.strip() if mark else text.strip() + "…")
    model.train(training)
    return found
