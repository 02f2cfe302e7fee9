from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from resvision.batch import SegmentationBatch
from resvision.data.base import Split
from resvision.data.shapes import Shapes


def _shapes(workers: int = 0, **options: Any) -> Shapes:
    defaults: dict[str, Any] = {"train_size": 21, "val_size": 5, "batch_size": 4, "augmentation": "strong"}
    return Shapes(32, num_workers=workers, **defaults | options)


def _epochs(data: Shapes, *epochs: int) -> list[SegmentationBatch]:
    loader = data.train_dataloader()
    batches = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as Lightning does
        batches += list(loader)
    return batches


def _assert_equal(one: list[SegmentationBatch], other: list[SegmentationBatch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for key in ("image", "mask", "index"):
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_training__is_the_same_with_any_number_of_workers(workers: int) -> None:
    _assert_equal(_epochs(_shapes(), 0, 1), _epochs(_shapes(workers), 0, 1))


def test_training__depends_on_seed_and_epoch() -> None:
    zero, one = _epochs(_shapes(), 0), _epochs(_shapes(), 1)
    other = _epochs(_shapes(seed=1), 0)
    for different in (one, other):
        assert [b["index"].tolist() for b in zero] != [b["index"].tolist() for b in different]


def test_training__augments_a_picture_anew_in_each_epoch() -> None:
    data = _shapes()
    pictures = [
        {
            int(i): image
            for batch in _epochs(data, epoch)
            for i, image in zip(batch["index"], batch["image"], strict=True)
        }
        for epoch in (0, 1)
    ]
    common = pictures[0].keys() & pictures[1].keys()
    assert len(common) > 10
    assert sum(torch.equal(pictures[0][i], pictures[1][i]) for i in common) <= 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [0, 3])
def test_resume_at__continues_as_if_never_interrupted(workers: int, batch: int) -> None:
    whole = _epochs(_shapes(), 2, 3)
    data = _shapes(workers)
    data.resume_at(2, batch)
    loader = data.train_dataloader()
    assert len(loader) == 5
    resumed = list(loader)
    loader.sampler.set_epoch(3)  # type: ignore[attr-defined]
    _assert_equal(whole[batch:], resumed + list(loader))
    assert len(list(data.train_dataloader())) == 5  # Only the next loader is meant.


@pytest.mark.parametrize(("size", "batches"), [(21, 5), (20, 5), (5, 1), (4, 1), (3, 1)])
def test_training__leaves_out_an_incomplete_batch_unless_it_is_the_only_one(size: int, batches: int) -> None:
    assert len(_epochs(_shapes(train_size=size), 0)) == batches


def test_evaluation__sees_every_picture_once_in_order_and_as_it_is() -> None:
    data = _shapes()
    batches = list(data.val_dataloader())
    assert torch.cat([batch["index"] for batch in batches]).tolist() == [0, 1, 2, 3, 4]
    expected = torch.from_numpy(data.dataset("val")[4]["image"]).permute(2, 0, 1)
    assert torch.equal(batches[-1]["image"][-1], expected)


def test_batch__is_raw_pixels_channels_last() -> None:
    [batch] = list(_shapes(train_size=3).train_dataloader())
    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((3, 32, 32), torch.uint8)
    assert (batch["index"].shape, batch["index"].dtype) == ((3,), torch.int64)


def test_loader__uses_no_workers_on_a_cpu_by_default() -> None:
    loader = Shapes().train_dataloader()
    assert (loader.num_workers, loader.pin_memory, loader.persistent_workers) == (0, False, False)


def test_loader__keeps_its_workers_between_epochs() -> None:
    loader = _shapes(2).train_dataloader()
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (2, 4, True)


@pytest.mark.parametrize(
    ("stage", "splits"),
    [("fit", {"train", "val"}), ("validate", {"val"}), ("test", {"test"})],
)
def test_setup__builds_what_the_stage_needs(stage: str, splits: set[Split]) -> None:
    data = _shapes()
    data.setup(stage)
    assert set(data._datasets) == splits


def test_loader__takes_the_plain_numbers_of_lightnings_overfit_batches() -> None:
    data = _shapes()
    loader: DataLoader[Any] = DataLoader(data.dataset("train"), batch_size=2, collate_fn=data.dataset("train").collate)
    image: Tensor = next(iter(loader))["image"]
    assert image.shape == (2, 3, 32, 32)


def test_predict_dataloader__says_what_predicts() -> None:
    data = _shapes()
    data.setup("predict")
    with pytest.raises(ValueError, match=r"give trainer\.predict a loader, .* or the pictures to what resvision\.load"):
        data.predict_dataloader()
