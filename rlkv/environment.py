"""What this process tells the libraries it is going to use."""

from __future__ import annotations

import os
import warnings


def prepare_environment() -> None:
    """To be called before torch is imported: no telemetry, no spinning threads, less noise."""
    # Threads that wait by spinning take the cores away from the chat beside the training: with
    # two such processes on two cores a step took 5 to 20 s instead of 1.8 s (docs/results.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get("RLKV_OFFLINE") == "1":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
