"""What the library lists of every mask, and which of them a search finds. Knows no page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from rlkv.mask_files.parsed import one_line
from rlkv.mask_metrics import IMPORTED, figure, is_claimed
from rlkv.masks import HeadMask
from storage.masks import MaskRow
from ui import catalogue
from ui.library.averaging import AVERAGED
from ui.studio import Studio


@dataclass(frozen=True)
class Origin:
    """Where a mask came from, in words, with the masks or the job it leads back to."""

    words: str
    links: tuple[tuple[str, str], ...] = ()
    """(name, address within the app)."""


@dataclass(frozen=True)
class Item:
    """One mask of the library."""

    key: str
    mask: HeadMask
    origin: Origin
    made: float | None = None
    """When it was kept, seconds since 1970; None of a shipped one."""
    shipped: bool = False
    own: bool = False
    """Whether whoever looks may rename and delete it."""
    text: str = field(default="", compare=False)
    """All that a search looks in, in lower case."""

    @property
    def name(self) -> str:
        return catalogue.name_of(self.key, self.mask)

    @property
    def task(self) -> str:
        task = self.mask.info.get("task")
        return one_line(task, 60) if isinstance(task, str) else ""

    @property
    def seed(self) -> int | None:
        seed = self.mask.info.get("seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    @property
    def accuracy(self) -> float | None:
        """Share of problems solved at 50 % sparsity, as its training measured it; None where that
        was another mask's."""
        return figure(self.mask, "accuracy_at_50")

    @property
    def claimed(self) -> bool:
        """Whether that is the word of an imported file."""
        return is_claimed(self.mask.info)


def items(studio: Studio) -> list[Item]:
    """All masks: shipped ones, then the newest first."""
    rows = studio.masks.list()
    shipped = catalogue.shipped_masks()
    known = {row.id for row in rows} | set(shipped)
    found = [
        Item(entry.key, entry.mask, Origin("shipped with the app"), shipped=True)
        for entry in shipped.values()
    ]
    owner = studio.owner
    found += [item_of(row, known, own=owner in (None, row.owner)) for row in rows]
    return [_searchable(item) for item in found]


def item_of(row: MaskRow, known: Iterable[str] = (), *, own: bool = True) -> Item:
    """A saved mask; `known` are the keys that its origin may lead to."""
    mask = HeadMask.from_record(asdict(row))
    return Item(row.id, mask, _origin(row, mask, set(known)), row.created_at, own=own)


def matching(found: Sequence[Item], words: str, model: str) -> list[Item]:
    """Those of a model ("" for any) in which every word occurs."""
    wanted = words.lower().split()[:20]
    return [
        item
        for item in found
        if model in ("", item.mask.model) and all(word in item.text for word in wanted)
    ]


def models(found: Sequence[Item]) -> list[str]:
    """The models that masks are for, each once, in the order in which they are listed."""
    return list(dict.fromkeys(item.mask.model for item in found if item.mask.model))


def _searchable(item: Item) -> Item:
    parts = [
        item.name, item.mask.name, item.mask.model, item.task, item.origin.words,
        *(name for name, _ in item.origin.links),
        "" if item.seed is None else f"seed {item.seed}",
        f"{item.mask.layers}x{item.mask.kv_heads}",
    ]  # fmt: skip
    return replace(item, text=" ".join(parts).lower())


def _origin(row: MaskRow, mask: HeadMask, known: set[str]) -> Origin:
    """What the notes say; an imported file may say anything there, so keys are looked up."""
    averaged = row.info.get(AVERAGED)
    if isinstance(averaged, list) and averaged:
        pairs = [_named(one) for one in averaged[:20] if isinstance(one, dict)]
        return Origin("average of", tuple(_link(name, key, known) for name, key in pairs))
    name, key = catalogue.made_from(mask)
    if name or key:
        return Origin("edited from", (_link(name or "a mask", key, known),))
    if row.job_id is not None:
        return Origin("trained:", (("its job", f"./train?job={row.job_id}"),))
    imported = row.info.get(IMPORTED)
    if isinstance(imported, dict):
        return Origin(f"imported from {one_line(imported.get('file', 'a file'), 60)}")
    return Origin("kept here")


def _named(noted: dict[str, object]) -> tuple[str, str]:
    return str(noted.get("name", "")), str(noted.get("key", ""))


def _link(name: str, key: str, known: set[str]) -> tuple[str, str]:
    return one_line(name, 60) or "a mask", f"./heads?mask={key}" if key in known else ""
