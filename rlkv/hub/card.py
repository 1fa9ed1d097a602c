"""The model card of a mask on the Hub: the card of its files under the Hub's own front matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCardData

from rlkv.hub.names import TAGS, is_on_hub, model_tag, split_revision
from rlkv.mask_card import card
from rlkv.mask_files.parsed import one_line
from rlkv.mask_metrics import figure, is_claimed

if TYPE_CHECKING:
    from rlkv.masks import HeadMask


def hub_card(mask: HeadMask, repo: str) -> str:
    """README.md for `repo`: front matter that the Hub reads, then words, results, a snippet."""
    body = card(mask, source=repo).removeprefix("---\n").partition("\n---\n")[2]
    return f"---\n{_front_matter(mask)}\n---\n{body}"


def _front_matter(mask: HeadMask) -> str:
    """YAML by the Hub's own writer: names are quoted where they must be."""
    on_hub = is_on_hub(mask.model)
    tags = [*TAGS] if on_hub or not mask.model else [*TAGS, model_tag(mask.model)]
    fields: dict[str, Any] = {"library_name": "rlkv", "tags": tags}
    if on_hub:
        fields |= {"base_model": split_revision(mask.model)[0], "base_model_relation": "adapter"}
    if index := _model_index(mask):
        fields["model-index"] = index
    return str(ModelCardData(**fields, ignore_metadata_errors=True).to_yaml())


def _model_index(mask: HeadMask) -> list[dict[str, Any]]:
    """The accuracy at half of the heads, in the Hub's form for results, which has no word for a
    figure that somebody else claims."""
    accuracy, task = figure(mask, "accuracy_at_50"), mask.info.get("task")
    if accuracy is None or is_claimed(mask.info) or not isinstance(task, str) or not task:
        return []
    name = "accuracy at 50 % sparsity"
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"type": one_line(task, 100), "name": one_line(task, 100)},
        "metrics": [{"type": "accuracy", "name": name, "value": accuracy}],
    }
    return [{"name": one_line(mask.name, 100) or "head mask", "results": [result]}]
