"""The blocks of `docs/python.md`, run one after the other as they stand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.pages import DOCS, blocks, headings

PAGE = DOCS / "python.md"


def test_python__blocks_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    programs = [block for block in blocks(PAGE) if block.language == "python"]
    assert {block.heading for block in programs} == set(headings(PAGE))
    names: dict[str, Any] = {}
    batches: list[torch.Tensor] = []
    for block in programs:
        exec(compile(block.text, f"{PAGE.name}, {block.heading}", "exec"), names)
    assert names["trainer"].global_step == 2
    assert (tmp_path / "runs/by_hand/checkpoints/best.ckpt").is_file()
    assert (tmp_path / "overlay.png").is_file()
    # What the page says of the sampler.
    for epoch in (0, 0, 1):
        names["loader"].sampler.set_epoch(epoch)
        batches.append(next(iter(names["loader"]))["image"])
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
