"""Decoding as one CUDA graph: the same kernels, launched at once instead of one by one.

For a small model on a fast GPU, launching a step's kernels takes longer than running them. A graph
replays them with fixed shapes and addresses, so the cache is put into a fixed mode: heads attend
over their whole capacity under a mask, and tokens go to slots that are computed on the device. When
the capacity is used up, it grows by the usual step and the graph is captured anew.

Rows must not be padded.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.feeding import feed

WARM_UP = 2
"""Passes before a capture: kernels are chosen and workspaces allocated by the first ones."""


class CapturedDecode:
    """Feeds one token a row into a cache that has read its prompt.

    Between steps the cache is an ordinary one: it can be forked, measured, or fed otherwise.
    With `graph=False` the same fixed-shape step runs without a graph, on any device.

    Raises:
        UserError: if the cache is empty, or its rows are padded.
    """

    def __init__(self, model: PreTrainedModel, cache: SplitHeadCache, graph: bool = True) -> None:
        if not cache.get_seq_length():
            raise UserError("Read a prompt before decoding with a captured step.")
        if cache.clock.starts is not None:
            raise UserError("A captured step needs rows without padding.")
        self.model = model
        self.cache = cache
        self._graph = torch.cuda.CUDAGraph() if graph else None
        self._at = torch.zeros(1, dtype=torch.long, device=model.device)
        self._ids = torch.zeros(cache.batch_size, 1, dtype=torch.long, device=model.device)
        self._logits: torch.Tensor | None = None
        self._addresses: tuple[int, ...] = ()

    @torch.no_grad()
    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Feeds `[B, 1]` and gives logits `[B, 1, vocabulary]`, good until the next step."""
        seen = self.cache.get_seq_length()
        for layer in self.cache.layers:
            layer.make_room(seen + 1)
        self._ids.copy_(ids)
        self._at.fill_(seen)
        if self._graph is None:
            self._logits = self._forward()
        else:
            if self._addresses != self.cache.addresses():
                self._capture(self._graph)
            self._graph.replay()
        self.cache.set_seen(seen + 1)
        assert self._logits is not None
        return self._logits

    def _forward(self) -> torch.Tensor:
        """One pass with shapes that don't depend on the position."""
        clock = self.cache.clock
        clock.fix(self._at)
        try:
            logits: torch.Tensor = feed(
                self.model,
                self.cache,
                input_ids=self._ids,
                position_ids=self._at.expand(len(self._ids), 1),
                logits_to_keep=1,
            ).logits
            return logits
        finally:
            clock.fix(None)

    def _capture(self, graph: torch.cuda.CUDAGraph) -> None:
        """Every pass here writes the same token to the same slots, so none leaves a trace."""
        seen = self.cache.get_seq_length()
        graph.reset()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._forward()
                self.cache.set_seen(seen)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            self._logits = self._forward()
        self.cache.set_seen(seen)
        self._addresses = self.cache.addresses()
