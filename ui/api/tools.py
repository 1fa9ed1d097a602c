"""Whether the endpoints are tools of an MCP server too."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec


def mcp_server() -> bool:
    """True where `RLKV_MCP=1` asks for it and the package that it needs is there."""
    if os.environ.get("RLKV_MCP") != "1":
        return False
    if find_spec("mcp") is None:
        logging.getLogger(__name__).warning(
            "RLKV_MCP=1 needs a package that is not installed: pip install 'mcp>=1.21,<2'. "
            "The app starts without an MCP server."
        )
        return False
    return True
