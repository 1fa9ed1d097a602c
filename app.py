"""The web app and the Space: `python app.py`."""

import sys

from ui.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
