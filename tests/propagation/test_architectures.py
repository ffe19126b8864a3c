"""A sample of the sweep over transformers' auto classes: types that together hold every kind of operation the rules meet.

`scripts/sweep_architectures.py` runs all of them; its page is docs/architectures.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers as hf

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from tiny_architectures import types
from tiny_explanation import closed, record

SAMPLE = {
    "causal-lm": """
        mixtral dbrx olmoe granitemoe phimoe jetmoe ernie4_5_moe gpt_oss llama4_text
        deepseek_v2 deepseek_v3 longcat_flash minicpm3 gemma2 gemma3n_text gemma4_text cohere2 diffllama
        mamba mamba2 falcon_mamba jamba zamba2 nemotron_h falcon_h1 recurrent_gemma rwkv xlstm
        qwen3_next olmo_hybrid minimax lfm2 kimi_linear bitnet doge
        mpt bloom falcon xlnet ctrl codegen gptj persimmon nemotron openai-gpt prophetnet trocr
        """,
    "masked-lm": """
        albert convbert deberta fnet funnel ibert longformer mobilebert nystromformer perceiver squeezebert
        """,
    "sequence-classification": "modernbert canine esm bart t5gemma",
    "question-answering": "xlnet longformer led",
    "seq2seq-lm": "bart led longt5 pegasus_x t5gemma2 umt5",
    "image-classification": "vit swin convnext resnet levit poolformer",
    "image-text-to-text": "qwen2_5_vl llava_next mllama aria chameleon",
}
OLDEST = hf.__version__.startswith("5.0.")
OTHERWISE = {
    "mamba": "its forward differs by one rounding error in float64",
    "falcon_mamba": "its forward differs by one rounding error in float64",
    "recurrent_gemma": "its own cache, on by default, cuts the way of relevance under no_grad",
}
"""Types that the oldest transformers computes otherwise -> how."""
CASES = [(mapping, name) for mapping, names in SAMPLE.items() for name in names.split()]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower in many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_sample_is_large() -> None:
    assert len(CASES) >= 60
    assert len(set(CASES)) == len(CASES)


@pytest.mark.parametrize(("mapping", "name"), CASES)
def test_forward_is_unchanged_and_the_ledger_closes(mapping: str, name: str) -> None:
    known = types(mapping)
    if name not in known:
        pytest.skip("the installed transformers does not have this type")
    result = record(mapping, name, known[name])
    if OLDEST and not result["built"]:
        pytest.skip(f"the tiny configuration is not one for transformers {hf.__version__}: {result['error']}")
    if OLDEST and name in OTHERWISE and not closed(result):
        pytest.xfail(OTHERWISE[name])
    assert closed(result), result.get("error") or result["runs"]
    if mapping == "image-text-to-text":
        assert result["runs"]["attnlrp/float64"]["picture"], result["refused"]
