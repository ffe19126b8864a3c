"""Random inputs for a tiny model: token ids, and the picture with its placeholder tokens.

A picture comes in one of few layouts, which are told from the names of the arguments and tried in turn; the model itself
says how many tokens of the text it fills.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from tiny_architectures import LENGTH, VOCABULARY
from tiny_exceptions import SPECIAL
from torch import Tensor

Inputs = dict[str, Any]
GRID = 4
"""Patches along each side of a picture."""


def inputs_of(model: Any, mapping: str, length: int = LENGTH) -> tuple[Inputs, list[str]]:
    """Keyword arguments of its forward: token ids [1, T], a picture where the mapping has one, what else it needs.

    Beside them, why pictures were refused: if not empty, there is text alone.
    """
    config = model.config
    generator = torch.Generator().manual_seed(1)
    if mapping == "image-classification" and config.model_type not in ("imagegpt", "shieldgemma2"):
        return next(pictures(model, generator)), []
    ids = torch.randint(5, SPECIAL - 10, (1, length), generator=generator)
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and end < VOCABULARY and mapping != "causal-lm":
        ids[0, -1] = end
    given: Inputs = {"input_ids": ids}
    names = arguments(model)
    two = mapping in ("seq2seq-lm", "image-text-to-text") and "decoder_input_ids" in names
    if two and not getattr(config, "use_decoder_only_language_model", False):
        given["decoder_input_ids"] = torch.tensor([[2, 17, 5, 33]])
        if "input_ids" not in inspect.signature(model.get_encoder().forward).parameters:  # it reads pictures alone
            del given["input_ids"]
    if "qformer_input_ids" in names:
        given["qformer_input_ids"] = ids
    boxes = torch.arange(length * 4).reshape(1, length, 4) * 2
    match config.model_type:
        case "bros" | "udop":
            given["bbox"] = boxes.float() / 100
        case "longformer" | "led" if mapping == "question-answering":
            ids[0, [3, 5, -1]] = 2  # three separators
        case "lxmert":
            given["visual_feats"] = torch.randn(1, 3, config.visual_feat_dim, generator=generator)
            given["visual_pos"] = torch.rand(1, 3, config.visual_pos_dim, generator=generator)
        case "pi0":
            given["state"] = torch.randn(1, config.max_state_dim, generator=generator)
            given["noise"] = torch.randn(1, config.chunk_size, config.max_action_dim, generator=generator)
            given["timestep"] = torch.tensor([0.5])
        case "voxtral_realtime":  # every token has its stretch of sound
            bins, frames = config.audio_config.num_mel_bins, length * config.audio_length_per_tok
            given["input_features"] = torch.randn(1, bins, frames, generator=generator)
        case "musicgen_decoder" | "musicgen_melody_decoder":
            given["input_ids"] = ids.repeat(config.num_codebooks, 1)
    if mapping in ("image-text-to-text",) or config.model_type == "shieldgemma2":
        return with_picture(model, given, generator)
    return given, []


def with_picture(model: Any, given: Inputs, generator: torch.Generator) -> tuple[Inputs, list[str]]:
    """The first layout of a picture that the model takes, with as many placeholders in the text as it fills."""
    failures = []
    for picture in pictures(model, generator):
        try:
            inputs = placed(model, given, picture)
            with torch.no_grad():
                model(**inputs)
        except Exception as error:  # noqa: BLE001 - another layout may fit
            failures.append(f"{type(error).__name__}: {error}")
            continue
        return inputs, []
    return given, failures


def arguments(model: Any) -> list[str]:
    """Names of the arguments of a model's forward, or of its encoder's where that one takes the pictures."""
    names = list(inspect.signature(model.forward).parameters)
    if "pixel_values" not in names and "decoder_input_ids" in names and hasattr(model, "get_encoder"):
        names += inspect.signature(model.get_encoder().forward).parameters
    return names


def vision_of(config: Any) -> Any:
    """The config that describes the pictures: of the vision tower, or the model's own."""
    for name in ("vision_config", "vision_tower_config", "encoder", "vlm_config"):
        part = getattr(config, name, None)
        if part is not None:
            return vision_of(part)
    return config


def pictures(model: Any, generator: torch.Generator) -> Iterator[Inputs]:
    """One random picture in the layouts that fit the names of the arguments."""
    config, names = model.config, arguments(model)
    vision = vision_of(config)

    def field(*fields: str, default: Any = None) -> Any:
        for holder in (vision, config):
            for name in fields:
                if (value := getattr(holder, name, None)) is not None:
                    return value
        return default

    def random(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    def edge(value: Any) -> int:
        return int(value if isinstance(value, int) else value[-1])

    channels = edge(field("num_channels", "in_channels", "in_chans", default=3))
    patch, size = edge(field("model_patch_size", "patch_size", default=8)), field("image_size", default=64)
    height, width = (size, size) if isinstance(size, int) else size
    frames = edge(field("temporal_patch_size", "patch_temporal", default=1))
    merge = edge(field("spatial_merge_size", "merge_size", "merge_kernel_size", default=2))
    count = GRID * GRID
    whole = (channels, height, width)
    square = torch.tensor([[GRID, GRID]])
    if "image_grid_thw" in names:
        more: Inputs = {"image_grid_thw": torch.tensor([[1, GRID, GRID]])}
        if "image_merge_sizes" in names:
            more["image_merge_sizes"] = torch.tensor([merge])
        for shape in (
            (count, channels * frames * patch**2),
            (count, channels, patch, patch),
            (count, channels * patch**2),
            (count, patch * merge, patch * merge, channels),
        ):
            yield {"pixel_values": random(*shape)[0], **more}
    elif "image_grid_hw" in names:
        yield {"pixel_values": random(count, channels * patch**2)[0], "image_grid_hw": square}
    elif "spatial_shapes" in names or config.model_type == "siglip2":
        mask = torch.ones(1, count, dtype=torch.long)
        pixels = random(count, channels * patch**2)
        yield {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": square}
    elif "image_position_ids" in names:
        positions = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID))[None]
        yield {"pixel_values": random(count, channels * patch**2), "image_position_ids": positions}
    elif "target_sizes" in names:
        yield {"pixel_values": random(channels, patch, count * patch), "target_sizes": square}
    elif "flattened_patches" in names:
        places = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID))[None] + 1.0
        length = field("patch_embed_hidden_size", default=channels * patch**2)
        yield {"flattened_patches": torch.cat([places, random(count, length)], 2)}
    elif "image_token_pooling" in names:
        pooling = {
            "image_token_pooling": torch.arange(count).reshape(4, -1),
            "image_grids": torch.tensor([[2, 2, 0, 0]]),
        }
        yield {"pixel_values": random(count, channels * patch**2), **pooling}
    elif "aspect_ratio_ids" in names:
        tiles = vision.max_num_tiles
        ratio = {"aspect_ratio_ids": torch.ones(1, 1, dtype=torch.long), "aspect_ratio_mask": torch.ones(1, 1, tiles)}
        yield {"pixel_values": random(1, tiles, *whole), **ratio}
    elif "high_res_pixel_values" in names:
        yield {"pixel_values": random(*whole), "high_res_pixel_values": random(*whole)}
    elif "pixel_values" in names:
        tiles = 3 if hasattr(config, "image_grid_pinpoints") else 1
        sizes: Inputs = {"image_sizes": torch.tensor([[height, width]])} if "image_sizes" in names else {}
        mask = (
            {"pixel_attention_mask": torch.ones(1, tiles, dtype=torch.bool)} if "pixel_attention_mask" in names else {}
        )
        for more in (sizes, {}) if sizes else ({},):
            for shape in (whole, (tiles, *whole), (count, channels * patch**2), (frames, patch, patch, channels)):
                yield {"pixel_values": random(*shape), **more}
        if mask:
            yield {"pixel_values": random(tiles, *whole), **mask}


def placed(model: Any, given: Inputs, picture: Inputs) -> Inputs:
    """The picture beside the text, which has a placeholder for each row of the picture's features before its last two."""
    names, inputs, config = arguments(model), {**given, **picture}, model.config
    masked = "image_embeds_position_mask" in names
    count = config.latent_query_num if masked else _rows(model, inputs)
    marker = SPECIAL - 1 if masked else _marker(config)
    if count and marker is None:
        raise ValueError("the config names no placeholder for pictures")
    if "input_ids" not in given:
        return inputs
    ids = given["input_ids"]
    if count:
        ids = torch.cat([ids[:, :-2], torch.full((1, count), marker), ids[:, -2:]], 1)
        inputs["input_ids"] = ids
    for name in ("mm_token_type_ids", "token_type_ids", "image_embeds_position_mask"):
        if name in names:
            inputs[name] = (ids == marker).long()
    if "image_attention_mask" in names:
        inputs["image_attention_mask"] = torch.ones(1, ids.shape[1], 1, dtype=torch.long)
    return inputs


def _rows(model: Any, inputs: Inputs) -> int:
    """Number of rows that a picture's features put into the sequence."""
    found = [
        getattr(module, name)
        for name in ("get_image_features", "get_video_features")
        for module in (*list(model.modules())[1:], model)
        if hasattr(module, name)
    ]
    if not found:
        return 0
    given = {k: v for k, v in inputs.items() if k in inspect.signature(found[0]).parameters}
    if "state" in inputs:  # the pictures of a robot's cameras
        given["pixel_values"] = given["pixel_values"].flatten(0, 1)
    with torch.no_grad():
        features = found[0](**given)
    rows = getattr(features, "pooler_output", None)
    if rows is None:
        deep = getattr(features, "deepstack_features", None)  # layer of the language model, its rows
        rows = features.last_hidden_state if deep is None else deep[0][1]
    width = model.get_input_embeddings().weight.shape[1]
    return sum(row.numel() for row in (rows if isinstance(rows, (list, tuple)) else [rows])) // width


def _marker(config: Any) -> int | None:
    for holder in (config, getattr(config, "text_config", None), getattr(config, "vlm_config", None)):
        for name in ("image_token_id", "image_token_index", "video_token_index"):
            if isinstance(marker := getattr(holder, name, None), int):
                return marker
    return None
