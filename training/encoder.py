"""An untrained S-BERT: vectors of letter n-grams; or a jamo tokenizer made from our text, and a mean of piece vectors or a small BERT.

Text is taken apart into jamo (NFKD), which makes 느금마, ㄴㄱㅁ and typos share pieces; pieces are BPE over jamo. Knows nothing about
what the encoder will be trained for.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ohlora.encoders import NgramEmbedding
from training.config import EncoderPreset

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def jamo_tokenizer(texts: Iterable[str], size: int, max_length: int) -> PreTrainedTokenizerFast:
    """BPE over jamo, lower case; [CLS] and [SEP] around a text."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.NFKD(),
            normalizers.Replace(Regex(r"\uFE0F"), ""),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Split(Regex(r"\d"), behavior="isolated"),
            pre_tokenizers.Split(Regex(r"[^\w▁]"), behavior="isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=3, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
    )


def untrained(preset: EncoderPreset, texts: Iterable[str], max_length: int) -> SentenceTransformer:
    """A SentenceTransformer with random weights."""
    if preset.kind == "ngrams":
        return SentenceTransformer(modules=[NgramEmbedding(preset.vocabulary, preset.width, dropout=preset.dropout)])
    tokenizer = jamo_tokenizer(texts, preset.vocabulary, max_length)
    if preset.kind == "static":
        pieces = tokenizer.backend_tokenizer
        pieces.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
        embedding = StaticEmbedding(pieces, embedding_dim=preset.width)
        torch.nn.init.normal_(embedding.embedding.weight)
        return SentenceTransformer(modules=[embedding])
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=preset.width,
            num_hidden_layers=preset.layers,
            num_attention_heads=preset.heads,
            intermediate_size=preset.inner_width,
            hidden_dropout_prob=preset.dropout,
            attention_probs_dropout_prob=preset.dropout,
            max_position_embeddings=max_length,
            type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return wrap(folder, max_length)


def wrap(base: str | Path, max_length: int) -> SentenceTransformer:
    """A base encoder with mean pooling."""
    transformer = Transformer(str(base), max_seq_length=max_length)
    return SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")]
    )


@contextmanager
def pieces_dropped(model: SentenceTransformer, share: float) -> Iterator[None]:
    """Leaves out a ``share`` of the tokenizer's BPE merges while training, so that a word is seen in several cuts."""
    tokenizer = model.tokenizer
    bpe = getattr(getattr(tokenizer, "backend_tokenizer", tokenizer), "model", None)  # n-grams have no tokenizer
    if share and isinstance(bpe, models.BPE):
        bpe.dropout = share
    try:
        yield
    finally:
        if isinstance(bpe, models.BPE):
            bpe.dropout = None
