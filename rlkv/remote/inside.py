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

from rlkv.errors import UserError
from rlkv.remote.lines import LineObserver
from rlkv.training import ranks
from rlkv.training.config import make_config
from rlkv.training.launching import spread_out

CONFIG = "RLKV_CONFIG"


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

        folder = Path(tempfile.mkdtemp(prefix="rlkv-"))
        observer.mask(train_as_planned(config, folder, observer))
    except UserError as error:
        observer.send("failed", text=str(error), mistake=True)
        return 2
    except Exception as error:
        traceback.print_exc()
        observer.send("failed", text=f"{type(error).__name__}: {error}", mistake=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
