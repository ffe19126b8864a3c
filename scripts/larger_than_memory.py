"""An explanation of a model that is larger than the memory it is allowed.

python scripts/larger_than_memory.py [--layers N] [--limit GB] [--tokens N] [--checkpointing auto|on|off] [--compare]

Writes a random Llama of float32 weights, layer by layer, into a temporary folder (--folder DIR keeps it), and explains a
text in a process of its own whose memory is limited; the page cache of the system is none of it. With --compare, another
process loads the model whole and explains the same text: for models that fit. One thread; memory is read as Linux counts it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

GB = 10**9
WORDS = "the box holds a red ball and the bag holds a blue hat ."


def main() -> None:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--limit", type=float, default=2.0, help="GB of memory for the explaining process; 0: no limit")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--checkpointing", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "config.json").exists():
            alone(write, folder, options.layers, options.width, options.vocabulary)
        files = sorted(folder.glob("*.safetensors"))
        print(f"weights: {sum(file.stat().st_size for file in files) / GB:.2f} GB in {len(files)} files")
        text = " ".join((WORDS.split() * options.tokens)[: options.tokens])
        checkpointing = {"auto": None, "on": True, "off": False}[options.checkpointing]
        streamed = alone(explained, folder, text, "stream", options.limit, checkpointing)
        print(line("streamed", streamed))
        if options.compare:
            whole = alone(explained, folder, text, None, 0.0, False)
            print(line("in memory", whole))
            largest = max(map(abs, whole["relevance"]))
            differences = [abs(a - b) for a, b in zip(whole["relevance"], streamed["relevance"], strict=True)]
            print(f"largest difference of relevance: {max(differences) / largest:.1e} of the largest relevance")


def alone(function: Any, *args: Any) -> Any:
    """What a function returns, called in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def line(name: str, run: dict[str, Any]) -> str:
    """One run in words."""
    limit = f"limit {run['limit']:.2f} GB, " if run["limit"] else ""
    return (
        f"{name}: {limit}peak {run['peak']:.2f} GB (before loading {run['before']:.2f}; own memory at most {run['own']:.2f}, "
        f"mapped files {run['files']:.2f}); loading {run['loading']:.1f} s, first explanation {run['first']:.1f} s, second "
        f"{run['second']:.1f} s (CPU {run['cpu']:.1f} s), rest of the ledger {run['rest']:.0e}"
    )


def write(folder: Path, layers: int, width: int, vocabulary: int) -> None:
    """A random Llama as `save_pretrained` writes one, one shard for each layer."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    from lxtlike.loading import load

    torch.set_num_threads(1)
    size = {"hidden_size": width, "intermediate_size": 11 * width // 4, "num_attention_heads": width // 64}
    config = LlamaConfig(vocab_size=vocabulary, num_hidden_layers=layers, **size, dtype="float32", bos_token_id=None)
    config.architectures = ["LlamaForCausalLM"]
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in LlamaForCausalLM(config).state_dict().items()}
    shards: dict[str, list[str]] = {}
    for name in shapes:
        shards.setdefault(name.rpartition("layers.")[2].split(".")[0], []).append(name)
    folder.mkdir(exist_ok=True)
    generator, places = torch.Generator().manual_seed(0), {}
    for number, names in enumerate(shards.values(), start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weights = {
            name: torch.randn(shapes[name], generator=generator) * shapes[name][-1] ** -0.5
            if len(shapes[name]) > 1
            else torch.ones(shapes[name])
            for name in names
        }
        save_file(weights, folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 4 * sum(shape.numel() for shape in shapes.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(folder)
    tokenizer = load("bindings").tokenizer
    assert tokenizer is not None
    tokenizer.save_pretrained(folder)


def explained(
    folder: Path, text: str, device_map: str | None, limit: float, checkpointing: bool | None
) -> dict[str, Any]:
    """Explain a text twice, and say what it took."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * GB), int(limit * GB)))
    import torch

    from lxtlike import Explainer

    torch.set_num_threads(1)
    Explainer.from_pretrained("bindings").explain(text)  # what libraries take is not the model's
    found: dict[str, Any] = {"limit": limit, "before": memory()["VmRSS"], "own": 0.0, "files": 0.0}
    done = threading.Event()
    watch = threading.Thread(target=watched, args=(found, done))
    watch.start()
    begin = time.perf_counter()
    explainer = Explainer.from_pretrained(folder, device_map=device_map, checkpointing=checkpointing)
    loaded = time.perf_counter()
    explainer.explain(text, target=5)  # the first one also runs the plain model, to compare
    first, cpu = time.perf_counter(), time.process_time()
    result = explainer.explain(text, target=5)
    found |= {"cpu": time.process_time() - cpu, "second": time.perf_counter() - first}
    found |= {"loading": loaded - begin, "first": first - loaded}
    done.set()
    watch.join()
    return found | {
        "peak": memory()["VmHWM"],
        "rest": result.ledger.relative_error,
        "relevance": [float(value) for value in result.relevance],
    }


def watched(found: dict[str, Any], done: threading.Event) -> None:
    """Note the largest of what the process held, until it is done."""
    while not done.wait(0.01):
        now = memory()
        found["own"], found["files"] = max(found["own"], now["RssAnon"]), max(found["files"], now["RssFile"])


def memory() -> dict[str, float]:
    """What Linux says of this process' memory, in GB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {entry[0].rstrip(":"): int(entry[1]) * 1024 / GB for entry in lines if len(entry) == 3 and entry[2] == "kB"}


if __name__ == "__main__":
    main()
