"""Links to the pages that Neuronpedia has for single query heads. Knows names only, asks nobody."""

from __future__ import annotations

MODELS = {
    "deepseek-ai/deepseek-r1-distill-llama-8b": "deepseek-r1-distill-llama-8b",
    "google/gemma-2-2b": "gemma-2-2b",
    "google/gemma-2-2b-it": "gemma-2-2b-it",
    "google/gemma-2-9b": "gemma-2-9b",
    "google/gemma-2-9b-it": "gemma-2-9b-it",
    "meta-llama/llama-3.1-8b": "llama3.1-8b",
    "qwen/qwen3-4b": "qwen3-4b",
}
"""Hub id in lower case -> its name there; models that this app serves and that have head pages."""


def links(model: str, layer: int, query_heads: range) -> list[tuple[int, str]]:
    """(query head, address of its page) of a KV head's group; empty where there are no pages.

    `layer` counts all layers of the model, as they do there.
    """
    name = MODELS.get(model.lower())
    if name is None:
        return []
    return [
        (head, f"https://www.neuronpedia.org/{name}/head/{layer}/{head}") for head in query_heads
    ]
