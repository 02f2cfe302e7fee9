"""Crops and flips in whole batches, against those that numpy makes one by one."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from numpy.typing import NDArray

from resvision.data import CropAndFlip, DataError, ImageFolder, SampleKey, read_image
from resvision.data.classification import ClassificationDataset
from resvision.data.resident import ResidentDataset
from resvision.tasks import ClassificationTask

SIZE = 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                assert cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return tmp_path


def _data(root: Path, **options: Any) -> ImageFolder:
    said: dict[str, Any] = {"image_size": SIZE, "augmentation": CropAndFlip(padding=2), "batch_size": 5}
    return ImageFolder(str(root), **said | options)


def _batches(data: ImageFolder, epoch: int = 0) -> list[Any]:
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def _cut(image: NDArray[np.uint8], draw: Any, padding: int) -> NDArray[np.uint8]:
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    cut = padded[draw["top"] : draw["top"] + SIZE, draw["left"] : draw["left"] + SIZE]
    return cut[:, ::-1] if draw["flipped"] else cut


def test_batches__are_cropped_and_flipped_as_drawn(root: Path) -> None:
    data = _data(root)
    batches = _batches(data, epoch=3)
    dataset = data.dataset("train")
    assert isinstance(dataset, ResidentDataset)
    seen = set()
    for batch in batches:
        assert batch["image"].dtype == torch.uint8
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
            path, draw = Path(dataset.name(index)), dataset[SampleKey(3, index)]
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), _cut(read_image(path), draw, 2))
            assert data.class_names[label] == path.parent.name
            seen.add((draw["top"], draw["left"], draw["flipped"]))
    assert len(seen) > 10
    assert all(0 <= value <= 4 for top, left, _ in seen for value in (top, left))


def test_draws__are_a_function_of_seed_epoch_and_picture(root: Path) -> None:
    def pixels(epoch: int, **options: Any) -> dict[int, torch.Tensor]:
        batches = _batches(_data(root, **options), epoch)
        return {
            int(index): image for batch in batches for index, image in zip(batch["index"], batch["image"], strict=True)
        }

    first, again, later, other = pixels(1), pixels(1, batch_size=3), pixels(2), pixels(1, seed=1)
    for index in first.keys() & again.keys():
        torch.testing.assert_close(first[index], again[index], rtol=0, atol=0)
    for others in (later, other):
        common = first.keys() & others.keys()
        assert sum(not torch.equal(first[index], others[index]) for index in common) > len(common) // 2


def test_places__are_all_drawn_alike(root: Path) -> None:
    data = _data(root, augmentation=CropAndFlip(padding=1))
    _batches(data)
    draws = [data.dataset("train")[SampleKey(epoch, index)] for epoch in range(100) for index in range(24)]
    counts = np.unique([draw["top"] * 6 + draw["left"] * 2 + draw["flipped"] for draw in draws], return_counts=True)[1]
    assert len(counts) == 18
    # 2,400 draws: chi-squared of 17 degrees of freedom is above 40.8 once in a thousand tables.
    assert float(((counts - 2400 / 18) ** 2 / (2400 / 18)).sum()) < 40.8


def test_without_flips_and_padding__pictures_stay_as_they_are(root: Path) -> None:
    data = _data(root, augmentation=CropAndFlip(padding=0, flip=False))
    for batch in _batches(data):
        for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
            path = Path(data.dataset("train").name(index))
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), read_image(path))


def test_pictures__that_do_not_fit_are_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resvision.data.classification_module.memory", lambda: 100)
    data = _data(root)
    data.setup("fit")
    with pytest.raises(DataError, match=r"the 24 training pictures take more than .* set augmentation: light"):
        data.train_dataloader()


def test_pictures__are_kept_where_the_memory_is_not_known(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resvision.data.classification_module.memory", lambda: 0)
    assert len(_batches(_data(root, keep_decoded=0.0))) > 0


def test_memory__is_that_of_padded_pictures(root: Path) -> None:
    source = _data(root, augmentation="none")
    source.setup("fit")
    pictures = source.dataset("train")
    assert isinstance(pictures, ClassificationDataset)
    needed = 24 * (SIZE + 4) ** 2 * 3
    cpu = torch.device("cpu")
    kept = ResidentDataset(pictures, CropAndFlip(padding=2), device=cpu, most_bytes=needed)
    assert kept._pixels.nbytes == needed
    with pytest.raises(DataError, match="the 24 training pictures take more"):
        ResidentDataset(pictures, CropAndFlip(padding=2), device=cpu, most_bytes=needed - 1)


def test_pictures__of_8_and_16_bits_are_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resvision.data.resident._AT_ONCE", 4)
    assert cv2.imwrite(str(root / "train/dog/9.png"), np.zeros((SIZE, SIZE, 3), np.uint16))
    data = _data(root)
    data.setup("fit")
    with pytest.raises(DataError, match="some training pictures have 8 bits for a channel and others 16"):
        data.train_dataloader()


def test_padding__below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="padding is -1; it must be at least 0"):
        CropAndFlip(padding=-1)


def test_trainer__trains_on_cropped_and_scores_whole_pictures(root: Path, tmp_path: Path) -> None:
    seen: list[tuple[bool, torch.Size]] = []

    class Watching(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            seen.append((True, batch["image"].shape))

        def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, *_: int) -> None:
            seen.append((False, batch["image"].shape))

    trainer = Trainer(
        max_epochs=1,
        callbacks=[Watching()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
    )
    trainer.fit(ClassificationTask(["cat", "dog"], backbone="cifar_resnet20"), _data(root, num_workers=0))
    assert [training for training, _ in seen] == [True] * 4 + [False] * 5
    assert {shape[1:] for _, shape in seen} == {(3, SIZE, SIZE)}
