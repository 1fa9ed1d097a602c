"""HeadTable: all that was measured of every head, as rows, as CSV, and as plain values to keep.

Needs numpy only; measuring (`head_table`) brings torch in when it is asked for.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlkv.cuts import ranks
from rlkv.errors import UserError
from rlkv.explore.measures import MEASURES
from rlkv.explore.similar import Alike, similar
from rlkv.masks import HeadMask

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlkv.explore.stopping import Stop
    from rlkv.streaming import StreamingWindow

Table = NDArray[np.float32]
Row = dict[str, int | float | bool | None]
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class HeadTable:
    """What every KV head of a model does on one task. Arrays begin with `[layers, kv_heads]`."""

    model: str
    task: str
    seed: int
    sink_tokens: int
    """The window that says which tokens are far."""
    recent_tokens: int
    n: int
    """Probe texts that it was measured on."""
    right: bool
    """Whether their answers are right. False: the model got none right, so its wrong ones were
    used."""
    measures: Mapping[str, Table]
    """One `[layers, kv_heads]` for each of `MEASURES`."""
    by_distance: Table
    """Mean attention mass by distance, `[layers, kv_heads, bins]`."""
    edges: tuple[int, ...]
    """Bin b holds distances from `edges[b]` up to, not including, `edges[b + 1]`."""
    likeness: Table
    """`[layers, kv_heads, layers, kv_heads]`, see `rlkv.explore.likeness`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, kv_heads)."""
        return self.likeness.shape[0], self.likeness.shape[1]

    @property
    def note(self) -> str:
        """What a reader has to know of the texts; "" if nothing."""
        return "" if self.right else "The model got none of the problems right: wrong answers used."

    def similar(self, layer: int, head: int, top: int = 5) -> list[Alike]:
        """The heads most like one head; see `rlkv.explore.similar.similar`."""
        return similar(self.likeness, layer, head, top)

    def to_mask(
        self, key: str, *, sparsity: float = 0.5, info: Mapping[str, Any] | None = None
    ) -> HeadMask:
        """A mask that keeps the heads with the highest values of one measure.

        Its scores are the ranks, from 1 for the highest down to above 0. `info` is added to what
        it says of its origin.

        Raises:
            UserError: if there is no such measure.
        """
        if key not in self.measures:
            raise UserError(f"There is no ranking '{key}': choose one of {', '.join(MEASURES)}.")
        values = self.measures[key]
        return HeadMask.from_scores(
            1.0 - ranks(values) / values.size,
            sparsity=sparsity,
            sink=self.sink_tokens,
            recent=self.recent_tokens,
            model=self.model,
            name=f"{MEASURES[key].title}, {self.task}",
            info={"task": self.task, "seed": self.seed, "ranking": key, **(info or {})},
        )

    # --- out ------------------------------------------------------------------------------

    def to_rows(self, mask: HeadMask | None = None) -> list[Row]:
        """One row a head: `layer, head, gate, gate_rank, kept`, then each measure and its rank.

        Ranks count from 1, the highest value. Without a mask its three columns are None. The
        gate's rank is that of the mask's scores, by which heads are cut.

        Raises:
            UserError: if the mask is not of this model's shape.
        """
        columns = self._mask_columns(mask)
        for key, values in self.measures.items():
            columns[key] = values.tolist()
            columns[f"{key}_rank"] = (ranks(values) + 1).tolist()
        layers, kv_heads = self.shape
        return [
            {"layer": layer, "head": head, **{k: v[layer][head] for k, v in columns.items()}}
            for layer in range(layers)
            for head in range(kv_heads)
        ]

    def _mask_columns(self, mask: HeadMask | None) -> dict[str, list[list[Any]]]:
        layers, kv_heads = self.shape
        if mask is None:
            nothing = [[None] * kv_heads] * layers
            return {"gate": nothing, "gate_rank": nothing, "kept": nothing}
        mask.require_shape(layers, kv_heads, self.model)
        return {
            "gate": mask.gates.tolist(),
            "gate_rank": (mask.ranks() + 1).tolist(),
            "kept": mask.kept.tolist(),
        }

    def to_csv(self, mask: HeadMask | None = None) -> str:
        """The rows as CSV with a header line; `kept` is 1 or 0, what is not known is empty."""
        rows = self.to_rows(mask)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        return text.getvalue()

    def write_csv(self, path: str | Path, mask: HeadMask | None = None) -> Path:
        """Writes the CSV.

        Raises:
            UserError: if it can't be written.
        """
        target = Path(path).expanduser()
        try:
            target.write_text(self.to_csv(mask), encoding="utf-8")
        except OSError as error:
            raise UserError(f"'{path}' can't be written: {error.strerror}.") from error
        return target

    def to_record(self) -> dict[str, Any]:
        """JSON values only, as small as they get without loss."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "task": self.task,
            "seed": self.seed,
            "sink_tokens": self.sink_tokens,
            "recent_tokens": self.recent_tokens,
            "n": self.n,
            "right": self.right,
            "shape": list(self.shape),
            "edges": list(self.edges),
            "measures": {key: _packed(values, "<f4") for key, values in self.measures.items()},
            "by_distance": _packed(self.by_distance, "<f4"),
            "likeness": _packed(self.likeness, "<f2"),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> HeadTable:
        """The inverse of `to_record`.

        Raises:
            UserError: if it is no such record, or one of another version.
        """
        try:
            if record["schema"] != SCHEMA:
                raise ValueError("another version")
            layers, kv_heads = (int(n) for n in record["shape"])
            edges = tuple(int(edge) for edge in record["edges"])
            bins = len(edges) - 1
            return cls(
                model=str(record["model"]),
                task=str(record["task"]),
                seed=int(record["seed"]),
                sink_tokens=int(record["sink_tokens"]),
                recent_tokens=int(record["recent_tokens"]),
                n=int(record["n"]),
                right=bool(record["right"]),
                measures={
                    key: _unpacked(record["measures"][key], "<f4", (layers, kv_heads))
                    for key in MEASURES
                },
                by_distance=_unpacked(record["by_distance"], "<f4", (layers, kv_heads, bins)),
                edges=edges,
                likeness=_unpacked(record["likeness"], "<f2", (layers, kv_heads, layers, kv_heads)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                "This is no table of heads that can be read: measure it again with "
                "`python -m rlkv heads`."
            ) from error


def head_table(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: str,
    window: StreamingWindow,
    n: int = 16,
    seed: int = 0,
    *,
    stop: Stop | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> HeadTable:
    """Measures every head on `n` probe texts of a task: seconds for small models.

    Args:
        stop: asked before every text; True ends it with `Stopped`.
        say: is told what is being measured.

    Raises:
        UserError: if there is no such task, its texts have no far tokens, or the model can't be
            watched.
        Stopped: if `stop()` says so.
    """
    from rlkv.explore.likeness import likeness
    from rlkv.explore.looking import mean_looks
    from rlkv.explore.probes import probe_texts
    from rlkv.explore.rankings import RANKINGS, Probe
    from rlkv.explore.stopping import never

    stop = stop or never
    say(f"Answering {task}")
    texts = probe_texts(model, tokenizer, task, n, seed, stop=stop)
    probe = Probe(model, tokenizer, texts, window, seed, stop)
    measures: dict[str, Table] = {}
    for ranking in RANKINGS.values():
        say(ranking.title)
        measures[ranking.key] = ranking.scores(probe)
    seen = mean_looks(probe.looks)
    say("Likeness of heads")
    return HeadTable(
        model=model.name_or_path,
        task=task,
        seed=seed,
        sink_tokens=window.sink,
        recent_tokens=window.recent,
        n=len(texts),
        right=texts[0].right,
        measures={**measures, "sink": seen.sink, "recent": seen.recent},
        by_distance=seen.by_distance,
        edges=seen.edges,
        likeness=likeness(model, [text.ids for text in texts], stop=stop),
    )


def _cell(value: float | bool | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(int(value))


def _packed(values: Table, kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _unpacked(text: str, kind: str, shape: tuple[int, ...]) -> Table:
    data = np.frombuffer(base64.b64decode(text, validate=True), kind)
    return data.reshape(shape).astype(np.float32)
