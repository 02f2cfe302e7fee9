"""Driven by Lightning's trainer on a split of 6 pictures; scores are compared with a computation by hand."""

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ReduceLROnPlateau as MonitoredPlateau
from lightning.pytorch.plugins.precision import MixedPrecision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from resvision.backbones import create_backbone
from resvision.batch import SegmentationBatch
from resvision.losses import cross_entropy, dice_loss
from resvision.tasks import SegmentationTask, WarmupCosine, parameter_groups
from tests.tasks.trainers import quiet_trainer

NAMES = ["sky", "road", "car"]


def _split(count: int = 6, classes: int = 2) -> list[dict[str, Tensor]]:
    """Pictures whose brightness is their class, with a border of ignored pixels; by default without a car."""
    samples = []
    for index in range(count):
        mask = torch.randint(0, classes, (4, 4)).repeat_interleave(4, 0).repeat_interleave(4, 1)
        image = (mask * 100 + torch.randint(0, 50, mask.shape)).expand(3, -1, -1)
        mask[0] = 255
        samples.append({"image": image.byte(), "mask": mask.byte(), "index": torch.tensor(index)})
    return samples


def _loader(batch_size: int = 2, **arguments: Any) -> DataLoader[dict[str, Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DataLoader(_split(**arguments), batch_size)  # type: ignore[arg-type]


def _task(**arguments: Any) -> SegmentationTask:
    defaults: dict[str, Any] = {"backbone": "toy", "decoder_stride": 2, "decoder_widths": [8]}
    return SegmentationTask(NAMES, **(defaults | arguments))


class Recorder(Callback):
    """Keeps what each training step leaves behind."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.logged: list[float | None] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].item())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        logged = trainer.callback_metrics.get("train/loss")
        self.logged.append(None if logged is None else logged.item())


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., tuple[SegmentationTask, Trainer, Recorder]]:
    def run(task: SegmentationTask, **arguments: Any) -> tuple[SegmentationTask, Trainer, Recorder]:
        recorder = Recorder()
        trainer = quiet_trainer(tmp_path, callbacks=[recorder], **arguments)
        trainer.fit(task, _loader(), _loader())
        return task, trainer, recorder

    return run


Train = Callable[..., tuple[SegmentationTask, Trainer, Recorder]]


def test_segmentation__learns_what_can_be_learnt(train: Train) -> None:
    task, trainer, _ = train(_task(optimizer=partial(AdamW, lr=0.01)), max_epochs=25)
    assert trainer.callback_metrics["val/miou"].item() > 0.9
    assert task.image_size == (16, 16)


def test_segmentation__scores_equal_a_hand_computation_over_the_split(tmp_path: Path) -> None:
    task = _task().eval()
    (logged,) = quiet_trainer(tmp_path).validate(task, _loader(batch_size=4), verbose=False)
    pictures = _split_batch()
    with torch.no_grad():
        logits = task(pictures["image"])
    mask, found = pictures["mask"], logits.argmax(dim=1)
    counts = mask != 255
    both = [((found == k) & (mask == k)).sum().item() for k in range(3)]
    true = [(mask == k).sum().item() for k in range(3)]
    predicted = [((found == k) & counts).sum().item() for k in range(3)]
    iou = [both[k] / (true[k] + predicted[k] - both[k]) for k in range(2)]
    dice = [2 * both[k] / (true[k] + predicted[k]) for k in range(2)]
    assert logged["val/iou/sky"] == pytest.approx(iou[0])
    assert logged["val/iou/road"] == pytest.approx(iou[1])
    assert logged["val/iou/car"] != logged["val/iou/car"]  # no car in the split: nan
    assert logged["val/miou"] == pytest.approx(sum(iou) / 2)
    assert logged["val/dice"] == pytest.approx(sum(dice) / 2)
    assert logged["val/pixel_accuracy"] == pytest.approx(sum(both) / counts.sum().item())
    # The loss is the mean over pictures of what each batch gave: 4 and 2 pictures.
    first, second = (_loss(logits[part], mask[part]) for part in (slice(4), slice(4, 6)))
    assert logged["val/loss"] == pytest.approx((4 * first + 2 * second) / 6)
    overall = {"val/loss", "val/miou", "val/dice", "val/pixel_accuracy"}
    assert set(logged) == overall | {"val/iou/sky", "val/iou/road", "val/iou/car"}


def _split_batch() -> SegmentationBatch:
    (batch,) = _loader(batch_size=6)
    return SegmentationBatch(image=batch["image"], mask=batch["mask"], index=batch["index"])


def _loss(logits: Tensor, mask: Tensor) -> float:
    return (cross_entropy(logits, mask) + dice_loss(logits, mask)).item()


def test_segmentation__tests_as_it_validates(tmp_path: Path) -> None:
    task = _task()
    (val,) = quiet_trainer(tmp_path).validate(task, _loader(), verbose=False)
    (test,) = quiet_trainer(tmp_path).test(task, _loader(), verbose=False)
    renamed = {name.replace("val/", "test/"): value for name, value in val.items()}
    assert test == pytest.approx(renamed, nan_ok=True)


def test_segmentation__leaves_pictures_without_a_pixel_that_counts_out_of_the_loss() -> None:
    task, batch = _task().eval(), _split_batch()
    losses = []
    for ignored in (False, True):
        with torch.no_grad():
            task.evaluate(batch)
            if ignored:
                task.evaluate({**batch, "mask": torch.full_like(batch["mask"], 255)})
        losses.append(task.scores()["loss"])
        task.reset_evaluation()
    assert losses[0] == losses[1] > 0


def test_segmentation__begins_each_evaluation_anew(tmp_path: Path) -> None:
    task, trainer = _task(), quiet_trainer(tmp_path)
    first = trainer.validate(task, _loader(), verbose=False)
    trainer.validate(task, _loader(classes=3, count=4), verbose=False)
    assert trainer.validate(task, _loader(), verbose=False)[0] == pytest.approx(first[0], nan_ok=True)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_segmentation__clips_gradients(train: Train, precision: str, fused: bool, algorithm: str) -> None:
    optimizer = partial(SGD, lr=1.0, fused=fused)
    task = _task(optimizer=optimizer)
    before = copy.deepcopy(task)
    train(task, precision=precision, gradient_clip_val=1e-3, gradient_clip_algorithm=algorithm, max_steps=1)
    moves = [(a - b).detach().flatten() for a, b in zip(task.parameters(), before.parameters(), strict=True)]
    moved = torch.cat(moves)
    size = moved.norm() if algorithm == "norm" else moved.abs().max()
    # At a learning rate of 1 the step is the gradient; without clipping it is hundreds of times as long.
    assert size.item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("fused", [False, True])
def test_segmentation__clips_gradients_in_fp16_unless_fused(train: Train, fused: bool) -> None:
    task = _task(optimizer=partial(AdamW, fused=fused))
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    refused = pytest.raises(ValueError, match=r"clipped for a fused optimiser: set model\.optimizer\.init_args\.fused")
    with refused if fused else nullcontext():
        train(task, plugins=[scaled], gradient_clip_val=1.0, max_steps=1)


def test_segmentation__ends_an_epoch_with_the_mean_loss_so_far_where_none_is_logged(train: Train) -> None:
    _, trainer, recorder = train(_task(), max_epochs=2, log_every_n_steps=50)
    losses = recorder.losses
    assert recorder.logged == pytest.approx([None] * 3 + [sum(losses[:3]) / 3] * 3)
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(sum(losses) / 6)


def test_segmentation__logs_the_mean_loss_every_n_steps(train: Train) -> None:
    _, _, recorder = train(_task(), max_epochs=2, log_every_n_steps=2)
    losses, logged = recorder.losses, recorder.logged
    assert len(losses) == 6
    expected = [
        None,
        None,
        sum(losses[0:2]) / 2,
        sum(losses[0:2]) / 2,
        sum(losses[2:4]) / 2,
        sum(losses[2:4]) / 2,
    ]
    assert logged == pytest.approx(expected)


def test_segmentation__logs_over_accumulated_batches(train: Train) -> None:
    _, trainer, recorder = train(_task(), accumulate_grad_batches=3)
    assert trainer.global_step == 1
    assert recorder.logged == [None, None, None]
    # Lightning hands on each loss divided by the number of batches; the mean of the losses is their sum.
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(sum(recorder.losses))


def test_segmentation__steps_the_warmup_cosine_every_optimiser_step(train: Train) -> None:
    task = _task(optimizer=partial(SGD, lr=2.0), scheduler=partial(WarmupCosine, warmup=0.5))
    _, _, recorder = train(task, max_epochs=4, accumulate_grad_batches=3)
    # Four steps of three batches, two of them rising; a rate is seen after the schedule moved on.
    expected = [2 / 3, 2 / 3, 4 / 3, 4 / 3, 4 / 3, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0]
    assert recorder.rates == pytest.approx(expected)


def test_segmentation__says_that_a_warmup_cosine_needs_an_end(train: Train) -> None:
    with pytest.raises(ValueError, match="WarmupCosine needs a run with an end: set trainer"):
        train(_task(scheduler=WarmupCosine), max_epochs=-1)


def test_segmentation__says_what_a_model_needs() -> None:
    task = _task()
    task.model = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="Identity needs a `normalization`, an InputNormalization"):
        task.description()


def test_own_task__that_keeps_too_little_is_refused_before_it_trains(train: Train) -> None:
    task = _task()
    del task.hparams["weights"], task.hparams["in_channels"]
    with pytest.raises(TypeError, match=r"SegmentationTask keeps no weights, in_channels: let its constructor take it"):
        train(task, enable_checkpointing=True)
    assert task.trainer.global_step == 0


@pytest.mark.parametrize(
    ("name", "nothing"), [("limit_train_batches", 0), ("max_steps", 0), ("max_epochs", 0), ("max_time", timedelta())]
)
def test_segmentation__says_that_a_run_takes_no_step(name: str, nothing: Any, train: Train) -> None:
    with pytest.raises(ValueError, match=rf"takes no training step: trainer\.{name} is 0"):
        train(_task(scheduler=None), **{name: nothing})


def test_segmentation__steps_other_schedules_every_epoch(train: Train) -> None:
    task = _task(optimizer=partial(SGD, lr=2.0), scheduler=partial(StepLR, step_size=1, gamma=0.5))
    _, _, recorder = train(task, max_epochs=2)
    assert recorder.rates == pytest.approx([2.0, 2.0, 1.0, 1.0, 1.0, 0.5])


def test_segmentation__steps_a_cycle_after_every_step(train: Train) -> None:
    cycle = partial(OneCycleLR, max_lr=1.0, total_steps=6)
    _, _, recorder = train(_task(optimizer=partial(SGD, lr=2.0), scheduler=cycle), max_epochs=2)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGD([parameter], lr=2.0)
    expected, schedule = [], cycle(optimizer)
    for _ in range(6):
        optimizer.step()
        schedule.step()
        expected.append(optimizer.param_groups[0]["lr"])  # as it is at the end of the batch
    assert recorder.rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scheduler", "monitor"),
    [
        (partial(ReduceLROnPlateau, mode="min"), "val/loss"),
        (partial(ReduceLROnPlateau, mode="max"), "val/miou"),
        (partial(MonitoredPlateau, monitor="val/dice", mode="max"), "val/dice"),
    ],
)
def test_segmentation__lets_a_plateau_watch_what_its_mode_can_improve(
    train: Train, scheduler: Any, monitor: str
) -> None:
    _, trainer, _ = train(_task(scheduler=scheduler))
    assert trainer.lr_scheduler_configs[0].monitor == monitor
    assert trainer.lr_scheduler_configs[0].interval == "epoch"


def test_parameter_groups__decay_neither_norms_nor_biases() -> None:
    task = _task()
    decay, rest = parameter_groups(task.parameters())
    names = {parameter: name for name, parameter in task.named_parameters()}
    assert rest["weight_decay"] == 0.0
    assert "weight_decay" not in decay
    assert all("bn" in names[p] or names[p].endswith("bias") or ".1." in names[p] for p in rest["params"])
    assert {names[p].rsplit(".", 1)[1] for p in decay["params"]} == {"weight"}
    assert len(decay["params"]) + len(rest["params"]) == len(names)


def test_segmentation__reports_a_table(tmp_path: Path) -> None:
    task = _task()
    assert task.report() == "nothing was evaluated yet"
    (logged,) = quiet_trainer(tmp_path).validate(task, _loader(), verbose=False)
    header, sky, road, car, mean, accuracy = task.report().splitlines()
    assert header.split() == ["class", "IoU", "Dice", "pixels"]
    name, iou, _, share = sky.split()
    assert name == "sky"
    assert float(iou) == pytest.approx(logged["val/iou/sky"], abs=5e-4)
    assert float(share[:-1]) + float(road.split()[-1][:-1]) == pytest.approx(100, abs=0.02)
    assert car.split() == ["car", "-", "-", "0.00%"]
    assert float(mean.split()[1]) == pytest.approx(logged["val/miou"], abs=5e-4)
    assert float(accuracy.split()[-1]) == pytest.approx(logged["val/pixel_accuracy"], abs=5e-4)
    assert len({len(line) for line in (header, sky, road, car)}) == 1


def _saved(task: SegmentationTask, folder: Path) -> Path:
    trainer = quiet_trainer(folder)
    trainer.fit(task, _loader(), _loader())
    path = folder / "task.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_segmentation__checkpoint_is_plain_data_that_tells_its_use(tmp_path: Path) -> None:
    path = _saved(_task(scheduler=WarmupCosine), tmp_path)
    said = torch.load(path, weights_only=True)["resvision"]
    assert said["task"] == "SegmentationTask"
    assert said["class_names"] == NAMES
    assert said["image_size"] == [16, 16]
    assert said["input_statistics"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert (said["backbone"], said["weights"], said["in_channels"]) == ("toy", None, 3)


class _Locked:
    """Builds an optimiser, and cannot be copied, like what the command line makes of a config."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, parameters: Any) -> AdamW:
        return AdamW(parameters)


def test_segmentation__can_be_copied_as_callbacks_do_that_average_weights() -> None:
    task = _task(optimizer=_Locked(), scheduler=None)
    again = copy.deepcopy(task)
    pictures = _split_batch()["image"]
    assert torch.equal(again.eval()(pictures), task.eval()(pictures))
    with torch.no_grad():
        next(again.parameters()).zero_()
    assert not torch.equal(again(pictures), task(pictures))
    assert isinstance(again.configure_optimizers(), AdamW)


def test_segmentation__that_comes_back_tells_the_statistics_of_its_weights(tmp_path: Path) -> None:
    said = {"input_mean": "[0.5, 0.25, 0.125]", "input_std": "[0.5, 0.5, 0.25]"}
    weights = tmp_path / "toy.safetensors"
    save_file(create_backbone("toy").state_dict(), weights, metadata={"format": "pt"} | said)
    task = _task(weights=str(weights))
    expected = {"mean": [0.5, 0.25, 0.125], "std": [0.5, 0.5, 0.25]}
    assert task.description()["input_statistics"] == expected
    again = SegmentationTask.load_from_checkpoint(_saved(task, tmp_path))
    assert again.description()["input_statistics"] == expected


def test_segmentation__comes_back_from_its_checkpoint_alone(tmp_path: Path) -> None:
    task = _task(losses={"focal": 2.0}, backbone_options={}, in_channels=3)
    again = SegmentationTask.load_from_checkpoint(_saved(task, tmp_path)).eval()
    pictures = _split_batch()["image"]
    assert torch.equal(again(pictures), task.eval()(pictures))
    assert again.class_names == tuple(NAMES)
    assert again.image_size == (16, 16)
    assert again.loss.weights == {"focal": 2.0}


def test_segmentation__does_not_ask_again_for_the_first_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(SegmentationTask(NAMES, backbone="resnet10t").model.backbone.state_dict(), weights)
    path = _saved(SegmentationTask(NAMES, backbone="resnet10t", weights=str(weights)), tmp_path)
    weights.unlink()
    again = SegmentationTask.load_from_checkpoint(path)
    assert again.hparams["weights"] is None
    assert torch.load(path, weights_only=True)["resvision"]["weights"] == str(weights)


@pytest.mark.parametrize("names", [["sky", "road", "bus"], ["sky", "road"]])
def test_segmentation__refuses_a_checkpoint_of_other_classes(tmp_path: Path, names: list[str]) -> None:
    path = _saved(_task(), tmp_path)
    with pytest.raises(ValueError, match=r"knows the classes sky, road, car, and this task sky, road"):
        SegmentationTask.load_from_checkpoint(path, class_names=names)


def test_segmentation__refuses_a_checkpoint_of_another_task(tmp_path: Path) -> None:
    path = _saved(_task(), tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["resvision"]["task"] = "DetectionTask"
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="is of a DetectionTask, and this is a SegmentationTask"):
        SegmentationTask.load_from_checkpoint(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["road"], "2 to 255 classes apart, got 1; the background is a class too"),
        ([str(i) for i in range(256)], "2 to 255 classes apart, got 256"),
        (["road", "sky", "road"], "class names must differ, got 'road' more than once"),
    ],
)
def test_segmentation__refuses_classes_that_cannot_be(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentationTask(names, backbone="toy")


def test_segmentation__names_the_nearest_of_a_mistyped_loss_and_backbone() -> None:
    with pytest.raises(ValueError, match="did you mean 'dice'"):
        _task(losses={"dise": 1.0})
    with pytest.raises(ValueError, match="did you mean resnet18"):
        _task(backbone="resnet_18")


def test_segmentation__is_channels_last() -> None:
    weight = _task().get_parameter("model.decoder.blocks.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_segmentation__weights_its_classes() -> None:
    task = _task(losses={"cross_entropy": 1.0}, class_weights=[1.0, 3.0, 0.0]).eval()
    batch = _split_batch()
    expected = cross_entropy(task(batch["image"]), batch["mask"], class_weights=torch.tensor([1.0, 3.0, 0.0]))
    torch.testing.assert_close(task.training_loss(batch), expected, rtol=0, atol=0)


def test_segmentation__refuses_another_number_of_class_weights() -> None:
    with pytest.raises(ValueError, match="class_weights has 2 numbers for 3 classes"):
        _task(class_weights=[1.0, 2.0])
