"""Models whose weights stay in their files: the same relevance, and never more than one matrix in memory."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import tiny_models
import torch
import transformers
from explaining import close, fresh, ledgered, untouched
from families import embeddings_of
from torch import Tensor, nn

from lxtlike import Explainer, loading
from lxtlike.cli import main
from lxtlike.errors import InputError
from lxtlike.streaming import Stored, stored_weights, streamed_model

TEXT = "the red ball is . the"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_models.save("causal-lm", tmp_path / "model")


def saved(name: str, folder: Path) -> Path:
    fresh(name).save_pretrained(folder)  # type: ignore[operator]
    return folder


def loaded(folder: Path, **options: Any) -> nn.Module:
    return loading.load(folder, need_tokenizer=False, **options).model


@pytest.mark.parametrize(
    ("name", "composite"),
    [
        ("llama", "attnlrp"),
        ("llama", "gamma"),
        ("llama", "epsilon-alpha2-beta1"),
        ("gpt2", "attnlrp"),
        ("qwen3", "attnlrp"),
        ("qwen3_moe", "attnlrp"),
        ("bert", "attnlrp"),
        ("bert-masked", "cp-lrp"),
        ("t5", "attnlrp"),
    ],
)
def test_relevance_is_that_of_the_model_in_memory(name: str, composite: str, tmp_path: Path) -> None:
    model = loaded(saved(name, tmp_path), device_map="stream")
    assert all(isinstance(weight, Stored) == (weight.dim() > 1) for weight in model.parameters())
    embeddings = embeddings_of(fresh(name))
    expected, _ = ledgered(loaded(tmp_path), composite, embeddings=embeddings)
    found, ledger = ledgered(model, composite, embeddings=embeddings)
    assert close(found, expected, 1e-6)
    assert ledger.relative_error < 1e-5


@pytest.mark.parametrize("kind", ["causal-lm", "masked-lm", "sequence-classification"])
@pytest.mark.parametrize("dtype", ["auto", "float64", "bfloat16"])
def test_explanations(kind: str, dtype: str, tmp_path: Path) -> None:
    folder = tiny_models.save(kind, tmp_path / "model")
    text = TEXT.replace("is", "[MASK]")
    expected = Explainer.from_pretrained(folder, dtype=dtype).explain(text)
    explainer = Explainer.from_pretrained(folder, dtype=dtype, device_map="stream")
    assert explainer.name == str(folder)
    for _ in range(2):
        found = explainer.explain(text)
        assert found.relevance == pytest.approx(expected.relevance, rel=1e-5, abs=1e-7)
        assert [choice.id for choice in found.prediction] == [choice.id for choice in expected.prediction]
        assert found.ledger.relative_error == pytest.approx(expected.ledger.relative_error, abs=1e-6)


def test_what_else_is_asked_of_a_model(folder: Path) -> None:
    plain, streamed = Explainer.from_pretrained(folder), Explainer.from_pretrained(folder, device_map="stream")
    assert streamed.model.generation_config.to_dict() == plain.model.generation_config.to_dict()
    for one, other in zip(
        plain.generate(TEXT, max_new_tokens=3), streamed.generate(TEXT, max_new_tokens=3), strict=True
    ):
        assert one.target.token == other.target.token
        assert other.relevance == pytest.approx(one.relevance, rel=1e-5, abs=1e-7)
    options: list[dict[str, Any]] = [
        {"layers": True, "heads": True},
        {"reference": "mean"},
        {"method": "occlusion:by=word"},
        {"completion": "red ball"},
    ]
    for asked in options:
        one, other = plain.explain(TEXT, **asked), streamed.explain(TEXT, **asked)
        assert other.relevance == pytest.approx(one.relevance, rel=1e-5, abs=1e-7)
    texts = [TEXT, "a bag holds"]
    for one, other in zip(plain.explain(texts), streamed.explain(texts), strict=True):
        assert other.relevance == pytest.approx(one.relevance, rel=1e-5, abs=1e-7)


class Gauge:
    """What has been read of weights and is still alive: now, and at most."""

    def __init__(self) -> None:
        self.now = self.most = self.reads = 0

    def read(self, values: Tensor) -> Tensor:
        array = values.numpy().copy()  # whose end is that of its memory, whatever view of it is kept
        self.now, self.reads = self.now + array.nbytes, self.reads + 1
        self.most = max(self.most, self.now)
        weakref.finalize(array, self.free, array.nbytes)
        return torch.from_numpy(array)

    def free(self, size: int) -> None:
        self.now -= size


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    gauge, read = Gauge(), Stored.read
    monkeypatch.setattr(Stored, "read", lambda self, rows=None: gauge.read(read(self, rows)))
    return gauge


def largest(model: nn.Module) -> int:
    return max(weight.nbytes for weight in model.parameters())


@pytest.mark.parametrize("checkpointing", [True, False])
def test_one_matrix_is_in_memory_at_a_time(folder: Path, gauge: Gauge, checkpointing: bool) -> None:
    explainer = Explainer.from_pretrained(folder, device_map="stream", checkpointing=checkpointing)
    assert gauge.reads == len([weight for weight in explainer.model.parameters() if weight.dim() == 1])
    resident, gauge.most = gauge.now, 0
    explainer.explain(TEXT)
    explainer.generate(TEXT, max_new_tokens=3)
    assert gauge.reads > 100
    assert gauge.now == resident
    # What a matrix is made of (a view, a cast) is counted beside it.
    assert gauge.most - resident <= 2 * largest(explainer.model)


def test_layers_are_computed_again_and_keep_nothing_else(folder: Path) -> None:
    model = Explainer.from_pretrained(folder, device_map="stream").model
    assert all(layer.gradient_checkpointing for layer in model.model.layers)
    assert not model.training


def test_an_exception_in_the_middle_leaves_nothing(folder: Path, gauge: Gauge) -> None:
    explainer = Explainer.from_pretrained(folder, device_map="stream")
    expected, resident, left = explainer.explain(TEXT).relevance, gauge.now, [0]

    def stumble(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("stumbled")

    handle = explainer.model.model.layers[0].mlp.register_forward_hook(stumble)
    for left[0] in (1, 2):  # in the forward pass, and when the backward pass computes the layer again
        with untouched(explainer.model), pytest.raises(RuntimeError, match="stumbled"):
            explainer.explain(TEXT)
        assert gauge.now == resident
    handle.remove()
    assert np.array_equal(explainer.explain(TEXT).relevance, expected)


def test_a_sharded_model(tmp_path: Path) -> None:
    model = tiny_models.model("causal-lm")
    model.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    tiny_models.tokenizer().save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    found = Explainer.from_pretrained(tmp_path / "shards", device_map="stream").explain(TEXT)
    assert found.relevance == pytest.approx(
        Explainer.from_pretrained(tmp_path / "shards").explain(TEXT).relevance, rel=1e-6
    )


def test_files_of_a_hub_model_are_fetched_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, fetched = folder.rename(folder.with_name("hub")), []
    locate = loading._locate

    def fetch(repository: str, name: str) -> str:
        fetched.append((repository, name))
        return str(hub / name)

    monkeypatch.setattr(loading, "_locate", lambda name: replace(locate(name), local=False))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert Explainer.from_pretrained(hub, device_map="stream").explain(TEXT).ledger.relative_error < 1e-5
    assert fetched == [(str(hub), "model.safetensors")]


def without_a_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def quantised(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))


def misshapen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 12}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_a_layer, "has no trained weights for causal-lm .* missing, such as model.layers.2"),
        (quantised, "is quantised, and such weights are not streamed"),
        (misshapen, "the weights of .* cannot be used"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "other.safetensors"), "neither is there"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"), "is damaged"),
    ],
)
def test_models_that_cannot_be_streamed(damage: Callable[[Path], object], says: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(InputError, match=says) as caught:
        loading.load(folder, device_map="stream")
    assert "\n" not in str(caught.value)


def test_a_device_may_be_named(folder: Path) -> None:
    assert loading.load(folder, device_map="stream", device="cpu").model.device.type == "cpu"
    with pytest.raises(InputError, match="not available on this machine"):
        loading.load(folder, device_map="stream", device="cuda:97")


def test_what_is_in_memory_goes_to_the_device_and_the_rest_is_used_there(folder: Path) -> None:
    """The device that is always there besides the CPU: it keeps no numbers."""
    model = streamed_model(
        transformers.AutoModelForCausalLM,
        transformers.AutoConfig.from_pretrained(folder),
        stored_weights([folder / "model.safetensors"]),
        torch.device("meta"),
    )[0]
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert isinstance(model.lm_head.weight, Stored)
    assert model.lm_head(torch.ones(1, 16, device="meta")).shape == (1, len(tiny_models.VOCABULARY))


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(folder), "--format", "json"]
    found = []
    for options in ([], ["--device-map", "stream"]):
        assert main(["explain", TEXT, *words, *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    plain, streamed = ([token["relevance"] for token in result["tokens"]] for result in found)
    assert streamed == pytest.approx(plain, rel=1e-5, abs=1e-7)
    assert main(["generate", TEXT, "--max-new-tokens", "2", *words, "--device-map", "stream"]) == 0
    rows, results = folder.with_name("rows.jsonl"), folder.with_name("results.jsonl")
    rows.write_text(json.dumps({"text": TEXT}))
    where = ["--model", str(folder), "--output", str(results), "--device-map", "stream"]
    assert main(["batch", str(rows), *where]) == 0
    assert json.loads(results.read_text())["tokens"] == found[1]["tokens"]
