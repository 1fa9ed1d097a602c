"""`python -m rlkv.worker --job ID`."""

import sys

from rlkv.worker.process import main

if __name__ == "__main__":
    sys.exit(main())
