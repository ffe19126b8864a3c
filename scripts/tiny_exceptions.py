"""What the tiny configs of single types need beyond the rules for field names. For building test models only."""

from __future__ import annotations

from typing import Any

SPECIAL = 80
"""Ids from here on may have a meaning of their own (images, audio); the input has none of them."""

_ASSISTANT = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "enable_moe_block": False}
_SWIN = {"image_size": 64, "embed_dim": 24, "depths": [1, 2, 1], "num_heads": [3, 6, 12]}
_SECTIONS = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}}
_SECTIONED = (
    "hunyuan_vl_text",
    "glm4v_text",
    "glm_ocr_text",
    "paddleocr_vl_text",
    "qwen2_5_omni_text",
    "qwen2_5_vl_text",
    "qwen2_vl_text",
)

EXCEPTIONS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(_SECTIONED, _SECTIONS),
    "glm4v_moe_text": {"rope_parameters": _SECTIONS["rope_parameters"] | {"partial_rotary_factor": 1.0}},
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 32, "attn_layer_indices": [1]},
    "ReformerModelWithLMHead": {"is_decoder": True},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
        }
    },
    "bros": {
        "dim_bbox": 8,
        "dim_bbox_sinusoid_emb_1d": 24,
        "dim_bbox_sinusoid_emb_2d": 192,
        "dim_bbox_projection": 16,
    },
    "blip-2": {"image_token_index": SPECIAL + 10},
    "instructblip": {"image_token_index": SPECIAL + 10},
    "chameleon": {"vocabulary_map": {"<image>": SPECIAL + 10}},
    "emu3": {"vocabulary_map": {"<image>": SPECIAL + 10}},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 101},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "donut-swin": _SWIN,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "efficientnet": {"hidden_dim": 2560},
    "esm": {"vocab_size": 101, "pad_token_id": 1, "mask_token_id": 32},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma4_assistant/start": {"text_config": {"model_type": "gemma4_text", **_ASSISTANT}},
    "glm5_next_text": {"index_topk": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "granitemoehybrid/start": {"layer_types": ["linear_attention", "full_attention"] * 16},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8, "visual_embed": False},
    "levit": {"image_size": 64, "patch_size": 16},
    "lfm2_moe/start": {"layer_types": ["conv", "conv", "full_attention"] * 10 + ["conv"] * 2},
    "lilt": {"hidden_size": 96},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "mobilevitv2": {"image_size": 128},
    "perceiver": {"num_latents": 8, "num_self_attends_per_block": 2, "d_latents": 64, "d_model": 64, "image_size": 16},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": (4, 4),
        "axial_pos_embds_dim": (16, 48),
        "num_buckets": 4,
    },
    "swin": _SWIN,
    "swinv2": _SWIN,
    "t5": {"decoder_start_token_id": 0},
    "textnet": {"image_size": [64, 64]},
    "xlstm": {"hidden_size": 128},
    "xmod/start": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
}
"""Model type (of a config or of a sub-config) -> fields; with "/start" appended, or class name: fields of the config that
is shrunk."""

LEAVES = {
    "canine": "char_embeddings.HashBucket",
    "musicgen": "embed_tokens",
    "musicgen_melody": "embed_tokens",
    "perceiver": "input_preprocessor.embeddings",
}
"""Model type -> part of the names of its input embeddings, where `get_input_embeddings` does not give one module."""

PICTURED = ("blip", "blip-2", "instructblip", "instructblipvideo", "kosmos-2", "idefics")
"""Model types that refuse text without a picture."""
