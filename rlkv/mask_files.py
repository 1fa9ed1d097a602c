"""How a mask is written down: folder, zip, tsv, link text, Hub repository.

Reading treats every file as hostile: sizes are checked before parsing, only JSON, TSV and
safetensors are parsed, shapes and values are checked before use, nothing is unpickled.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from rlkv.errors import UserError
from rlkv.hub import require_reachable

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

SCHEMA = 1
MAX_BYTES = 5_000_000
MAX_HEADS = 100_000
GATES, CONFIG, TSV = "gates.safetensors", "config.json", "full_attention_heads.tsv"
PAPER_TSV = "adapter_weights.tsv"
_LINK = re.compile(r"rlkv1\.(\d{1,4})x(\d{1,4})\.(\d{1,6})\.(\d{1,6})\.([A-Za-z0-9_-]+)")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


# --- reading ------------------------------------------------------------------------------


def read(source: str | Path) -> dict[str, Any]:
    """The fields of a HeadMask from any of the forms; raises UserError in one line."""
    text = str(source)
    if match := _LINK.fullmatch(text):
        return _read_link(match)
    path = Path(text)
    if path.is_dir():
        return _read_files({p.name: p for p in path.iterdir() if p.is_file()}, text)
    if path.is_file():
        return _read_file(path)
    if _REPO.fullmatch(text) and not text.startswith((".", "/")):
        return read(_download(text))
    raise UserError(
        f"There is no mask at '{text}': give a folder, a .zip, a .tsv or a Hub repo as user/name."
    )


def _read_file(path: Path) -> dict[str, Any]:
    if path.suffix == ".tsv":
        return _from_tsv(_bytes(path), path.stem)
    if path.suffix == ".zip":
        return _read_zip(path)
    raise UserError(f"'{path.name}' is not a mask file: choose a .zip or a .tsv.")


def _read_zip(path: Path) -> dict[str, Any]:
    _bytes(path)
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            found: dict[str, Path] = {}
            for entry in archive.infolist():
                name = Path(entry.filename).name
                if name not in (GATES, CONFIG, TSV, PAPER_TSV):
                    continue
                if entry.file_size > MAX_BYTES:
                    raise UserError(f"'{name}' in the zip is larger than any mask can be.")
                found[name] = Path(folder) / name
                found[name].write_bytes(archive.read(entry))
            return _read_files(found, path.stem)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"'{path.name}' is not a readable zip file: download it again.") from error


def _read_files(files: dict[str, Path], name: str) -> dict[str, Any]:
    if GATES in files and CONFIG in files:
        return _from_safetensors(_bytes(files[GATES]), _config(_bytes(files[CONFIG])), name)
    for tsv in (TSV, PAPER_TSV):
        if tsv in files:
            config = _config(_bytes(files[CONFIG])) if CONFIG in files else {}
            return _from_tsv(_bytes(files[tsv]), Path(name).name, config)
    raise UserError(f"'{name}' holds no mask: {GATES} with {CONFIG}, or {TSV}, is needed.")


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"'{path.name}' has {size} bytes; a mask never has over {MAX_BYTES}.")
    return path.read_bytes()


def _config(data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except ValueError as error:
        raise UserError(f"{CONFIG} is not valid JSON: {error}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{CONFIG} must hold one JSON object.")
    return config


def _from_safetensors(data: bytes, config: dict[str, Any], name: str) -> dict[str, Any]:
    if config.get("schema") != SCHEMA:
        raise UserError(
            f"'{name}' has mask schema {config.get('schema')!r}; this version reads {SCHEMA}."
        )
    try:
        tensors = load_safetensors(data)
        (scores,) = tensors.values()
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{GATES} is damaged or holds more than one table.") from error
    fields: dict[str, Any] = {
        "sink": _window(config, "sink"),
        "recent": _window(config, "recent"),
        "model": str(config.get("model", "")),
        "revision": str(config.get("revision", "")),
        "name": str(config.get("name", "")),
        "info": config.get("info") if isinstance(config.get("info"), dict) else {},
    }
    mask = _checked(scores, **fields)
    return {**mask, "kept": _kept(config.get("kept"), scores.shape)}


def _kept(rows: Any, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows such as "1101" to a table of booleans."""
    ok = (
        isinstance(rows, list)
        and len(rows) == shape[0]
        and all(isinstance(r, str) and re.fullmatch(f"[01]{{{shape[1]}}}", r) for r in rows)
    )
    if not ok:
        raise UserError(f"The kept heads in {CONFIG} do not fit a table of {shape}.")
    return np.array([[c == "1" for c in row] for row in rows], dtype=np.bool_)


def _window(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**6:
        raise UserError(f"{CONFIG} needs a whole number for '{key}', got {value!r}.")
    return value


def _from_tsv(data: bytes, name: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """DuoAttention's and RLKV's layout: a row a layer, tab-separated, floats, no header."""
    config = config or {}
    try:
        rows = [[float(x) for x in line.split("\t")] for line in data.decode().splitlines() if line]
    except ValueError as error:
        raise UserError(f"'{name}' is not a table of numbers separated by tabs.") from error
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise UserError(f"'{name}' needs one row a layer, all of the same length.")
    window = {
        k: int(config[f"{key}_size"])
        for k, key in (("sink", "sink"), ("recent", "recent"))
        if isinstance(config.get(f"{key}_size"), int)
    }
    model = str(config.get("model_name", ""))
    info = {"notes": ["read from a table of scores; the heads kept are the best half"]}
    return _checked(np.array(rows), name=name, model=model, info=info, **window)


def _checked(scores: Any, **fields: Any) -> dict[str, Any]:
    """Runs the values through HeadMask's own checks and returns its fields."""
    from rlkv.masks import HeadMask

    if np.ndim(scores) != 2 or np.size(scores) > MAX_HEADS:
        raise UserError(f"A mask needs a layers x KV heads table, not shape {np.shape(scores)}.")
    mask = HeadMask.from_scores(scores, **fields)
    names = ("scores", "kept", "sink", "recent", "model", "revision", "name", "info")
    return {key: getattr(mask, key) for key in names}


def _read_link(match: re.Match[str]) -> dict[str, Any]:
    layers, heads, sink, recent = (int(match[i]) for i in range(1, 5))
    data = base64.urlsafe_b64decode(match[5] + "=" * (-len(match[5]) % 4))
    if layers * heads > MAX_HEADS or len(data) != (layers * heads + 7) // 8:
        raise UserError("The link's mask does not fit the size it names; copy the link again.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))[: layers * heads]
    kept = bits.reshape(layers, heads).astype(np.bool_)
    info = {"notes": ["from a link: kept heads only, scores are 1 and 0"]}
    scores = kept.astype(np.float32)
    return {"scores": scores, "kept": kept, "sink": sink, "recent": recent, "info": info}


def _download(repo: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    require_reachable(f"The mask '{repo}'")
    try:
        return snapshot_download(repo, allow_patterns=[GATES, CONFIG, TSV, PAPER_TSV])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"The Hub repo '{repo}' can't be read: check its name and your connection."
        ) from error


# --- writing ------------------------------------------------------------------------------


def contents(mask: HeadMask) -> dict[str, bytes]:
    """The three files of a mask, by name."""
    config = {
        "schema": SCHEMA,
        "name": mask.name,
        "model": mask.model,
        "revision": mask.revision,
        "layers": mask.layers,
        "kv_heads": mask.kv_heads,
        "sink": mask.sink,
        "recent": mask.recent,
        # As DuoAttention's loaders spell them.
        "sink_size": mask.sink,
        "recent_size": mask.recent,
        "sparsity": round(mask.sparsity, 6),
        "kept": ["".join("1" if k else "0" for k in row) for row in mask.kept],
        "info": dict(mask.info),
    }
    table = io.StringIO()
    np.savetxt(table, mask.scores, delimiter="\t", fmt="%.8f")
    return {
        GATES: save_safetensors({"gates": np.ascontiguousarray(mask.scores)}),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        TSV: table.getvalue().encode(),
    }


def write_folder(mask: HeadMask, folder: Path) -> Path:
    """Writes the files into `folder`, which is made if needed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents(mask).items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"Can't write the mask to '{folder}': {error.strerror}.") from error
    return folder


def write_zip(mask: HeadMask, path: Path) -> Path:
    """Writes the files into one zip at `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(mask).items():
            archive.writestr(name, data)
    return path


def to_link(mask: HeadMask) -> str:
    """`rlkv1.LAYERSxHEADS.SINK.RECENT.BITS`, the bits in base64url without padding."""
    bits = base64.urlsafe_b64encode(np.packbits(mask.kept).tobytes()).rstrip(b"=").decode()
    return f"rlkv1.{mask.layers}x{mask.kv_heads}.{mask.sink}.{mask.recent}.{bits}"


def push(mask: HeadMask, repo: str, *, token: str | None, private: bool) -> str:
    """Creates the Hub repository if needed and uploads all files in one commit."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    files = {**contents(mask), "README.md": _card(mask, repo).encode()}
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        api.create_commit(repo, operations, commit_message="Upload head mask")
    except (HfHubHTTPError, OSError) as error:
        raise UserError(
            f"Could not upload to '{repo}': check the name, your token and the connection."
        ) from error
    return str(url)


def _card(mask: HeadMask, repo: str) -> str:
    base = f"base_model: {mask.model}\n" if _REPO.fullmatch(mask.model) else ""
    return (
        f"---\n{base}library_name: rlkv\ntags: [kv-cache, attention-heads, rlkv]\n---\n\n"
        f"# Head mask for {mask.model or 'a language model'}\n\n"
        f"{mask.n_kept} of {mask.kept.size} KV heads keep the full cache; the others keep "
        f"{mask.sink} sink and {mask.recent} recent tokens.\n\n"
        f'```python\nimport rlkv\nmask = rlkv.HeadMask.load("{repo}")\n```\n'
    )
