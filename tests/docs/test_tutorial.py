"""The tutorial: its blocks run in order, print what it says, and are the same in both editions."""

import doctest
import gzip
import re
import shlex
import shutil
from collections.abc import Callable, Iterable
from itertools import pairwise, takewhile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from resvision.cli import main
from tests.docs.pages import DOCS, Block, blocks, headings
from tests.shared_data import shared_data

ENGLISH, CHINESE = DOCS / "tutorial.md", DOCS / "tutorial.zh.md"
Run = Callable[[Iterable[Block]], ModuleType]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs blocks as a reader does, in one folder and one session."""
    monkeypatch.chdir(tmp_path)

    def run_blocks(of_page: Iterable[Block]) -> ModuleType:
        session = ModuleType("tutorial")
        for block, following in pairwise([*of_page, Block("", "", "")]):
            match block.language:
                case "python":
                    exec(compile(block.text, f"{ENGLISH.name}, {block.heading}", "exec"), vars(session))
                case "console":
                    for line in block.text.splitlines():
                        prompt, program, *words = shlex.split(line)
                        assert (prompt, program) == ("$", "resvision")
                        assert main(words) == 0, line
                case "yaml":
                    name = re.match(r"# (\S+\.yaml)\n", block.text)
                    assert name is not None, f"this block does not begin with its file's name:\n{block.text}"
                    Path(name[1]).write_text(block.text, encoding="utf-8")
            printed = capsys.readouterr().out
            if following.language == "text":
                agree = doctest.OutputChecker().check_output(following.text, printed, doctest.ELLIPSIS)
                assert agree, f"{block.heading} says\n{following.text}\nbut prints\n{printed}"
        return session

    return run_blocks


def _write_idx(path: Path, values: np.ndarray) -> None:
    """Write the format of MNIST: two zeros, the type (8 = bytes), the number of sides, the sides, the values."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def _draw_digits(folder: Path) -> None:
    """Write digits in a printed hand, here and there in the picture, where torchvision looks for MNIST."""
    folder.mkdir(parents=True)
    rng, font = np.random.default_rng(0), ImageFont.load_default(size=20)
    for split, count in (("train", 640), ("t10k", 100)):
        pictures = []
        for number in range(count):
            picture = Image.new("L", (28, 28))
            ImageDraw.Draw(picture).text(rng.integers(4, 12, 2).tolist(), str(number % 10), fill=255, font=font)
            pictures.append(np.asarray(picture))
        _write_idx(folder / f"{split}-images-idx3-ubyte", np.stack(pictures))
        _write_idx(folder / f"{split}-labels-idx1-ubyte", np.arange(count) % 10)


def test_tutorial__runs_from_its_first_block_to_its_last(run: Run, tmp_path: Path) -> None:
    _draw_digits(tmp_path / "data" / "MNIST" / "raw")
    session = run(blocks(ENGLISH))
    # A tenth is chance. These are few digits and few steps, which is why the bounds say only that something is learnt.
    assert session.digit_accuracy > 0.5
    assert session.scores["test/accuracy"] > 0.5


@pytest.mark.slow
def test_tutorial__trains_the_digits_to_99_percent(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for packed in shared_data("mnist", "MNIST", "raw").glob("*.gz"):
        with gzip.open(packed) as source, (folder / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    session = run(takewhile(lambda block: not block.heading.startswith("3."), blocks(ENGLISH)))
    assert session.digit_accuracy >= 0.99


def test_editions__hold_the_same_blocks_under_as_many_headings() -> None:
    english, chinese = blocks(ENGLISH), blocks(CHINESE)
    assert [block[1:] for block in english] == [block[1:] for block in chinese]
    numbers = [[heading.partition(".")[0] for heading in headings(page)] for page in (ENGLISH, CHINESE)]
    assert numbers[0] == numbers[1] == [str(number) for number in range(1, 9)]
    assert {block.language for block in english} == {"python", "console", "yaml", "text"}


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_editions__link_to_what_is_there(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (DOCS / target).exists()] == []
