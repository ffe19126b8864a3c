"""What explaining the tokens of a continuation costs: per token as a ratio to a plain forward pass, and in memory.

python scripts/measure_generation.py [--outputs N ...] [--vocabulary V ...] [--prompt N] [--width N] [--layers N]

A random Llama explains N words behind a prompt, in a process of its own for each line. CPU time of one core, the forward
pass's as the median of some before and some behind; memory is what the process held at most, beyond what it held before.
Memory is read as Linux counts it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from lxtlike import Explainer


def main() -> None:
    """Print one line for each vocabulary and number of outputs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--outputs", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[32000, 128000])
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    for vocabulary in options.vocabulary:
        for outputs in options.outputs:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                sizes = (vocabulary, outputs, options.prompt, options.width, options.layers)
                print(pool.apply(measured, sizes), flush=True)


def measured(vocabulary: int, outputs: int, prompt: int, width: int, layers: int) -> str:
    """One line of the table."""
    torch.set_num_threads(1)
    explainer = Explainer(llama(vocabulary, width, layers), numbers(vocabulary))
    drawn = random.Random(0).choices(range(vocabulary), k=prompt + outputs)
    words = [f"w{number}" for number in drawn]
    text, completion = " ".join(words[:prompt]), " ".join(words[prompt:])
    explainer.generate("w1", completion="w2")  # the first explanation also runs the plain model
    forward = [spent(lambda: plain(explainer.model, drawn)) for _ in range(5)]
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    held = peak()
    every = spent(lambda: explainer.generate(text, completion=completion, objective="logprob"))
    held = peak() - held
    once = statistics.median(forward + [spent(lambda: plain(explainer.model, drawn)) for _ in range(5)])
    size = sum(parameter.numel() for parameter in explainer.model.parameters()) / 1e6
    return (
        f"{size:.0f}M parameters, vocabulary {vocabulary}, {prompt} + {outputs} tokens: forward {once:.2f} s, "
        f"{every / outputs / once:.2f} x forward for each output, {held:.0f} MiB"
    )


def llama(vocabulary: int, width: int, layers: int) -> Any:
    """A random Llama."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        vocab_size=vocabulary,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def numbers(count: int) -> Any:
    """A tokenizer whose words are w0, w1, ..."""
    words = Tokenizer(WordLevel({f"w{number}": number for number in range(count)}, unk_token="w0"))
    words.pre_tokenizer = WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", pad_token="w0")


def plain(model: Any, ids: list[int]) -> None:
    """The plain forward pass for the next token."""
    with torch.no_grad():
        model(torch.tensor([ids]), logits_to_keep=1, use_cache=False)


def spent(run: Any) -> float:
    """CPU seconds."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def peak() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
