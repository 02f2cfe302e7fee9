"""Which files a prediction reads and writes."""

from pathlib import Path

import pytest

from resvision.cli import main
from resvision.cli.predict import _pictures
from resvision.tasks import ClassificationTask
from tests.tasks.trainers import quiet_trainer


def _make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pictures__of_a_folder_keep_their_subfolders(tmp_path: Path) -> None:
    _make(tmp_path, "a.jpg", "deep/b.PNG", "notes.txt")
    assert _pictures(str(tmp_path)) == {tmp_path / "a.jpg": Path("a.png"), tmp_path / "deep/b.PNG": Path("deep/b.png")}


def test_pictures__that_are_hidden_are_none(tmp_path: Path) -> None:
    _make(tmp_path, "a.png", "._a.png", ".cache/b.png")
    assert list(_pictures(str(tmp_path))) == [tmp_path / "a.png"]


def test_pictures__that_predict_wrote_are_none_unless_it_is_them_that_are_asked_for(tmp_path: Path) -> None:
    written = ("predictions/1/predictions.jsonl", "predictions/1/overlays/a.png", "predictions/1/masks/deep/b.png")
    _make(tmp_path, "a.png", "predictions/mine.png", *written)
    assert list(_pictures(str(tmp_path))) == [tmp_path / "a.png", tmp_path / "predictions/mine.png"]
    assert len(_pictures(str(tmp_path / "predictions/1"))) == 2


def test_pictures__of_one_stem_keep_their_whole_names(tmp_path: Path) -> None:
    _make(tmp_path, "a.jpg", "a.png", "b.jpg")
    assert set(_pictures(str(tmp_path)).values()) == {Path("a.jpg.png"), Path("a.png.png"), Path("b.png")}


@pytest.mark.parametrize("names", [("a.jpg", "a.png", "a.jpg.jpg"), ("a.jpg", "A.png"), ("a.jpg", "a.png/b.jpg")])
def test_pictures__never_share_an_output(tmp_path: Path, names: tuple[str, ...]) -> None:
    _make(tmp_path, *names)
    assert list(_pictures(str(tmp_path)).values()) == [Path(f"{name}.png") for name in sorted(names)]


def test_pictures__of_a_glob_and_of_a_file(tmp_path: Path) -> None:
    _make(tmp_path, "x/a.jpg", "x/b.jpg", "x/c.png")
    assert list(_pictures(str(tmp_path / "x" / "*.jpg"))) == [tmp_path / "x/a.jpg", tmp_path / "x/b.jpg"]
    assert list(_pictures(str(tmp_path / "**" / "c.png"))) == [tmp_path / "x/c.png"]
    assert _pictures(str(tmp_path / "x/a.jpg")) == {tmp_path / "x/a.jpg": Path("a.png")}


@pytest.mark.parametrize("pattern", ["*/a.jpg", "**/*", "[xy]/*"])
def test_pictures__of_one_name_keep_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    _make(tmp_path, "x/a.jpg", "y/a.jpg")
    names = [Path("x/a.png"), Path("y/a.png")]
    assert list(_pictures(str(tmp_path / pattern)).values()) == names
    monkeypatch.chdir(tmp_path)
    assert list(_pictures(pattern).values()) == names


@pytest.mark.parametrize("score", ["40", "nan", "inf", "-1"])
def test_predict__refuses_a_score_that_no_box_can_have(score: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--ckpt_path", "last", "--data", "a.png", "--score", score]) == 2
    said = capsys.readouterr().err
    assert f"--score must be a number from 0 to 1, such as 0.4 for 40 %, got {float(score)}" in said


def test_predict__names_annotations_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--ckpt_path", "last", "--data", "a.png", "--annotations", "nope.json"]) == 2
    assert "there is no file nope.json; --annotations takes a JSON file of COCO's" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["score", "annotations"])
def test_predict__takes_no_option_of_boxes_for_a_model_without(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _make(tmp_path, "a.png", "said.json")
    trainer = quiet_trainer(tmp_path)
    trainer.strategy.connect(ClassificationTask(["cat", "dog"], backbone="resnet10t"))
    trainer.save_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    value = "0.5" if option == "score" else str(tmp_path / "said.json")
    words = ["--ckpt_path", str(tmp_path / "best.ckpt"), "--data", str(tmp_path / "a.png"), f"--{option}", value]
    assert main(["predict", *words, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"--{option} is for models that find boxes, and this ClassificationTask finds none; leave it out" in said
    assert not (tmp_path / "out").exists()
