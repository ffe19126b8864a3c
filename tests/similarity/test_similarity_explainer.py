"""What the explainer takes, what it refuses, and that it leaves the model as it was."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from two_texts import FIRST, SECOND, tokenizer

import lxtlike
from lxtlike.similarity.pooling import recipe


def test_the_model_is_what_it_was() -> None:
    model = tiny_models.model("masked-lm").train()
    before, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    explainer = lxtlike.SimilarityExplainer(model, tokenizer())
    first = explainer.explain(FIRST, SECOND)
    assert first == explainer.explain(FIRST, SECOND, batch_size=3) or np.allclose(
        first.matrix, explainer.explain(FIRST, SECOND, batch_size=3).matrix, atol=1e-6
    )
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.inference_mode():
        explainer.explain(FIRST, SECOND)


def test_progress_is_told_of_every_run(explainer: lxtlike.SimilarityExplainer) -> None:
    told: list[tuple[int, int]] = []
    explainer.explain(FIRST, SECOND, batch_size=6, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"form": "bilpr"}, "did you mean bilrp"),
        ({"projections": 0}, "at least 1"),
        ({"form": "tokens", "projections": 3}, "for form 'bilrp'"),
        ({"batch_size": 0}, "batch_size"),
        ({"first": ""}, "empty"),
        ({"second": "red " * 40}, "at most 32"),
    ],
)
def test_bad_input_gets_a_sentence(
    explainer: lxtlike.SimilarityExplainer, options: dict[str, object], says: str
) -> None:
    with pytest.raises(lxtlike.InputError, match=says):
        explainer.explain(**{"first": FIRST, "second": SECOND, **options})


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("masked-lm", {"pooling": "max"}, "pooling 'max'"),
        ("masked-lm", {"similarity": "euclid"}, "cosine, dot"),
        ("seq2seq-lm", {}, "encoder-decoder"),
    ],
)
def test_what_is_not_explained_is_refused(kind: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(lxtlike.InputError, match=says):
        lxtlike.SimilarityExplainer(tiny_models.model(kind), tokenizer(), **options)


def sentence_transformer(folder: Path, pooling: dict[str, object], *others: str) -> Path:
    """A folder as sentence-transformers writes it."""
    tiny_models.model("masked-lm").base_model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    names = [("Transformer", ""), ("Pooling", "1_Pooling"), *((name, f"2_{name}") for name in others)]
    modules = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{n}"} for i, (n, path) in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    return folder


CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "include_prompt": True}


def test_a_folder_says_how_it_pools(tmp_path: Path) -> None:
    folder = sentence_transformer(tmp_path / "st", CLS, "Normalize")
    explainer = lxtlike.SimilarityExplainer.from_pretrained(folder, similarity="dot")
    assert (explainer.pooling, explainer.similarity, explainer.name) == ("cls", "cosine", str(folder))
    found = explainer.explain(FIRST, SECOND)
    ours = lxtlike.SimilarityExplainer(tiny_models.model("masked-lm"), tokenizer(), pooling="cls")
    np.testing.assert_allclose(found.matrix, ours.explain(FIRST, SECOND).matrix, atol=1e-6)
    assert lxtlike.SimilarityExplainer.from_pretrained(folder, pooling="mean").pooling == "mean"


def test_the_newer_form_of_the_config_and_an_inner_folder(tmp_path: Path) -> None:
    folder = sentence_transformer(tmp_path / "st", {"pooling_mode": "mean"})
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(inner / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(modules))
    assert lxtlike.SimilarityExplainer.from_pretrained(folder).explain(FIRST, SECOND).pooling == "mean"


@pytest.mark.parametrize(
    ("pooling", "others", "says"),
    [
        ({"pooling_mode_max_tokens": True}, (), "pooling_mode_max_tokens"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, (), r"mean_tokens \+ pooling_mode_cls"),
        (CLS, ("Dense",), "a module Dense"),
    ],
)
def test_a_folder_that_does_more_is_refused(
    tmp_path: Path, pooling: dict[str, object], others: tuple[str, ...], says: str
) -> None:
    folder = sentence_transformer(tmp_path / "st", pooling, *others)
    with pytest.raises(lxtlike.InputError, match=says):
        lxtlike.SimilarityExplainer.from_pretrained(folder)


def test_damaged_json_is_said(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(lxtlike.InputError, match=r"modules.json .* cannot be read"):
        recipe(str(tmp_path))
    (tmp_path / "modules.json").write_text("[1]")
    with pytest.raises(lxtlike.InputError, match="damaged"):
        recipe(str(tmp_path))


def test_a_model_with_a_head_is_loaded_without_it(tmp_path: Path) -> None:
    folder = tiny_models.save("masked-lm", tmp_path / "mlm")  # without a pooler, which is not needed
    found = lxtlike.SimilarityExplainer.from_pretrained(folder).explain(FIRST, SECOND)
    ours = lxtlike.SimilarityExplainer(tiny_models.model("masked-lm"), tiny_models.tokenizer())
    np.testing.assert_allclose(found.matrix, ours.explain(FIRST, SECOND).matrix, atol=1e-6)


def test_the_bundled_model_explains_itself() -> None:
    explainer = lxtlike.SimilarityExplainer.from_pretrained("sentiment")
    found = explainer.explain("a dull film with a moving ending .", "the ending is moving , the rest is dull .")
    assert [(one.text, other.text) for one, other, _ in found.top(2)] == [("dull", "dull"), ("moving", "moving")]
    assert found.top(3)[-1][-1] < 0
    assert found.ledger.relative_error < 1e-6
    assert found.audit.uncovered == ()
