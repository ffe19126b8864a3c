"""A tokenizer of every kind, built in code from a few sentences."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import tokenizers
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer, CanineTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

CORPUS = ["The capital of France is Paris. Paris is in France, don't you know?", "hello wörld 🙂 日本 שלום"] * 4


def _byte_level(trim: bool, prefix: bool, normalizer: normalizers.Normalizer | None = None) -> PreTrainedTokenizerFast:
    backend = tokenizers.Tokenizer(models.BPE())
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    backend.post_processor = processors.ByteLevel(trim_offsets=trim)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def _word_piece() -> PreTrainedTokenizerFast:
    entries = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "is", "go", "##ing", "in", "france", ".", "cafe"]
    vocab = {piece: index for index, piece in enumerate(entries)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    backend.add_special_tokens(["[MASK]"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", mask_token="[MASK]")


def _sentence_piece() -> PreTrainedTokenizerFast:
    """As Llama's: a dummy space in front, bytes for what is not in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["▁", "▁Paris", "Paris", "▁is", "P", "a", "r", "i", "s", "▁New", "▁York", "N", "e", "w", "Y", "o", "k"]
    backend = tokenizers.Tokenizer(
        models.Unigram([(piece, -float(index > 258)) for index, piece in enumerate(pieces)], 0, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=5
    )


def _sentence_piece_bpe() -> PreTrainedTokenizerFast:
    """As Gemma's: no dummy space, merges, bytes for what is not in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", *"Parisn日本"]
    merges = [("P", "a"), ("i", "s"), ("Pa", "r"), ("Par", "is"), ("▁", "Paris"), ("▁", "is"), ("日", "本")]
    pieces += ["".join(merge) for merge in merges]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _end_of_word() -> PreTrainedTokenizerFast:
    """As CLIP's and the first GPT's: lower case, words end with a mark."""
    letters = list("abcdefghilnoprstuwy.,!'é日本")
    merges = [("a", "r"), ("i", "s</w>"), ("p", "ar"), ("par", "is</w>"), ("i", "n</w>")]
    pieces = ["<unk>", *letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder("</w>")
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def _metaspace() -> PreTrainedTokenizerFast:
    """As T5's."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "</s>"]
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


def _word_level() -> PreTrainedTokenizerFast:
    vocab = {piece: index for index, piece in enumerate(["<unk>", "the", "hat", "is", "blue", "."])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend)  # the unknown token is known to the backend only


class _Python(PreTrainedTokenizer):
    """A tokenizer in Python, without offsets: lower case, words in two halves, an unknown token, [CLS] and [SEP]."""

    pieces = ("[UNK]", "[CLS]", "[SEP]", "pa", "##ris", "is", "ni", "##ce", "cafe", ".")

    def __init__(self) -> None:
        super().__init__(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
        self.special_tokens_pattern = "cls_sep"

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def get_vocab(self) -> dict[str, int]:
        return {piece: index for index, piece in enumerate(self.pieces)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        halves = {"paris": ["pa", "##ris"], "nice": ["ni", "##ce"], "café": ["cafe"]}
        return [half for word in text.lower().split() for half in halves.get(word, [word])]

    def _convert_token_to_id(self, token: str) -> int:
        return self.get_vocab().get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return self.pieces[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace(" ##", "")


class _Characters(PreTrainedTokenizer):
    """One token for each character, as Canine."""

    vocab_size = 0x110000

    def __init__(self) -> None:
        super().__init__()
        self.special_tokens_pattern = "none"

    def get_vocab(self) -> dict[str, int]:
        return {}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return ord(token)

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)


KINDS: dict[str, Callable[[], Any]] = {
    "byte-level": lambda: _byte_level(trim=False, prefix=False),
    "byte-level, trimmed": lambda: _byte_level(trim=True, prefix=False),
    "byte-level, trimmed, prefix": lambda: _byte_level(trim=True, prefix=True),
    "composed bytes": lambda: _byte_level(trim=False, prefix=False, normalizer=normalizers.NFC()),
    "decomposed bytes": lambda: _byte_level(trim=False, prefix=False, normalizer=normalizers.NFKD()),
    "word-piece": _word_piece,
    "sentence-piece": _sentence_piece,
    "sentence-piece, merged": _sentence_piece_bpe,
    "end of word": _end_of_word,
    "metaspace": _metaspace,
    "word-level": _word_level,
    "python": _Python,
    "characters": _Characters,
    "canine": CanineTokenizer,
    "byt5": ByT5Tokenizer,
}
LOSSLESS = [
    *("byte-level", "byte-level, trimmed", "byte-level, trimmed, prefix", "sentence-piece", "sentence-piece, merged"),
    *("characters", "byt5"),
]


@cache
def tokenizer(kind: str) -> Any:
    return KINDS[kind]()


SIGNS = [
    "🙂",
    "👩‍❤️‍👨",
    "🇫🇷",
    "👍🏽",
    "1️⃣",
    "日",
    "本",
    "カ",
    "שלום",
    "\u0301",
    "é",
    "ß",
    "Ĳ",
    "ﬁ",
    "क्षि",
    "\u200f",
    "</s>",
    "[MASK]",
]
TEXTS = st.lists(
    st.sampled_from(["Paris", " Paris", "is", "go", "ing", "don't", "3.5", ". ", " ", "  ", "\n", "\r\n", "\t", "…"])
    | st.sampled_from(SIGNS)
    | st.characters(exclude_categories=["Cs"], exclude_characters="▁"),  # which sentence-piece reads as a space
    min_size=1,
    max_size=12,
).map("".join)
"""Texts that make tokenizers stumble."""
