"""Makes the byte-level BPE tokenizer of the tiny language models from our own training text.

Byte-level, so that no text has an unknown id; it adds no special token by itself, so that the ids of a served prompt are the ids
of a trained one. A word and the space in front of it are one piece; the
first word of a text gets a space too, so that a value has the same ids wherever it stands.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOS, PAD, BOS = "<|end|>", "<|pad|>", "<|start|>"
# Words, single digits, runs of signs; a run of ㅋ or ㅠ is cut after two.
_PIECES = Regex(r" ?[가-힣]+| ?[A-Za-z]+| ?\d| ?[ㄱ-ㅣ]{1,2}| ?[^\s가-힣A-Za-z\dㄱ-ㅣ]{1,3}|\s+")


def make(texts: Iterable[str], size: int, max_length: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer of ``size`` ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=3,
        special_tokens=[EOS, PAD, BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        bos_token=BOS,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
