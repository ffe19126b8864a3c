"""What two processes find when they explain models together, beside what one process finds.

``python together.py FOLDER`` is the second process: it prints its findings as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "propagation")]

import tiny_models  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import transformers  # noqa: E402
from explaining import IDS, MASK, fresh  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from lxtlike import Explainer, InputError, propagate  # noqa: E402
from lxtlike.composites import Composite  # noqa: E402
from lxtlike.latent import heads, means  # noqa: E402
from lxtlike.methods import Views, lrp  # noqa: E402
from lxtlike.propagation.parallel import agreed  # noqa: E402

TEXT = "the red ball is . the"
Split = Callable[[nn.Module], nn.Module]
CLASSIFIER = {
    f"bert.encoder.layer.*.{name}": style
    for style, names in {
        "colwise": ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense"),
        "rowwise": ("attention.output.dense", "output.dense"),
    }.items()
    for name in names
}
"""A plan for a kind of model that transformers has none for."""


def together(rank: int, folder: Path) -> dict[str, Any]:
    """Everything, by name: a pair of findings, in one process and in two, or the sentence of a refusal."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    try:
        return _gathered() | _refusals() | (_divided(folder) if divides() else {})
    finally:
        dist.destroy_process_group()


def divides() -> bool:
    """Whether this transformers has the tensor parallelism that lxtlike knows."""
    return hasattr(transformers, "distributed") and hasattr(transformers.distributed, "tensor_parallel")


def _gathered() -> dict[str, Any]:
    """FSDP2, layer by layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    def shard(model: nn.Module) -> nn.Module:
        mesh = init_device_mesh("cpu", (2,))
        for layer in model.modules():
            if type(layer).__name__.endswith(("DecoderLayer", "BertLayer")):
                fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    plain, model = tiny_models.model("sequence-classification"), shard(tiny_models.model("sequence-classification"))
    return {
        "gathered bert": pair("bert", shard),
        "gathered qwen3_moe, checkpointing": pair("qwen3_moe", shard, checkpointing=True),
        "gathered, an explainer": [told(plain), told(model)],
        "agreed": [agreed(7 + dist.get_rank(), model), agreed(9 - dist.get_rank(), model)],
    }


def _divided(folder: Path) -> dict[str, Any]:
    """Tensor parallelism, loaded as users do."""
    from transformers.distributed import DistributedConfig

    def load(model: Any, plan: dict[str, str] | None = None) -> nn.Module:
        path = folder / f"{type(model).__name__} {model.dtype}"
        if dist.get_rank() == 0:
            model.save_pretrained(path)
        dist.barrier()
        config = transformers.AutoConfig.from_pretrained(path)
        config._experts_implementation = "eager"
        split = DistributedConfig(tp_size=2, tp_plan=plan)
        loaded: nn.Module = type(model).from_pretrained(
            path, config=config, dtype=model.dtype, distributed_config=split
        )
        return loaded.eval()

    plain, model = tiny_models.model("causal-lm"), load(tiny_models.model("causal-lm"))
    found = {
        "divided qwen3_moe, checkpointing": pair("qwen3_moe", load, checkpointing=True),
        "divided gpt_neox": pair("gpt_neox", load),
        "divided gpt_neox, layers": pair("gpt_neox", load, by_layer),
        "divided bert": pair("bert", lambda model: load(model, CLASSIFIER), composite="epsilon:relative=0.1"),
        "divided, an explainer": [told(plain), told(model)],
        "attention": refusal(lambda: explainer(model).explain(TEXT, method="attention-rollout")),
        "components": refusal(lambda: means(explainer(model), [TEXT], heads(layer=0))),
        "features": refusal(lambda: lrps(load(fresh("bert"), CLASSIFIER), RADIAL)),
    }
    model._tp_plan = {"norm": "sequence_parallel"}  # type: ignore[assignment]
    return found | {"positions": refusal(lambda: entered(model))}


RADIAL = Composite.parse("attnlrp") | {"activation": "radial"}


def _refusals() -> dict[str, Any]:
    def spread(**sizes: int) -> nn.Module:
        model: Any = fresh()
        model.config.distributed_config = type("Config", (), sizes)
        return model

    return {
        "wrapped": refusal(lambda: entered(DistributedDataParallel(fresh()))),
        "experts": refusal(lambda: entered(spread(ep_size=2))),
        "pipeline": refusal(lambda: entered(spread(pp_size=2))),
    }


def pair(name: str, split: Split, read: Callable[..., Any] | None = None, **options: Any) -> list[Any]:
    """What is read of a model in one process and in two; its parameters and modules stay what they were."""
    read, model = read or lrps, split(fresh(name, "sdpa").double())
    before = kept(model)
    found = read(model, **options)
    assert kept(model) == before
    return [read(fresh(name, "sdpa").double(), **options), found]


def kept(model: nn.Module) -> list[Any]:
    """What must stay."""
    weights = [
        (name, type(p), id(p), p.requires_grad, p.grad is None, str(getattr(p, "placements", "")))
        for name, p in model.named_parameters()
    ]
    hooks = [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.modules()]
    return [weights, hooks, [(vars(m).get("forward"), m.training) for m in model.modules()], torch.is_grad_enabled()]


def lrps(model: nn.Module, composite: str | Composite = "attnlrp", checkpointing: bool = False) -> dict[str, Any]:
    """Relevance, layers, heads and ledgers of two texts, for two targets."""

    def read(outputs: Any) -> torch.Tensor:
        return outputs.logits if outputs.logits.dim() == 2 else outputs.logits[range(2), MASK.sum(1) - 1]

    inputs, rules = {"input_ids": IDS, "attention_mask": MASK}, Composite.parse(composite)
    targets = [lambda rows, _: rows[:, 1], lambda rows, _: rows[:, 0]]
    views = Views(layers=True, heads=True)
    found = lrp(model, inputs, read, targets, rules, compare=True, checkpointing=checkpointing, views=views)
    assert not found[0].audit.uncovered
    return {
        "deviation": found[0].audit.forward_deviation,
        "maps": [[one.relevance.tolist(), one.layers.tolist(), one.heads.tolist()] for one in found],  # type: ignore[union-attr]
        "ledgers": [asdict(ledger) for one in found for ledger in one.ledgers],
    }


def by_layer(model: Any) -> dict[str, Any]:
    """The accounts of every layer."""
    embeddings = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0), dtype=model.dtype).requires_grad_()
    with propagate(model, by_layer=True, trace=True) as audit:
        model(inputs_embeds=embeddings).logits[0, -1, 1].backward()
    assert not audit.uncovered
    return audit.ledger(by="layer").to_dict()


def explainer(model: Any) -> Explainer:
    return Explainer(model, tiny_models.tokenizer(), name="tiny")


def told(model: Any) -> dict[str, Any]:
    """What an explainer says of a text, of its difference from a reference, and of what the model goes on with."""
    found = explainer(model)
    results = [found.explain(TEXT), found.explain(TEXT, reference="mask")]
    if found.task == "causal-lm":
        results.append(found.generate(TEXT, max_new_tokens=2))  # type: ignore[arg-type]
    return {"results": [result.to_dict() for result in results]}


def entered(model: nn.Module) -> None:
    with propagate(model):
        pass


def refusal(run: Callable[[], object]) -> str:
    """The sentence with which something is refused; empty if it is not."""
    try:
        run()
    except InputError as error:
        return str(error)
    return ""


def leaves(found: Any, path: str = "") -> Mapping[str, Any]:
    """Everything in nested findings, by its place."""
    if isinstance(found, dict):
        return {key: value for name, part in found.items() for key, value in leaves(part, f"{path}.{name}").items()}
    if isinstance(found, list):
        return {key: value for i, part in enumerate(found) for key, value in leaves(part, f"{path}[{i}]").items()}
    return {path: found}


if __name__ == "__main__":
    os.environ["LOCAL_RANK"] = "1"
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    print(json.dumps(together(1, Path(sys.argv[1]))))
