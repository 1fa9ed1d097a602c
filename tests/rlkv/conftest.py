from pathlib import Path

import pytest

from rlkv.masks import HeadMask


@pytest.fixture
def mask_folder(tmp_path: Path) -> str:
    """A random mask for the embedded model, saved."""
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="tracer", name="m")
    return str(mask.save(tmp_path / "mask"))
