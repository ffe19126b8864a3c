"""What the tiny configs of single types need beyond the rules for field names. For building test models only."""

from __future__ import annotations

from typing import Any

SPECIAL = 80
"""Ids from here on may have a meaning of their own (images, audio); the input has none of them."""

_ASSISTANT = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "enable_moe_block": False}
_SWIN = {"image_size": 64, "embed_dim": 24, "depths": [1, 2, 1], "num_heads": [3, 6, 12]}
_SECTIONS = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}}
_TIMM = {"model_type": "timm_wrapper", "architecture": "vit_pe_core_large_patch14_336"}
_TIMM_VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
_FASTVIT = {"inference_mode": True, "embed_dims": [16, 32, 32, 32], "layers": [1, 1, 1, 1]}
_TWO_TILES = {"image_grid_pinpoints": [[32, 64]]}
_CODES = {"<image>": SPECIAL + 10, "<|extra_200|>": SPECIAL + 11}
_CHAMELEON = {f"IMGIMG{letter}Z": number for number, letter in enumerate("ABCDEFGH", SPECIAL + 12)}
_EMU = {f"<|visual token {number:06d}|>": SPECIAL + 12 + number for number in range(8)}
_SHARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("hunyuan_vl_text glm4v_text glm_ocr_text paddleocr_vl_text", _SECTIONS),
    ("qwen2_5_omni_text qwen2_5_vl_text qwen2_vl_text", _SECTIONS),
    ("minicpm_ocr minicpmv4_6 minicpmv4_7 nemotron_h_omni", {"image_token_id": SPECIAL + 10}),
    ("qwen2_5_vl_vision qwen2_5_omni_vision_encoder exaone4_5_vision", {"window_size": 32}),
    ("llava_next llava_next_video llava_onevision", _TWO_TILES),
    ("muse_glimmer muse_spark", {"out_hidden_size": 256}),
    ("deepseek_ocr2_sam_vision_model unlimited_ocr_sam_vision_model", {"downsample_channels": [32, 64]}),
    ("donut-swin swin swinv2", _SWIN),
)
_SINGLE: dict[str, dict[str, Any]] = {
    "aria": {"projector_patch_to_query_dict": {16: 8}},
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 32, "attn_layer_indices": [1]},
    "blip-2": {"image_token_index": SPECIAL + 10},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 101},
    "bros": {
        "dim_bbox": 8,
        "dim_bbox_sinusoid_emb_1d": 24,
        "dim_bbox_sinusoid_emb_2d": 192,
        "dim_bbox_projection": 16,
    },
    "chameleon": {"vocabulary_map": _CODES | _CHAMELEON},
    "chameleon_vqgan": {"num_embeddings": 8, "base_channels": 32, "channel_multiplier": [1] * 4, "latent_channels": 64},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
        }
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "diffusion_gemma": {"canvas_length": 4},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 48},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "efficientnet": {"hidden_dim": 2560},
    "emu3": {"vocabulary_map": _CODES | _EMU},
    "emu3_vqgan": {"codebook_size": 8, "base_channels": 64, "channel_multiplier": [1] * 4, "hidden_size": 64},
    "ernie4_5_vl_moe_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [3, 3, 2]},
        "moe_intermediate_size": [48, 24],
    },
    "esm": {"vocab_size": 101, "pad_token_id": 1, "mask_token_id": 32},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma3n": {"vision_soft_tokens_per_image": 256},
    "gemma3n_vision": {"hidden_size": 2048},
    "gemma3n/start": {"vision_config": {"model_args": {"channel_multiplier": 0.1}}},
    "gemma4/start": {"vision_config": {}},
    "fast_vlm/start": {"vision_config": {**_TIMM, "architecture": "fastvit_t8", "model_args": _FASTVIT}},
    "florence_vision": {
        "depths": [1, 1, 1, 1],
        "embed_dim": [16, 32, 64, 64],
        "num_heads": [2, 2, 4, 4],
        "num_groups": [2, 2, 4, 4],
    },
    "gemma4_assistant/start": {"text_config": {"model_type": "gemma4_text", **_ASSISTANT}},
    "gemma4_unified/start": {"vision_config": {}},
    "glm4v_moe_text": {"rope_parameters": _SECTIONS["rope_parameters"] | {"partial_rotary_factor": 1.0}},
    "glm5_next_text": {"index_topk": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "granite4_vision": {
        "downsample_rate": "1/2",
        "deepstack_layer_map": [[-1, 0]],
        "spatial_target_layers": [1],
        **_TWO_TILES,
    },
    "granitemoehybrid/start": {"layer_types": ["linear_attention", "full_attention"] * 16},
    "inkling_vision": {"patch_size": 2, "num_hidden_layers": 4},
    "instructblip": {"image_token_index": SPECIAL + 10},
    "instructblipvideo": {"video_token_index": SPECIAL + 10},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8, "visual_embed": False},
    "levit": {"image_size": 64, "patch_size": 16},
    "lfm2_moe/start": {"layer_types": ["conv", "conv", "full_attention"] * 10 + ["conv"] * 2},
    "lilt": {"hidden_size": 96},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention"]},
    "llama4_vision_model": {"intermediate_size": 256},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "mllama_vision_model": {"intermediate_layers_indices": [0, 1], "vision_output_dim": 192},
    "mobilevitv2": {"image_size": 128},
    "molmo2_adapter": {"vision_feature_layer": [1, 0]},
    "nemotron3_diarization": {"chunk_length": 4, "chunk_left_context": 2, "chunk_right_context": 2, "fifo_length": 4},
    "perceiver": {"num_latents": 8, "num_self_attends_per_block": 2, "d_latents": 64, "d_model": 64, "image_size": 16},
    "perception_lm/start": {"vision_config": {**_TIMM, "model_args": {**_TIMM_VIT, "global_pool": ""}}},
    "poolformer": {"hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "radio": {"video_temporal_patch_size": 2},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": (4, 4),
        "axial_pos_embds_dim": (16, 48),
        "num_buckets": 4,
    },
    "ReformerModelWithLMHead": {"is_decoder": True},
    "resnet": {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]},
    "sam_vision_model": {"global_attn_indexes": [0]},
    "shieldgemma2": {"yes_token_index": 7, "no_token_index": 9},
    "step3p5": {"sliding_window": 4},
    "t5": {"decoder_start_token_id": 0},
    "textnet": {"image_size": [64, 64]},
    "timm_wrapper": {"hidden_size": 64},
    "timm_wrapper/start": {"architecture": "vit_tiny_patch16_224", "model_args": _TIMM_VIT},
    "vibevoice_acoustic_tokenizer_encoder": {"num_filters": 4, "depths": [1, 1, 1], "downsampling_ratios": [2, 2]},
    "vipllava": {"vision_feature_layers": [-2, -1]},
    "xlstm": {"hidden_size": 128},
    "xmod/start": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
}

EXCEPTIONS = {name: fields for names, fields in _SHARED for name in names.split()} | _SINGLE
"""Model type (of a config or of a sub-config) -> fields; with "/start" appended, or class name: fields of the config that
is shrunk."""

LEAVES = {
    "canine": "char_embeddings.HashBucket",
    "musicgen_decoder": "embed_tokens",
    "musicgen_melody_decoder": "embed_tokens",
    "perceiver": "input_preprocessor.embeddings",
}
"""Model type -> part of the names of its input embeddings, where `get_input_embeddings` does not give one module."""
