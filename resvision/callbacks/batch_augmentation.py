"""Augmentation of whole batches, on the device."""

from typing import Any, Final, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from resvision.data.seeding import fold
from resvision.tasks import VisionTask
from resvision.tasks.labelling import LabelTask

__all__ = ["BatchAugmentation"]

#: What is erased gets about the mean of ImageNet's pictures, in 8 bits.
_GREY: Final = 114


@final
class BatchAugmentation(Callback):
    """Mixes and erases the pictures of training batches, by torchvision's own transforms.

    It needs batches with `image` and `label`, of a task whose loss takes shares of classes. What is drawn for a batch
    is a function of the seed of the data, the epoch and the number of the batch, so a run that was stopped goes on with
    the same.

    Args:
        mixup: Parameter of the Beta distribution of the shares in which two pictures are added (Zhang et al. 2018,
            arXiv:1710.09412); 0 adds none.
        cutmix: The same of the area of one picture that is put into another (Yun et al. 2019, arXiv:1905.04899); 0 cuts
            none. With both, each batch has one of them, by chance.
        random_erasing: Share of the pictures of which a rectangle is made grey (Zhong et al. 2017, arXiv:1708.04896).

    Raises:
        ValueError: A number is out of range, or all are 0; while training, if batches have no labels.
    """

    def __init__(self, mixup: float = 0.0, cutmix: float = 0.0, random_erasing: float = 0.0) -> None:
        if mixup < 0 or cutmix < 0 or not 0 <= random_erasing <= 1:
            raise ValueError(
                "mixup and cutmix must be 0 or more and random_erasing from 0 to 1, "
                f"got {mixup}, {cutmix} and {random_erasing}"
            )
        if not (mixup or cutmix or random_erasing):
            raise ValueError("mixup, cutmix and random_erasing are all 0: give one of them, or take the callback out")
        self.mixup = mixup
        self.cutmix = cutmix
        self.random_erasing = random_erasing

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Change the pictures and the labels of the batch."""
        if not isinstance(pl_module, VisionTask) or "label" not in batch:
            raise ValueError("BatchAugmentation changes pictures with labels; take it out of trainer.callbacks here")
        if (self.mixup or self.cutmix) and not isinstance(pl_module, LabelTask):
            raise ValueError(
                "mixup and cutmix mix labels, and the loss of this task takes none that are mixed; "
                f"set both to 0 for a {type(pl_module).__name__}"
            )
        seed = getattr(getattr(trainer, "datamodule", None), "seed", 0)
        # torchvision draws from torch's own generator and takes no other; its state is put back afterwards.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(fold(seed, "batch", trainer.current_epoch, batch_idx, trainer.global_rank))
        if self.random_erasing:
            batch["image"] = self._erase(batch["image"])
        if self.mixup or self.cutmix:
            batch["image"], batch["label"] = self._mix(batch["image"], batch["label"], len(pl_module.class_names))
        torch.set_rng_state(state)

    def _erase(self, images: Tensor) -> Tensor:
        from torchvision.transforms import v2  # a second of the start that other runs need not spend

        grey = _GREY * {torch.uint8: 1, torch.uint16: 257}.get(images.dtype, 1 / 255)
        erase = v2.RandomErasing()
        images = images.clone()
        for chosen in torch.nonzero(torch.rand(len(images)) < self.random_erasing).flatten().tolist():
            drawn = erase.make_params([images[chosen]])
            if drawn["v"] is not None:  # else no rectangle was found that fits
                top, left = drawn["i"], drawn["j"]
                # torchvision would copy the colour to the device each time, and wait for it.
                images[chosen, :, top : top + drawn["h"], left : left + drawn["w"]] = grey
        return images

    def _mix(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        from torchvision.transforms import v2

        adds = bool(self.mixup) and (not self.cutmix or torch.rand(()).item() < 0.5)
        if adds and not images.is_floating_point():
            images = images.float() / (255 if images.dtype == torch.uint8 else 65535)
        kind, alpha = (v2.MixUp, self.mixup) if adds else (v2.CutMix, self.cutmix)
        images, labels = kind(alpha=alpha, num_classes=num_classes)(images, labels)
        return images.contiguous(memory_format=torch.channels_last), labels
