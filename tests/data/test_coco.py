import json
from pathlib import Path

import pytest

from resvision.data.coco import CocoDetection, CocoSplit
from tests.data.box_folders import coco_said, write_coco_set
from tests.parsing import parse


def test_options__are_what_the_command_line_makes_of_a_config(tmp_path: Path) -> None:
    config = tmp_path / "det.yaml"
    config.write_text(
        """
model: SegmentationTask
data:
  class_path: CocoDetection
  init_args:
    root: photos
    train: {annotations: boxes.json, images: pictures}
    val: {annotations: others.json}
    image_size: [320, 416]
""",
        encoding="utf-8",
    )
    said = parse("--config", str(config), "--data.mosaic", "0.5").data.init_args
    assert said.train == CocoSplit("boxes.json", "pictures") or vars(said.train) == {
        "annotations": "boxes.json",
        "images": "pictures",
    }
    assert (said.val.annotations, said.val.images, said.test) == ("others.json", None, None)
    assert (tuple(said.image_size), said.mosaic) == ((320, 416), 0.5)
    assert parse("--config", str(config), "--data.image_size", "480").data.init_args.image_size == 480


def test_splits__may_be_named(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    (tmp_path / "annotations" / "train.json").rename(tmp_path / "boxes.json")
    said = coco_said()
    del said["images"][1:], said["annotations"][1:]
    (tmp_path / "few.json").write_text(json.dumps(said), encoding="utf-8")
    few = CocoSplit("few.json", "images/train")
    data = CocoDetection(str(tmp_path), train=CocoSplit("boxes.json"), val=few, test=few, image_size=64)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [3, 1, 1]


def test_root__that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="nowhere: there is no such folder; set root to the folder of the data set"):
        CocoDetection("nowhere")
