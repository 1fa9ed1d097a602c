"""A rank that does nothing for a minute; leaves its pid in the folder that it is given."""

import os
import sys
import time
from pathlib import Path

from rlkv.training.ranks import rank, watch_launcher

if __name__ == "__main__":
    watch_launcher()
    partial = Path(sys.argv[1]) / f"{rank()}.part"
    partial.write_text(str(os.getpid()))
    partial.rename(partial.with_suffix(".pid"))
    time.sleep(60)
