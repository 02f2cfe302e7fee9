"""The best checkpoint of a run, and of the run that it continues."""

import shutil
import warnings
from pathlib import Path
from typing import Any, Literal, final

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from resvision.callbacks.safe_checkpoints import write_atomically

__all__ = ["BestCheckpoint"]


@final
class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`; a run that continues another in a new folder begins with the best of that one.

    Lightning forgets the best score when the folder changes, so that the first epoch of the new run would be the best,
    however bad it is (Lightning #12045, #4911).

    Args:
        folder: Folder of the checkpoint.
        monitor: Name of the score.
        mode: Whether the best is the largest or the smallest.
        continued: `best.ckpt` of the run that is continued, if one is, in another folder.
    """

    def __init__(
        self, folder: Path, *, monitor: str, mode: Literal["min", "max"], continued: Path | None = None
    ) -> None:
        super().__init__(folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False)
        self._continued = continued

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know again what was the best, and have its file in the folder of this run."""
        assert self.dirpath is not None
        if state_dict["dirpath"] == self.dirpath:
            super().load_state_dict(state_dict)
            return
        score = state_dict["best_model_score"]
        if score is None or self._continued is None or not self._is_of(score):
            return
        best = Path(self.dirpath) / "best.ckpt"
        self._copy(best)
        self.best_model_path = self.kth_best_model_path = str(best)
        self.best_model_score = self.kth_value = score
        self.best_k_models = {str(best): score}

    def _is_of(self, score: torch.Tensor) -> bool:
        """Say whether the file is the one with this score, and not of a later epoch than the one to go on from."""
        assert self._continued is not None
        try:
            # Mapped and not read: only the numbers beside the weights are wanted.
            said = torch.load(self._continued, map_location="cpu", weights_only=True, mmap=True)
            return bool(said["callbacks"][self.state_key]["best_model_score"] == score.cpu())
        except Exception as error:  # torch reports a broken file by errors of many kinds
            text = f"{self._continued} cannot be read, so this run has a best of its own: {error}"
            warnings.warn(text, stacklevel=2)
            return False

    @rank_zero_only
    def _copy(self, target: Path) -> None:
        assert self._continued is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._continued.open("rb") as best:
            write_atomically(target, lambda file: shutil.copyfileobj(best, file))
