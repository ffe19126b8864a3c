"""Make tests/fixtures/parity: tiny random models and the relevances that the reference tool LXT gives them.

Run it in an environment of its own in which `import lxt.efficient` works (how: tests/fixtures/parity/SOURCE.md), not in
lxtlike's: LXT patches classes for the whole process and needs other versions than lxtlike does.

    python scripts/make_parity_fixtures.py --only qwen2 bert   # these types
    python scripts/make_parity_fixtures.py --check             # write nothing, print how far LXT is from what is stored

Weights are written once and then kept. Delete a folder to have its model drawn again (the same bytes).
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch
import transformers

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "parity"
LENGTH = 9

_SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 32}
_DECODER = _SMALL | {
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_EXPERTS = _DECODER | {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "mlp_only_layers": [0],
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}
# folder: (model class, settings of its config). Folders not listed here bring their weights from elsewhere (SOURCE.md).
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2ForCausalLM", _DECODER),
    "gemma3": (
        "Gemma3ForCausalLM",
        _DECODER
        | {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4, "query_pre_attn_scalar": 8},
    ),
    "qwen3_moe": ("Qwen3MoeForCausalLM", _EXPERTS | {"norm_topk_prob": False}),
    "qwen3_moe_renormalised": ("Qwen3MoeForCausalLM", _EXPERTS | {"norm_topk_prob": True}),
    "bert": (
        "BertForSequenceClassification",
        _SMALL | {"intermediate_size": 40, "num_attention_heads": 4, "num_labels": 3},
    ),
}
COMPOSITES = {"attn": "attnLRP", "cp": "cp_LRP"}  # our key: the name of LXT's patch map


def build(folder: Path, seed: int) -> None:
    """Write a model whose every parameter is drawn, wide enough that attention, MLPs, norms and biases matter."""
    name, settings = RECIPES[folder.name]
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**settings))
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            if "norm" in key.lower() and key.endswith("weight"):
                parameter += 0.2 * torch.randn(
                    parameter.shape, generator=random
                )  # about 1, or about 0 where w means 1 + w
            else:
                parameter.copy_((0.1 if parameter.ndim == 1 else 0.25) * torch.randn(parameter.shape, generator=random))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def load(folder: Path) -> torch.nn.Module:
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return model.requires_grad_(False)


def last_logits(model: torch.nn.Module, embeddings: torch.Tensor) -> torch.Tensor:
    """The logits [C] that are explained: a classifier's, or a language model's at the last position."""
    logits = model(inputs_embeds=embeddings).logits[0]
    return logits if logits.ndim == 1 else logits[-1]


def draw(folder: Path, seed: int) -> dict[str, Any]:
    """Token ids, and what the unpatched model says about them."""
    model = load(folder)
    ids = torch.randint(1, model.config.vocab_size, (LENGTH,), generator=torch.Generator().manual_seed(seed)).tolist()
    with torch.no_grad():
        logits = last_logits(model, model.get_input_embeddings()(torch.tensor([ids])))
    return {"ids": ids, "target": int(logits.argmax()), "logit": float(logits.max())}


def reference(job: tuple[Path, dict[str, Any], str]) -> list[float] | None:
    """LXT's relevance [T] for a stored question; None if LXT has no such patch map. Leaves this process patched."""
    folder, question, map_name = job
    model_type = json.loads((folder / "config.json").read_text())["model_type"].removesuffix("_text")
    from lxt.efficient import monkey_patch

    modeling = importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    patch_map = getattr(importlib.import_module(f"lxt.efficient.models.{model_type}"), map_name, None)
    if patch_map is None:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Failed to patch")
        monkey_patch(modeling, patch_map)
    model = load(folder)
    embeddings = model.get_input_embeddings()(torch.tensor([question["ids"]])).detach().requires_grad_()
    logit = last_logits(model, embeddings)[question["target"]]
    if abs(logit.item() - question["logit"]) > 1e-5 * abs(question["logit"]):
        raise SystemExit(f"{folder.name}: the logit is {logit.item()}, but {question['logit']} was stored")
    (coefficients,) = torch.autograd.grad(logit, embeddings)
    return (embeddings * coefficients).float().sum(-1)[0].tolist()  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted({*RECIPES, *(path.parent.name for path in FOLDER.glob("*/config.json"))})
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="TYPE", help=", ".join(known))
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is stored")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only:
        folder, stored, seed = FOLDER / name, FOLDER / name / "relevance.json", zlib.crc32(name.encode())
        if not (folder / "model.safetensors").exists() and not options.check:
            build(folder, seed)
        old = json.loads(stored.read_text()) if stored.exists() else {}
        result = {key: old[key] for key in ("ids", "target", "logit")} if old else draw(folder, seed)
        for key, map_name in COMPOSITES.items():
            # LXT patches classes for good: every composite gets a process of its own.
            with multiprocessing.get_context("fork").Pool(1) as pool:
                result[key] = pool.apply(reference, ((folder, result, map_name),))
            said = "computed" if result[key] else "LXT has no such map"
            if result[key] and old.get(key):
                new, before = torch.tensor(result[key]), torch.tensor(old[key])
                said = f"{float((new - before).abs().max() / before.abs().max()):.1e} of the largest from the stored"
            print(f"{name} {key}: {said}")
        if not options.check:
            stored.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
