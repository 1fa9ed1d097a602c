"""What can be compared: a title and a sentence for each method. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

Family = Literal["ranking", "reference", "dropping"]


@dataclass(frozen=True)
class Method:
    """One way of spending the memory that a sparsity allows."""

    key: str
    title: str
    what: str
    family: Family
    """A ranking of heads; a reference that ranks by chance or not at all; or dropping of tokens in
    every head."""
    home: str = ""
    """What makes it, as `module:name`: for a ranking a function (`rlkv.evaluation.ranking.Maker`),
    for dropping a cache class, which is called with the model and the mask whose bytes it may use.
    Empty for learned masks, references, and rankings of `rlkv.explore.rankings`."""

    @property
    def ranks_the_model(self) -> bool:
        """Whether it is a ranking that has to be made on the model first."""
        return self.family == "ranking" and self.key != "learned"

    def load(self) -> Any:
        """What `home` names; imported only now."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)


METHODS: dict[str, Method] = {
    one.key: one
    for one in (
        Method("learned", "Learned", "The masks that were learned by reward.", "ranking"),
        Method("random", "Random", "Uniformly random heads, the mean of several.", "reference"),
        Method(
            "inverse",
            "Inverse",
            "The first mask the wrong way round: its lowest-ranked heads are kept.",
            "reference",
        ),
        Method("streaming", "All compressed", "No head keeps its full cache.", "reference"),
        Method(
            "duo",
            "DuoAttention",
            "Gates distilled on finding passkeys in long texts (arXiv 2410.10819).",
            "ranking",
            "rlkv.evaluation.ranking:duo",
        ),
        Method(
            "far",
            "Attention on far tokens",
            "Mean attention mass outside the window; no training.",
            "ranking",
        ),
        Method(
            "reward_gradient",
            "Gradient of the answer",
            "How much likelier right answers get as a gate opens; one backward pass a text.",
            "ranking",
        ),
        Method(
            "h2o",
            "H2O",
            "Every head drops tokens with little attention so far (arXiv 2306.14048), at equal "
            "KV bytes.",
            "dropping",
            "rlkv.baselines.h2o:H2OCache",
        ),
        Method(
            "rkv",
            "R-KV",
            "Every head drops unimportant and redundant tokens (arXiv 2505.24133), at equal KV "
            "bytes.",
            "dropping",
            "rlkv.baselines.rkv:RKVCache",
        ),
    )
}
"""All methods by key, in the order in which they are shown."""
