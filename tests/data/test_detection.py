import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from resvision.batch import DetectionBatch
from resvision.data.coco import CocoDetection
from resvision.data.detection import DetectionDataset, DetectionSource
from resvision.data.detection_geometry import Objects
from resvision.data.errors import DataError
from resvision.data.sampler import SampleKey
from resvision.data.transforms import DetectionTransform
from resvision.data.voc import VocDetection
from resvision.data.yolo import YoloDetection
from tests.data.box_folders import OBJECTS, coco_said, write_coco_set, write_voc_set, write_yolo_set
from tests.shared_data import shared_data


class _Drawn(DetectionSource):
    """Pictures of different sizes with one bright box, whose label is the picture's number; the last has none."""

    sizes = ((60, 80), (80, 60), (64, 64), (50, 120))

    def __len__(self) -> int:
        return len(self.sizes)

    def read(self, index: int) -> tuple[NDArray[Any], Objects]:
        height, width = self.sizes[index]
        image = np.zeros((height, width, 3), np.uint8)
        image[10:40, 20:50] = 200
        count = int(index < 3)
        box = np.array([[20, 10, 50, 40]], np.float64)[:count]
        return image, Objects(box, np.array([index])[:count], np.zeros(count, bool), np.array([900.0])[:count])

    def name(self, index: int) -> str:
        return f"drawn {index}"


def _dataset(**options: Any) -> DetectionDataset:
    image_size = options.pop("image_size", (96, 96))
    transform = DetectionTransform(options.pop("augmentation"), image_size) if "augmentation" in options else None
    return DetectionDataset(_Drawn(), image_size, transform, seed=0, **options)


def _collate(dataset: DetectionDataset, *keys: SampleKey | int) -> DetectionBatch:
    return dataset.collate([dataset[key] for key in keys])


@pytest.mark.parametrize("image_size", [(96, 96), 48, (64, 128)])
def test_batch__keeps_the_contract(image_size: int | tuple[int, int]) -> None:
    batch = _collate(_dataset(image_size=image_size), 0, 1, 2, 3)
    images = batch["image"]
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.shape[2] % 32 == images.shape[3] % 32 == 0
    assert batch["original_size"].tolist() == [list(size) for size in _Drawn.sizes]
    assert batch["index"].tolist() == [0, 1, 2, 3]
    for number, (height, width) in enumerate(batch["size"].tolist()):
        assert not images[number, :, height:].any()
        assert not images[number, :, :, width:].any()
        kinds = {key: batch[key][number].dtype for key in ("boxes", "labels", "crowd", "area")}
        assert kinds == {"boxes": torch.float32, "labels": torch.int64, "crowd": torch.bool, "area": torch.float32}
        assert batch["boxes"][number].shape == (int(number < 3), 4)
        # The truth on the original pixels is what was there before the resizing.
        scale = batch["original_size"][number] / batch["size"][number]
        torch.testing.assert_close(
            batch["boxes"][number] * scale.flip(0).repeat(2), torch.tensor([[20.0, 10, 50, 40]])[: int(number < 3)]
        )
    assert batch["labels"][3].shape == (0,)


def test_short_side__pads_a_batch_to_its_largest_picture() -> None:
    batch = _collate(_dataset(image_size=48), 0, 1, 3)
    assert batch["size"].tolist() == [[48, 64], [64, 48], [33, 80]]
    assert batch["image"].shape == (3, 3, 64, 96)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_sample__is_a_pure_function_of_seed_epoch_and_index(augmentation: str, mosaic: float) -> None:
    one, other = (_dataset(augmentation=augmentation, mosaic=mosaic) for _ in range(2))
    first = one[SampleKey(3, 1)]
    for key in (SampleKey(0, 0), SampleKey(3, 2)):
        other[key]
    again = other[SampleKey(3, 1)]
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])  # type: ignore[literal-required]
    if augmentation != "none" or mosaic:
        assert any(not np.array_equal(one[SampleKey(epoch, 1)]["image"], first["image"]) for epoch in range(3))
        seeded = DetectionDataset(_Drawn(), (96, 96), DetectionTransform("strong", (96, 96)), mosaic=mosaic, seed=1)
        assert not np.array_equal(seeded[SampleKey(3, 1)]["image"], first["image"])


def test_mosaic__is_drawn_for_its_part_of_the_samples() -> None:
    dataset = _dataset(augmentation="none", mosaic=0.5)
    mixed = [
        dataset[SampleKey(epoch, 3)]["boxes"].shape[0] > 0
        for epoch in range(60)  # the picture itself has no box
    ]
    assert 15 <= sum(mixed) <= 45
    assert dataset[SampleKey(0, 0)]["original_size"] == (60, 80)


def test_box__that_loses_its_size_when_it_shrinks_is_left_out() -> None:
    class Thin(_Drawn):
        def read(self, index: int) -> tuple[NDArray[Any], Objects]:
            # As float32 the sides of the second box are equal at a hundredth of the size.
            boxes = np.array([[10, 10, 500, 500], [5900, 3, 5900.00001, 500]])
            return np.zeros((6000, 6000, 1), np.uint8), Objects(boxes, np.arange(2), np.zeros(2, bool), np.ones(2))

    sample = DetectionDataset(Thin(), (64, 64), None, seed=0)[0]
    assert sample["labels"].tolist() == [0]


_FORMATS = {
    "coco": (CocoDetection, write_coco_set),
    "voc": (VocDetection, write_voc_set),
    "yolo": (YoloDetection, write_yolo_set),
}


def _data(form: str, root: Path, **options: Any) -> Any:
    kind, write = _FORMATS[form]
    if not any(root.iterdir()):
        write(root)
    return kind(str(root), **{"image_size": (64, 64), "num_workers": 0, "augmentation": "none"} | options)


@pytest.mark.parametrize("form", _FORMATS)
def test_formats__give_the_same_batches(form: str, tmp_path: Path) -> None:
    data = _data(form, tmp_path, batch_size=2, val_fraction=0.34)
    assert (data.class_names, data.in_channels, data.num_classes) == (("cat", "dog"), 3, 2)
    data.setup("fit")
    seen = {}
    for split, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        for batch in loader:
            for number, index in enumerate(batch["index"].tolist()):
                seen[Path(data.dataset(split).name(index)).stem] = (batch["boxes"][number], batch["labels"][number])
    assert seen.keys() == OBJECTS.keys()
    for name, objects in OBJECTS.items():
        boxes, labels = seen[name]
        assert labels.tolist() == [data.class_names.index(kind) for kind, _ in objects]
        # 60 x 40 pixels become 64 x 43.
        expected = torch.tensor([box for _, box in objects]).reshape(-1, 4) * torch.tensor([64 / 60, 43 / 40] * 2)
        torch.testing.assert_close(boxes, expected.float())


@pytest.mark.parametrize("form", _FORMATS)
def test_val__is_held_out_the_same_for_every_seed(form: str, tmp_path: Path) -> None:
    def names(seed: int) -> list[str]:
        dataset = _data(form, tmp_path, seed=seed, val_fraction=0.34).dataset("val")
        return [dataset.name(index) for index in range(len(dataset))]

    assert len(names(0)) == 1
    assert names(0) == names(7)


@pytest.mark.parametrize("form", _FORMATS)
def test_grey__is_read_as_one_channel(form: str, tmp_path: Path) -> None:
    data = _data(form, tmp_path, in_channels=1)
    assert next(iter(data.val_dataloader()))["image"].shape == (1, 1, 64, 64)


@pytest.mark.parametrize("form", _FORMATS)
def test_test_split__that_is_not_there_is_an_error(form: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the data has no test split; there are train$"):
        _data(form, tmp_path).setup("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0"),
        ({"mosaic": 1.5}, r"mosaic is 1\.5; it is a part of the samples, from 0 to 1"),
        ({"image_size": 20}, "image_size is 20; objects can be told apart from 32 pixels on"),
        ({"image_size": (64, 8)}, r"image_size is \(64, 8\)"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_option__that_makes_no_sense_is_an_error(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        _data("voc", tmp_path, **options)


def test_repairs_and_shared_pictures__are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = coco_said()
    said["annotations"][0]["bbox"] = [50, 30, 100, 100]
    write_coco_set(tmp_path, said)
    (tmp_path / "annotations" / "val.json").write_text(
        (tmp_path / "annotations" / "train.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    with caplog.at_level(logging.WARNING):
        _data("coco", tmp_path).setup("fit")
    where = f"{tmp_path}/annotations/{{}}.json, a.png, box 0"
    assert caplog.messages == [
        f"train: boxes clipped to their picture: 1, the first in {where.format('train')}",
        f"val: boxes clipped to their picture: 1, the first in {where.format('val')}",
        "val: pictures that are in train too, so that scores say little: 3",
    ]


def test_too_few_pictures__to_hold_some_out_are_an_error(tmp_path: Path) -> None:
    said = coco_said()
    del said["images"][1:], said["annotations"][2:]
    write_coco_set(tmp_path, said)
    with pytest.raises(DataError, match="1 pictures are too few to hold out 1; add some"):
        _data("coco", tmp_path).setup("fit")


def test_broken_picture__is_named(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    path = tmp_path / "JPEGImages" / "a.png"
    path.write_bytes(path.read_bytes()[:200])
    data = _data("voc", tmp_path)
    with pytest.raises(DataError, match=r"a\.png: the picture is damaged or cut short"):
        [*data.train_dataloader(), *data.val_dataloader()]


def test_workers__give_the_same_batches(tmp_path: Path) -> None:
    def batches(workers: int) -> list[DetectionBatch]:
        data = _data("yolo", tmp_path, num_workers=workers, augmentation="strong", mosaic=0.5, batch_size=1)
        return list(data.train_dataloader())

    for one, other in zip(batches(0), batches(2), strict=True):
        assert one["index"].tolist() == other["index"].tolist()
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["boxes"][0], other["boxes"][0])


def test_bccd__boxes_lie_on_cells(tmp_path: Path) -> None:
    # White cells are violet: inside of their boxes pictures have less green than elsewhere, such as in mirrored boxes.
    data = VocDetection(str(shared_data("bccd")), image_size=320, augmentation="light", mosaic=0.3, num_workers=0)
    dataset = data.dataset("train")
    assert (len(dataset), len(data.dataset("val")), len(data.dataset("test"))) == (205, 87, 72)
    lacks, mirrored = [], []
    for index in range(25):
        sample = dataset[SampleKey(1, index)]
        green = cv2.GaussianBlur(sample["image"][..., 1], (5, 5), 0).astype(float)
        for x1, y1, x2, y2 in sample["boxes"][sample["labels"] == 2].astype(int):
            if min(x2 - x1, y2 - y1) > 20:
                lacks.append(np.median(green) - np.median(green[y1:y2, x1:x2]))
                mirrored.append(np.median(green) - np.median(green[::-1, ::-1][y1:y2, x1:x2]))
    assert len(lacks) > 15
    assert np.mean(np.array(lacks) > 0) > 0.9
    assert np.mean(lacks) > 2 * np.mean(mirrored)
