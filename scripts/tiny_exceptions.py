"""What the tiny configs of single types need beyond the rules for field names. For building test models only."""

from __future__ import annotations

from typing import Any

_ASSISTANT = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "enable_moe_block": False}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 32},
    "dbrx": {"ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma4_assistant/start": {"text_config": {"model_type": "gemma4_text", **_ASSISTANT}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "lfm2_moe/start": {"layer_types": ["conv", "conv", "full_attention"] * 10 + ["conv"] * 2},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "qwen4_exp_text/start": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer/start": {"is_decoder": True},
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": (4, 4),
        "axial_pos_embds_dim": (16, 48),
        "num_buckets": 4,
    },
    "xlstm": {"hidden_size": 128},
    "xmod/start": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 2, "attn_layer_offset": 1},
}
"""Model type (of a config or of a sub-config) -> fields; with "/start" appended: fields of the config that is shrunk."""
