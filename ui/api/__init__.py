"""The public API: named Gradio endpoints, for scripts and as MCP tools. See docs/api.md."""

from ui.api.endpoints import build
from ui.api.tools import mcp_server

__all__ = ["build", "mcp_server"]
