"""`python -m rlkv`."""

import sys

from rlkv.cli import main

sys.exit(main())
