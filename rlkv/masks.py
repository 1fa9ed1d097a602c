"""HeadMask: which KV heads keep a full cache, and how that was decided.

Knows numbers and shapes only: no torch, no model. Files are read and written by
`rlkv.mask_files`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv import mask_files
from rlkv.cuts import affordable, kept_count, ranks, require_sparsity
from rlkv.errors import UserError
from rlkv.mask_link import to_link
from rlkv.mask_metrics import METRICS

Scores = NDArray[np.float32]
Kept = NDArray[np.bool_]

DEFAULT_SINK, DEFAULT_RECENT = 16, 64
"""The window that the RLKV paper deploys (arXiv 2510.08525, section 4.1)."""


@dataclass(frozen=True, eq=False)
class HeadMask:
    """Scores of all KV heads, the heads kept at the current cut, and the window of the others."""

    scores: Scores
    """float32 `[layers, kv_heads]` in [0, 1]; higher means more needed."""
    kept: Kept
    """bool `[layers, kv_heads]`; True keeps the full cache."""
    sink: int = DEFAULT_SINK
    """Tokens at the start of a row that compressed heads keep."""
    recent: int = DEFAULT_RECENT
    """Latest tokens, the current one included, that compressed heads keep."""
    model: str = ""
    revision: str = ""
    name: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Provenance: task, seed, recipe, metrics, notes of the reader. JSON values only."""

    def __post_init__(self) -> None:
        scores = np.array(self.scores, dtype=np.float32)
        kept = np.array(self.kept, dtype=np.bool_)
        if scores.ndim != 2 or scores.size == 0:
            raise UserError(f"A mask needs a layers x KV heads table, not shape {scores.shape}.")
        if kept.shape != scores.shape:
            raise UserError(f"Scores are {scores.shape} but the kept heads are {kept.shape}.")
        if not np.isfinite(scores).all():
            raise UserError(
                "The mask has scores that are not finite numbers; train or export it again."
            )
        if self.sink < 0 or self.recent < 1:
            raise UserError(
                f"The window needs sink >= 0 and recent >= 1, got {self.sink} and {self.recent}."
            )
        for array in (scores, kept):
            array.flags.writeable = False
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "kept", kept)

    # --- makers ---------------------------------------------------------------------------

    @classmethod
    def from_scores(cls, scores: Any, *, sparsity: float = 0.5, **fields: Any) -> HeadMask:
        """A mask that keeps the best heads of `scores`; values outside [0, 1] are clipped."""
        table = np.array(scores, dtype=np.float32)
        # What is not finite is left for the check that refuses it.
        clipped = np.clip(table, 0.0, 1.0) if np.isfinite(table).all() else table
        if moved := int((clipped != table).sum()):
            note = f"{moved} scores outside [0, 1] were clipped"
            info = dict(fields.pop("info", {}))
            fields["info"] = {**info, "notes": [*info.get("notes", []), note]}
        return cls(clipped, np.ones(table.shape, np.bool_), **fields).at_sparsity(sparsity)

    @classmethod
    def full(cls, layers: int, kv_heads: int, **fields: Any) -> HeadMask:
        """Every head keeps the full cache."""
        return cls.from_scores(np.ones((layers, kv_heads)), sparsity=0.0, **fields)

    @classmethod
    def random(
        cls, layers: int, kv_heads: int, *, sparsity: float, seed: int, **fields: Any
    ) -> HeadMask:
        """Uniformly random scores: the baseline that a learned mask has to beat."""
        if seed < 0:
            raise UserError(f"The seed of a random mask must be 0 or more, got {seed}.")
        scores = np.random.default_rng(seed).random((layers, kv_heads))
        return cls.from_scores(scores, sparsity=sparsity, **fields)

    @classmethod
    def load(cls, source: str | Path) -> HeadMask:
        """Reads a folder, a .zip, a .tsv, a link text or a Hub repo `user/repo`.

        Raises:
            UserError: in one line, what is wrong with it.
        """
        return cls(**mask_files.read(source))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> HeadMask:
        """Reads a repository of the Hub, `owner/name`, or a folder (`rlkv.hub.fetching`)."""
        from rlkv.hub.fetching import from_pretrained

        return from_pretrained(source, revision=revision, token=token)

    # --- views ----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, kv_heads)."""
        return self.scores.shape[0], self.scores.shape[1]

    @property
    def layers(self) -> int:
        return self.shape[0]

    @property
    def kv_heads(self) -> int:
        return self.shape[1]

    @property
    def gates(self) -> Scores:
        """The gates as trained, float32 `[layers, kv_heads]`.

        After a training with elimination the scores hold the final order of the heads, and the
        gates stand in the notes. Without such a note the scores are the gates.
        """
        try:
            noted = np.array(self.info.get("gates"), dtype=np.float32)
        except (TypeError, ValueError):
            return self.scores
        fits = noted.shape == self.shape and bool(np.isfinite(noted).all())
        return np.clip(noted, 0.0, 1.0) if fits else self.scores

    @property
    def n_kept(self) -> int:
        return int(self.kept.sum())

    @property
    def sparsity(self) -> float:
        """Share of KV heads that are compressed."""
        return 1.0 - self.n_kept / self.kept.size

    def ranks(self) -> NDArray[np.int64]:
        """Rank of every head, 0 the most needed; ties fall by (layer, head)."""
        return ranks(self.scores)

    def rank_correlation(self, other: HeadMask) -> float:
        """Spearman's correlation of the two rankings; ties count by (layer, head)."""
        if self.kept.size == 1:
            return 1.0  # one head has one ranking
        return float(np.corrcoef(self.ranks().ravel(), other.ranks().ravel())[0, 1])

    def kv_bytes(self, length: int, *, head_dim: int, itemsize: int, batch: int = 1) -> int:
        """Bytes of keys and values after `length` tokens, by the formula."""
        compressed = self.kept.size - self.n_kept
        tokens = self.n_kept * length + compressed * min(length, self.sink + self.recent)
        return 2 * head_dim * itemsize * batch * tokens

    def kv_saved(self, length: int) -> float:
        """Share of KV bytes saved after `length` tokens, against the full cache."""
        if length <= 0:
            return 0.0
        one = self.kv_bytes(length, head_dim=1, itemsize=1)
        return 1.0 - one / (2 * self.kept.size * length)

    # --- cuts and edits -------------------------------------------------------------------

    def keep_best(self, count: int) -> HeadMask:
        """Keeps the `count` heads of the best rank."""
        return replace(self, kept=self.ranks() < count)

    def at_sparsity(self, sparsity: float) -> HeadMask:
        """Keeps the best N - ceil(s (N - 1)) heads, as the paper's masks do; none at s = 1.

        Raises:
            UserError: if `sparsity` is not in [0, 1].
        """
        require_sparsity(sparsity)
        return self.keep_best(kept_count(self.kept.size, sparsity))

    def with_budget(
        self, *, bytes: int, length: int, head_dim: int = 0, itemsize: int = 0
    ) -> HeadMask:
        """Keeps as many heads as fit `bytes` of KV after `length` tokens (batch 1).

        `head_dim` and `itemsize` default to those of the model that the mask was learned on.

        Raises:
            UserError: if not even the fully compressed cache fits, or the head size is unknown.
        """
        head_dim = head_dim or int(self.info.get("head_dim", 0))
        itemsize = itemsize or int(self.info.get("itemsize", 0))
        if not head_dim or not itemsize:
            raise UserError("This mask does not know its head size: pass head_dim and itemsize.")
        token, window = 2 * head_dim * itemsize, self.sink + self.recent
        count = affordable(self.kept.size, bytes, token=token, length=length, window=window)
        return self.keep_best(count)

    def toggle(self, layer: int, head: int) -> HeadMask:
        """Turns one head from kept to compressed or back; what was measured counts no more, unless
        it is still a cut of the scores (`rlkv.mask_metrics`).

        Raises:
            UserError: if there is no such head.
        """
        if not (0 <= layer < self.layers and 0 <= head < self.kv_heads):
            raise UserError(
                f"There is no head {layer}.{head}: the mask has {self.layers} layers "
                f"of {self.kv_heads} KV heads."
            )
        kept = self.kept.copy()
        kept[layer, head] = not kept[layer, head]
        return replace(self, kept=kept)

    def inverse(self) -> HeadMask:
        """The opposite ranking at the same number of kept heads: the worst heads are kept. What was
        measured of this one is not true of it. Its scores are ranks, so that ties turn round."""
        return replace(
            self,
            scores=((self.ranks() + 1) / self.kept.size).astype(np.float32),
            kept=self.ranks() >= self.kept.size - self.n_kept,
            info={k: v for k, v in self.info.items() if k != METRICS},
        )

    def require_shape(self, layers: int, kv_heads: int, model: str) -> None:
        """Checks that the mask fits a model.

        Raises:
            UserError: naming both shapes.
        """
        if self.shape != (layers, kv_heads):
            raise UserError(
                f"The mask is for {self.layers} layers x {self.kv_heads} KV heads but {model} has "
                f"{layers} x {kv_heads}: choose a mask learned on this model."
            )

    # --- out ------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Writes `gates.safetensors`, `config.json`, `full_attention_heads.tsv`, the card
        `README.md` and the heat map `heads.svg`."""
        return mask_files.write_folder(self, Path(folder))

    def save_zip(self, path: str | Path) -> Path:
        """Writes the same five files into one zip."""
        return mask_files.write_zip(self, Path(path))

    def push_to_hub(
        self, repo: str, *, token: str | None = None, private: bool = False, message: str = ""
    ) -> str:
        """Commits files and a card to the Hub's `owner/name`; the commit's address.

        Raises:
            UserError: nothing was pushed, and what to do (`rlkv.hub.publishing.push`).
        """
        from rlkv.hub.publishing import push

        return push(self, repo, token=token, private=private, message=message)

    def to_link(self) -> str:
        """The kept heads and the window as a short text that fits into a URL."""
        return to_link(self)

    def to_record(self) -> dict[str, Any]:
        """Plain values, as the database keeps them."""
        return {
            "name": self.name,
            "model": self.model,
            "revision": self.revision,
            "layers": self.layers,
            "kv_heads": self.kv_heads,
            "scores": self.scores.astype("<f4").tobytes(),
            "kept": self.kept.astype(np.uint8).tobytes(),
            "sink": self.sink,
            "recent": self.recent,
            "info": json.loads(json.dumps(dict(self.info))),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> HeadMask:
        """The inverse of `to_record`; further keys are ignored."""
        shape = int(record["layers"]), int(record["kv_heads"])
        return cls(
            np.frombuffer(record["scores"], "<f4").reshape(shape),
            np.frombuffer(record["kept"], np.uint8).reshape(shape).astype(np.bool_),
            sink=int(record["sink"]),
            recent=int(record["recent"]),
            model=str(record["model"]),
            revision=str(record["revision"]),
            name=str(record["name"]),
            info=dict(record["info"] or {}),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeadMask) and self.to_record() == other.to_record()

    __hash__ = None  # type: ignore[assignment]
