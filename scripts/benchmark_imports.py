"""What `import lxtlike` costs and what it brings, each in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

STATEMENTS = {
    "`import lxtlike`": ("torch", "import lxtlike"),
    "`lxtlike.propagate`": ("torch", "import lxtlike; lxtlike.propagate"),
    "`lxtlike.Explainer`": ("torch", "import lxtlike; lxtlike.Explainer"),
    "`lxtlike.Explainer`, too": ("torch, transformers", "import lxtlike; lxtlike.Explainer"),
}
"""Name -> what is imported before, and what is measured."""

BEFORE = {
    "torch": "import torch",
    "torch, transformers": "from transformers import AutoModelForCausalLM, AutoTokenizer",
}

_CODE = """
import json, sys, time
{before}
begun = time.process_time()
{measured}
spent = time.process_time() - begun
brought = [name for name in ("matplotlib", "transformers") if name in sys.modules]
models = [name for name in sys.modules if name.startswith("transformers.models.") and ".modeling_" in name]
print(json.dumps([spent, brought, sorted(models)]))
"""


def imports(python: str, rounds: int) -> dict[str, Any]:
    """Statement -> the median of CPU seconds, and which of matplotlib, transformers and its models were loaded by then."""
    found = {}
    for name, (before, measured) in STATEMENTS.items():
        code = _CODE.format(before=BEFORE[before], measured=measured)
        runs = []
        for _ in range(rounds):
            ran = subprocess.run(
                [python, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
            )
            runs.append(json.loads(ran.stdout))
        _, brought, models = runs[0]
        found[name] = {
            "beyond": before,
            "seconds": statistics.median(run[0] for run in runs),
            "loaded": brought,
            "models": models,
        }
    return found


if __name__ == "__main__":
    json.dump(imports(sys.executable, 3), sys.stdout, indent=1)
