"""Every config: the shipped ones against the live signatures, the small ones through all verbs."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentError
from PIL import Image

from resvision import create_backbone
from resvision.cli import main, shipped
from tests.data.box_folders import write_coco_set, write_voc_set, write_yolo_set
from tests.parsing import parse, parse_verb

SHIPPED = [shipped.folder() / name for name in shipped.names()]
SMALL = sorted((Path(__file__).parent / "conf").glob("*.yaml"))


def _by_name(path: Path) -> str:
    return path.stem


def _leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that a config states; what picks a class is no value."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        elif key != "class_path":
            yield (*above, key)


def _without(tree: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    key, *below = path
    if not below:
        return {name: value for name, value in tree.items() if name != key}
    return {**tree, key: _without(tree[key], below)}


def _repeated_defaults(said: dict[str, Any], file: Path) -> list[str]:
    """Name the values that a config could leave out without a change to what is parsed, through a scratch file."""

    file.write_text(yaml.safe_dump(said), encoding="utf-8")
    line = parse_verb("fit", "--config", str(file))
    repeated = []
    for path in _leaves(said):
        file.write_text(yaml.safe_dump(_without(said, path)), encoding="utf-8")
        try:
            shorter = line.parser.parse_args(["fit", "--config", str(file)]).fit
        except ArgumentError:  # without it the config is not complete
            continue
        if shorter == line.config.fit:
            repeated.append(".".join(path))
    return repeated


def test_folders__hold_configs() -> None:
    assert {path.name for path in SHIPPED} >= {"seg_resunet.yaml", "seg_resunet_camvid.yaml", "cls_finetune.yaml"}
    assert {path.name for path in SMALL} >= {
        "seg_shapes.yaml",
        "seg_mask_folder.yaml",
        "cls_shapes.yaml",
        "cls_image_folder.yaml",
        "det_shapes.yaml",
        "det_coco.yaml",
        "det_voc.yaml",
        "det_yolo.yaml",
        "multi_shapes.yaml",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=_by_name)
def test_shipped__parses_and_repeats_no_default(path: Path, tmp_path: Path) -> None:
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert _repeated_defaults(said, tmp_path / "config.yaml") == []


def test_repeated_defaults__names_them(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "model": {"class_path": "SegmentationTask", "init_args": {"decoder_stride": 4, "backbone": "resnet34"}},
        "data": {"class_path": "Shapes", "init_args": {"image_size": 64, "augmentation": "light"}},
        "trainer": {"max_epochs": 2, "accelerator": "auto"},
    }
    expected = ["model.init_args.decoder_stride", "data.init_args.augmentation", "trainer.accelerator"]
    assert _repeated_defaults(said, tmp_path / "config.yaml") == expected


@pytest.mark.parametrize("path", SHIPPED, ids=_by_name)
def test_shipped__opens_with_what_it_trains_the_result_and_the_command(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 25
    what, *rest = shipped.header(path).splitlines()
    assert re.fullmatch(r"[A-Z].{20,}[.:,]?", what)
    (command,) = (line for line in rest if line.startswith("Command: "))
    assert command.startswith(f"Command: resvision fit --config configs/{path.name}")
    result = re.search(r"^Result: (.+?\.)$", "\n".join(rest), flags=re.MULTILINE | re.DOTALL)
    assert result is not None
    if "not measured yet" not in result[1]:
        for part in (r"\b0\.\d+", r"\b(CPU|cores?|GPU|[AHBLV]\d{2,3})\b", r"\d (s|seconds|min|minutes?|h|hours?)\b"):
            assert re.search(part, result[1]), f"the result says nothing like {part}"


# The small configs, all verbs


def _write_mask_folder(root: Path) -> None:
    """Write three splits of pictures that differ in size, with masks of two classes and some void."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in (split, f"{split}_masks"):
            (root / kind).mkdir(parents=True)
        for number in range(5):
            size = (33 + 2 * number, 47)
            picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            mask = rng.choice(np.array([0, 1, 255], np.uint8), size)
            assert cv2.imwrite(str(root / split / f"{number}.jpg"), picture)
            assert cv2.imwrite(str(root / f"{split}_masks" / f"{number}.png"), mask)
    (root / "classes.txt").write_text("road\nsky\n", encoding="utf-8")


def _write_class_folders(root: Path) -> None:
    """Write two classes of pictures that differ in size, and a table that lists them and a broken one."""
    rng = np.random.default_rng(0)
    lines = ["path,label", "broken.jpg,cat"]
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            picture = rng.integers(0, 256, (33 + 9 * number, 47, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / name / f"{number}.jpg"), picture)
            lines.append(f"{name}/{number}.jpg,{name}")
    (root / "broken.jpg").write_bytes(b"no picture")
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")


def _write_box_folders(root: Path) -> None:
    """Write data with boxes in the three formats, the same pictures in every split."""
    for split in ("train", "val", "test"):
        write_coco_set(root / "boxes_coco", split=split)
    write_voc_set(root / "boxes_voc")
    write_yolo_set(root / "boxes_yolo")
    splits = "".join(f"{split}: images/train\n" for split in ("train", "val", "test"))
    (root / "boxes_yolo" / "data.yaml").write_text(f"{splits}names: [cat, dog]\n", encoding="utf-8")


def _metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _scores(run: Path, score: str = "val/miou") -> list[tuple[int, float]]:
    """Return (epoch, score) of every validation."""
    return [(int(row["epoch"]), float(row[score])) for row in _metrics(run) if row[score]]


def _check_masks(line: dict[str, Any]) -> None:
    with (
        Image.open(line["file"]) as picture,
        Image.open(Path("out", line["mask"])) as mask,
        Image.open(Path("out", line["overlay"])) as overlay,
    ):
        assert (mask.mode, mask.size) == ("P", picture.size)
        assert overlay.size == picture.size
        shares = np.bincount(np.asarray(mask).ravel(), minlength=len(line["shares"])) / (mask.width * mask.height)
    assert list(line["shares"].values()) == pytest.approx(shares.tolist(), abs=1e-6)


def _check_top(line: dict[str, Any]) -> None:
    probabilities = [entry["probability"] for entry in line["top"]]
    assert probabilities == sorted(probabilities, reverse=True)
    # No config here has more than the five classes that a line names.
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert len({entry["class"] for entry in line["top"]}) == len(probabilities)
    assert not Path("out", "masks").exists()


def _check_boxes(line: dict[str, Any]) -> None:
    with Image.open(line["file"]) as picture, Image.open(Path("out", line["overlay"])) as overlay:
        assert overlay.size == picture.size
        width, height = picture.size
    for found in line["objects"]:
        left, top, right, bottom = found["box"]
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
        assert 0 <= found["score"] <= 1
    number = int(Path(line["file"]).stem)
    entries = json.loads(Path("out/coco_results.json").read_text(encoding="utf-8"))
    assert len([entry for entry in entries if entry["image_id"] == number]) == len(line["objects"])


def _check_kinds(line: dict[str, Any]) -> None:
    files = dict.fromkeys(("segmentation", "detection"), line["file"])
    _check_masks({"file": files["segmentation"]} | line["segmentation"])
    _check_boxes({"file": files["detection"]} | line["detection"])
    assert sum(entry["probability"] for entry in line["classification"]["top"]) == pytest.approx(1, abs=1e-5)


_CHECKS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "cls": ("accuracy", _check_top),
    "seg": ("miou", _check_masks),
    "det": ("map", _check_boxes),
    "mul": ("score", _check_kinds),
}
#: Pictures drawn of the validation split, where it is not five; of the four that a table holds out, one is broken.
_VALIDATED = {"cls_image_csv": 3, "cls_image_folder": 4, "det_coco": 3, "det_voc": 3, "det_yolo": 3, "multi_shapes": 15}


@pytest.mark.parametrize("path", SMALL, ids=_by_name)
def test_small__is_trained_scored_and_predicts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_mask_folder(tmp_path / "pictures")
    _write_class_folders(tmp_path / "classes")
    _write_box_folders(tmp_path)
    score, check = _CHECKS[path.stem[:3]]
    run = Path("runs", path.stem, "1")

    assert main(["fit", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"run folder {run}" in shown.splitlines()[-1]
    assert re.search(r"^mean +\d\.\d{3}", shown, flags=re.MULTILINE)
    ((epoch, value),) = _scores(run, f"val/{score}")
    assert epoch == 0
    assert 0 <= value <= 1
    for file in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (run / file).stat().st_size
    assert len(list(run.glob("pictures/val_*.png"))) == _VALIDATED.get(path.stem, 5)
    assert list(run.glob("tensorboard/events.*"))
    if path.stem == "cls_image_csv":
        assert "broken.jpg: not a picture" in (run / "skipped.csv").read_text(encoding="utf-8")

    assert main(["test", "--ckpt_path", str(run)]) == 0
    result = json.loads((run / "test.json").read_text(encoding="utf-8"))
    assert result["checkpoint"] == str(run / "checkpoints" / "best.ckpt")
    assert 0 <= result["metrics"][f"test/{score}"] <= 1

    words = ["--data", "pictures/test", "--output", "out"]
    words += ["--score", "0"] if check in (_check_boxes, _check_kinds) else []
    assert main(["predict", "--ckpt_path", str(run), *words]) == 0
    lines = [json.loads(line) for line in Path("out/predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["file"] for line in lines] == [f"pictures/test/{number}.jpg" for number in range(5)]
    for line in lines:
        check(line)


def test_imagenet__trains_for_some_steps_on_a_fake_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        _write_class_folders(tmp_path / "imagenet" / split)
    sizes = ["--data.image_size", "64", "--data.batch_size", "4", "--trainer.max_epochs", "1", "--trainer.devices", "1"]
    assert main(["fit", "--config", "cls_imagenet.yaml", *sizes, "--trainer.limit_train_batches", "2"]) == 0
    ((_, value),) = _scores(Path("runs/cls_imagenet/1"), "val/accuracy")
    assert 0 <= value <= 1


def test_coco__trains_for_some_steps_on_a_fake_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        write_coco_set(tmp_path / "coco", split=split)
    torch.save(create_backbone("resnet50").state_dict(), "weights.pth")
    words = ["--model.weights", "weights.pth", "--data.image_size", "64", "--data.batch_size", "2"]
    steps = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", "--config", "det_coco.yaml", *words, *steps, "--trainer.devices", "1"]) == 0
    ((_, value),) = _scores(Path("runs/det_coco/1"), "val/map")
    assert 0 <= value <= 1


# What a run is good for afterwards

SHAPES = str(SMALL[[path.stem for path in SMALL].index("seg_shapes")])
CHANGES = ("--data.val_size", "3", "--model.losses", '{"focal": 2.0}')


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which one run has ended; its words stood on both sides of the config."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", *CHANGES[:2], "--config", SHAPES, *CHANGES[2:]]) == 0
    return folder


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the run in `workplace`, and work there."""
    monkeypatch.chdir(workplace)
    return Path("runs/seg_shapes/1")


def test_saved_config__trains_the_same_again(run: Path) -> None:
    assert main(["fit", "--config", str(run / "config.yaml"), "--run_dir", "again"]) == 0
    assert _scores(Path("again")) == _scores(run)


def test_fit__goes_on_from_last_in_a_second_folder(run: Path) -> None:
    words = ["--config", SHAPES, *CHANGES, "--ckpt_path", "last", "--trainer.max_epochs", "2"]
    assert main(["fit", *words]) == 0
    assert {int(row["epoch"]) for row in _metrics(Path("runs/seg_shapes/2"))} == {1}
    assert [epoch for epoch, _ in _scores(run)] == [0]


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (["best", "--run_dir", "{run}"], "best"),
        (["last", "--run_dir", "{run}"], "last"),
        (["{run}"], "best"),
        (["{run}/checkpoints/last.ckpt"], "last"),
    ],
    ids=["best", "last", "folder", "file"],
)
def test_ckpt_path__is_a_word_a_folder_or_a_file(run: Path, given: list[str], file: str) -> None:
    line = parse_verb("test", "--ckpt_path", *(word.format(run=run) for word in given))
    assert line._checkpoint == run / "checkpoints" / f"{file}.ckpt"


@pytest.mark.parametrize("word", ["best", "last"])
def test_ckpt_path__speaks_of_the_newest_run_of_the_config(run: Path, word: str) -> None:
    newest = Path("runs/seg_shapes/11")
    copy = shutil.copytree(run, newest, dirs_exist_ok=True)
    line = parse_verb("test", "--ckpt_path", word, "--config", SHAPES)
    assert line._checkpoint == newest / "checkpoints" / f"{word}.ckpt"
    shutil.rmtree(copy)


def test_words__win_over_the_config_on_either_side_of_it(run: Path) -> None:
    said = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert said["data"]["init_args"]["val_size"] == 3
    assert said["model"]["init_args"]["losses"] == {"focal": 2.0}
    assert said["data"]["init_args"]["image_size"] == 64
    two = ["--config", SHAPES, "--config", str(run / "config.yaml")]
    assert parse("--data.val_size", "7", *two).data.init_args.val_size == 7


def test_later_config__wins_over_an_earlier_one(run: Path) -> None:
    saved = str(run / "config.yaml")
    assert parse("--config", SHAPES, "--config", saved).data.init_args.val_size == 3
    assert parse("--config", saved, "--config", SHAPES).data.init_args.val_size == 5


def test_checkpoint__speaks_where_neither_config_nor_words_do(run: Path, tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    said = yaml.safe_load(Path(SHAPES).read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(said), encoding="utf-8")
    words = ["--config", str(config), "--ckpt_path", str(run)]
    assert parse(*words).model.init_args.losses == {"focal": 2.0}
    assert parse(*words, "--model.losses", '{"dice": 1.0}').model.init_args.losses == {"dice": 1.0}
    said["model"]["init_args"]["losses"] = {"cross_entropy": 3.0}
    config.write_text(yaml.safe_dump(said), encoding="utf-8")
    assert parse(*words).model.init_args.losses == {"cross_entropy": 3.0}


def test_checkpoint__brings_the_config_of_its_run_when_none_is_given(run: Path) -> None:
    parsed = parse("--ckpt_path", str(run), "--trainer.max_epochs", "4")
    assert (parsed.data.init_args.val_size, parsed.trainer.max_epochs) == (3, 4)
    assert parsed.model.init_args.backbone == "resnet10t"
