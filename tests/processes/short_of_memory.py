"""A worker whose second rank has room for one row at once: `... tests.processes.short_of_memory --job ID`."""  # noqa: E501

import sys
from typing import Any

from rlkv import worker
from rlkv.training import ranks
from rlkv.training.grpo import GateTrainer

plain = GateTrainer._compute_loss


def _compute_loss(self: GateTrainer, model: Any, inputs: dict[str, Any]) -> Any:
    if ranks.rank() == 1 and self.state.global_step >= 2 and len(inputs["completion_ids"]) > 1:
        raise MemoryError
    return plain(self, model, inputs)


if __name__ == "__main__":
    GateTrainer._compute_loss = _compute_loss  # type: ignore[method-assign]
    sys.exit(worker.main())
