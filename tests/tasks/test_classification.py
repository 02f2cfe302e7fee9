"""Driven by Lightning's trainer on splits of a few pictures; scores are compared with a computation by hand."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW
from torch.utils.data import DataLoader

from resvision.batch import ClassificationBatch
from resvision.callbacks import BatchAugmentation
from resvision.tasks import ClassificationTask
from resvision.tasks.classification_evaluation import ClassificationEvaluation
from tests.tasks.trainers import quiet_trainer

NAMES = ["cat", "dog", "emu"]


def _loader(count: int = 6, classes: int = 2, batch_size: int = 4) -> DataLoader[dict[str, Tensor]]:
    """Pictures whose brightness is their class, in turn; by default without an emu."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": (i % classes * 80 + torch.randint(0, 40, (3, 8, 8), generator=generator)).byte(),
            "label": torch.tensor(i % classes),
            "index": torch.tensor(i),
        }
        for i in range(count)
    ]
    return DataLoader(samples, batch_size)  # type: ignore[arg-type]


def _batch(**arguments: Any) -> ClassificationBatch:
    (batch,) = _loader(batch_size=1000, **arguments)
    return ClassificationBatch(image=batch["image"], label=batch["label"], index=batch["index"])


def _task(names: list[str] = NAMES, **arguments: Any) -> ClassificationTask:
    return ClassificationTask(names, **({"backbone": "toy"} | arguments))


def _says(task: ClassificationTask, logits: Tensor) -> ClassificationTask:
    """Let the task say these logits, picture by picture."""
    task.forward = lambda images: logits[: len(images)]  # type: ignore[method-assign]
    return task


def test_classification__learns_what_can_be_learnt(tmp_path: Path) -> None:
    task, trainer = _task(optimizer=partial(AdamW, lr=0.01)), quiet_trainer(tmp_path, max_epochs=15)
    trainer.fit(task, _loader(12, 3), _loader(12, 3))
    assert trainer.callback_metrics["val/accuracy"].item() == 1.0
    assert task.image_size == (8, 8)


def test_classification__logs_the_accuracy_in_training(tmp_path: Path) -> None:
    said = torch.eye(3)[[0, 1, 1, 1]].requires_grad_()
    task, trainer = _says(_task(), said), quiet_trainer(tmp_path, log_every_n_steps=2, limit_val_batches=0)
    trainer.fit(task, _loader(), _loader())
    # Of 4 pictures in turn of class 0 and 1 the third is wrong; in the second batch are 2, both right.
    assert trainer.callback_metrics["train/accuracy"].item() == pytest.approx((3 / 4 + 1) / 2)
    assert trainer.callback_metrics["train/loss"].item() > 0


def test_classification__logs_no_accuracy_of_mixed_pictures(tmp_path: Path) -> None:
    task, trainer = _task(), quiet_trainer(tmp_path, limit_val_batches=0, callbacks=[BatchAugmentation(mixup=0.2)])
    trainer.fit(task, _loader(), _loader())
    assert "train/loss" in trainer.callback_metrics
    assert "train/accuracy" not in trainer.callback_metrics


def test_classification__scores_equal_a_hand_computation_over_the_split(tmp_path: Path) -> None:
    task = _task().eval()
    (logged,) = quiet_trainer(tmp_path).validate(task, _loader(), verbose=False)
    pictures = _batch()
    with torch.no_grad():
        logits = task(pictures["image"])
    label, found = pictures["label"], logits.argmax(dim=1)
    hit = [((found == k) & (label == k)).sum().item() for k in range(3)]
    predicted = [(found == k).sum().item() for k in range(3)]
    assert logged["val/accuracy"] == pytest.approx(sum(hit) / 6)
    f1 = [2 * hit[k] / (3 + predicted[k]) for k in range(2)]
    assert [logged["val/f1/cat"], logged["val/f1/dog"]] == pytest.approx(f1)
    assert logged["val/f1"] == pytest.approx(sum(f1) / 2)
    precision = [hit[k] / predicted[k] for k in range(3) if predicted[k]]
    assert logged["val/precision"] == pytest.approx(sum(precision) / len(precision))
    assert logged["val/recall"] == pytest.approx((hit[0] / 3 + hit[1] / 3) / 2)
    assert [logged["val/recall/cat"], logged["val/recall/dog"]] == pytest.approx([hit[0] / 3, hit[1] / 3])
    assert logged["val/recall/emu"] != logged["val/recall/emu"]  # no emu in the split: nan
    # The loss is the mean over pictures of what each batch gave: 4 and 2 pictures, all of one weight.
    assert logged["val/loss"] == pytest.approx(-logits.log_softmax(1)[torch.arange(6), label].mean().item())
    per_class = {f"val/{score}/{name}" for score in ("precision", "recall", "f1") for name in NAMES}
    calibration = {"val/calibration_error", "val/calibration_error_scaled"}
    means = {"val/precision", "val/recall", "val/f1"}
    assert set(logged) == {"val/loss", "val/accuracy"} | means | calibration | per_class


def test_classification__tests_as_it_validates_and_begins_anew_each_time(tmp_path: Path) -> None:
    task, trainer = _task(), quiet_trainer(tmp_path)
    (val,) = trainer.validate(task, _loader(), verbose=False)
    trainer.validate(task, _loader(9, 3), verbose=False)
    (test,) = trainer.test(task, _loader(), verbose=False)
    assert test == pytest.approx({name.replace("val/", "test/"): value for name, value in val.items()}, nan_ok=True)


def test_classification__counts_the_top_5_of_more_than_5_classes() -> None:
    task = _task([str(n) for n in range(7)])
    # The class k has the logit -k, so the last two of the seven are not among the first five.
    _says(task, -torch.arange(7.0).repeat(7, 1)).evaluate(_batch(count=7, classes=7))
    scores = task.scores()
    assert scores["accuracy"] == pytest.approx(1 / 7)
    assert scores["accuracy_top5"] == pytest.approx(5 / 7)


def test_classification__loss_knows_smoothing_and_class_weights() -> None:
    logits, label = torch.randn(4, 3), torch.tensor([0, 1, 1, 2])
    nll = -logits.log_softmax(1)
    picked = nll[torch.arange(4), label]
    smooth = _says(_task(label_smoothing=0.3), logits).training_loss(_labelled(label))
    assert smooth.item() == pytest.approx((0.7 * picked + 0.1 * nll.sum(1)).mean().item())
    weighted = _says(_task(class_weights=[1.0, 2.0, 4.0]), logits).training_loss(_labelled(label))
    weight = torch.tensor([1.0, 2.0, 2.0, 4.0])
    assert weighted.item() == pytest.approx(((weight * picked).sum() / 9).item())
    plain = _says(_task(), logits).training_loss(_labelled(label))
    assert plain.item() == pytest.approx(F.cross_entropy(logits, label).item())


def _labelled(label: Tensor) -> ClassificationBatch:
    image = torch.zeros(len(label), 3, 8, 8, dtype=torch.uint8)
    return ClassificationBatch(image=image, label=label, index=torch.arange(len(label)))


def test_classification__reports_a_table() -> None:
    task = _task()
    assert task.report() == "nothing was evaluated yet"
    # Said cat, dog, cat, cat, dog, dog; true are cat and dog in turn.
    _says(task, 9 * F.one_hot(torch.tensor([0, 1, 0, 0, 1, 1]), 3).float()).evaluate(_batch())
    task.scores()
    header, cat, dog, emu, mean, accuracy, calibration, scaled, title, *confusions = task.report().splitlines()
    assert header.split() == ["class", "precision", "recall", "F1", "pictures"]
    assert cat.split() == ["cat", "0.667", "0.667", "0.667", "3"]
    assert dog.split() == ["dog", "0.667", "0.667", "0.667", "3"]
    assert emu.split() == ["emu", "-", "-", "-", "0"]
    assert mean.split() == ["mean", "0.667", "0.667", "0.667", "6"]
    assert accuracy.split() == ["accuracy", "0.667"]
    assert calibration.split() == ["calibration", "error", "0.333"]
    assert scaled.split() == ["calibration", "error", "scaled", "0.333"]
    assert title == "most frequent confusions"
    assert sorted(confusions) == ["  cat taken for dog: 1", "  dog taken for cat: 1"]
    assert len({len(line) for line in (header, cat, dog, emu, mean)}) == 1


def test_classification__keeps_its_confusion_matrix() -> None:
    task = _task()
    assert task.tables() == {}
    # Said cat, dog, cat, cat, dog, emu; true are cat and dog in turn.
    _says(task, 9 * F.one_hot(torch.tensor([0, 1, 0, 0, 1, 2]), 3).float()).evaluate(_batch())
    task.scores()
    assert task.tables()["confusion"] == [
        ["true class", "cat", "dog", "emu"],
        ["cat", 2, 1, 0],
        ["dog", 1, 1, 1],
        ["emu", 0, 0, 0],
    ]


def test_classification__lists_the_cells_of_a_thousand_classes() -> None:
    names = [f"c{number}" for number in range(1001)]
    evaluation = ClassificationEvaluation(names)
    logits = torch.zeros(3, 1001)
    logits[torch.arange(3), torch.tensor([4, 4, 1000])] = 9.0
    labels: Any = {"label": torch.tensor([4, 7, 7]), "index": torch.arange(3)}
    evaluation.update(logits, labels, torch.tensor(0.0))
    evaluation.scores(scaled=False)
    header = ["true class", "said class", "pictures"]
    assert evaluation.tables() == {"confusion": [header, ["c4", "c4", 1], ["c7", "c4", 1], ["c7", "c1000", 1]]}
    assert evaluation.report().splitlines()[-2:] == ["  c7 taken for c4: 1", "  c7 taken for c1000: 1"]


def test_classification__reports_the_worst_of_many_classes() -> None:
    names = [f"n{number}" for number in range(40)]
    task = _task(names)
    said = torch.arange(40)
    said[35] = 0
    _says(task, F.one_hot(said, 40).float()).evaluate(_batch(count=40, classes=40))
    assert not any("/" in name for name in task.scores())
    lines = task.report().splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["n35", "n0"]
    assert "(10 classes with a higher F1 are not shown)" in lines
    assert lines[-1] == "  n35 taken for n0: 1"


def _saved(task: ClassificationTask, folder: Path) -> Path:
    trainer = quiet_trainer(folder)
    trainer.fit(task, _loader(), _loader())
    path = folder / "task.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_classification__comes_back_from_its_checkpoint_alone(tmp_path: Path) -> None:
    task = _task(label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0], dropout=0.2)
    path = _saved(task, tmp_path)
    said = torch.load(path, weights_only=True)["resvision"]
    assert (said["task"], said["class_names"], said["image_size"]) == ("ClassificationTask", NAMES, [8, 8])
    assert (said["backbone"], said["weights"], said["in_channels"]) == ("toy", None, 3)
    again = ClassificationTask.load_from_checkpoint(path).eval()
    pictures = _batch()["image"]
    assert torch.equal(again(pictures), task.eval()(pictures))
    assert again.image_size == (8, 8)
    assert again.class_weights is not None
    assert again.class_weights.tolist() == [1.0, 2.0, 3.0]


def test_classification__does_not_ask_again_for_the_first_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(_task(backbone="resnet10t").model.backbone.state_dict(), weights)
    task = _task(backbone="resnet10t", weights=str(weights))
    checkpoint: dict[str, Any] = {"hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(checkpoint)
    assert checkpoint["hyper_parameters"]["weights"] is None
    assert checkpoint["resvision"]["weights"] == str(weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["cat"]}, "tells 2 or more classes apart, got 1"),
        ({"names": ["cat", "dog", "cat"]}, "class names must differ, got 'cat' more than once"),
        ({"backbone": "resnet_18"}, "did you mean resnet18"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, got 1.0"),
        ({"label_smoothing": 1.5}, "label_smoothing must be from 0 to below 1, got 1.5"),
        ({"class_weights": [1.0]}, "class_weights has 1 numbers for 3 classes"),
        ({"class_weights": [1.0, 0.0, 1.0]}, "class_weights must be finite numbers above 0"),
        ({"class_weights": [1.0, float("nan"), 1.0]}, "class_weights must be finite numbers above 0"),
    ],
)
def test_classification__refuses_what_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task(**arguments)


def test_classification__is_channels_last() -> None:
    weight = _task().get_parameter("model.backbone.stage1.conv.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_classification__learns_from_the_auxiliary_classifiers_too() -> None:
    features = ["inception4a", "inception4d", "stage4"]
    task = _task(backbone="googlenet", backbone_options={"out_features": features}).train()
    assert set(task.model.auxiliary) == {"inception4a", "inception4d"}
    batch = _labelled(torch.tensor([0, 1, 2, 1]))
    batch["image"] = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    for head in task.modules():
        if isinstance(head, torch.nn.Dropout):
            head.p = 0.0
    logits = task.model.all_logits(batch["image"])
    losses = [F.cross_entropy(one, batch["label"]).item() for one in logits]
    found = task.training_loss(batch)
    assert found.item() == pytest.approx(losses[0] + 0.3 * losses[1] + 0.3 * losses[2], rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in task.parameters())
    assert torch.equal(task.eval()(batch["image"]), task.model.all_logits(batch["image"])[0])


def test_classification__has_no_auxiliary_classifiers_without_their_features() -> None:
    assert not _task(backbone="googlenet").model.auxiliary


def test_classification__finds_the_temperature_while_training_and_reports_both_errors(tmp_path: Path) -> None:
    task, trainer = _task(optimizer=partial(AdamW, lr=0.01)), quiet_trainer(tmp_path, max_epochs=20)
    truth = _batch(count=30, classes=3)
    label = (truth["label"] + (torch.arange(30) % 5 == 0)) % 3
    batch = {"image": truth["image"], "label": label, "index": truth["index"]}
    samples = [{key: values[i] for key, values in batch.items()} for i in range(30)]
    noisy: DataLoader[dict[str, Tensor]] = DataLoader(samples, 10)  # type: ignore[arg-type]
    trainer.fit(task, _loader(30, 3), noisy)
    temperature = task.temperature.item()
    assert temperature > 1.2  # it learned from truths alone, and is more confident than right of the others
    with torch.no_grad():
        logits = task.eval()(batch["image"])
    around = [F.cross_entropy(logits / (temperature * by), batch["label"]).item() for by in (0.9, 1.0, 1.1)]
    assert around[1] < min(around[0], around[2])
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    again = ClassificationTask.load_from_checkpoint(path).eval()
    assert again.temperature.item() == temperature
    assert torch.equal(again.probabilities(batch["image"]), (logits / temperature).softmax(1))
    (scores,) = quiet_trainer(tmp_path).validate(again, noisy, verbose=False)
    assert scores["val/calibration_error_scaled"] < scores["val/calibration_error"]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal"])
def test_classification__learns_by_other_losses(tmp_path: Path, loss: str) -> None:
    task = _task(optimizer=partial(AdamW, lr=0.01), loss=loss)
    trainer = quiet_trainer(tmp_path, max_epochs=15)
    trainer.fit(task, _loader(12, 3), _loader(12, 3))
    assert trainer.callback_metrics["val/accuracy"].item() == 1.0


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_classification__trains_and_is_scored_in_another_precision(tmp_path: Path, precision: Any) -> None:
    task = _task(class_weights=[1.0, 2.0, 4.0])
    trainer = quiet_trainer(tmp_path, precision=precision)
    loader = _loader(12, 3, batch_size=12)
    trainer.fit(task, loader, loader)
    (scores,) = trainer.test(task, loader, verbose=False)
    batch = _batch(count=12, classes=3)
    with torch.no_grad():
        logits, label = task.eval()(batch["image"]).double(), batch["label"]
    expected = F.cross_entropy(logits, label, torch.tensor([1.0, 2.0, 4.0]).double())
    assert scores["test/loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert scores["test/accuracy"] == pytest.approx((logits.argmax(1) == label).double().mean().item())


def test_classification__refuses_a_loss_that_is_not_there_before_training() -> None:
    with pytest.raises(ValueError, match="loss must be one of"):
        ClassificationTask(["a", "b"], backbone="toy", loss="bce")  # type: ignore[arg-type]


def test_classification__takes_whole_numbers_as_weights() -> None:
    task = ClassificationTask(["a", "b"], backbone="toy", class_weights=[1, 5])
    batch: Any = {"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "label": torch.tensor([0, 1])}
    assert task.training_loss(batch).isfinite()
