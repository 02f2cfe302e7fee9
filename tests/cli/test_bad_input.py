"""What a person types wrongly ends in one or two lines, never in a traceback, and leaves nothing behind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resvision.cli import main
from resvision.cli.messages import UsageError
from resvision.cli.origin import Origin
from resvision.cli.request import Request

SHAPES = str(Path(__file__).parents[1] / "conf" / "seg_shapes.yaml")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder; what `pytest` was called with is not what `resvision` was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])


def _complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return what it says."""
    code = main(words)
    text = capsys.readouterr().err
    complaint = text[text.index(f"resvision {words[0]}: error: ") :].strip()
    assert code == 2, text
    assert "Traceback" not in text
    assert len(complaint.splitlines()) <= 2, complaint
    assert not Path("runs").exists()
    assert not Path("predictions").exists()
    return complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.bakbone", "x"], "SegmentationTask has no setting 'bakbone'; did you mean 'backbone'?"),
        (["--data.imagesize", "64"], "Shapes has no setting 'imagesize'; did you mean 'image_size'?"),
        (["--trainer.max_epoch", "3"], "there is no setting '--trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        (["--max_epochs", "3"], "there is no setting '--max_epochs'; did you mean 'trainer.max_epochs'?"),
        (["--batch_size", "3"], "there is no setting '--batch_size'; did you mean 'data.batch_size'?"),
        (["--lr", "3"], "there is no setting '--lr'; did you mean 'model.optimizer.lr'?"),
        (["--model.optimizer", "AdamX"], "model.optimizer: there is no class 'AdamX'; did you mean 'Adam'?"),
        (["--model.optimizer.lrr", "1"], "AdamW has no setting 'lrr'; did you mean 'lr'?"),
        (["--data", "Shpes"], "data: there is no class 'Shpes'; did you mean 'Shapes'?"),
        (["--model", "SegmentatonTask"], "did you mean 'SegmentationTask'?"),
        (["--data.image_size", "big"], "data.image_size: expected int, got big"),
        (["--data.augmentation", "storng"], "data.augmentation: expected Literal['none', 'light', 'strong']"),
        (["--trainer.max_epochs", "ten"], "trainer.max_epochs: expected int, got ten"),
        (["--model.backbone", "resnet19"], "unknown backbone 'resnet19'; did you mean resnet18"),
        (
            ["--model", "ClassificationTask"],
            "the data has masks, from which ClassificationTask cannot learn; use --model",
        ),
        (
            ["--model", "MultiLabelTask", "--data.task", "classification"],
            "one class a picture, from which MultiLabelTask",
        ),
        (
            ["--data.task", "detection"],
            "the data has boxes, from which SegmentationTask cannot learn; use --model Detec",
        ),
        (
            ["--model.scheduler", "ReduceLROnPlateau"],
            "there are several classes ReduceLROnPlateau; say which: torch.optim",
        ),
        (["--model.in_channels", "4"], "--model.in_channels cannot be set: the data says it, by data.in_channels"),
        (["--trainer.default_root_dir=x"], "--trainer.default_root_dir cannot be set: a run has a folder of its own"),
        (["--model.losses", "{dic: 1}"], "unknown loss 'dic'; did you mean 'dice'?"),
        (["--model.weights", "nope.pth"], "no file of weights at nope.pth"),
        (["--model.backbone_options", "{output_strid: 8}"], "output_stride"),
        (["--model.decoder_stride", "3"], "the decoder can end at stride 16 or 8 or 4 or 2, not at 3"),
        (["--data.task", "multi"], "which together are for --model MultiTask"),
        (["--model", "MultiTask"], "MultiTask needs data with several kinds of labels, such as Shapes"),
        (["--data.missing_labels", "0.5"], "missing_labels are for task: multi"),
        (["--data.batch_size", "0"], "batch_size is 0; it must be at least 1"),
        (["--run_dir", "/dev/null/run"], "cannot be written: Not a directory; name another: --run_dir"),
        (["--ckpt_path", "nope.ckpt"], "there is no checkpoint nope.ckpt"),
        (["--ckpt_path", "last"], "speaks of a run, and there is none yet"),
    ],
)
def test_fit__names_the_mistake_and_the_mend(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in _complaint(["fit", "--config", SHAPES, *words], capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle: {class_path: SegmentationTask}", "there is no setting 'modle.class_path'; did you mean 'model'?"),
        ("model: {class_path: SegmentationTask", "mine.yaml: not a YAML file that can be read: "),
        ("trainer: {max_epoch: 3}", "there is no setting 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        (
            "model: {class_path: SegmentationTask, init_args: {bakbone: x}}",
            "SegmentationTask has no setting 'bakbone'; did you mean 'backbone'?",
        ),
        ("trainer: {max_epochs: 3}", "nothing says what data and model to use"),
        ("", "the config is empty or no mapping of settings"),
        ("- a\n- b", "the config is empty or no mapping of settings"),
    ],
)
def test_fit__names_the_mistake_in_a_config(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    assert said in _complaint(["fit", "--config", str(config)], capsys)


def test_fit__suggests_a_shipped_config(capsys: pytest.CaptureFixture[str]) -> None:
    complaint = _complaint(["fit", "--config", "seg_resunt.yaml"], capsys)
    assert "there is no config file" in complaint
    assert "did you mean 'seg_resunet.yaml'?" in complaint


def test_fit__asks_for_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give a config with --config FILE" in _complaint(["fit"], capsys)


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_scoring__refuses_random_weights(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    complaint = _complaint([verb, "--config", SHAPES], capsys)
    assert f"{verb} needs a trained model: give --ckpt_path" in complaint


def _broken(tmp_path: Path, kind: str) -> Path:
    """Write a file that is no checkpoint of ours."""
    path = tmp_path / f"{kind}.ckpt"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    elif kind == "code":
        torch.save({"resvision": {}, "run": print}, path)
    else:
        torch.save({"resvision": {}, "weights": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:-700])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "is empty"),
        ("text", "is not a checkpoint"),
        ("foreign", "is not a checkpoint of resvision"),
        ("code", "holds more than tensors and plain data"),
        ("truncated", "is broken or cut short"),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "test", "predict"])
def test_checkpoint__broken_ones_are_named(
    verb: str, kind: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _broken(tmp_path, kind)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    source = ["--data", str(tmp_path / "a.png")] if verb == "predict" else ["--config", SHAPES]
    complaint = _complaint([verb, *source, "--ckpt_path", str(path)], capsys)
    assert str(path) in complaint
    assert said in complaint


def _run_with_config(text: str) -> Request:
    run = Path("run")
    (run / "checkpoints").mkdir(parents=True)
    said = {"resvision": {"task": "a:B", "class_names": []}, "hyper_parameters": {}, "state_dict": {}}
    torch.save(said, run / "checkpoints" / "best.ckpt")
    (run / "config.yaml").write_text(text, encoding="utf-8")
    return Request.parse(["--ckpt_path", str(run)])


@pytest.mark.parametrize("text", ["", "- a\n- b", "text"])
def test_scoring__names_the_config_of_a_run_that_says_nothing(text: str) -> None:
    request = _run_with_config(text)
    with pytest.raises(UsageError, match=r"^run/config\.yaml is no mapping of settings, so .*; add --config FILE$"):
        Origin.of("validate", request, print)


def test_scoring__takes_what_the_config_of_a_run_says() -> None:
    request = _run_with_config("data: {class_path: Shapes}\nmodel: {class_path: A}\nfit: 3")
    words = Origin.of("validate", request, print).words
    assert json.loads(words[1]) == {"data": {"class_path": "Shapes"}, "model": {"class_path": "A"}}


def test_predict__refuses_random_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "predict needs a trained model" in _complaint(["predict", "--data", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("data", "said"),
    [("nothing", "there is no folder or file nothing"), ("empty", "has no pictures"), ("*.jpg", "it matches no file")],
)
def test_predict__names_data_that_is_not_there(
    data: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert said in _complaint(["predict", "--ckpt_path", str(_broken(tmp_path, "text")), "--data", data], capsys)


def test_debug__shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="needs a trained model"):
        main(["test", "--config", SHAPES, "--debug"])
