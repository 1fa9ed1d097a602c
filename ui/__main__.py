"""The web app: `rlkv-studio` or `python -m ui`, and `python app.py` in the repository.

Reads the settings, builds the pages, serves them.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from storage.errors import StorageError
from storage.locations import VARIABLE, data_dir, snapshot_dir
from ui import doors, listening, space

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
EXTRA = "pip install 'rlkv[app]', or '.[app]' in a copy of the repository."


class Terminated(BaseException):
    """SIGTERM came: what is open is closed on the way out."""


def parser() -> argparse.ArgumentParser:
    """The app's options; `ui.describing` writes them into docs/cli.md."""
    parser = argparse.ArgumentParser(description="RLKV Studio, in the browser.")
    parser.add_argument(
        "--host",
        default=space.host(),
        help="address to listen on (default: %(default)s; anything else lets others in)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--auth",
        default="",
        metavar="NAME:PASSWORD",
        help="ask visitors for these; needed where others can reach the app "
        f"(or set {listening.VARIABLE}; '{listening.OPEN}' lets everybody in)",
    )
    return parser


def main() -> int:
    """Serves until stopped; returns 2 if a person has to change something first."""
    options = parser().parse_args()
    if find_spec("gradio") is None or find_spec("sqlalchemy") is None:
        print(f"The pages need more packages: {EXTRA}", file=sys.stderr)
        return 2
    on_space = space.here() is not None
    try:
        auth = listening.auth_for(options.host, options.auth, on_space=on_space)
        if problem := why_not(options.host, options.port):
            raise StorageError(problem)
        if words := listening.warning(options.host, auth, on_space=on_space):
            print(words, file=sys.stderr)
        serve(options.host, options.port, data_dir(), auth)
    except StorageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def serve(host: str, port: int, folder: Path, auth: listening.Auth | None = None) -> None:
    """Builds and launches the app, and serves until it is interrupted or told to end."""
    signal.signal(signal.SIGTERM, _end)
    prepare(folder)
    try:
        with snapshots(folder):
            _serve(host, port, folder, auth)
    except Terminated:
        # All that lasts is written. Python itself would wait for threads that load a model.
        sys.stdout.flush()
        os._exit(0)


def _serve(host: str, port: int, folder: Path, auth: listening.Auth | None) -> None:
    from storage.supervisor import ensure_running  # noqa: PLC0415
    from ui import Settings, Studio, build_app, launch_options  # noqa: PLC0415  (see `prepare`)

    studio = Studio.open(Settings.from_environment())
    app = build_app(studio)
    options = launch_options(folder) | {"auth": auth}
    options = doors.guarded(options, host, on_space=space.here() is not None)
    host = in_address(host)
    app.launch(server_name=host, server_port=port, prevent_thread_lock=True, **options)
    ensure_running(studio.db.folder)  # now: its own imports would have slowed the start
    print(f"RLKV Studio is at http://{host}:{port}", flush=True)
    app.block_thread()


def prepare(folder: Path) -> None:
    """The environment. Gradio, the Hub's library and torch read it when they are first imported."""
    os.environ[VARIABLE] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    space.prepare_home(folder)
    from rlkv.environment import prepare_environment  # noqa: PLC0415

    prepare_environment()
    os.environ.setdefault("GRADIO_TEMP_DIR", str(folder / "tmp"))
    Path(os.environ["GRADIO_TEMP_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    if space.zero_gpu():
        from ui import zero_gpu as _  # noqa: F401, PLC0415  (it must come before torch and Gradio)


@contextmanager
def snapshots(folder: Path) -> Iterator[None]:
    """Restores the database if it is gone, and copies it away while the app runs and at its end."""
    target = snapshot_dir()
    if target is None:
        yield
        return
    from storage.database import FILE_NAME, open_database  # noqa: PLC0415
    from storage.snapshots import Snapshots, Watch, restore  # noqa: PLC0415

    path = folder / FILE_NAME
    restore(path, target)
    open_database(folder).close()  # made or brought up to date, so that it can be read
    watch = Watch(Snapshots(path, target))
    watch.start()
    try:
        yield
    finally:
        watch.close()


def _end(*_: object) -> None:
    raise Terminated


def port_number(text: str) -> int:
    """A port from the command line."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port: choose 1 to 65535")
    return number


def in_address(host: str) -> str:
    """A host as it stands in an address, and as Gradio takes it: IPv6 in brackets."""
    bare = host.strip("[]")
    return f"[{bare}]" if ":" in bare else bare


def why_not(host: str, port: int) -> str:
    """Why we can't listen there and what to do, or ""."""
    bare = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((bare, port))
            return ""
    except OSError as error:
        where = f"Can't listen on {in_address(host)}:{port} ({error.strerror})."
        if isinstance(error, socket.gaierror) or error.errno in NOT_HERE:
            return f"{where} Choose an address of this machine: python app.py --host 127.0.0.1"
        other = port + 1 if port < 65535 else 7860
        return f"{where} Stop what runs there, or choose another port: python app.py --port {other}"


if __name__ == "__main__":
    sys.exit(main())
