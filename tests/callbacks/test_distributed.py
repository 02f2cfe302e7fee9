"""Two processes train as one does with the same pictures in a batch, score each picture once, and go on exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.callbacks.two_processes import curve, scores

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of the two processes says."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["--log-dir", str(folder)]
    root = str(SCRIPT.parents[2])
    environment = os.environ | {"PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, str(SCRIPT), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        try:
            text, _ = process.communicate(timeout=400)
        finally:
            process.terminate()  # it ends its children too
    assert process.returncode == 0, text
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_two_processes__have_the_losses_and_scores_of_one(said: list[dict[str, Any]], tmp_path: Path) -> None:
    alone = curve(tmp_path, 1)
    together = said[0]["rows"]
    assert [row.keys() for row in together] == [row.keys() for row in alone]
    assert sum("train/loss" in row for row in alone) == 8
    for ours, theirs in zip(together, alone, strict=True):
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name


@pytest.mark.parametrize(("kind", "score"), [("segmentation", "val/miou"), ("detection", "val/map")])
def test_two_processes__have_the_scores_of_the_whole_set(
    kind: Literal["segmentation", "detection"], score: str, said: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = scores(kind, tmp_path, 1)
    assert 0 < alone[score] < 1
    assert alone["counted"] >= (5 * 32 * 32 if kind == "segmentation" else 5)
    for one in said:  # 3 pictures in one process and 2 in the other: a third one there would count twice
        assert one["scores"][kind] == pytest.approx(alone, rel=1e-6, abs=1e-6, nan_ok=True)


def test_two_processes__each_without_labels_of_a_kind_have_the_scores_of_the_whole_set(
    said: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = scores("multi", tmp_path, 1)
    assert alone.keys() > {"val/classification/accuracy", "val/segmentation/miou", "val/detection/map", "val/score"}
    for one in said:
        assert one["scores"]["multi"] == pytest.approx(alone, rel=1e-6, abs=1e-6, nan_ok=True)


def test_two_processes__stop_at_the_same_step(said: list[dict[str, Any]]) -> None:
    stops = [one["stop"] for one in said]
    assert stops[0] == stops[1]
    assert stops[0]["exit_code"] == 143
    assert 3 <= stops[0]["step"] <= 13
