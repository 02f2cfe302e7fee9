"""What fine-tuning trains, by Lightning's trainer on a few pictures, and what the optimiser is given."""

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from resvision.backbones import create_backbone
from resvision.callbacks import FineTuningTable
from resvision.models import Classifier, ResUNet
from resvision.tasks import PRESETS, ClassificationTask, FineTuning, SegmentationTask
from resvision.tasks.finetuning import FineTune, FineTuner
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer

STAGES = ["stem", "stage1"]  # of the toy, whose pictures are 8x8


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "toy.pth"
    torch.save(create_backbone("toy").state_dict(), path)
    return str(path)


def _task(weights: str | None, finetune: FineTune, **arguments: Any) -> ClassificationTask:
    return ClassificationTask(NAMES, backbone="toy", weights=weights, finetune=finetune, **arguments)


class Watch(Callback):
    """Keeps, for each epoch, what changed in it and which batch norms took the statistics of the batch."""

    def __init__(self) -> None:
        self.changed: list[set[str]] = []
        self.estimating: list[set[str]] = []
        self.before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.before = copy.deepcopy(pl_module.model.state_dict())
            norms = {n: m for n, m in pl_module.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
            self.estimating.append({name.split(".")[1] for name, norm in norms.items() if norm.training})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        after = pl_module.model.state_dict()
        names = {name for name in after if not torch.equal(after[name], self.before[name])}
        self.changed.append({name.removeprefix("backbone.").split(".")[0] for name in names})


def _fit(task: ClassificationTask, folder: Path, epochs: int = 3, **arguments: Any) -> Watch:
    watch = Watch()
    quiet_trainer(folder, max_epochs=epochs, callbacks=[watch], **arguments).fit(task, _loader(), _loader())
    return watch


def test_head__trains_the_head_alone(weights: str, tmp_path: Path) -> None:
    watch = _fit(_task(weights, "head", scheduler=None), tmp_path)
    assert watch.changed == [{"head"}] * 3  # statistics of batch norms are among what stays
    assert watch.estimating == [set()] * 3


def test_gradual__adds_a_stage_each_epoch(weights: str, tmp_path: Path) -> None:
    watch = _fit(_task(weights, "gradual", scheduler=None), tmp_path)
    assert watch.changed == [{"head"}, {"head", "stage1"}, {"head", "stage1", "stem"}]
    assert watch.estimating == [set()] * 3


def test_full__trains_everything_from_the_start(weights: str, tmp_path: Path) -> None:
    watch = _fit(_task(weights, "full", scheduler=None), tmp_path, epochs=1)
    assert watch.changed == [{"head", "stage1", "stem"}]
    assert watch.estimating == [set()]


@pytest.mark.parametrize(
    ("policy", "estimating"),
    [("train", [{"stem", "stage1"}] * 2), ("follow", [set(), {"stem", "stage1"}]), ("fixed", [set(), set()])],
)
def test_batch_norm__policy(weights: str, tmp_path: Path, policy: Any, estimating: list[set[str]]) -> None:
    task = _task(weights, {"preset": "full", "frozen_epochs": 1, "batch_norm": policy}, scheduler=None)
    watch = _fit(task, tmp_path, epochs=2)
    assert watch.estimating == estimating
    # What a frozen stage still changes are statistics.
    assert watch.changed[0] == {"head"} | (set(STAGES) if policy == "train" else set())


def test_groups__hold_every_parameter_once_from_the_first_step(weights: str, tmp_path: Path) -> None:
    settings: FineTune = {"preset": "gradual", "backbone_lr": 0.1, "stage_lr_decay": 0.5}
    task = _task(weights, settings, optimizer=partial(SGD, lr=0.4, weight_decay=0.01), scheduler=None)
    trainer = quiet_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, _loader(), _loader())
    groups = trainer.optimizers[0].param_groups
    assert [group["name"] for group in groups] == [
        name for part in (*STAGES, "head") for name in (part, f"{part}/no_decay")
    ]
    assert [group["lr"] for group in groups] == pytest.approx([0.02, 0.02, 0.04, 0.04, 0.4, 0.4])
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0] * 3
    given = [parameter for group in groups for parameter in group["params"]]
    assert len(given) == len(set(given))
    assert set(given) == set(task.parameters())
    assert {p.ndim for g in groups if g["name"].endswith("no_decay") for p in g["params"]} == {1}


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(OneCycleLR, max_lr=0.4, total_steps=8, pct_start=0.5),
        partial(CyclicLR, base_lr=0.1, max_lr=0.4, step_size_up=3),
    ],
)
def test_cycles__keep_the_shares_of_the_parts(weights: str, tmp_path: Path, scheduler: Any) -> None:
    rates: list[list[float]] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups[::2]])

    task = _task(weights, "full", optimizer=partial(SGD, lr=0.4, momentum=0.9), scheduler=scheduler)
    trainer = quiet_trainer(tmp_path, max_epochs=4, callbacks=[Rates()])
    trainer.fit(task, _loader(), _loader())
    stem, stage1, head = torch.tensor(rates, dtype=torch.float64).T
    torch.testing.assert_close(stem, 0.07 * head)
    torch.testing.assert_close(stage1, 0.1 * head)
    assert head.max().item() == pytest.approx(0.4)
    table = task.finetuning_table()
    assert table is not None
    assert [line.split()[4] for line in table.splitlines()[1:4]] == ["0.028", "0.04", "0.4"]


def test_groups__may_share_a_learning_rate_that_is_a_tensor(weights: str, tmp_path: Path) -> None:
    task = _task(weights, "full", optimizer=lambda groups: AdamW(groups, lr=torch.tensor(0.1)), scheduler=None)
    trainer = quiet_trainer(tmp_path)
    trainer.fit(task, _loader(), _loader())
    rates = [float(group["lr"]) for group in trainer.optimizers[0].param_groups[::2]]
    assert rates == pytest.approx([0.007, 0.01, 0.1])


def test_tuner__trains_what_is_beside_the_parts_with_the_head(weights: str) -> None:
    task = _task(weights, "head")
    task.scale, task.model.shift = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(3))
    task.teacher = nn.Linear(2, 2).requires_grad_(False)
    tuner = FineTuner(task.model, FineTuning.of("head"), task)
    assert [part.name for part in tuner.parts] == [*STAGES, "head"]
    given = [parameter for group in tuner.groups() for parameter in group["params"]]
    assert len(given) == len(set(given))
    assert set(given) == set(task.parameters())
    assert {task.scale, task.model.shift} <= set(tuner.groups()[-1]["params"])
    tuner.prepare(0)
    assert not task.teacher.weight.requires_grad  # what somebody has frozen stays so


def test_tuner__refuses_a_backbone_parameter_of_no_stage() -> None:
    backbone = create_backbone("toy")
    stages = backbone.stage_parameters
    backbone.stage_parameters = {"stem": stages["stem"]}
    with pytest.raises(ValueError, match=r"no stage has the parameter stage1\.\S+: name it in the `stage_parameters`"):
        FineTuner(Classifier(backbone, 3), FineTuning())


def test_tuner__knows_the_stages_of_a_resnet_and_what_comes_after() -> None:
    settings = FineTuning(frozen_epochs=2, stage_epochs=3, stage_lr_decay=0.5)
    parts = FineTuner(Classifier(create_backbone("resnet18"), 3), settings).parts
    assert [part.name for part in parts] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert [part.start for part in parts] == [14, 11, 8, 5, 2, 0]
    assert [part.lr_factor for part in parts] == pytest.approx([0.00625, 0.0125, 0.025, 0.05, 0.1, 1])
    unet = ResUNet(create_backbone("resnet10t"), 3)
    parts = FineTuner(unet, FineTuning(frozen_epochs=None)).parts
    assert [part.name for part in parts][-2:] == ["decoder", "head"]
    assert [part.start for part in parts] == [math.inf] * 5 + [0, 0]
    assert sum(p.numel() for part in parts for p in part.parameters) == sum(p.numel() for p in unet.parameters())


def test_tuner__does_not_count_stages_that_are_not_built() -> None:
    backbone = create_backbone("resnet10t", out_features=["stem", "stage1", "stage2"])
    parts = FineTuner(Classifier(backbone, 3), FineTuning(frozen_epochs=1, stage_epochs=1)).parts
    assert [(part.name, part.start) for part in parts] == [("stem", 3), ("stage1", 2), ("stage2", 1), ("head", 0)]


def test_frozen_stage__drops_nothing() -> None:
    model = Classifier(create_backbone("resnet18", drop_path=0.5, zero_init_residual=False), 3).train()
    FineTuner(model, FineTuning(frozen_epochs=1)).prepare(0)
    pictures = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    assert torch.equal(model(pictures), model(pictures))
    FineTuner(model, FineTuning(frozen_epochs=1)).prepare(1)
    assert not torch.equal(model(pictures), model(pictures))


@pytest.mark.parametrize("preset", PRESETS)
def test_finetuning__goes_on_as_if_it_had_not_stopped(weights: str, tmp_path: Path, preset: Any) -> None:
    def run(folder: Path, resume: Path | None = None) -> dict[str, Any]:
        torch.manual_seed(0 if resume is None else 99)
        task = _task(weights, preset, optimizer=partial(AdamW, lr=0.01))
        save = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        trainer = quiet_trainer(folder, max_epochs=4, callbacks=[save], enable_checkpointing=True)
        trainer.fit(task, _loader(batch_size=3), _loader(), ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(folder / "end.ckpt")
        end: dict[str, Any] = torch.load(folder / "end.ckpt", weights_only=True)
        return end

    whole = run(tmp_path / "whole")
    for step in (2, 4, 6):  # two steps an epoch; each is the end of one, with other stages frozen than in the next
        resumed = run(tmp_path / str(step), tmp_path / "whole" / f"step={step}.ckpt")
        for key, value in whole["state_dict"].items():
            assert torch.equal(value, resumed["state_dict"][key]), (step, key)
        for group, other in zip(
            whole["optimizer_states"][0]["param_groups"], resumed["optimizer_states"][0]["param_groups"], strict=True
        ):
            assert group == other


def test_weights__must_be_given_to_fine_tune(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights is null: give .* `resvision backbones show toy` lists"):
        quiet_trainer(tmp_path).fit(_task(None, "full"), _loader(), _loader())


def test_weights__are_in_the_checkpoint_afterwards(weights: str, tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path)
    trainer.fit(_task(weights, {"preset": "full", "backbone_lr": 0.5}), _loader(), _loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = ClassificationTask.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.hparams["finetune"] == {"preset": "full", "backbone_lr": 0.5}
    assert again.hparams["weights"] is None
    quiet_trainer(tmp_path, max_epochs=2).fit(
        again, _loader(), _loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    quiet_trainer(tmp_path).validate(again, _loader(), verbose=False)


def test_table__says_what_trains(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = _task(weights, {"preset": "gradual", "stage_lr_decay": 0.5, "batch_norm": "follow"})
    quiet_trainer(tmp_path, callbacks=[FineTuningTable()]).fit(task, _loader(), _loader())
    header, stem, stage1, head, total = capsys.readouterr().out.splitlines()[-5:]
    assert " ".join(header.split()) == "stage parameters trains learning rate batch norm"
    # 3x3 convolutions of 3 to 8 and 8 to 16 channels with their norms, and a layer of 16 to 3.
    assert stem.split() == [
        "stem",
        "232",
        "from",
        "epoch",
        "2",
        "5e-05",
        "statistics",
        "of",
        "pretraining",
        "until",
        "then",
    ]
    assert stage1.split() == [
        "stage1",
        "1,184",
        "from",
        "epoch",
        "1",
        "0.0001",
        "statistics",
        "of",
        "pretraining",
        "until",
        "then",
    ]
    assert head.split() == ["head", "51", "from", "start", "0.001", "none"]
    assert total.split() == ["all", "1,467"]


def test_table__is_not_there_without_fine_tuning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet_trainer(tmp_path, callbacks=[FineTuningTable()]).fit(_task(None, None), _loader(), _loader())
    assert "trains" not in capsys.readouterr().out


def test_segmentation__can_be_fine_tuned(weights: str) -> None:
    task = SegmentationTask(
        NAMES, backbone="toy", weights=weights, decoder_stride=2, decoder_widths=[8], finetune="gradual"
    )
    assert task._finetuning == PRESETS["gradual"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("all", "finetune must be one of head, gradual, full, got 'all'"),
        ({"preset": "none"}, "finetune must be one of head, gradual, full, got 'none'"),
        ({"backbone_rl": 0.1}, "finetune has no setting 'backbone_rl'; did you mean 'backbone_lr'?"),
        ({"frozen_epochs": -1}, "frozen_epochs and stage_epochs must be 0 or more, got -1 and 0"),
        ({"stage_lr_decay": 0.0}, "stage_lr_decay is a factor above 0, got 0.0"),
        ({"batch_norm": "frozen"}, "batch_norm must be one of train, follow, fixed, got 'frozen'"),
    ],
)
def test_finetuning__refuses_what_cannot_be(said: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        FineTuning.of(said)
