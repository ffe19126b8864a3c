"""FSDP2 and tensor parallelism: two processes together find what one finds, or refuse with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import together
import torch.distributed as dist

pytestmark = pytest.mark.skipif(
    not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo"
)
divided = pytest.mark.skipif(not together.divides(), reason="transformers has no such tensor parallelism")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What this process has found, and what the other one has."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, together.__file__, str(folder)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        mine = together.together(0, folder)
        output, errors = other.communicate(timeout=120)
    except BaseException:
        other.kill()
        raise
    assert other.returncode == 0, errors
    return [json.loads(json.dumps(mine)), json.loads(output)]


@pytest.mark.parametrize(
    "name",
    [
        "gathered bert",
        "gathered qwen3_moe, checkpointing",
        "gathered, an explainer",
        pytest.param("divided qwen3_moe, checkpointing", marks=divided),
        pytest.param("divided gpt_neox", marks=divided),
        pytest.param("divided gpt_neox, layers", marks=divided),
        pytest.param("divided bert", marks=divided),
        pytest.param("divided, an explainer", marks=divided),
    ],
)
def test_two_processes_find_what_one_finds(found: list[dict[str, Any]], name: str) -> None:
    assert found[0][name] == found[1][name]
    one, two = map(together.leaves, found[0][name])
    # Weights are in float64, but for those of explainers, and norms that some models compute in float32.
    tolerance = 1e-6 if "explainer" in name or "qwen3" in name else 1e-10
    assert one.keys() == two.keys()
    for place, value in one.items():
        assert two[place] == (pytest.approx(value, rel=tolerance, abs=tolerance) if isinstance(value, float) else value)


def test_processes_decide_alike(found: list[dict[str, Any]]) -> None:
    assert [one["agreed"] for one in found] == [[7, 8], [7, 8]]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wrapped", "DistributedDataParallel wraps the model for training"),
        ("experts", "under expert parallelism cannot be explained: load it with"),
        ("pipeline", "under pipeline parallelism cannot be explained: load it with"),
        pytest.param("positions", "each process has a part of the positions", marks=divided),
        pytest.param("attention", "attention is read inside of the model's layers, which are split", marks=divided),
        pytest.param("components", "components are inside of the model's layers, which are split", marks=divided),
        pytest.param("features", "under tensor parallelism each process has a part: map", marks=divided),
    ],
)
def test_what_is_refused(found: list[dict[str, Any]], name: str, sentence: str) -> None:
    assert sentence in found[0][name]
    assert found[0][name] == found[1][name]
