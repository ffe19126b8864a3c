"""Models of a few kilobytes with random weights and a word tokenizer, written where a test wants them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
WORDS = "the a red blue green ball hat box bag holds and is . good bad film not very"
VOCABULARY = [*SPECIAL.values(), *WORDS.split()]


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=32, **SPECIAL)


def model(kind: str) -> PreTrainedModel:
    """`kind`: causal-lm (Llama), masked-lm, sequence-classification or question-answering (BERT), seq2seq-lm (T5)."""
    torch.manual_seed(0)
    size = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"intermediate_size": 24, "max_position_embeddings": 32}
    if kind == "causal-lm":
        tokens = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
        return LlamaForCausalLM(LlamaConfig(**size, **tokens, tie_word_embeddings=True)).eval()
    if kind == "masked-lm":
        return BertForMaskedLM(BertConfig(**size)).eval()
    if kind == "question-answering":
        return BertForQuestionAnswering(BertConfig(**size)).eval()
    if kind == "sequence-classification":
        return BertForSequenceClassification(BertConfig(**size, id2label={0: "bad", 1: "good"})).eval()
    t5 = T5Config(vocab_size=len(VOCABULARY), d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, pad_token_id=0)
    t5.decoder_start_token_id = 0
    return T5ForConditionalGeneration(t5).eval()


def save(kind: str, folder: Path) -> Path:
    """The model and its tokenizer as an ordinary folder."""
    model(kind).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
