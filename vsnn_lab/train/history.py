"""What a training did, epoch by epoch."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class History:
    """What `fit` did, epoch by epoch.

    Attributes:
        epochs: One dict for each finished epoch: ``epoch`` (from 1), ``train_loss`` (mean over the
            sampled widths), ``full`` and ``narrow`` (validation loss at full width and at
            ``narrow_width``; absent without validation) and ``seconds``.
        narrow_width: The narrow knob position watched, a joint one where there are several knobs;
            None for a plain network.
        best_epoch: The epoch whose weights the model holds now: the one of lowest mean of
            ``full`` and ``narrow``; without validation the last.
        resumed_at: Finished epochs that were taken from the checkpoint.
        folder: Where the checkpoints are; None if none were written.
        graphs: How many were compiled; None if compiling was not asked for.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    narrow_width: int | None = None
    best_epoch: int = 0
    resumed_at: int = 0
    folder: Path | None = None
    graphs: int | None = None

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas frame with one row an epoch."""
        import pandas as pd

        return pd.DataFrame(self.epochs)

    def add(self, row: dict[str, float]) -> bool:
        """Append a finished epoch; return whether it is the best so far."""
        self.epochs.append(row)
        scores = [_validation_score(row) for row in self.epochs]
        best = scores[-1] <= min(scores)
        if best:
            self.best_epoch = len(self.epochs)
        return best


def _validation_score(row: dict[str, float]) -> float:
    watched = [row[name] for name in ("full", "narrow") if name in row]
    # Without validation every epoch counts as better than the one before.
    score = sum(watched) / len(watched) if watched else -row["epoch"]
    return math.inf if math.isnan(score) else score
