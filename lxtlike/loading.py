"""From a name or a folder to a model with its tokenizer or image processor, and a clear sentence for whatever is wrong.

Weights come from safetensors only: pickled ones can run code while they are read. Bundled models take the same road
as a user's own.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lxtlike.errors import InputError, LxtlikeError, one_of
from lxtlike.recognition import IMAGES, SIMILARITY, TASKS, check_task, resolve_task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.distributed import DistributedConfig
    from transformers.image_processing_utils import BaseImageProcessor


DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
STREAM = "stream"
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential", STREAM)

BUNDLED: Mapping[str, str] = MappingProxyType(
    {
        "bindings": "causal-lm",
        "sentiment": "sequence-classification",
        "digits-cnn": "image-classification",
        "digits-vit": "image-classification",
    }
)
"""The models inside the package, by name, and their tasks."""

_MODELS = Path(__file__).parent / "assets" / "models"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_TOKENIZER_FILE = re.compile(r"^(tokenizer|vocab|merges|tekken)|\.(model|spm|tiktoken)$")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SAVE_AGAIN = "save the model again, or check that its config and weights belong together"
_HUB_SECONDS = 5.0  # how long the hub may take to answer at all, before the cache or an error


@dataclass(frozen=True)
class Loaded:
    """A model ready to be explained: in eval mode, on its device, with its tokenizer (None only where allowed).

    An image classifier has an image processor instead.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    task: str
    name: str
    processor: BaseImageProcessor | None = None


@dataclass(frozen=True)
class _Source:
    """Where a model is read from: `path` is a folder or a hub id, `files` the names at its top."""

    name: str
    path: str
    files: frozenset[str]
    local: bool


def load(
    model: str | Path | None = None,
    *,
    task: str = "auto",
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    device_map: str | None = None,
    tp_plan: str | None = None,
    trust_remote_code: bool = False,
    need_tokenizer: bool = True,
) -> Loaded:
    """Load a model, its tokenizer (or image processor) and its task.

    Args:
        model: a bundled model's name, a folder, or a hub id; None is the bundled model for `task` ("auto": `bindings`).
            A bundled name goes before a folder of that name (write ``./bindings`` for the folder).
        task: one of `TASKS`, or "auto": told from ``config.architectures``.
        dtype: of the weights, one of `DTYPES`; None is "auto", the one the weights are stored in.
        device: where the model goes, such as "cuda:0"; None leaves it on the CPU (or to `device_map`).
        device_map: one of `DEVICE_MAPS` or a device, for models spread over several devices by accelerate. "stream" leaves
            the weights in their files, from where every operation reads its own: on `device`, by default an accelerator
            if there is one.
        tp_plan: "auto" splits the model's layers over the processes that torchrun has started (tensor parallelism).
        trust_remote_code: whether Python code that comes with the model may run.
        need_tokenizer: False allows a model without one, and leaves out the image processor.

    Raises:
        InputError: for whatever is wrong with the arguments or the files, in one sentence that says what to do.
        LxtlikeError: an image processor needs a library that is not installed.
    """
    check_task(task)
    _check_placement(dtype, device, device_map)
    if model is None:
        model = next((name for name, does in BUNDLED.items() if task in ("auto", does)), None)
        if model is None:
            raise InputError(f"no bundled model does {task}: name a model ({', '.join(BUNDLED)} are bundled)")

    with quiet():
        source = _locate(str(model))
        _check_files(source)
        options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": source.local}
        config = _read_config(source, options)
        task = resolve_task(config, config.architectures or [], task, source.name)
        placed: dict[str, Any] = {"device_map": device_map}
        if tp_plan is not None:
            placed = {"distributed_config": _plan(tp_plan, config, source.name, device, device_map)}
        tokenizer = processor = None
        if task != IMAGES:
            tokenizer = _read_tokenizer(source, config, options, need_tokenizer)
        elif need_tokenizer:
            processor = _read_processor(source, options)
        if device_map == STREAM:
            loaded = _read_streamed(source, task, config, device, options | {"dtype": dtype or "auto"})
        else:
            loaded = _read_model(source, task, options | {"dtype": dtype or "auto"} | placed)
            if device is not None:
                loaded.to(device)
    return Loaded(loaded.eval(), tokenizer, task, source.name, processor)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the log lines and progress bars of transformers for the time of the block (downloads keep their bars)."""
    from huggingface_hub.utils import logging as hub
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as hf

    level, hub_level, bars = hf.get_verbosity(), hub.get_verbosity(), hf.is_progress_bar_enabled()
    restore_downloads = disable_progress_bars if are_progress_bars_disabled() else enable_progress_bars
    hf.set_verbosity(logging.ERROR)
    hub.set_verbosity(logging.ERROR)
    hf.disable_progress_bar()
    restore_downloads()  # the switches of transformers turn the hub's bars as well, which are somebody else's choice
    try:
        yield
    finally:
        hf.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            hf.enable_progress_bar()
            restore_downloads()


def _check_placement(dtype: object, device: object, device_map: str | None) -> None:
    """Refuse a dtype or device that does not exist or is not in this machine, before anything is read."""
    import torch

    named = str(dtype or "auto").removeprefix("torch.")
    if named not in DTYPES:
        raise InputError(f"a model cannot be loaded as dtype {named!r}: {one_of(named, DTYPES)}")
    if device is not None and device_map not in (None, STREAM):
        raise InputError("device and device_map were both given: choose one of them")
    if device is None and device_map in DEVICE_MAPS:
        return
    asked = device_map if device is None else device
    if asked is None:
        return
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if accelerator else 0
    present = ["cpu"] + [f"{accelerator}:{index}" for index in range(count)]
    allowed = (*present, *DEVICE_MAPS) if device is None else tuple(present)
    try:
        found = torch.device(str(asked))
    except RuntimeError as error:
        raise InputError(f"there is no device {str(asked)!r}: {one_of(str(asked), allowed)}") from error
    if found.type != "cpu" and f"{found.type}:{found.index or 0}" not in present:
        raise InputError(f"device {str(asked)!r} is not available on this machine: {one_of(str(asked), allowed)}")


def _plan(
    tp_plan: str, config: PreTrainedConfig, name: str, device: object, device_map: str | None
) -> DistributedConfig:
    """How a model is split over the processes of a launch.

    Raises:
        InputError: there is one process only, a device was named too, transformers is too old or has no plan for the model.
    """
    if tp_plan != "auto":
        raise InputError(f"tp_plan must be 'auto', the model's own plan, not {tp_plan!r}")
    if device is not None or device_map is not None:
        raise InputError("tp_plan puts each part on the device of its process: leave device and device_map out")
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise InputError("tp_plan needs several processes, one for each device: torchrun --nproc-per-node N script.py")
    try:
        import transformers.distributed.tensor_parallel  # noqa: F401
        from transformers.distributed import DistributedConfig
    except ImportError as error:
        raise InputError("this version of transformers has another tensor parallelism: update it") from error
    if not getattr(config.get_text_config(), "base_model_tp_plan", None):
        raise InputError(
            f"transformers has no tp_plan for {name!r} ({config.model_type}): use FSDP or device_map='auto'"
        )
    return DistributedConfig(tp_plan=tp_plan)


def _locate(name: str) -> _Source:
    """Find out whether `name` is bundled, a folder or a hub id, and what files there are."""
    folder = _MODELS / name if name in BUNDLED else Path(name).expanduser()
    if folder.is_dir():
        return _Source(name, str(folder), frozenset(entry.name for entry in folder.iterdir()), local=True)
    if folder.exists():
        raise InputError(f"model {name!r} is a file, not a model folder: give the folder that holds config.json")
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        bundled = ", ".join(BUNDLED)
        raise InputError(
            f"model folder {name!r} does not exist: give a folder, a hub id or a bundled model ({bundled})"
        )
    return _locate_on_hub(name)


def _locate_on_hub(name: str) -> _Source:
    """Ask the hub once, briefly; without an answer, the local cache is all there is."""
    import huggingface_hub as hub
    from huggingface_hub.errors import RepositoryNotFoundError

    bundled = ", ".join(BUNDLED)
    reason = "HF_HUB_OFFLINE is set"
    if not hub.is_offline_mode():
        try:
            info = hub.HfApi().model_info(name, timeout=_HUB_SECONDS)
            return _Source(name, name, frozenset(entry.rfilename for entry in info.siblings or ()), local=False)
        except RepositoryNotFoundError as error:
            where = "neither as a folder nor on the hub"
            raise InputError(f"there is no model {name!r}, {where}: check the name (bundled: {bundled})") from error
        except Exception as error:  # noqa: BLE001 - each HTTP client has its own; all of them mean: no answer
            reason = f"the hub could not be reached ({type(error).__name__})"
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {name!r} is neither a folder here nor in the local cache, and {reason}: "
            f"give a folder, go online, or use a bundled model ({bundled})"
        ) from error
    return _Source(name, str(folder), frozenset(entry.name for entry in folder.iterdir()), local=True)


def _check_files(source: _Source) -> None:
    if "config.json" not in source.files:
        raise InputError(
            f"{source.name!r} is not a model: it holds no config.json; give a folder made by save_pretrained"
        )
    if any(file.endswith(".safetensors") for file in source.files):
        return
    pickled = sorted(file for file in source.files if file.endswith(_PICKLED))
    if pickled:
        raise InputError(
            f"{source.name!r} holds only pickled weights ({pickled[0]}), which can run code when they are read: "
            "convert them to safetensors (save_pretrained writes them) and give that folder"
        )
    raise InputError(f"{source.name!r} holds no weights: model.safetensors is missing; save the whole model there")


@contextmanager
def _reading(what: str, source: _Source, advice: str) -> Iterator[None]:
    """Translate whatever transformers raises on unusable files into one sentence; out of memory stays what it is."""
    import torch

    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "trust_remote_code" in reason:
            reason, advice = "it comes with its own Python code", "read that code, then allow it with trust_remote_code"
        reason = reason if len(reason) <= 160 else reason[:159] + "…"
        raise InputError(f"the {what} of {source.name!r} cannot be used ({reason.rstrip('.')}): {advice}") from error


def _read_config(source: _Source, options: dict[str, Any]) -> PreTrainedConfig:
    from transformers import AutoConfig

    with _reading("config", source, "check its config.json, or whether this version of transformers knows the model"):
        return AutoConfig.from_pretrained(source.path, **options)


def _read_tokenizer(
    source: _Source, config: PreTrainedConfig, options: dict[str, Any], needed: bool
) -> PreTrainedTokenizerBase | None:
    from transformers import AutoTokenizer

    advice = "save its tokenizer beside it with tokenizer.save_pretrained"
    try:
        with _reading("tokenizer", source, advice):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.path, config=config, **options)
            # Without any file, transformers makes up a tokenizer of special tokens only.
            if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
                raise InputError(f"{source.name!r} has no tokenizer: {advice}")
            return tokenizer
    except InputError as error:
        if not needed:
            return None
        if not any(_TOKENIZER_FILE.search(file) for file in source.files):
            raise InputError(f"{source.name!r} has no tokenizer: {advice}") from error
        raise


def _read_processor(source: _Source, options: dict[str, Any]) -> BaseImageProcessor:
    if find_spec("PIL") is None:
        raise LxtlikeError("images need Pillow, which is not here: pip install 'lxtlike[vision]'")
    from transformers import AutoImageProcessor

    advice = "save its image processor beside it with processor.save_pretrained"
    if not {"preprocessor_config.json", "processor_config.json"} & source.files:
        raise InputError(f"{source.name!r} has no image processor: {advice}")
    try:
        with _reading("image processor", source, advice):
            return AutoImageProcessor.from_pretrained(source.path, **options)
    except InputError as error:
        reason = str(error.__cause__).casefold()
        unavailable = "torchvision" in reason or "could be imported" in reason  # as versions of transformers say it
        if not unavailable or find_spec("torchvision") is not None:
            raise
        raise LxtlikeError(
            f"the image processor of {source.name!r} is one of those that need torchvision: install it, or pass pixel values "
            "to lxtlike.ImageExplainer in Python"
        ) from error


def _read_model(source: _Source, task: str, options: dict[str, Any]) -> PreTrainedModel:
    import transformers

    with _reading("weights", source, _SAVE_AGAIN):
        auto = getattr(transformers, TASKS[task].auto)
        model, info = auto.from_pretrained(source.path, use_safetensors=True, output_loading_info=True, **options)
    _check_trained(model, info, source, task)
    return model


def _read_streamed(
    source: _Source, task: str, config: PreTrainedConfig, device: str | torch.device | None, options: dict[str, Any]
) -> PreTrainedModel:
    """A model whose weights stay in their files."""
    import huggingface_hub as hub
    import torch
    import transformers

    from lxtlike.streaming import checkpoint_files, stored_weights, streamed_model

    if getattr(config, "quantization_config", None):
        raise InputError(
            f"{source.name!r} is quantised, and such weights are not streamed: leave out device_map='stream'"
        )

    def fetch(name: str) -> Path:
        return Path(source.path, name) if source.local else Path(hub.hf_hub_download(source.path, name))

    if device is None:
        device = (torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None) or "cpu"
    with _reading("weights", source, _SAVE_AGAIN):
        weights = stored_weights(checkpoint_files(source.files, fetch))
        auto = getattr(transformers, TASKS[task].auto)
        model, info = streamed_model(auto, config, weights, torch.device(device), **options)
        if "generation_config.json" in source.files:
            model.generation_config = transformers.GenerationConfig.from_pretrained(source.path)
    model.name_or_path = model.config.name_or_path = source.path
    _check_trained(model, info, source, task)
    return model


def _check_trained(model: PreTrainedModel, info: Mapping[str, Any], source: _Source, task: str) -> None:
    """Raise InputError if weights of a model were not in its files: they are random numbers."""
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(parameters.intersection(info["missing_keys"]))
    if task == SIMILARITY:
        missing = [name for name in missing if not name.startswith("pooler.")]  # states are pooled without it
    if missing:
        raise InputError(
            f"{source.name!r} has no trained weights for {task} ({len(missing)} missing, such as {missing[0]}): "
            "they would be random numbers; choose a model trained for this task"
        )
