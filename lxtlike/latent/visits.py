"""Looking at the components of a model while it runs, or changing them: what reading, ablating and patching have in common."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.errors import InputError
from lxtlike.latent.activations import NeuronWatch
from lxtlike.latent.components import Component, matching
from lxtlike.latent.mixtures import contributions, experts_of
from lxtlike.latent.sites import Site, of_experts, of_features, of_heads
from lxtlike.methods.views import batch_axis
from lxtlike.propagation.heads import AttentionOutput, AttentionWatch
from lxtlike.propagation.layers import layers_of
from lxtlike.propagation.parallel import check_undivided
from lxtlike.rules.call import tensors, transform

Visit = Callable[[Site], Tensor]
"""Called with each site; the model goes on with the tensor that it returns, `Site.tensor` itself to leave all as it is."""


@contextmanager
def visited(model: nn.Module, components: Sequence[Component], visit: Visit) -> Iterator[None]:
    """Within the block, `visit` is called with every site of the components, in the forward passes of this thread.

    Raises:
        InputError: tensor parallelism; no module has such a name; at the end of a forward pass, too: it had no such component.
    """
    check_undivided(model, "components are")
    with ExitStack() as stack:
        run = _Run(model, components, visit)
        stack.callback(run.unwatch)
        for handle in run.hooks():
            stack.callback(handle.remove)
        yield


Layer = tuple[str, int]
_NO_LAYER: Layer = ("", -1)


class _Run:
    """Where the forward pass of a model is, and the hooks that tell.

    Attributes:
        size: of the text, [B, T].
        layer: name and number of the layer that runs; number -1 between layers, and in one that does not read the text.
        layers: how many that read it have begun.
        mixtures: modules of experts, and the layers in which they ran.
        names: of the sites of each component, and how often each came.
        found: the components that had one.
    """

    def __init__(self, model: nn.Module, components: Sequence[Component], visit: Visit) -> None:
        self.model, self.components, self.visit = model, components, visit
        self.owner = threading.get_ident()
        self.size = torch.Size([])
        self.layer, self.layers = _NO_LAYER, 0
        self.mixtures: dict[nn.Module, Layer] = {}
        self.names: Counter[tuple[Component, str]] = Counter()
        self.found: set[Component] = set()
        self.watches = ExitStack()
        self.in_experts = False

    def hooks(self) -> Iterator[Any]:
        """Registers them one after the other; yields their handles."""
        yield self.model.register_forward_pre_hook(self._begin, with_kwargs=True)
        yield self.model.register_forward_hook(self._end)
        kinds = {component.kind for component in self.components}
        if kinds & {"layers", "heads", "neurons", "experts"}:
            for layer, name in {layer: name for name, layer in layers_of(self.model).items()}.items():
                yield layer.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True, prepend=True)
                yield layer.register_forward_hook(self._leave, always_call=True)
        if kinds & {"neurons", "experts"}:
            for name, module in experts_of(self.model):
                yield module.register_forward_pre_hook(self._begin_experts)
                yield module.register_forward_hook(partial(self._end_experts, name), with_kwargs=True, always_call=True)
        for component in self.components:
            for name, module in matching(self.model, component.module).items() if component.module else ():
                if component.kind == "inputs":
                    hook = partial(self._input, component, name)
                    yield module.register_forward_pre_hook(hook, with_kwargs=True)
                else:
                    yield module.register_forward_hook(partial(self._output, component, name))

    def unwatch(self) -> None:
        """See no operations any more."""
        self.watches.close()

    def _mine(self) -> bool:
        return threading.get_ident() == self.owner or _again()

    def _begin(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._mine():
            return
        given = [kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args]
        first = next((t for t in given if isinstance(t, Tensor) and t.dim() > 1), None)
        if first is None:
            raise InputError("components are found in a forward pass over input_ids or inputs_embeds [B, T]: give them")
        self.unwatch()  # an interrupt leaves a layer without its hook
        self.size, self.layer, self.layers = first.shape[:2], _NO_LAYER, 0
        self.names.clear()
        self.found.clear()

    def _end(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        missing = next((component for component in self.components if component not in self.found), None)
        if self._mine() and missing is not None:
            ran = f", whose {self.layers} layers have numbers from 0" if missing.layer and self.layers else ""
            raise InputError(f"there are no {missing} on the way of this text through {type(self.model).__name__}{ran}")

    def _enter(self, name: str, _layer: nn.Module, args: Any, kwargs: Any) -> None:
        if not self._mine():
            return
        reads = any(batch_axis(t, self.size) >= 0 for t in tensors(args, kwargs) if t.is_floating_point())
        self.layer = (name, self.layers if reads else -1)
        self.layers += reads
        # Watches know their layer: they are entered again where it is computed again in the backward pass.
        if heads := self._asked("heads"):
            self.watches.enter_context(AttentionWatch(partial(self._heads, name, heads)))
        if neurons := self._asked("neurons"):
            self.watches.enter_context(NeuronWatch(partial(self._neurons, name, neurons)))

    def _leave(self, _layer: nn.Module, _args: Any, output: Any) -> Any:
        if not self._mine():
            return None
        self.unwatch()
        for component in self._asked("layers"):
            output = _replaced(output, partial(self._featured, component, self.layer[0]))
        self.layer = _NO_LAYER
        return output

    def _asked(self, kind: str, layer: Layer | None = None) -> list[Component]:
        """The components of a kind that are in a layer, by default the one that runs."""
        _, number = layer or self.layer
        return [c for c in self.components if c.kind == kind and number >= 0 and (c.layer is None or number in c.layer)]

    def _visit(self, component: Component, name: str, make: Callable[[str], Site]) -> Tensor:
        """What the model goes on with at a site, which gets a name of its own."""
        if not _again():
            self.names[component, name] += 1
        count = self.names[component, name]
        self.found.add(component)
        return self.visit(make(f"{name} ({count})" if count > 1 else name))

    def _featured(self, component: Component, name: str, t: Tensor) -> Tensor:
        return self._visit(component, name, lambda own: of_features(own, component, t, self.size))

    def _heads(self, layer: str, asked: Sequence[Component], output: AttentionOutput) -> Tensor:
        for component in asked if output.count(self.size) else ():
            make = partial(of_heads, component=component, output=output, size=self.size)
            output = replace(output, tensor=self._visit(component, f"{layer} heads", make))
        return output.tensor

    def _neurons(self, layer: str, asked: Sequence[Component], values: Tensor) -> Tensor:
        for component in () if self.in_experts else asked:
            values = self._featured(component, f"{layer} neurons", values)
        return values

    def _begin_experts(self, module: nn.Module, _args: Any) -> None:
        if self._mine():
            self.in_experts = True
            if not _again():
                self.mixtures[module] = self.layer

    def _end_experts(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not self._mine():
            return None
        asked = self._asked("experts", self.mixtures[module])
        found = contributions(module, args, kwargs) if asked and output is not None else None
        self.in_experts = False
        if found is None:
            return None
        parts, chosen = found
        count = int(module.num_experts)  # type: ignore[arg-type]
        for component in asked:
            make = partial(of_experts, component=component, parts=parts, chosen=chosen, count=count, size=self.size)
            parts = self._visit(component, name, make)
        return parts.sum(1).reshape(output.shape)

    def _output(self, component: Component, name: str, _module: nn.Module, _args: Any, output: Any) -> Any:
        return _replaced(output, partial(self._featured, component, name)) if self._mine() else None

    def _input(self, component: Component, name: str, _module: nn.Module, args: Any, kwargs: Any) -> Any:
        if not self._mine():
            return None
        change = partial(self._featured, component, f"{name} input")
        if any(t.is_floating_point() for t in tensors(args)):
            return _replaced(args, change), kwargs
        return args, dict(zip(kwargs, _replaced(tuple(kwargs.values()), change), strict=True))


def _again() -> bool:
    """Whether a backward pass is running, which computes a layer again."""
    return int(torch._C._current_graph_task_id()) != -1


def _replaced(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value`, a tensor or several, with the first floating-point one changed."""
    first = next((t for t in tensors(value) if t.is_floating_point()), None)
    if first is None:
        return value
    changed = change(first)
    if changed is first:
        return value
    if isinstance(value, dict):
        again = copy(value)
        for key, item in value.items():
            again[key] = transform(item, lambda t: changed if t is first else t)
        return again
    return transform(value, lambda t: changed if t is first else t)
