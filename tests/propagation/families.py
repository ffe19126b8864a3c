"""Tiny random models of many architectures. Only tests know families; the package has no table of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import transformers as hf
from torch import nn

VOCABULARY = 101
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_T5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GEMMA = {**_GROUPED, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8}
_DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "max_relative_positions": 8,
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}

# name -> (class, model type, what its config has beyond `_COMMON`; a config that does not know those names has "own").
_TABLE: dict[str, tuple[str, str, dict[str, object]]] = {
    "llama": ("LlamaForCausalLM", "llama", _GROUPED),
    "mistral": ("MistralForCausalLM", "mistral", {**_GROUPED, "sliding_window": 4}),
    "qwen2": ("Qwen2ForCausalLM", "qwen2", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "qwen3", {**_GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", "gemma2", _GEMMA),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text", _GEMMA),
    "phi3": ("Phi3ForCausalLM", "phi3", _GROUPED),
    "gpt2": ("GPT2LMHeadModel", "gpt2", {"own": {**_GPT2, **_SPECIAL}}),
    "gpt_neox": ("GPTNeoXForCausalLM", "gpt_neox", {}),
    "opt": ("OPTForCausalLM", "opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bloom": (
        "BloomForCausalLM",
        "bloom",
        {"own": {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4, **_SPECIAL}},
    ),
    "falcon": ("FalconForCausalLM", "falcon", {"num_kv_heads": 2, "new_decoder_architecture": True}),
    "falcon-alibi": ("FalconForCausalLM", "falcon", {"alibi": True, "new_decoder_architecture": False}),
    "mixtral": ("MixtralForCausalLM", "mixtral", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        {
            **_GROUPED,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "head_dim": 8,
            "norm_topk_prob": True,
        },
    ),
    "olmo2": ("Olmo2ForCausalLM", "olmo2", _GROUPED),
    "bert": ("BertForSequenceClassification", "bert", {}),
    "bert-masked": ("BertForMaskedLM", "bert", {}),
    "roberta": ("RobertaForSequenceClassification", "roberta", {}),
    "distilbert": (
        "DistilBertForSequenceClassification",
        "distilbert",
        {"own": {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}},
    ),
    "electra": ("ElectraForSequenceClassification", "electra", {"embedding_size": 16}),
    "deberta-v2": ("DebertaV2ForSequenceClassification", "deberta-v2", _DEBERTA),
    "modernbert": (
        "ModernBertForSequenceClassification",
        "modernbert",
        {"local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "t5": ("T5ForConditionalGeneration", "t5", {"own": {**_T5, "decoder_start_token_id": 0}}),
    "t5-gated": (
        "T5ForConditionalGeneration",
        "t5",
        {"own": {**_T5, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu"}},
    ),
}
FAMILIES = sorted(_TABLE)
EAGER_ONLY = {"gemma2", "bloom", "deberta-v2"}
"""Models that transformers gives no `sdpa` attention (gemma2 of this size asks for soft-capping)."""
if not hf.T5ForConditionalGeneration._supports_sdpa:  # before transformers 5.1 or so
    EAGER_ONLY |= {"t5", "t5-gated"}


@cache
def build(name: str, attention: str = "eager", dtype: torch.dtype = torch.float32) -> nn.Module:
    """A random model in eval mode; weights, norms and biases are all random, so that nothing is accidentally 0 or 1."""
    cls, model_type, extra = _TABLE[name]
    options = extra.get("own") or {**_COMMON, **extra}
    config = hf.AutoConfig.for_model(model_type, **options)  # type: ignore[arg-type]
    config._attn_implementation = attention
    config._experts_implementation = "eager"  # the grouped kernel knows no float64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = getattr(hf, cls)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype)


def embeddings_of(model: nn.Module, length: int = 9, batch: int = 1) -> torch.Tensor:
    """Embeddings [B, T, D] of random tokens, as a leaf."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (batch, length), generator=generator)
    lookup: Callable[[torch.Tensor], torch.Tensor] = model.get_input_embeddings()  # type: ignore[operator]
    return lookup(ids).detach().requires_grad_()


def run(model: nn.Module, embeddings: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The row of logits [V] that predicts, and the leaves: of an encoder-decoder, its decoder's inputs too."""
    leaves = [embeddings]
    options = {}
    if getattr(model.config, "is_encoder_decoder", False):
        leaves.append(model.get_input_embeddings()(torch.tensor([[0, 5]])).detach().requires_grad_())  # type: ignore[operator]
        options["decoder_inputs_embeds"] = leaves[1]
    logits = model(inputs_embeds=embeddings, **options).logits[0]
    return (logits[-1] if logits.dim() == 2 else logits), leaves
