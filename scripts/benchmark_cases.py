"""What scripts/benchmark.py measures: random models of known shapes, and texts of random words. It imports no tool.

Reference and tools get the same model, drawn from a seed; it is made where it runs and in the dtype it runs in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

Sizes = Mapping[str, Any]


def decoder(width: int, inner: int, layers: int, heads: int, groups: int, words: int, **more: Any) -> dict[str, Any]:
    """The sizes of a decoder's configuration."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": words,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **more,
    }


SHAPES: dict[str, tuple[str, Sizes]] = {
    "Llama 125M": ("llama", decoder(768, 2048, 12, 12, 4, 32000)),
    "Llama 125M, 128k words": ("llama", decoder(768, 2048, 12, 12, 4, 128256)),
    "12 layers of width 8": ("llama", decoder(8, 16, 12, 2, 1, 32000)),
    "BERT-base": ("bert", {"vocab_size": 30522}),
    "BERT-large": (
        "bert",
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "vocab_size": 30522,
        },
    ),
    "Llama-3.2-1B": ("llama", decoder(2048, 8192, 16, 32, 8, 128256, head_dim=64, tie_word_embeddings=True)),
    "Llama-3.1-8B": ("llama", decoder(4096, 14336, 32, 32, 8, 128256)),
    "Qwen3-8B": ("qwen3", decoder(4096, 12288, 36, 32, 8, 151936, head_dim=128)),
    "OLMoE-1B-7B": ("olmoe", decoder(2048, 1024, 16, 16, 16, 50304, num_experts=64, num_experts_per_tok=8)),
}

TINY: dict[str, Sizes] = {
    "bert": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 64,
    },
    **dict.fromkeys(("llama", "qwen3"), decoder(32, 64, 2, 4, 2, 64, head_dim=8)),
    "olmoe": decoder(32, 64, 2, 4, 4, 64, num_experts=4, num_experts_per_tok=2),
}
"""Model type -> sizes with which the benchmark itself can be tried in seconds."""


@dataclass(frozen=True)
class Case:
    """One model and one text, and what is run on it.

    Attributes:
        shape: a key of `SHAPES`.
        tokens: of the text, without the outputs.
        methods: tool -> names of its methods, see benchmark_methods.py.
        outputs: how many tokens that follow the text are explained; 0: the model's own next choice, or its label.
        goals: method of lxtlike -> at most so many forward passes, and at most so many MiB (0: no goal).
    """

    shape: str
    tokens: int
    methods: Mapping[str, Sequence[str]]
    outputs: int = 0
    goals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tiny: bool = False

    @property
    def name(self) -> str:
        """As on the page and for ``--case``."""
        behind = f" + {self.outputs}" if self.outputs else ""
        return f"{self.shape}, {self.tokens}{behind} tokens"

    def sizes(self) -> tuple[str, Sizes]:
        """Model type and sizes of its configuration."""
        kind, sizes = SHAPES[self.shape]
        return kind, TINY[kind] if self.tiny else sizes

    def length(self) -> tuple[int, int]:
        """How many tokens the text and its continuation have."""
        return (8, min(self.outputs, 2)) if self.tiny else (self.tokens, self.outputs)


WHOLE, NARROW = "Llama 125M", "12 layers of width 8"
"""The second one has as many operations as the first and next to no arithmetic: what is left is the cost of each call."""

LRP = ("lrp", "lrp, checkpointing")
ONE = ("plain gradient", "propagate", "explain", "explain, checkpointing")

CPU = [
    Case(
        WHOLE,
        128,
        {
            "lxtlike": [*ONE, "propagate, by layer", "explain, first call", "explain, cp-lrp", "explain, high"],
            "lxt": LRP,
            "autolrp": ["lrp"],
            "captum": ["input x gradient", "integrated gradients"],
            "inseq": ["input x gradient", "integrated gradients"],
        },
    ),
    Case("Llama 125M", 512, {"lxtlike": [*ONE, "explain, cp-lrp"], "lxt": LRP, "autolrp": ["lrp"]}),
    Case(
        WHOLE,
        1024,
        {"lxtlike": [*ONE, "explain, no rules", "explain, cp-lrp"], "lxt": LRP},
        goals={"explain": (2.05, 550), "explain, checkpointing": (2.8, 200)},
    ),
    Case(
        "Llama 125M, 128k words",
        512,
        {"lxtlike": ["explain", "explain, checkpointing"], "lxt": ["lrp"]},
        goals={"explain": (1.8, 280)},
    ),
    Case(
        "BERT-base",
        128,
        {"lxtlike": ["plain gradient", "explain"], "lxt": ["lrp"], "captum": ["integrated gradients"]},
        goals={"explain": (2.0, 0)},
    ),
    Case(NARROW, 1024, {"lxtlike": ["plain gradient", "explain"]}),
    Case("BERT-base", 512, {"lxtlike": ["plain gradient", "explain"], "lxt": ["lrp"]}),
    Case(
        WHOLE,
        256,
        {"lxtlike": ["every output", "sum of outputs"], "lxt": ["every output"]},
        outputs=32,
        goals={"every output": (1 + 1.1 * 32, 0)},
    ),
]

CUDA = [
    *(
        Case(shape, tokens, {"lxtlike": [*ONE[1:], "explain, cp-lrp"], **({"lxt": LRP} if peer else {})})
        for shape, peer in (("Llama-3.2-1B", True), ("Llama-3.1-8B", True), ("Qwen3-8B", True), ("OLMoE-1B-7B", False))
        for tokens in (1024, 4096, 16384, 32768)
    ),
    Case("BERT-large", 512, {"lxtlike": ["explain"], "lxt": ["lrp"]}),
    Case("Llama-3.2-1B", 1024, {"lxtlike": ["every output", "sum of outputs"], "lxt": ["every output"]}, outputs=32),
]

CASES: dict[str, list[Case]] = {"cpu": CPU, "cuda": CUDA}
DTYPES = {"cpu": "float32", "cuda": "bfloat16"}


def reduced(case: Case) -> Case:
    """The same case with a tiny model and few tokens."""
    return replace(case, tiny=True)


@dataclass(frozen=True)
class Subject:
    """A case as tools get it.

    Attributes:
        ids: [1, T + outputs].
        tokens: T.
        outputs: how many of the ids follow the text.
    """

    model: Any
    tokenizer: Any
    ids: torch.Tensor
    tokens: int
    outputs: int

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of a forward pass that only wants what is asked for."""
        return {} if self.model.config.model_type == "bert" else {"use_cache": False}

    def forward(self) -> None:
        """The reference: a plain forward pass for the last token's logits, without gradient."""
        least = {"logits_to_keep": 1} if self.options else {}
        with torch.no_grad():
            self.model(self.ids, **self.options, **least)

    def words(self, first: int, last: int) -> str:
        """The text of ids first to last."""
        return " ".join(f"w{number}" for number in self.ids[0, first:last].tolist())


def made(case: Case, device: str, dtype: str) -> Subject:
    """The random model of a case with its text."""
    kind, sizes = case.sizes()
    config = AutoConfig.for_model(kind, **sizes)
    tokens, outputs = case.length()
    classes = AutoModelForSequenceClassification if kind == "bert" else AutoModelForCausalLM
    torch.manual_seed(0)
    with torch.device(device), default_dtype(getattr(torch, dtype)):
        model = classes.from_config(config).eval()
    drawn = random.Random(0).choices(range(4, config.vocab_size), k=tokens + outputs)
    subject = Subject(model, numbers(config.vocab_size), torch.tensor([drawn], device=device), tokens, outputs)
    if subject.tokenizer(subject.words(0, len(drawn))).input_ids != drawn:
        raise ValueError("the text has other tokens than the ids")  # tools that read texts must get the same case
    return subject


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Within the block, new floating-point tensors have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def numbers(count: int) -> Any:
    """A tokenizer whose words are w4, w5, ... behind four special tokens."""
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    names = special + [f"w{number}" for number in range(len(special), count)]
    words = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    pad, bos, eos, unk = special
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=pad, bos_token=bos, eos_token=eos, unk_token=unk)
