"""``lxtlike verify``: which rule every module gets, whether the ledger closes, and what no rule covers."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from lxtlike.propagation.report import grouped

Run = Callable[..., Any]


@pytest.mark.parametrize("model", ["bindings", "sentiment", "MODELS/encoder", "MODELS/mute"])
def test_verify_says_that_the_ledger_closes(model: str, run: Run) -> None:
    words = ["--task", "causal-lm"] if model == "MODELS/mute" else []
    ended = run("verify", model, "--format", "json", *words)
    assert (ended.code, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert [check["dtype"] for check in report["checks"]] == ["float32", "float64"]
    assert report["checks"][1]["ledger"]["relative_error"] < 1e-12
    assert report["closes"]
    assert any("self_attn" in name or "attention" in name for name in report["modules"])


def test_verify_ends_with_3_where_it_does_not_close(run: Run) -> None:
    ended = run("verify", "bindings", "--composite", "input-x-gradient")
    assert ended.code == 3
    assert "does NOT close in float32, float64" in ended.out


def test_verify_takes_layers_of_one_kind_together(run: Run) -> None:
    ended = run("verify", "bindings", "--dtype", "bfloat16")
    assert ended.code == 0
    assert "model.layers.*.mlp.act_fn" in ended.out
    assert "2 ×  silu → activation: identity" in ended.out
    assert "bfloat16" in ended.out
    rules = {
        "h.0": {"add": "a"},
        "h.1": {"add": "b"},
        "h.2": {"add": "a", "view": "structure: gradient"},
        "": {"mul": "p"},
    }
    assert grouped(rules) == {"h.0,2": (2, "add → a"), "h.1": (1, "add → b"), "(model)": (1, "mul → p")}


def other_models() -> dict[str, PreTrainedModel]:
    """What the other commands do not explain: spans, sequences to sequences, images."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    image = {"image_size": 16, "num_labels": 3}
    own_embeddings = MarianConfig(
        vocab_size=30, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
        encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=32, pad_token_id=0,
        share_encoder_decoder_embeddings=False, tie_word_embeddings=False, decoder_vocab_size=30,
    )  # fmt: skip
    return {
        "question-answering": BertForQuestionAnswering(BertConfig(vocab_size=30, **size)),
        "seq2seq-lm": tiny_models.model("seq2seq-lm"),
        "seq2seq-lm with embeddings of the decoder's own": MarianMTModel(own_embeddings),
        "image-classification": ViTForImageClassification(ViTConfig(patch_size=8, **size, **image)),
        "image-classification with convolutions": ResNetForImageClassification(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], **image)
        ),
    }


@pytest.mark.parametrize("task", other_models())
def test_verify_takes_every_task(task: str, run: Run, tmp_path: Path) -> None:
    model = other_models()[task]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path / "model")
    if "image" not in task:
        tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    ended = run("verify", str(tmp_path / "model"), "--format", "json", "--by", "layer", "--task", task.split()[0])
    assert (ended.code, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert report["task"] == task.split()[0]
    assert report["checks"][1]["ledger"]["relative_error"] < 1e-11
    assert all(layer["relative_error"] < 1e-9 for layer in report["layers"])
    names = [layer["name"] for layer in report["layers"]]
    assert any(name.endswith((".0", ".1")) for name in names)
    if task.startswith("seq2seq-lm"):  # the relevance of both texts, looked up before and between the layers
        outside = {name: sum(layer[name] for layer in report["layers"]) for name in ("arrives", "passes")}
        crossed = report["checks"][1]["ledger"]["tokens"] - report["checks"][1]["ledger"]["explained"]
        assert crossed == pytest.approx(outside["passes"] - outside["arrives"])
        assert next(layer["passes"] for layer in report["layers"] if layer["name"] == "(between)") != 0.0


MODELING = """
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class Config(PreTrainedConfig):
    model_type = "strange"
    is_encoder_decoder = False

    def __init__(self, vocab_size=24, hidden_size=8, **kwargs):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**kwargs)


class Model(PreTrainedModel):
    config_class = Config
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList([nn.Linear(config.hidden_size, config.hidden_size) for _ in range(2)])
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids=None, **kwargs):
        hidden = self.embed(input_ids)
        for block in self.blocks:
            mixed = torch.einsum("btd,bsd->bts", hidden, hidden).tril().softmax(-1)
            hidden = hidden + torch.einsum("bts,bsd->btd", mixed, torch.ACT(block(hidden)))
        return CausalLMOutput(logits=self.head(hidden))
"""


@pytest.mark.parametrize(("function", "strict", "code"), [("tanh", True, 0), ("special.i1e", False, 3)])
def test_verify_takes_code_that_nobody_has_seen(
    function: str, strict: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "modeling_strange.py").write_text(MODELING.replace("ACT", function))
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "modeling_strange", raising=False)
    written = importlib.import_module("modeling_strange")
    written.Config.register_for_auto_class()
    written.Model.register_for_auto_class("AutoModelForCausalLM")
    torch.manual_seed(0)
    written.Model(written.Config()).save_pretrained(tmp_path / "strange")

    words = [
        "verify",
        "strange",
        "--task",
        "causal-lm",
        "--by",
        "layer",
        "--trust-remote-code",
        *(["--strict"] * strict),
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-m", "lxtlike", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    if code:
        line = next(number for number, text in enumerate(MODELING.splitlines(), 1) if "torch.ACT" in text)
        assert "warning: no rule covers torch.special.i1e in the model (" in ended.stderr
        assert f"modeling_strange.py:{line}: hidden = hidden + torch.einsum" in ended.stdout
        assert "does NOT close in float64; 1 operation without a rule" in ended.stdout
    else:
        assert ended.stderr == ""
        assert ended.stdout.endswith("the ledger closes; every operation has a rule\n")
        assert "blocks.*" in ended.stdout


def test_strict_also_refuses_what_closes_without_a_rule(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut is booked as a constant, so the ledger closes; the text's own part is still missing."""
    from lxtlike.ledger import Uncovered
    from lxtlike.propagation import Audit

    found = Uncovered("cut: add", "model", "compute it with gradients", "modeling.py:3: x + early")
    monkeypatch.setattr(Audit, "uncovered", property(lambda _: [found]))
    warned, refused = run("verify", "bindings"), run("verify", "bindings", "--strict")
    assert (warned.code, refused.code) == (0, 3)
    assert warned.err == refused.err == f"warning: {found}\n"
    assert warned.out.endswith("the ledger closes; 1 operation without a rule\n")
    assert "modeling.py:3: x + early" in warned.out
