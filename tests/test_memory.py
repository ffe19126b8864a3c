"""How much memory is left."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from lxtlike import memory

CPU = torch.device("cpu")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(f"{content}\n")


@pytest.mark.parametrize("device", ["cpu", "meta"])  # where the weights of a model on disk are
def test_no_more_than_the_machine_has(device: str) -> None:
    assert 0 < memory.free_bytes(torch.device(device)) <= psutil.virtual_memory().total


def test_a_control_group_and_those_above_it_limit_it(groups: Path) -> None:
    (groups / "membership").write_text("0::/outer/inner\n")
    write(groups / "outer" / "inner", max="max", current=5)
    write(groups / "outer", max=10 * 2**20, current=8 * 2**20, stat=f"anon 5\ninactive_file {2**20}")
    assert memory.free_bytes(CPU) == 3 * 2**20


def test_version_1_of_control_groups_limits_it_too(groups: Path) -> None:
    (groups / "membership").write_text("9:name=systemd:/\n4:cpu,memory:/a\n0::/\n")
    write(groups / "memory" / "a", limit_in_bytes=2**20, usage_in_bytes=2**18)
    assert memory.free_bytes(CPU) == 2**20 - 2**18


def test_only_the_root_is_seen_inside_a_container(groups: Path) -> None:
    (groups / "membership").write_text("0::/of/the/machine\n")
    write(groups, max=2**20, current=2**21)
    assert memory.free_bytes(CPU) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="sizes are read as Linux gives them")
@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_the_process_count(kind: int) -> None:
    code = (
        "import resource, torch; from lxtlike.memory import free_bytes; "
        "pages = list(map(int, open('/proc/self/statm').read().split())); "
        f"used = pages[{0 if kind == resource.RLIMIT_AS else 5}] * resource.getpagesize(); "
        f"resource.setrlimit({kind}, (used + 2**28, {resource.RLIM_INFINITY})); "
        "print(0 < free_bytes(torch.device('cpu')) <= 2**28)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"
