"""What explanations of a random Llama cost, as ratios to its plain forward pass, and what they hold in memory.

python scripts/measure_cost.py [--tokens N ...] [--rounds N]

CPU time of one core, the smallest of several rounds; memory is what autograd has saved for the backward pass when the
forward pass has ended, without the weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

from lxtlike import propagate

RUNS: dict[str, dict[str, Any]] = {
    "attnlrp": {},
    "cp-lrp": {"composite": "cp-lrp"},
    "attnlrp, by layer": {"by_layer": True},
    "attnlrp, checkpointing": {"checkpointing": True},
}


def main() -> None:
    """Print one table for each length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for attention in ("eager", "sdpa"):
        model = llama(attention)
        size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        for tokens in options.tokens:
            ids = torch.randint(0, model.config.vocab_size, (1, tokens))
            plain = cheapest(lambda model=model, ids=ids: forward(model, ids), options.rounds)
            print(f"{attention}, {size:.1f}M parameters, {tokens} tokens: forward {plain:.2f} s")
            for name, run in RUNS.items():
                ratio = cheapest(lambda m=model, i=ids, r=run: explain(m, i, r), options.rounds) / plain
                print(f"  {name:24} {ratio:5.2f} x forward, {held(model, ids, run) / 2**20:6.1f} MiB saved")


def llama(attention: str) -> Any:
    """A random Llama of 8 layers, width 512."""
    config = transformers.LlamaConfig(
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        vocab_size=8000,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


def forward(model: Any, ids: torch.Tensor) -> None:
    """The plain forward pass, without gradient."""
    with torch.no_grad():
        model(ids, logits_to_keep=1, use_cache=False)


def explain(model: Any, ids: torch.Tensor, run: dict[str, Any], ended: Callable[[], None] = lambda: None) -> None:
    """One explanation; `ended` is called between the forward and the backward pass."""
    with propagate(model, **{"composite": "attnlrp", **run}):
        embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
        value = model(inputs_embeds=embeddings, logits_to_keep=1, use_cache=False).logits[0, -1].max()
        ended()
        torch.autograd.grad(value, embeddings)


def cheapest(run: Callable[[], None], rounds: int) -> float:
    """CPU seconds of the cheapest of several rounds, after one to warm up."""
    run()
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        run()
        spent.append(time.process_time() - begun)
    return min(spent)


def held(model: Any, ids: torch.Tensor, run: dict[str, Any]) -> int:
    """Bytes that autograd has saved for the backward pass when the forward pass has ended, weights left out."""
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved: dict[int, Any] = {}  # the storages themselves: a freed one's address would be used again

    def pack(t: torch.Tensor) -> torch.Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    found: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        explain(model, ids, run, lambda: found.append(sum(s.nbytes() for at, s in saved.items() if at not in weights)))
    return found[0]


if __name__ == "__main__":
    main()
