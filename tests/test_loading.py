"""Loading: the task is told, only safetensors are read, and whatever is wrong is said in one sentence."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import BertLMHeadModel, LlamaForCausalLM

from lxtlike import loading
from lxtlike.errors import InputError
from lxtlike.loading import load, quiet
from lxtlike.recognition import TASKS, resolve_task, task_of

KINDS = ("causal-lm", "masked-lm", "sequence-classification", "seq2seq-lm")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_models.save(kind, root / kind) for kind in KINDS}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_task_names_a_class_that_exists() -> None:
    import transformers

    assert all(hasattr(transformers, task.auto) for task in TASKS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_task_is_told_from_the_architecture(kind: str, folders: dict[str, Path]) -> None:
    loaded = load(folders[kind])
    assert (loaded.task, loaded.name) == (kind, str(folders[kind]))
    assert type(loaded.model) is type(tiny_models.model(kind))
    assert not loaded.model.training
    assert loaded.tokenizer is not None
    assert loaded.tokenizer("red ball")["input_ids"] == [7, 10]


def test_a_decoder_with_images_is_causal_on_text() -> None:
    config = tiny_models.model("causal-lm").config
    assert resolve_task(config, ["Gemma3ForConditionalGeneration"], "auto", "it") == "causal-lm"


def test_the_task_of_a_model_one_has() -> None:
    class Own(LlamaForCausalLM):
        """Somebody's subclass."""

    own = Own(tiny_models.model("causal-lm").config)
    assert task_of(own) == task_of(own, "auto") == task_of(own, "causal-lm") == "causal-lm"
    with pytest.raises(InputError, match=r"is a causal-lm model .*: choose task causal-lm"):
        task_of(own, "masked-lm")
    with pytest.raises(InputError, match="encoder-only"):
        task_of(BertLMHeadModel(tiny_models.model("masked-lm").config))
    with pytest.raises(InputError, match="no task 'chat'"):
        task_of(own, "chat")
    with pytest.raises(InputError, match=r"the task of 'LlamaModel' \(LlamaModel\) cannot be told"):
        task_of(own.model)


def test_weights_keep_their_dtype_unless_told(copy: Callable[[str], Path]) -> None:
    folder = copy("causal-lm")
    tiny_models.model("causal-lm").to(torch.bfloat16).save_pretrained(folder)
    assert load(folder).model.dtype is torch.bfloat16
    assert load(folder, dtype="float64").model.dtype is torch.float64
    assert load(folder, dtype=torch.float32, device="cpu").model.dtype is torch.float32


def test_device_map_spreads(folders: dict[str, Path]) -> None:
    assert load(folders["causal-lm"], device_map="cpu").model.device.type == "cpu"


def test_a_bundled_name_is_an_ordinary_folder(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders["causal-lm"].parent
    monkeypatch.setattr(loading, "_MODELS", root)
    monkeypatch.setattr(
        loading, "BUNDLED", {"causal-lm": "causal-lm", "sequence-classification": "sequence-classification"}
    )
    assert load().name == "causal-lm"
    assert load(task="sequence-classification").task == "sequence-classification"
    with pytest.raises(InputError, match="no bundled model does seq2seq-lm"):
        load(task="seq2seq-lm")


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("./nowhere", {}, "model folder './nowhere' does not exist"),
        ("/nowhere/at/all", {}, "does not exist"),
        (__file__, {}, "is a file, not a model folder"),
        ("bindings", {"task": "causal"}, r"no task 'causal'.*did you mean causal-lm\?"),
        ("bindings", {"dtype": "float61"}, r"dtype 'float61': choose one of auto, float32, .*did you mean float64\?"),
        ("bindings", {"dtype": torch.int8}, "dtype 'int8'"),
        ("bindings", {"device": "gpu"}, "no device 'gpu': choose one of cpu"),
        ("bindings", {"device": "cuda:97"}, "'cuda:97' is not available on this machine: choose one of cpu"),
        ("bindings", {"device_map": "everywhere"}, "no device 'everywhere'.*balanced_low_0"),
        ("bindings", {"device_map": "auto", "device": "cpu"}, "choose one of them"),
        ("bindings", {"tp_plan": "colwise"}, "must be 'auto', the model's own plan, not 'colwise'"),
        ("bindings", {"tp_plan": "auto", "device_map": "auto"}, "leave device and device_map out"),
        ("bindings", {"tp_plan": "auto"}, "needs several processes, one for each device: torchrun"),
    ],
)
def test_wrong_arguments(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load(model, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_id_without_the_hub_fails_at_once(offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub as hub

    def unreachable(*_: object, **__: object) -> None:
        assert not offline, "the hub was asked although HF_HUB_OFFLINE is set"
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "is_offline_mode", lambda: offline)
    monkeypatch.setattr(hub.HfApi, "model_info", unreachable)
    reason = "HF_HUB_OFFLINE is set" if offline else "the hub could not be reached"
    with pytest.raises(InputError, match=f"'somebody/unheard-of' is neither a folder here nor .* {reason}"):
        load("somebody/unheard-of")


def pickled_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without("config.json"), "is not a model: it holds no config.json"),
        (without("model.safetensors"), "holds no weights"),
        (without("tokenizer.json", "tokenizer_config.json"), "has no tokenizer: .*tokenizer.save_pretrained"),
        (pickled_only, r"only pickled weights \(pytorch_model.bin\).*convert them to safetensors"),
        (truncated, "the weights of .* cannot be used .*[Mm]etadata"),
        (
            lambda folder: (folder / "model.safetensors").write_text("no tensors here"),
            "the weights of .* cannot be used",
        ),
        (lambda folder: (folder / "config.json").write_text("{oops"), "the config of .* not a valid JSON"),
        (lambda folder: edit_config(folder, model_type="unheard-of"), "the config of .* `unheard-of`"),
        (lambda folder: edit_config(folder, hidden_size=32), "the weights of .* belong together"),
        (lambda folder: edit_config(folder, num_hidden_layers=3), r"no trained weights for causal-lm \(9 missing"),
        (
            lambda folder: edit_config(folder, architectures=["LlamaModel"]),
            r"\(LlamaModel\) cannot be told: .*causal-lm",
        ),
        (
            lambda folder: edit_config(folder, model_type="own", auto_map={"AutoConfig": "own.Config"}),
            "its own Python code.*trust_remote_code",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{oops"), "the tokenizer of .* cannot be used"),
    ],
)
def test_damaged_folders(
    damage: Callable[[Path], None], says: str, copy: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copy("causal-lm")
    damage(folder)
    with pytest.raises(InputError, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_made_up_tokenizer_is_no_tokenizer(folders: dict[str, Path], copy: Callable[[str], Path]) -> None:
    folder = copy("masked-lm")
    without("tokenizer.json", "tokenizer_config.json")(folder)
    with pytest.raises(InputError, match="has no tokenizer"):
        load(folder)
    assert load(folder, need_tokenizer=False).tokenizer is None


@pytest.mark.parametrize(
    ("kind", "task", "says"),
    [
        (
            "masked-lm",
            "causal-lm",
            r"encoder-only model \(BertForMaskedLM\) and predicts no next token.*task masked-lm",
        ),
        ("sequence-classification", "causal-lm", "encoder-only.*choose task sequence-classification"),
        ("seq2seq-lm", "causal-lm", "is a seq2seq-lm model"),
        ("causal-lm", "masked-lm", "is a causal-lm model .LlamaForCausalLM.: choose task causal-lm"),
    ],
)
def test_a_model_is_not_asked_for_another_task(kind: str, task: str, says: str, folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=says):
        load(folders[kind], task=task)


def test_a_head_that_was_never_trained_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("masked-lm")
    edit_config(folder, architectures=["BertModel"])
    with pytest.raises(InputError, match=r"no trained weights for sequence-classification .*random numbers"):
        load(folder, task="sequence-classification")
    with pytest.raises(InputError, match="encoder-only"):
        load(folder, task="causal-lm")


def test_quiet_gives_back_what_it_took() -> None:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as hf

    level = hf.get_verbosity()
    for switch in (disable_progress_bars, enable_progress_bars):
        hf.set_verbosity_info()
        switch()
        with quiet():
            assert hf.get_verbosity() == logging.ERROR
            assert not hf.is_progress_bar_enabled()
        assert hf.get_verbosity() == logging.INFO
        assert hf.is_progress_bar_enabled()
        assert are_progress_bars_disabled() == (switch is disable_progress_bars)
    hf.set_verbosity(level)
