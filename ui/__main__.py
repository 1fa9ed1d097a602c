"""The web app: `python -m ui`, or `python app.py` in the repository.

Reads the settings, builds the pages, serves them.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from rlkv.worker import prepare_environment
from storage.errors import StorageError
from storage.locations import data_dir

ON_SPACE = bool(os.environ.get("SPACE_ID"))


def main() -> int:
    """Serves until stopped; returns 2 if a person has to change something first."""
    parser = argparse.ArgumentParser(description="RLKV Studio, in the browser.")
    parser.add_argument(
        "--host",
        default="0.0.0.0" if ON_SPACE else "127.0.0.1",
        help="address to listen on (default: %(default)s; anything else lets others in)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on (default: %(default)s)",
    )
    options = parser.parse_args()
    try:
        if problem := why_not(options.host, options.port):
            raise StorageError(problem)
        serve(options.host, options.port, data_dir())
    except StorageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def serve(host: str, port: int, folder: Path) -> None:
    """Builds and launches the app. Gradio reads its environment when it is first imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    prepare_environment()
    os.environ.setdefault("GRADIO_TEMP_DIR", str(folder / "tmp"))
    Path(os.environ["GRADIO_TEMP_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    from ui import Settings, Studio, build_app, launch_options  # noqa: PLC0415  (as said above)

    app = build_app(Studio.open(Settings.from_environment()))
    options = launch_options(folder)
    app.launch(server_name=host, server_port=port, prevent_thread_lock=True, **options)
    print(f"RLKV Studio is at http://{host}:{port}", flush=True)
    app.block_thread()


def port_number(text: str) -> int:
    """A port from the command line."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port: choose 1 to 65535")
    return number


def why_not(host: str, port: int) -> str:
    """Why we can't listen there and what to do, or ""."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return ""
        except OSError as error:
            other = port + 1 if port < 65535 else 7860
            return (
                f"Can't listen on {host}:{port} ({error.strerror}). Stop what runs there, or "
                f"choose another port: python app.py --port {other}"
            )


if __name__ == "__main__":
    sys.exit(main())
