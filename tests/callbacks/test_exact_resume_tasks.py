"""Every task that stops anywhere and goes on ends as the one that never stopped: weights, metrics, batches."""

from pathlib import Path
from typing import Any, get_args

import pytest

from tests.callbacks.small_runs import BATCHES, EPOCHS, Kind, assert_same_end, run

# Where the tasks differ most: a step with frozen layers, the middle of a validation, the end of an epoch, the very end.
PLACES = ["3-batch", "4-validation", "4-epoch", "10-batch", "12-epoch"]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_run__goes_on_exactly(kind: Kind, tmp_path: Path) -> None:
    whole = run(kind, tmp_path, save=True)
    for number, place in enumerate(PLACES):
        resumed = run(kind, tmp_path / place, resume=tmp_path / f"{place}.ckpt", workers=2 if number == 0 else 0)
        assert_same_end(resumed, whole, place)


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_run__with_accumulation_and_validation_in_mid_epoch_goes_on_exactly(kind: Kind, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"accumulate_grad_batches": 2, "val_check_interval": 2}
    whole = run(kind, tmp_path, save=True, **settings)
    for place in ("2-validation", "6-batch"):
        resumed = run(kind, tmp_path / place, resume=tmp_path / f"{place}.ckpt", **settings)
        assert_same_end(resumed, whole, place)


@pytest.mark.parametrize(
    ("kind", "places"), [("segmentation", ["3-validation", "3-batch", "4-batch"]), ("classification", ["11-batch"])]
)
def test_run__with_validation_before_the_last_batch_goes_on_exactly(
    kind: Kind, places: list[str], tmp_path: Path
) -> None:
    whole = run(kind, tmp_path, save=True, val_check_interval=3)
    for place in places:
        resumed = run(kind, tmp_path / place, resume=tmp_path / f"{place}.ckpt", val_check_interval=3)
        assert_same_end(resumed, whole, place)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize(
    "settings",
    [{}, {"accumulate_grad_batches": 2}, {"val_check_interval": 1}, {"val_check_interval": 3}],
    ids=["plain", "accumulating", "validating-each", "validating-third"],
)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_run__goes_on_exactly_from_everywhere(
    kind: Kind, settings: dict[str, Any], workers: int, tmp_path: Path
) -> None:
    whole = run(kind, tmp_path, save=True, **settings)
    every = settings.get("accumulate_grad_batches", 1)
    assert len(whole.saved) >= BATCHES * EPOCHS // every
    for place in whole.saved:
        resumed = run(kind, tmp_path / place, resume=tmp_path / f"{place}.ckpt", workers=workers, **settings)
        assert_same_end(resumed, whole, place)
