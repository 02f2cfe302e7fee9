import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.functional.classification import multiclass_calibration_error

from resvision.tasks import calibration
from resvision.tasks.calibration import CalibrationError, TemperatureSearch
from tests.fake_gpu import FakeGPU


def test_calibration__equals_a_hand_computation() -> None:
    # Confidences 0.9, 0.9 and 0.6: the first two share a bin and one of them is wrong.
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    metric = CalibrationError()
    metric.update(probabilities.log(), torch.tensor([0, 1, 1]))
    assert metric.compute().item() == pytest.approx((2 * abs(0.9 - 0.5) + abs(0.6 - 1)) / 3)


def test_calibration__equals_torchmetrics_over_batches_until_reset() -> None:
    logits, target = 3 * torch.randn(200, 7), torch.randint(0, 7, (200,))
    metric, other = CalibrationError(), MulticlassCalibrationError(7, n_bins=15, norm="l1")
    for part in (slice(0, 90), slice(90, 200)):
        metric.update(logits[part], target[part])
    torch.testing.assert_close(metric.compute(), other(logits.softmax(1), target))
    metric.reset()
    metric.update(logits[:50], target[:50])
    torch.testing.assert_close(metric.compute(), MulticlassCalibrationError(7)(logits[:50].softmax(1), target[:50]))


@pytest.mark.parametrize(("target", "error"), [(0, 0.0), (1, 1.0)])
def test_calibration__knows_certainty(target: int, error: float) -> None:
    metric = CalibrationError()
    metric.update(torch.tensor([[200.0, 0.0]]), torch.tensor([target]))
    assert metric.compute().item() == error


def test_calibration__never_asks_how_many_pictures_are_left() -> None:
    # Shapes that depend on values are what makes an accelerator wait; meta tensors cannot have any.
    metric = CalibrationError().to("meta")
    metric.update(torch.empty(4, 3, device="meta"), torch.empty(4, dtype=torch.int64, device="meta"))
    assert metric.bins.shape == (15, 3)


def test_temperature__is_that_of_a_fine_search() -> None:
    generator = torch.Generator().manual_seed(3)
    label = torch.randint(0, 4, (400,), generator=generator)
    logits = 4 * torch.randn(400, 4, generator=generator) + 3 * F.one_hot(label, 4)
    search = TemperatureSearch()
    for part in range(0, 400, 128):
        search.update(logits[part : part + 128], label[part : part + 128])
    candidates = torch.linspace(0.5, 8, 3000)
    losses = torch.stack([F.cross_entropy(logits / t, label) for t in candidates])
    assert search.compute().item() == pytest.approx(candidates[losses.argmin()].item(), rel=0.01)


@pytest.mark.parametrize("most", [1, 41 * 4 * 7, 41 * 4 * 30])
def test_temperature__of_many_classes_is_searched_part_by_part(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = 3 * torch.randn(30, 4), torch.randint(4, (30,))
    whole, parts = TemperatureSearch(), TemperatureSearch()
    whole.update(logits, label)
    monkeypatch.setattr(calibration, "_MOST_LOGITS", most)
    parts.update(logits, label)
    torch.testing.assert_close(parts.losses, whole.losses)


def test_temperature__is_searched_without_waiting() -> None:
    search, gpu = TemperatureSearch(), FakeGPU()
    gpu.take_module(search)
    with gpu.working() as waited_for:
        search.update(gpu.take(torch.zeros(4, 3)), gpu.take(torch.zeros(4, dtype=torch.int64)))
    assert waited_for == []
    assert search.losses.device.type == "cuda"


def test_temperature__of_what_is_never_wrong_is_the_least() -> None:
    search = TemperatureSearch()
    search.update(torch.eye(3), torch.arange(3))
    assert search.compute().item() == pytest.approx(1 / 8)


def test_calibration__counts_64_bit_as_torchmetrics_does() -> None:
    logits, target = 3 * torch.randn(200, 7, dtype=torch.float64), torch.randint(0, 7, (200,))
    metric = CalibrationError().double()
    metric.update(logits, target)
    expected = multiclass_calibration_error(logits.softmax(1), target, 7)
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtypes", [(torch.float64, torch.float32), (torch.float32, torch.float64)], ids=str)
@pytest.mark.parametrize("metric", [CalibrationError, TemperatureSearch])
def test_counts__take_logits_of_another_precision(
    metric: type[CalibrationError] | type[TemperatureSearch], dtypes: tuple[torch.dtype, torch.dtype]
) -> None:
    logits, label = 3 * torch.randn(60, 4), torch.randint(4, (60,))
    alike, other = metric(), metric().to(dtypes[0])
    alike.update(logits, label)
    other.update(logits.to(dtypes[1]), label)
    assert other.compute().item() == pytest.approx(alike.compute().item(), rel=1e-5)


@pytest.mark.parametrize("metric", [CalibrationError, TemperatureSearch])
def test_counts__stay_exact_in_half_precision(metric: type[CalibrationError] | type[TemperatureSearch]) -> None:
    logits, label = 3 * torch.randn(600, 4).bfloat16(), torch.randint(4, (600,))
    exact, half = metric(), metric().to(torch.bfloat16)
    for one in (exact, half):
        one.update(logits, label)
    assert half.compute().item() == pytest.approx(exact.compute().item(), rel=1e-3)
