"""How long a run is, and runs that would be none."""

from pathlib import Path
from typing import Any

import pytest

from resvision.tasks import ClassificationTask, WarmupCosine
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"accumulate_grad_batches": 0},
            r"trainer\.accumulate_grad_batches must be a whole number of at least 1, got 0",
        ),
        ({"accumulate_grad_batches": -1}, r"trainer\.accumulate_grad_batches must be .* at least 1, got -1"),
        (
            {"check_val_every_n_epoch": 0},
            r"trainer\.check_val_every_n_epoch must be above 0, got 0; trainer\.limit_val",
        ),
        (
            {"val_check_interval": 0},
            r"trainer\.val_check_interval must be above 0, got 0; trainer\.limit_val_batches: 0",
        ),
        ({"val_check_interval": 0.0}, r"trainer\.val_check_interval must be above 0, got 0\.0"),
    ],
)
def test_run__by_whose_settings_lightning_would_divide_by_0_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    task = ClassificationTask(NAMES, backbone="toy", scheduler=None)
    with pytest.raises(ValueError, match=message):
        quiet_trainer(tmp_path, **settings).fit(task, _loader(), _loader())


@pytest.mark.parametrize(
    "settings", [{"max_time": "00:01:00:00"}, {"check_val_every_n_epoch": None, "val_check_interval": "00:00:00:01"}]
)
def test_run__that_minds_the_clock_is_trained(settings: dict[str, Any], tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, **settings)
    trainer.fit(ClassificationTask(NAMES, backbone="toy", scheduler=WarmupCosine), _loader(12, 3), _loader())
    assert trainer.global_step == 3
