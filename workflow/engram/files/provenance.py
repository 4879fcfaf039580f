"""Where a number came from: the attributes written into every artifact."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import engram

PACKAGE = Path(engram.__file__).parent


def importable_by_scripts() -> None:
    """Let the processes started from here import this very package, also inside a conda environment that lacks it.

    So too the user's own modules that lie beside config.yaml, from wherever Snakemake was called.
    """
    given = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(PACKAGE.parent), *given, os.getcwd()]))
    sys.path += [folder for folder in [os.getcwd()] if folder not in sys.path]


def attributes(experiment: str, seed: int, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Attributes that every artifact carries beside its format version and kind.

    `values` are the settings that made the artifact (stored as JSON); `more` adds dataset_sha256, wall_seconds and the like,
    and the device where it is not the CPU. A stage that uses no torch is not made to import it.
    """
    torch = sys.modules.get("torch")
    return {
        "experiment": experiment,
        "seed": seed,
        "values": json.dumps(values, sort_keys=True),
        "engram_version": engram.__version__,
        "git_commit": _git_commit(),
        "torch_version": importlib.metadata.version("torch"),
        "cuda_version": (torch.version.cuda or "none") if torch else "not used",
        "threads": torch.get_num_threads() if torch else 1,
        "device": "cpu",
        **more,
    }


def _git_commit() -> str:
    """The commit the code came from, with "-dirty" when the tree differs from it; "unknown" outside git."""
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
