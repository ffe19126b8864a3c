"""What explaining long texts costs: time as a ratio to a plain forward pass, and memory, over the number of tokens.

python scripts/long_inputs.py [--models NAME ...] [--lengths N ...] [--ways NAME ...] [--width N] [--layers N]

Random models: `llama` (causal), `mistral` (causal, a sliding window of 1024 tokens) and `bert` (a classifier). Each cell is
measured in a process of its own, on one core: CPU time over that of a plain forward pass of the same text there, and what the
process held at most, beyond what it held with the model loaded. Memory is read as Linux counts it, with freed blocks given back
at once (`MALLOC_MMAP_THRESHOLD_`): glibc would keep some, and what is measured would depend on the order of blocks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from measure_generation import numbers, peak, spent

from lxtlike import Explainer

WORDS = 1000
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "forward": ({}, {}),
    "attnlrp": ({"composite": "attnlrp"}, {}),
    "checkpointing": ({"composite": "attnlrp", "checkpointing": True}, {}),
    "quality high": ({}, {"quality": "high"}),
}
"""Name -> options of the explainer, and of what it explains."""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--models", nargs="+", default=["llama", "mistral", "bert"], choices=["llama", "mistral", "bert"]
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)  # of the processes that measure
    print(f"| model | tokens | {' | '.join(options.ways)} |")
    print(f"|---|---:|{'---:|' * len(options.ways)}")
    for name in options.models:
        for length in options.lengths:
            print(f"| {name} | {length} |", end="", flush=True)
            for way in options.ways:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    cell = pool.apply(measured, (name, length, way, options.width, options.layers))
                print(f" {cell} |", end="", flush=True)
            print(flush=True)


def measured(name: str, length: int, way: str, width: int, layers: int) -> str:
    """One cell of the table."""
    torch.set_num_threads(1)
    made, asked = WAYS[way]
    explainer = Explainer(model(name, length, width, layers), numbers(WORDS), **made)
    ids = random.Random(0).choices(range(WORDS), k=length)
    text = " ".join(f"w{number}" for number in ids)
    explainer.explain("w1 w2 w3 w4 w5 w6 w7 w8", **asked)  # the first explanation also runs the plain model

    def forward() -> None:
        inputs: dict[str, Any] = {} if name == "bert" else {"logits_to_keep": 1, "use_cache": False}
        with torch.no_grad():
            explainer.model(torch.tensor([ids]), **inputs)

    before = spent(forward) if way != "forward" else 0.0
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    held = peak()
    every = spent(forward if way == "forward" else lambda: explainer.explain(text, **asked))
    held = peak() - held
    if way == "forward":
        return f"{every:.2f} s, {held:.0f} MiB"
    return f"{2 * every / (before + spent(forward)):.2f}x, {held:.0f} MiB"


def model(name: str, length: int, width: int, layers: int) -> Any:
    """A random model for texts of this length."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "vocab_size": WORDS,
        "max_position_embeddings": length,
    }
    if name == "bert":
        return transformers.BertForSequenceClassification(transformers.BertConfig(**sizes)).eval()
    if name == "mistral":
        config = transformers.MistralConfig(**sizes, num_key_value_heads=width // 128, sliding_window=1024)
        return transformers.MistralForCausalLM(config).eval()
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()


if __name__ == "__main__":
    main()
