"""What explaining the tokens of a continuation costs: per token as a ratio to a plain forward pass, and in memory.

python scripts/measure_generation.py [--outputs N ...] [--vocabulary V ...] [--prompt N] [--width N] [--layers N]

A random Llama explains N words behind a prompt, in a process of its own for each line. CPU time of one core, the forward
pass's as the median of some between the outputs; memory is what the process held at most, beyond what it held before, as
Linux counts it. The goal is a forward pass, and 1.1 of one for each output. Beside it stands, for some of the outputs, what
they cost without sharing anything (`explain` in a loop), and what torch needs for their plain gradients: one forward pass that
all share, and a backward pass for each.
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
    model = explainer.model
    explainer.generate("w1 w2 w3 w4 w5 w6 w7 w8", completion="w9")  # the first explanation also runs the plain model
    forward = [spent(lambda: plain(model, drawn))]

    def between(done: int, _: int) -> None:
        if done % -(-outputs // 12) == 0:
            forward.append(spent(lambda: plain(model, drawn)))

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    held = peak()
    every = spent(lambda: explainer.generate(text, completion=completion, objective="logprob", progress=between))
    held, every, once = peak() - held, every - sum(forward[1:]), statistics.median(forward)
    some = range(prompt, prompt + outputs, -(-outputs // 4))
    loop = spent(lambda: [explainer.explain(" ".join(words[:n]), words[n], objective="logprob") for n in some])
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return (
        f"{size:.0f}M parameters, vocabulary {vocabulary}, {prompt} + {outputs} tokens: forward {once:.2f} s; "
        f"1 + {(every / once - 1) / outputs:.2f} x forward for each output, {held:.0f} MiB; "
        f"a loop {loop / len(some) / once:.2f}, plain gradients {gradients(model, drawn, some) / once:.2f}"
    )


def gradients(model: Any, ids: list[int], places: range) -> float:
    """CPU seconds of a backward pass for the plain gradient of one output, their shared forward pass left out."""
    model.requires_grad_(False)
    x = model.get_input_embeddings()(torch.tensor([ids])).requires_grad_()
    logits = model(inputs_embeds=x, use_cache=False, logits_to_keep=torch.tensor([n - 1 for n in places])).logits[0]
    chosen = [row.log_softmax(-1)[ids[n]] for row, n in zip(logits, places, strict=True)]
    return spent(lambda: [torch.autograd.grad(one, x, retain_graph=True) for one in chosen]) / len(places)


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
