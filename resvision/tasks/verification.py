"""Whether two pictures show the same: people who were not there in training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, NamedTuple, final

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from resvision.batch import ClassificationBatch
from resvision.models import Embedder
from resvision.tasks.answers import Answers
from resvision.tasks.base import VisionTask
from resvision.tasks.finetuning import FineTune
from resvision.tasks.networks import build_encoder, in_channels_last
from resvision.tasks.schedules import WarmupCosine

__all__ = ["VerificationScores", "VerificationTask"]

#: False accept rates at which the true accept rate is reported.
_FALSE_ACCEPT_RATES: Final = (0.01, 0.001)
#: What batch norm adds to a variance.
_EPSILON: Final = 1e-5
#: Pictures that are compared with all others at once.
_ROWS: Final = 1024


class VerificationScores(NamedTuple):
    """How well a similarity tells pairs of the same from pairs of different ones.

    Attributes:
        roc_auc: Part of the comparisons of a same with a different pair in which the same one is more similar; ties
            count half.
        threshold: Similarity from which to say "the same" for the best accuracy.
        accuracy: Mean of the parts of the same and of the different pairs that are told right by a threshold: the
            accuracy on as many pairs of each kind.
        true_accept_rates: Part of the same pairs that is accepted where at most 1 %, and where at most 0.1 %, of the
            different ones are.
    """

    roc_auc: float
    threshold: float
    accuracy: float
    true_accept_rates: tuple[float, ...]

    @staticmethod
    def of(same: Tensor, different: Tensor, threshold: float | None = None) -> "VerificationScores":
        """Score similarities of pairs, any number of each kind; at a threshold, or at the best one.

        Raises:
            ValueError: There is no pair of one of the kinds.
        """
        if not len(same) or not len(different):
            raise ValueError(
                f"verification needs pairs of the same and of different ones, got {len(same)} and {len(different)}; "
                "the split must have two classes or more, one of them with two pictures or more"
            )
        same, different = _sorted(same), _sorted(different)
        below = torch.searchsorted(different, same) + torch.searchsorted(different, same, right=True)
        roc_auc = below.double().mean().item() / (2 * len(different))
        if threshold is None:
            # Between two neighbouring similarities nothing changes, so those of the same pairs are all candidates.
            accepted = 1 - torch.arange(len(same), dtype=torch.float64) / len(same)
            refused = torch.searchsorted(different, same).double() / len(different)
            threshold = same[(accepted + refused).argmax()].item()
        accuracy = 0.5 * ((same >= threshold).double().mean() + (different < threshold).double().mean()).item()
        rates = []
        for rate in _FALSE_ACCEPT_RATES:
            # More similar than all different pairs but this many.
            limit = different[len(different) - 1 - int(rate * len(different))]
            rates.append((same > limit).double().mean().item())
        return VerificationScores(roc_auc, threshold, accuracy, tuple(rates))


@final
class VerificationTask(VisionTask):
    """Train embeddings by ArcFace, and score them by verification on all pairs of a split.

    Training tells the classes of the training split apart (Deng et al. 2019, arXiv:1801.07698). The other splits have
    other classes, such as people that training has not seen: any two pictures of them are compared.

    Logs, under `val/` and `test/`: `roc_auc`, `accuracy`, `tar_at_far_0.01` and `tar_at_far_0.001`. The threshold of
    the accuracy is the best one of the last validation in training, which the checkpoint keeps. Where the trainer looks
    at a part of the split only, which may show one person alone, scores may be `nan`.

    Args:
        class_names: Names of the training classes, in the order of their numbers; at least 2.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>` or
            a URL that ends in `#sha256=<digest>`. Read once: a checkpoint of the task holds the trained ones and does
            not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        features: Names of the backbone's features that an embedding is made of; None is the coarsest alone.
        whiten: Whether the embedding begins as what makes these vary alike in all directions over the training pictures
            and their mirror images, which are looked at once before the first step. For pretrained weights, and few
            classes.
        embedding_size: Length of an embedding; None is that of the features.
        margin: Angle by which the embeddings of a class must be closer to it than the scores would ask for, in radians.
        scale: What the cosines are multiplied by before the softmax; fewer classes want less.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        mirror: Whether, once trained, an embedding is the mean of a picture's and of its mirror image's.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Attributes:
        whole_pictures: Whether pictures were resized as a whole in training; otherwise the middle was cut out.

    Raises:
        ValueError: Fewer than 2 classes, a repeated class name, an unknown backbone, option, feature or set of weights,
            or a number out of range.
    """

    labels: ClassVar[str | None] = "label"
    monitor: ClassVar[str] = "val/roc_auc"
    mode: ClassVar[Literal["min", "max"]] = "max"

    model: Embedder
    logs_validation_loss = False
    threshold: Tensor
    whole_pictures: bool

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        finetune: FineTune = None,
        features: list[str] | None = None,
        whiten: bool = False,
        embedding_size: int | None = None,
        margin: float = 0.5,
        scale: float = 64.0,
        dropout: float = 0.0,
        mirror: bool = False,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        if len(class_names) < 2:
            raise ValueError(f"training tells 2 or more classes apart, got {len(class_names)}")
        if whiten and embedding_size is not None:
            raise ValueError("whiten keeps the number of the features; leave out embedding_size, or whiten")
        encoder = build_encoder(backbone, weights=weights, in_channels=in_channels, options=backbone_options)
        embedder = Embedder(
            encoder,
            len(class_names),
            features=features,
            embedding_size=embedding_size,
            margin=margin,
            scale=scale,
            dropout=dropout,
            mirror=mirror,
        )
        self.model = in_channels_last(embedder)
        self.whole_pictures = False
        self._whiten = whiten
        self.register_buffer("threshold", torch.zeros(()))
        self.answers = Answers(torch.zeros(0, self.model.head.weight.shape[1]), torch.zeros(0, dtype=torch.long))
        self._last_scores: VerificationScores | None = None

    def setup(self, stage: str) -> None:
        """Take note of how the data fits pictures into the size of training; see `VisionTask.setup`."""
        super().setup(stage)
        if stage == "fit":
            self.whole_pictures = getattr(getattr(self.trainer, "datamodule", None), "whole_pictures", False)

    def description(self) -> dict[str, Any]:
        """Return plain data that tells a reader of the checkpoint how to use the model."""
        return super().description() | {"whole_pictures": self.whole_pictures}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take note of the checkpoint; see `VisionTask.on_load_checkpoint`."""
        super().on_load_checkpoint(checkpoint)
        self.whole_pictures = checkpoint.get("resvision", {}).get("whole_pictures", False)

    def on_train_start(self) -> None:
        """Whiten the embedding, where that is asked for and this run begins; see `VisionTask.on_train_start`."""
        if self._whiten and not self._is_restored:
            self.model.backbone.eval()
            self.model.whiten(self._correlation())
            self.model.backbone.train()
        super().on_train_start()

    @torch.no_grad()
    def _correlation(self) -> Tensor:
        """Return the correlation of the pooled features over the training pictures and their mirror images."""
        strategy, moments = self.trainer.strategy, torch.zeros((), dtype=torch.float64)
        for batch in self.trainer.train_dataloader or ():
            images = strategy.batch_to_device(batch)["image"]
            for turned in (images, images.flip(3)):
                pooled = self.model.pooled(turned).cpu().double()
                # With a column of ones the products hold the sums and the number too.
                rows = torch.cat([pooled, torch.ones(len(pooled), 1, dtype=torch.float64)], dim=1)
                moments = moments + rows.T @ rows
        if self.trainer.world_size > 1:
            moments = strategy.reduce(moments.to(self.device), reduce_op="sum").cpu()
        mean = moments[-1, :-1] / moments[-1, -1]
        covariance = moments[:-1, :-1] / moments[-1, -1] - mean.outer(mean)
        deviation = (covariance.diagonal() + _EPSILON).sqrt()
        return covariance / deviation.outer(deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to unit vectors (N, embedding_size)."""
        embeddings: Tensor = self.model(images)
        return embeddings

    def training_loss(self, batch: ClassificationBatch) -> Tensor:
        """Return the cross-entropy with the margin."""
        return F.cross_entropy(self.model.logits(batch["image"], batch["label"]), batch["label"])

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        self.answers.reset()

    def evaluate(self, batch: ClassificationBatch) -> None:
        """Keep the embeddings of a batch."""
        self.answers.update(self(batch["image"]), batch["label"])

    def scores(self) -> Mapping[str, float]:
        """Return the scores of all pairs of what was kept."""
        # The sanity check sees two batches, which may be of one person.
        if self._trainer is not None and self.trainer.sanity_checking:
            return {}
        same, different = _similarities(*self.answers.compute())
        if self._saw_a_part and not (len(same) and len(different)):
            rates = (math.nan,) * len(_FALSE_ACCEPT_RATES)
            return self._named(VerificationScores(math.nan, self.threshold.item(), math.nan, rates))
        fitting = self._trainer is not None and self.trainer.state.fn == "fit"
        threshold = None if fitting else self.threshold.item()
        scores = VerificationScores.of(same, different, threshold)
        if fitting:
            self.threshold.fill_(scores.threshold)
        return self._named(scores)

    @property
    def _saw_a_part(self) -> bool:
        if self._trainer is None:
            return False
        limit = self.trainer.limit_test_batches if self.trainer.testing else self.trainer.limit_val_batches
        return isinstance(limit, int) or limit < 1  # 1 is a batch, and 1.0 all of them

    def _named(self, scores: VerificationScores) -> Mapping[str, float]:
        self._last_scores = scores
        rates = zip(_FALSE_ACCEPT_RATES, scores.true_accept_rates, strict=True)
        return {
            "roc_auc": scores.roc_auc,
            "accuracy": scores.accuracy,
            **{f"tar_at_far_{rate:g}": value for rate, value in rates},
        }

    def report(self) -> str:
        """Return a table of the last evaluation."""
        scores = self._last_scores
        if scores is None:
            return "nothing was evaluated yet"
        rows = [("ROC AUC", scores.roc_auc), (f"accuracy at a cosine of {scores.threshold:.3f}", scores.accuracy)]
        rates = zip(_FALSE_ACCEPT_RATES, scores.true_accept_rates, strict=True)
        rows += [(f"true accept rate at a false accept rate of {rate:g}", value) for rate, value in rates]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value:6.3f}" for name, value in rows)


def _similarities(embeddings: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines of all pairs of the same and of all pairs of different labels, on the CPU."""
    same, different = [torch.zeros(0)], [torch.zeros(0)]
    for start in range(0, len(label), _ROWS):  # block by block, as there may be hundreds of millions
        block = embeddings[start : start + _ROWS] @ embeddings[start:].T
        alike = label[start : start + _ROWS, None] == label[start:]
        later = torch.ones_like(alike).triu(1)
        same.append(block[later & alike].cpu())
        different.append(block[later & ~alike].cpu())
    return torch.cat(same), torch.cat(different)


def _sorted(values: Tensor) -> Tensor:
    """Return values in their order, on the CPU; by NumPy, as torch would make an index for each of them too."""
    precise = values.detach().cpu().to(torch.promote_types(values.dtype, torch.float32))
    return torch.from_numpy(np.sort(precise.numpy()))
