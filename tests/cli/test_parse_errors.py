"""What the parser complains of is told by the key, the mistake and the mend, whichever types it has tried."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from resvision.cli import main

_SHAPES = {"train_size": 4, "val_size": 2, "test_size": 2, "batch_size": 2, "num_workers": 0}
_SILENT = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
_CONFIG: dict[str, Any] = {
    "model": {"class_path": "ClassificationTask"},
    "data": {"class_path": "Shapes", "init_args": {"task": "classification", "image_size": 32, **_SHAPES}},
    "trainer": {"max_epochs": 1, **_SILENT},
}
_PARSER_WORDS = ("Parser key", "Subtypes", "Namespace(", "NestedArg(", "Given value", "Got value", "import path")
_FOLDERS = {"root": ".", "class_names": ["a", "b"], "train": {"images": "a", "masks": "m"}}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder; what `pytest` was called with is not what `resvision` was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    Path("mine.yaml").write_text(yaml.safe_dump(_CONFIG))


def _complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return what it says after its name."""
    code = main(["fit", *words])
    text = capsys.readouterr().err
    complaint = text[text.index("resvision fit: error: ") :].removeprefix("resvision fit: error: ").strip()
    assert code == 2, text
    assert not [word for word in _PARSER_WORDS if word in complaint], complaint
    assert len(complaint.splitlines()) == 1, complaint
    return complaint


def _said_of(changes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a config with other values at dotted keys; return what is said of it."""
    config = copy.deepcopy(_CONFIG)
    for key, value in changes.items():
        *parts, last = key.split(".")
        section = config
        for part in parts:
            section = section.setdefault(part, {})
        section[last] = value
    Path("other.yaml").write_text(yaml.safe_dump(config))
    return _complaint(["--config", "other.yaml"], capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # A class without what it needs
        (["--model.scheduler", "StepLR"], "StepLR needs step_size: give --model.scheduler.step_size"),
        (["--data", "ImageFolder"], "ImageFolder needs root: give --data.root"),
        (
            ["--model.scheduler", "lightning.pytorch.cli.ReduceLROnPlateau"],
            "ReduceLROnPlateau needs monitor: give --model.scheduler.monitor",
        ),
        (["--trainer.logger", "CSVLogger"], "CSVLogger needs save_dir: give --trainer.logger.save_dir"),
        # A class of another kind, or of none
        (["--data", "ClassificationTask"], "data: there is no class 'ClassificationTask'; those for data are Coco"),
        (["--model", "Shapes"], "model: there is no class 'Shapes'; those for model are ClassificationTask, "),
        (["--model.scheduler", "Adam"], "'Adam'; those for model.scheduler are ChainedScheduler, ConstantLR, "),
        (["--model.optimizer", "StepLR"], "'StepLR'; those for model.optimizer are ASGD, Adadelta, "),
        (["--data", "MyData"], "data: there is no class 'MyData'; those for data are CocoDetection, "),
        (["--trainer.logger", "x"], "those for trainer.logger are CSVLogger, CometLogger, "),
        (["--trainer.callbacks", "EarlyStoping"], "no class 'EarlyStoping'; did you mean 'EarlyStopping'?"),
        (["--data", "resvision.tasks.MultiTask"], "data: resvision.tasks.MultiTask cannot stand here; those for data"),
        (["--model.optimizer", "torch.nn.Linear"], "model.optimizer: torch.nn.Linear cannot stand here; those for"),
        (["--model", "nowhere.Foo"], "model: nowhere.Foo cannot be imported: there is no module 'nowhere' (PYTHONPATH"),
        (["--model.optimizer", "torch.optim.Adm"], "there is no class 'torch.optim.Adm'; did you mean 'Adam'?"),
        (["--model.optimizer", "0.1"], "model.optimizer: expected the name of a class, got 0.1; those for"),
        (["--model.optimizer="], "model.optimizer: there is no class ''; those for model.optimizer are ASGD, "),
        (
            ["--model", "resvision.ClassificationTask"],
            "'resvision.ClassificationTask'; did you mean 'ClassificationTask'?",
        ),
        (["--model", "resvision.task.MultiTask"], "no class 'resvision.task.MultiTask'; did you mean 'MultiTask'?"),
        # A class from which others are derived
        (["--model.optimizer", "Optimizer"], "model.optimizer: say which class; those for model.optimizer are ASGD, "),
        (["--trainer.callbacks.decay", "1"], "trainer.callbacks: say which class; those for trainer.callbacks are "),
        (["--data", "VisionDataModule"], "data: say which class; those for data are CocoDetection, "),
        # A setting that a class has not, or that the program gives
        (["--model.optimizer", "Adam", "--model.optimizer.params", "3"], "Adam has no setting 'params'; it has lr, "),
        (["--model.scheduler=StepLR", "--model.scheduler.optimizer=3"], "no setting 'optimizer'; it has step_size, "),
        (["--data.foo.bar", "1"], "data: Shapes has no setting 'foo.bar'; it has image_size, task, "),
        # A value of another type
        (["--model.optimizer.lr", "0,1"], "model.optimizer.lr: expected float, got 0,1"),
        (["--model.optimizer=AdamW", "--model.optimizer.weight_decay=x"], "weight_decay: expected float, got x"),
        (["--data.batch_size="], "data.batch_size: expected int, got nothing"),
        (["--trainer", "cpu"], "trainer: expected a mapping of settings, got cpu"),
        (["--model=SegmentationTask", "--model.losses.dice", "x"], "model.losses.dice: expected float, got x"),
        # An option without its dashes, or without what stands before its dot
        (
            ["trainer.max_epochs=1"],
            "'trainer.max_epochs' is no option without its two dashes: give --trainer.max_epochs",
        ),
        (["model.dropout", "0.1"], "'model.dropout' is no option without its two dashes: give --model.dropout"),
        (["--epochs", "5"], "there is no setting '--epochs'; did you mean 'trainer.max_epochs'?"),
        # No value
        (["--data.batch_size"], "nothing follows --data.batch_size; give it a value"),
        (["--data.task=detection", "--data.batch_size", "--model.optimizer.lr", "1"], "nothing follows --data.batch_s"),
        (["--data"], "nothing follows --data; give it a value"),
        (["--trainer.max_epochs"], "nothing follows --trainer.max_epochs; give it a value"),
    ],
)
def test_fit__names_what_is_wrong_with_a_word(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in _complaint(["--config", "mine.yaml", *words], capsys)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # A class without what it needs
        ({"trainer.logger": "CSVLogger"}, "CSVLogger needs save_dir: give --trainer.logger.save_dir"),
        (
            {"trainer.callbacks": [{"class_path": "LearningRateMonitor"}, {"class_path": "EarlyStopping"}]},
            "EarlyStopping needs monitor: give monitor below its init_args, in trainer.callbacks",
        ),
        (
            {"data": {"class_path": "MaskFolder", "init_args": {"root": "."}}},
            "MaskFolder needs class_names, train.images and train.masks: give --data.class_names, --data.train.im",
        ),
        # A class of another kind, or none
        ({"trainer.callbacks": [{"class_path": "EarlyStoping"}]}, "did you mean 'EarlyStopping'?"),
        ({"model": ["x"]}, "model: expected the name of a class, got ['x']; those for model are ClassificationTask, "),
        ({"model.class_path": 3}, "model: class_path is the name of a class, got int"),
        ({"model.class_path": None}, "model: class_path is the name of a class, got null"),
        ({"data.class_path": "nowhere.Foo"}, "data: nowhere.Foo cannot be imported: there is no module 'nowhere'"),
        ({"model.class_path": "resvision.tasks.Foo"}, "model: there is no class 'resvision.tasks.Foo'; those for"),
        ({"model.init_args.optimizer": 0.1}, "model.optimizer: expected the name of a class, got 0.1; those for"),
        ({"model.init_args.optimizer": ["Adam"]}, "model.optimizer: expected the name of a class, got ['Adam']; did"),
        ({"model.init_args.optimizer": {"class_path": "AdamX"}}, "no class 'AdamX'; did you mean 'Adam'?"),
        ({"model.init_args.scheduler": False}, "expected the name of a class or null, got False; those for model.sch"),
        # Settings that are none
        ({"model.init_args": [1]}, "model: init_args is a mapping of settings, got list"),
        ({"model.init_args.optimizer": {"class_path": "SGD", "init_args": [1]}}, "model.optimizer: init_args is a map"),
        ({"model.init_args.finetune": {"preset": "head", "froze_epochs": 1}}, "did you mean 'frozen_epochs'?"),
        # Values of another type
        ({"data.init_args.batch_size": ""}, "data.batch_size: expected int, got nothing"),
        ({"trainer.max_epochs": ""}, "trainer.max_epochs: expected int, got nothing"),
        (
            {"data.init_args.augmentation": "lite"},
            "Literal['none', 'light', 'strong'] or list, got lite; did you mean 'light'?",
        ),
        # Values of which a part has another type
        ({"model.init_args.finetune": {"preset": "full", "backbone_lr": "x"}}, "finetune.backbone_lr: expected float"),
        ({"model.init_args.finetune": {"preset": "full", "batch_norm": "x"}}, "batch_norm: expected Literal['train', "),
        (
            {"model.init_args.finetune": {"preset": "full", "batch_norm": "full"}},
            "model.finetune: expected Literal['tra",
        ),
        (
            {"model.init_args.finetune": {"preset": "ful"}},
            "model.finetune.preset: expected Literal['head', 'gradual', ",
        ),
        (
            {"model": {"class_path": "SegmentationTask", "init_args": {"losses": {"dice": "x"}}}},
            "model.losses.dice: expected float, got x",
        ),
        # Keys that are no words
        ({"model.init_args": {1: 2}}, "keys are words, and YAML reads one as 1; put it in quotes if it is "),
        ({"trainer": {True: 2}}, "keys are words, and YAML reads one as True; put it in quotes if it is "),
    ],
)
def test_fit__names_what_is_wrong_with_a_value(
    changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in _said_of(changes, capsys)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"val": "val/images"}, "data.val: expected a mapping of images and masks, got val/images"),
        ({"val": "val"}, "data.val: expected a mapping of images and masks, got val"),
        ({"val": {"images": "a", "mask": "m"}}, "data.val: Folders has no setting 'mask'; did you mean 'masks'?"),
        ({"val": {"images": "a"}}, "Folders needs masks: give --data.val.masks"),
        ({"train": "x"}, "data.train: expected a mapping of images and masks, got x"),
        ({"train": {"images": "a", "mask": "m"}}, "data: train has no setting 'mask'; did you mean 'masks'?"),
        ({"mask_values": {"b": 255, "a": 0}}, "data.mask_values: keys are whole numbers, got 'a'; are the two sides"),
        ({"mask_colors": {"a": [1, 2]}}, "data.mask_colors.a: expected tuple with 3 elements, got [1, 2]"),
    ],
)
def test_fit__names_what_is_wrong_with_the_folders_of_masks(
    settings: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in _said_of({"data": {"class_path": "MaskFolder", "init_args": _FOLDERS | settings}}, capsys)


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([("HorizontalFlip", {"p": 2})], "p of HorizontalFlip: Input should be less than or equal to 1, got 2"),
        (
            [("RandomCrop", {"height": 0, "width": -8})],
            "height of RandomCrop: Input should be greater than or equal to 1, got 0; width of RandomCrop: Input",
        ),
        ([("Crop", {"x_min": 10, "x_max": 5})], "Crop: x_max must be greater than x_min"),
        ([("HorizontalFlip", {"q": 2})], "data.augmentation: HorizontalFlip has no setting 'q'; it has p"),
        (
            [("HorizontalFlop", {})],
            "data.augmentation: there is no class 'albumentations.HorizontalFlop'; did you mean 'HorizontalFlip'?",
        ),
        ([("RandomCrop", {})], "RandomCrop needs height and width: give height and width below its init_args, in data"),
    ],
)
def test_fit__gives_the_words_of_a_transform(
    transforms: list[tuple[str, dict[str, Any]]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [{"class_path": f"albumentations.{name}", "init_args": settings} for name, settings in transforms]
    assert said in _said_of({"data.init_args.augmentation": listed}, capsys)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("strog", "got strog; did you mean 'strong'?"),
        ("Light", "got Light; did you mean 'light'?"),
        ("x", "data.augmentation: expected Literal['none', 'light', 'strong'] or list, got x"),
        ("HorizontalFlip", "data.augmentation: HorizontalFlip cannot stand alone: put it in a list, such as [Horizont"),
        ("albumentations.HorizontalFlip", "HorizontalFlip cannot stand alone: put it in a list, such as [Horizontal"),
        ("HorizontalFlop", "got HorizontalFlop; did you mean 'HorizontalFlip'?"),
        ("albumentations.HorizontalFlop", "; did you mean 'HorizontalFlip'?"),
        ("[HorizontalFlop]", "data.augmentation: there is no class 'HorizontalFlop'; did you mean 'HorizontalFlip'?"),
    ],
)
@pytest.mark.parametrize("data", [["Shapes"], ["ImageFolder", "--data.root", "."]])
def test_fit__offers_the_words_and_the_list_of_an_augmentation(
    data: list[str], given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump(_CONFIG | {"data": {"class_path": data[0]}}))
    assert said in _complaint(["--config", "mine.yaml", *data[1:], "--data.augmentation", given], capsys)


def test_fit__offers_only_files_that_are_near(capsys: pytest.CaptureFixture[str]) -> None:
    far = _complaint(["--config", "my_roads.yaml"], capsys)
    assert far == f"there is no config file {Path('my_roads.yaml').absolute()}; `resvision configs` lists those shipped"
    assert "did you mean 'seg_resunet.yaml'?" in _complaint(["--config", "configs/seg_resunt"], capsys)


def test_fit__names_the_config_in_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    said = f"{Path('run').absolute()} is a folder; give a config in it, such as its config.yaml"
    assert _complaint(["--config", "run"], capsys) == said


@pytest.mark.parametrize("key", ["1", "yes"])
def test_fit__says_that_keys_are_words(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(f"{yaml.safe_dump(_CONFIG)}{key}: 2\n")
    said = f"keys are words, and YAML reads one as {yaml.safe_load(key)}; put it in quotes if it is "
    assert said in _complaint(["--config", "mine.yaml"], capsys)


@pytest.mark.parametrize(
    ("watched", "said"),
    [
        ("val_loss", "there is no score 'val_loss' to monitor; did you mean 'val/loss'? There are train/loss, "),
        ("x", "there is no score 'x' to monitor; there are train/loss, train/accuracy, val/accuracy, val/loss, "),
    ],
)
@pytest.mark.parametrize(
    ("key", "watcher"),
    [
        ("trainer.callbacks", "EarlyStopping"),
        ("trainer.callbacks", "ModelCheckpoint"),
        ("model.init_args.scheduler", "lightning.pytorch.cli.ReduceLROnPlateau"),
    ],
)
def test_fit__names_the_scores_that_there_are(
    key: str, watcher: str, watched: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"class_path": watcher, "init_args": {"monitor": watched}}
    complaint = _said_of({key: asked}, capsys)
    assert complaint.startswith(said)
    assert complaint.endswith(" and 8 more")  # the scores of the four classes
