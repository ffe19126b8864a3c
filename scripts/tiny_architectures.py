"""Tiny random models of any transformers type: a config is shrunk by the names of its fields, kinds of layers are kept.

The rules below know names of fields, not families; `tiny_exceptions.py` has the few types whose fields depend on each other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
import transformers as hf
from tiny_exceptions import EXCEPTIONS, SPECIAL
from torch import nn
from transformers.models.auto import modeling_auto

VOCABULARY, HIDDEN, HEADS, HEAD, LAYERS, LENGTH = 101, 64, 4, 16, 2, 9

MAPPINGS = {
    "causal-lm": "CAUSAL_LM",
    "masked-lm": "MASKED_LM",
    "sequence-classification": "SEQUENCE_CLASSIFICATION",
    "token-classification": "TOKEN_CLASSIFICATION",
    "question-answering": "QUESTION_ANSWERING",
    "seq2seq-lm": "SEQ_TO_SEQ_CAUSAL_LM",
    "image-classification": "IMAGE_CLASSIFICATION",
    "image-text-to-text": "IMAGE_TEXT_TO_TEXT",
}
"""Name -> transformers' name of the auto mapping."""


def _at_most(limit: int) -> Callable[[int], int]:
    return lambda value: min(value, limit)


# Pattern of a field's name -> its value in a tiny model, or a function of the value it has. The first match counts.
_RULES: tuple[tuple[str, int | Callable[[int], int]], ...] = (
    (r"tokens_per_image|latent_query_num", _at_most(4)),
    (r"type_vocab_size|^type_vocab", _at_most(16)),
    (r"vocab", _at_most(VOCABULARY)),
    (
        r"^n_ctx|position_embeddings$|n_positions|max_seq_len|context_length|(source|target)_positions|model_max_length",
        64,
    ),
    (r"linear_num_value_heads|linear_num_key_heads|linear_num_heads", 2),
    (r"mamba_(d_head|head_?dim)", HEAD * 2),
    (r"kv_channels", HEAD),
    (r"attention_hidden_size", HIDDEN),
    (r"qk_head_dim", 2 * HEAD),
    (r"rotary_dim", HEAD // 2),
    (r"head_dim|d_kv$|d_head$|dim_head|headdim|head_size|qk_(nope|rope)_head_dim|v_head_dim|_head_dim$", HEAD),
    (r"heads|n_head$", _at_most(HEADS)),
    (r"layer_period|layer_interval|sliding_window_pattern|_step$|_frequency|every_n", _at_most(2)),
    (r"layer_offset|layer_start|first_k_dense|dense_layers|max_window_layers", _at_most(1)),
    (
        r"(^|_)n?_?layers?$|num_.*layers?$|^num_blocks$|^depth$|layer_end_index|layers_per_stack|_layers$",
        _at_most(LAYERS),
    ),
    (r"top_?k|experts_per_tok|^moe_k$", _at_most(2)),
    (r"n_groups?$|topk_group|num_expert_group|ngroups|n_groups", _at_most(2)),
    (r"shared_experts|shared_intermediate", lambda value: min(value, 1) if value < 10 else 48),
    (r"num_.*experts|routed_experts|zero_expert|_num_expert", _at_most(4)),
    (r"rank$|lora", HEAD),
    (r"intermediate_size|ffn_|ffn$|d_ff$|dff$|dim_ff|mlp_dim|d_inner|n_inner|feed_forward_size|mlp_.*size", 96),
    (r"window_size|sliding_window|local_attention|attention_chunk|local_radius|attention_window", _at_most(4)),
    (r"chunk_(size|length)|chunk_length$|block_size", _at_most(4)),
    (r"state_size|d_state", 8),
    (r"image_size|crop_size", 32),
    (r"patch_size", _at_most(8)),
    (
        r"hidden_size|hidden_dim|adapter_input_size|proj_dims|d_model|n_embd|^dim$|emb_dim|embed_dim|embedding_(size|dim)|_dim$|lru_width|^dim_",
        HIDDEN,
    ),
)
_KEYS = re.compile(r"(key_value|_kv)_?heads|kv_n_heads|num_query_groups|kv_heads")
_FILLED = {"head_dim": HEAD, "num_key_value_heads": HEADS, "moe_intermediate_size": 48, "num_experts_per_tok": 2}
"""Fields that some classes neither set nor derive, and cannot do without."""
_TOKEN = re.compile(r"(token|_)(id|ids|index)$|^(mask|unk|eos|bos|pad)_index$")


def shrunk(config: Any) -> Any:
    """A tiny config of the same class; kinds of layers and switches stay as they are."""
    defaults = _defaults(config)
    changes: dict[str, Any] = {}
    filled: dict[str, Any] = {}
    switches: dict[str, Any] = {}
    kept, length = _layers(config)
    taken = SPECIAL
    for name, value in vars(config).items():
        if name.startswith("_") or name not in defaults:
            continue
        if isinstance(value, hf.PreTrainedConfig):
            changes[name] = shrunk(value)
        elif value is None and name in _FILLED:
            filled[name] = _FILLED[name]
        elif isinstance(value, (bool, str, float)):
            switches[name] = value
        elif value is None:
            continue
        elif isinstance(value, int) and _KEYS.search(name):
            changes[name] = 1 if value == 1 else HEADS if value == _heads(config) else HEADS // 2
        elif _TOKEN.search(name):
            if isinstance(value, int) and value >= SPECIAL:
                changes[name], taken = taken, taken + 1
            elif isinstance(value, (list, tuple)):
                changes[name] = list(range(SPECIAL + 10, SPECIAL + 10 + len(value))) if name.endswith("ids") else 2
        elif isinstance(value, int):
            changes[name] = _tiny(name, value, len(kept))
        elif isinstance(value, (list, tuple)) and name.endswith(("image_size", "patch_size")):
            changes[name] = [_tiny(name, edge, 0) for edge in value]
        elif isinstance(value, (list, tuple)) and len(value) == length and kept:
            changes[name] = [_tiny(name, value[i], 0) if isinstance(value[i], int) else value[i] for i in kept]
        elif name == "model_args":  # of another library's model
            changes[name] = value
        elif name == "rope_parameters" and isinstance(value, dict):
            changes[name] = _rope(value)
    # What the class derives from other fields when it is not given, it shall derive from the tiny ones.
    derived = {name for name, value in changes.items() if defaults[name] is None and isinstance(value, int)}
    changes = {name: value for name, value in changes.items() if name not in derived or name.endswith(("_id", "index"))}
    exceptions = EXCEPTIONS.get(config.model_type, {})
    return type(config)(**{**switches, **changes, **filled, **exceptions})


def _defaults(config: Any) -> dict[str, Any]:
    """The fields of a configuration; before transformers 5.2 or so, the parameters of its constructor."""
    if is_dataclass(config):
        return {field.name: field.default for field in fields(config)}
    parameters = inspect.signature(type(config).__init__).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD}


def _heads(config: Any) -> Any:
    return next(
        (vars(config)[name] for name in ("num_attention_heads", "n_heads", "n_head") if name in vars(config)), 0
    )


def _tiny(name: str, value: int, layers: int) -> int:
    if isinstance(value, bool):
        return value
    for pattern, size in _RULES:
        if re.search(pattern, name):
            tiny = size(value) if callable(size) else size if value > 0 else value
            return max(tiny, layers) if name in ("num_hidden_layers", "n_layer", "num_layers") and layers else tiny
    return value


def _layers(config: Any) -> tuple[list[int], int]:
    """Indices of one layer of each kind (two layers at least), by all lists of the config with an entry for every layer."""
    count = getattr(config, "num_hidden_layers", None) or 0
    lists = [
        value
        for name, value in vars(config).items()
        if isinstance(value, (list, tuple)) and isinstance(count, int) and len(value) == count > 2
    ]
    if not lists:
        return [], -1
    kinds: dict[str, int] = {}
    for index in range(count):
        kinds.setdefault(str([values[index] for values in lists]), index)
    kept = sorted(kinds.values())
    if len(kept) > 8:  # a list of indices, not of kinds
        kept = list(range(LAYERS))
    return kept if len(kept) >= LAYERS else [*kept, count - 1], count


def _rope(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary parameters for the tiny head size: sections of multimodal angles in proportion."""
    result: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            value = _rope(value)
        elif name == "mrope_section":
            pairs = int(HEAD // 2 * float(parameters.get("partial_rotary_factor", 1.0)))
            rest = [max(pairs // len(value), 0)] * (len(value) - 1)
            value = [pairs - sum(rest), *rest]
        elif name in ("long_factor", "short_factor"):
            value = value[: HEAD // 2]
        elif name == "original_max_position_embeddings":
            value = 32
        result[name] = value
    return result


def types(mapping: str) -> dict[str, str]:
    """Model type -> class name, of one auto mapping (a key of `MAPPINGS`)."""
    names: Mapping[str, Any] = getattr(modeling_auto, f"MODEL_FOR_{MAPPINGS[mapping]}_MAPPING_NAMES")
    return {key: value if isinstance(value, str) else value[0] for key, value in names.items()}


def config_of(model_type: str, cls: type) -> Any:
    """The tiny config of a type."""
    given = EXCEPTIONS.get(f"{model_type}/start", {}) | EXCEPTIONS.get(cls.__name__, {})
    config = hf.CONFIG_MAPPING[model_type](**given)
    wanted = getattr(cls, "config_class", None)
    if wanted is not None and not isinstance(config, wanted):
        config = next((part for part in vars(config).values() if isinstance(part, wanted)), config)
    return shrunk(config)


def build(model_type: str, class_name: str) -> nn.Module:
    """A random model in eval mode; weights, norms and biases all random, so that nothing is accidentally 0 or 1."""
    cls = getattr(hf, class_name)
    config = config_of(model_type, cls)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"  # the grouped kernel knows no float64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = cls(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.float().requires_grad_(False)
