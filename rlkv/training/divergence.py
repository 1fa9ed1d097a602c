"""Numbers that are none: a training must stop before they reach a gate.

One NaN gate makes every later answer noise, and a checkpoint with it would make every resume
fail too. So all that leads to a gate is checked, and the first bad number ends the job at the
checkpoint before it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from rlkv.errors import UserError
from rlkv.training import checkpoint


def require_finite(values: torch.Tensor, what: str, step: int, folder: Path) -> None:
    """Raises UserError, naming the step and the last good checkpoint, at a NaN or infinity."""
    if torch.isfinite(values).all():
        return
    good = checkpoint.latest(folder)
    kept = f"The checkpoint of step {good[1]} is good" if good else "There is no checkpoint yet"
    raise UserError(
        f"Step {step}: the {what} is not a finite number, so training stopped. {kept}. "
        "Start it again with a lower learning rate, or with the number format float32."
    )
