"""What runs in the Hugging Face Job: `python -m rlkv.remote.inside`, settings in `RLKV_CONFIG`.

Knows no database. Tells all in lines of its output (`rlkv.remote.lines`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.remote.keeping import Keeper, fetch
from rlkv.remote.lines import LineObserver
from rlkv.training import ranks
from rlkv.training.config import TrainConfig, make_config
from rlkv.training.launching import spread_out

CONFIG = "RLKV_CONFIG"
KEPT = "RLKV_KEPT"
"""Where checkpoints are kept, as "REPOSITORY#ROW" (`rlkv.remote.keeping`)."""


def main() -> int:
    """Exit code 0 after a mask, 2 after a user's mistake, 1 after a defect."""
    if not ranks.is_main():
        return ranks.follow()
    ranks.watch_launcher()
    observer = LineObserver(lambda line: print(line, flush=True))
    try:
        config = make_config(json.loads(os.environ[CONFIG]))
        spread_out(config, ["rlkv.remote.inside"])
        from rlkv.training.out_of_memory import train_as_planned

        observer.send("model", **model_told(config))
        folder = Path(tempfile.mkdtemp(prefix="rlkv-"))
        fetch(os.environ[KEPT], folder)
        with Keeper(os.environ[KEPT], folder, observer.event):
            observer.mask(train_as_planned(config, folder, observer))
    except UserError as error:
        observer.send("failed", text=str(error), mistake=True)
        return 2
    except Exception as error:
        traceback.print_exc()
        observer.send("failed", text=f"{type(error).__name__}: {error}", mistake=False)
        return 1
    return 0


def model_told(config: TrainConfig) -> dict[str, Any]:
    """What a mask notes of its model (`rlkv.training.result`), which only the job has read."""
    from rlkv.models import default_dtype, device_named, dtype_named, read_spec
    from rlkv.training.result import model_notes, revision_of

    auto = config.dtype == "auto"
    dtype = default_dtype(device_named(config.device)) if auto else dtype_named(config.dtype)
    notes = model_notes(read_spec(config.model, dtype))
    return {"revision": revision_of(config.model), "notes": notes}


if __name__ == "__main__":
    sys.exit(main())
