from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from resvision.cli.run_parts import run_loggers

ROWS = "step,train/loss\n" + "".join(f"{step},{step / 10}\n" for step in range(10))


@pytest.mark.parametrize(("rank", "kept"), [(0, 4), (1, 10)])
def test_table__of_a_run_that_goes_on_is_cut_by_its_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, kept: int
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", rank, raising=False)
    (tmp_path / "metrics.csv").write_text(ROWS)
    table, *_ = run_loggers(tmp_path, None, 4)
    assert isinstance(table, CSVLogger)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ROWS.splitlines()[: kept + 1]
