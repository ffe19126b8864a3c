"""One explanation by several processes together, compared with the same one in a single process.

torchrun --nproc-per-node 2 scripts/several_devices.py [MODEL ...] [--dtype float64] [--text TEXT]

Each process takes the accelerator of its own number, or the CPU where there is none. Without arguments, the bundled language
model and the bundled classifier in float32. Prints one line for each model and way: how many bytes of the weights are in the
process that holds most, the largest difference of a token's relevance (relative to the largest relevance) that any process
sees, and the relative error of the ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from lxtlike import Attribution, Explainer, InputError

ROW = "{:14} {:20} {:>12} {:>12} {:>10}"


def main() -> None:
    """Print the table, in the first process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["bindings", "sentiment"])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--text", default="the red ball is in the box and the blue hat is in the bag . the red ball is in the"
    )
    options = parser.parse_args()
    device = _own_device()
    dist.init_process_group("gloo" if device.type == "cpu" else None)
    show(ROW.format("model", f"way ({dist.get_world_size()} processes)", "bytes", "difference", "ledger"))
    for model in options.models:
        for row in rows(model, options.text, options.dtype, device):
            show(row)
    dist.destroy_process_group()


def rows(model: str, text: str, dtype: str, device: torch.device) -> Iterator[str]:
    """One model, in all ways."""
    name, shared = Path(model).name, {"dtype": dtype}
    ways: dict[str, Callable[[], Explainer]] = {
        "one process": lambda: Explainer.from_pretrained(model, device=device, **shared),
        "FSDP2": lambda: _sharded(Explainer.from_pretrained(model, device=device, **shared), device),
        "tensor parallelism": lambda: Explainer.from_pretrained(model, tp_plan="auto", **shared),
    }
    plain: Attribution | None = None
    for way, load in ways.items():
        try:
            explainer = load()
            found = explainer.explain(text)
        except InputError as error:
            yield f"{name:14} {way:20} refused: {error}"
            continue
        plain = plain or found
        difference = abs(found.relevance - plain.relevance).max() / abs(plain.relevance).max()
        size, error = _largest(_bytes(explainer.model)), _largest(found.ledger.relative_error)
        yield ROW.format(name, way, int(size), f"{_largest(float(difference)):.1e}", f"{error:.1e}")


def _own_device() -> torch.device:
    """The accelerator with the number of this process, or the CPU."""
    if "LOCAL_RANK" not in os.environ:
        raise SystemExit("start it with torchrun --nproc-per-node N scripts/several_devices.py")
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
    return torch.device(f"{torch.accelerator.current_accelerator()}:{os.environ['LOCAL_RANK']}")


def _sharded(explainer: Explainer, device: torch.device) -> Explainer:
    """The model's weights in pieces, gathered layer by layer when they are needed."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in explainer.model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=mesh)
    fully_shard(explainer.model, mesh=mesh)
    return explainer


def _bytes(model: Any) -> float:
    """Of the weights that lie in this process."""
    own = (p.to_local() if hasattr(p, "to_local") else p for p in model.parameters())
    return sum(weight.numel() * weight.element_size() for weight in own)


def _largest(number: float) -> float:
    """Of all processes."""
    found: list[float] = [0.0] * dist.get_world_size()
    dist.all_gather_object(found, number)
    return max(found)


def show(line: str) -> None:
    """Print a line once."""
    if dist.get_rank() == 0:
        print(line, flush=True)


if __name__ == "__main__":
    main()
