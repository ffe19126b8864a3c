"""The texts that tests compare, in the words of `tiny_models`, and a tokenizer that adds special tokens."""

from __future__ import annotations

import tiny_models
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

FIRST, SECOND = "the red ball is in the box .", "a bag holds the red hat and a ball"


def tokenizer() -> PreTrainedTokenizerFast:
    made = tiny_models.tokenizer()
    ids = [(token, made.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    made.backend_tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return made
