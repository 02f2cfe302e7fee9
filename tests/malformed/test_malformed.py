"""Over every reader and every file that the tool opens: one clear line, no code run, nothing written elsewhere."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resvision.backbones import create_backbone
from resvision.cli import main
from resvision.cli.messages import explain
from resvision.data import ImageCSV, ImageFolder
from resvision.data.classification import ClassificationDataset
from resvision.data.errors import DataError
from resvision.data.reading import image_size, read_image, read_mask
from tests.data.box_folders import write_coco_set, write_voc_set, write_yolo_set
from tests.malformed.corpus import ANNOTATIONS, ARCHIVES, CHECKPOINTS, CONFIGS, PICTURES, TABLES, WEIGHTS, Bad

#: A file of a few kilobytes that computes for longer than this, the imports included, hangs.
SECONDS = 30
#: What is strange and can be read: sizes are those of the pictures, and an outline may have many corners.
HARMLESS = ("negative-size", "endless-line")
WRITE = {"coco": write_coco_set, "voc": write_voc_set, "yolo": write_yolo_set}


def _name(value: Any) -> str:
    return value.name if isinstance(value, Bad) else ""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder; nothing may appear beside what a test itself puts there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    beside = sorted(tmp_path.parent.iterdir())
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS
    assert not list(tmp_path.rglob("owned*"))
    assert sorted(tmp_path.parent.iterdir()) == beside


def _put(bad: Bad, name: str = "bad") -> Path:
    path = Path(f"{name}{bad.suffix}")
    path.write_bytes(bad.content())
    return path


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail as a mistake of the input's; return what it says."""
    code = main(words)
    said = capsys.readouterr().err
    assert code == 2, said
    assert "Traceback" not in said
    said = said[said.index(f"resvision {words[0]}: error: ") :].strip()
    assert len(said.splitlines()) <= 2, said
    return said


def test_corpus__holds_a_hundred_inputs() -> None:
    corpora: list[list[Any]] = [PICTURES, CHECKPOINTS, WEIGHTS, ARCHIVES, TABLES, ANNOTATIONS, CONFIGS]
    assert sum(map(len, corpora)) >= 200


@pytest.mark.parametrize("bad", PICTURES, ids=_name)
def test_picture__is_read_or_refused_in_one_line(bad: Bad) -> None:
    path = _put(bad)
    refusals = 0
    for read in (read_image, read_mask, image_size):
        try:
            read(path)
        except DataError as error:
            refusals += 1
            assert str(error).startswith(str(path))  # noqa: PT017  # some readers may be content with a header
            assert "\n" not in str(error)  # noqa: PT017
    assert refusals


@pytest.mark.parametrize("bad", CHECKPOINTS, ids=_name)
def test_checkpoint__is_refused_in_one_line(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    path = _put(bad)
    Path("a.png").write_bytes(PICTURES[-1].content())
    said = _refused(["predict", "--ckpt_path", str(path), "--data", "a.png"], capsys)
    assert str(path) in said
    assert not Path("predictions").exists()


@pytest.mark.parametrize("bad", WEIGHTS, ids=lambda bad: f"{bad.name}{bad.suffix}")
def test_weights__are_refused_in_one_line(bad: Bad) -> None:
    path = _put(bad)
    with pytest.raises((ValueError, OSError)) as caught:
        create_backbone("resnet10t", weights=str(path))
    explanation = explain(caught.value)
    assert explanation.exit_code == 2
    assert len(explanation.text.splitlines()) <= 8, explanation.text  # of another network, a line for each stage
    assert str(path) in explanation.text


def _read_all(data: ImageFolder | ImageCSV) -> None:
    """Read every picture that training and validation would read."""
    data.setup("fit")
    for split in ("train", "val"):
        dataset = data.dataset(split)
        assert isinstance(dataset, ClassificationDataset)
        for index in range(len(dataset)):
            dataset.source.read(index)


@pytest.mark.parametrize("bad", ARCHIVES, ids=_name)
def test_archive__is_refused_in_one_line(bad: Bad) -> None:
    Path("set").mkdir()
    path = _put(bad, "set/train")
    with pytest.raises(DataError) as caught:
        _read_all(ImageFolder("set", image_size=16))
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert [found.name for found in Path("set").rglob("*")] == ["train.zip"]


@pytest.mark.parametrize("bad", TABLES, ids=_name)
def test_table__is_refused_in_one_line(bad: Bad) -> None:
    Path("set").mkdir()
    for number in range(8):
        Path(f"set/{number}.png").touch()  # only whether they are there
    path = _put(bad, "set/labels")
    with pytest.raises(DataError) as caught:
        _read_all(ImageCSV("set", image_size=16))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("form", "place", "bad"), ANNOTATIONS, ids=_name)
def test_annotations__are_read_or_refused_in_one_line(
    form: str, place: str, bad: Bad, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path("set")
    root.mkdir()
    WRITE[form](root)
    (root / place).write_bytes(bad.content())
    target = "yolo" if form != "yolo" else "coco"
    words = ["convert", "--from", form, "--to", target, "--root", "set"]
    if bad.name in HARMLESS:
        assert main(words) == 0
    else:
        _refused(words, capsys)
        assert not Path("converted").exists()
    shutil.rmtree(root)


@pytest.mark.parametrize("bad", CONFIGS, ids=_name)
def test_config__is_refused_in_one_line(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(["fit", "--config", str(_put(bad))], capsys)
    assert not Path("runs").exists()
