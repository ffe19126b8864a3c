"""What the tiny configs of single types need beyond the rules for field names. For building test models only."""

from __future__ import annotations

from typing import Any

_ASSISTANT = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "enable_moe_block": False}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 32, "attn_layer_indices": [1]},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
        }
    },
    "dbrx": {"ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "esm": {"vocab_size": 33},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma4_assistant/start": {"text_config": {"model_type": "gemma4_text", **_ASSISTANT}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "granitemoehybrid/start": {"layer_types": ["linear_attention", "full_attention"] * 16},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8, "visual_embed": False},
    "lfm2_moe/start": {"layer_types": ["conv", "conv", "full_attention"] * 10 + ["conv"] * 2},
    "lilt": {"hidden_size": 96},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "qwen4_exp_text": {
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
    "t5": {"decoder_start_token_id": 0},
    "xlstm": {"hidden_size": 128},
    "xmod/start": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
}
"""Model type (of a config or of a sub-config) -> fields; with "/start" appended: fields of the config that is shrunk."""
