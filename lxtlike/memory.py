"""How much memory is left: of an accelerator, or for this process on its machine, in its container, under its limits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a device; where it cannot be asked (or is the CPU), in this process' own memory."""
    import torch

    backend: Any = getattr(torch, device.type, None)  # a model that is offloaded as a whole is nowhere ("meta")
    if device.type != "cpu" and hasattr(backend, "mem_get_info"):
        cached = backend.memory_reserved(device) - backend.memory_allocated(device)
        return int(backend.mem_get_info(device)[0] + cached)
    available: int = psutil.virtual_memory().available
    return max(0, min([available, *_within_groups(), *_within_limits()]))


def _within_groups() -> Iterator[int]:
    """What the control groups of this process, and those they lie in, still allow: version 2, and version 1."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _GROUPS / "memory" if controllers else _GROUPS
        limit, usage = ("limit_in_bytes", "usage_in_bytes") if controllers else ("max", "current")
        group = root / path.strip("/")
        # Inside a container the path may be that of the machine, and only the root is to be seen.
        for found in (group, *group.parents):
            if found.is_relative_to(root) and (allowed := _number(found / f"memory.{limit}")) is not None:
                yield allowed - (_number(found / f"memory.{usage}") or 0) + _reclaimable(found / "memory.stat")


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, as in ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(path: Path) -> int:
    """Bytes of files that count as used and are given back when they are needed."""
    try:
        found = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _within_limits() -> Iterator[int]:
    """What `ulimit -v` and `ulimit -d` still allow."""
    if sys.platform == "win32":
        return
    import resource  # Windows has none

    try:
        sizes = [int(pages) * resource.getpagesize() for pages in Path("/proc/self/statm").read_text().split()]
    except OSError:  # not Linux: what counts against the limits is unknown
        return
    for kind, used in ((resource.RLIMIT_AS, sizes[0]), (resource.RLIMIT_DATA, sizes[5])):
        allowed, _ = resource.getrlimit(kind)
        if allowed != resource.RLIM_INFINITY:
            yield allowed - used
