"""Whether a classifier is right as often as it is confident."""

from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional as F

from resvision.losses.precision import at_least_fp32
from resvision.tasks.precise import PreciseMetric

__all__ = ["CalibrationError", "TemperatureSearch"]

_BINS: Final = 15  # Guo et al. 2017, section 5
_TEMPERATURES: Final = torch.logspace(-3, 3, 41, base=2)  # from 1/8 to 8, 11 % apart
#: Logits that are held at once, over all temperatures.
_MOST_LOGITS: Final = 2**24


@final
class CalibrationError(PreciseMetric):
    """Expected calibration error, from 0 to 1 (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Pictures are put into 15 bins of equal width by the probability of the class that they are said to be of; the
    error is the distance between the mean of it and the accuracy, averaged over the bins by their pictures.

    The bins are filled as pictures come, without waiting for the device. (That of torchmetrics keeps every picture's
    probability, and asks the device whether it was given logits.)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Per bin: pictures, the sum of their confidences, and how many of them are right.
        self.add_state("bins", default=torch.zeros(_BINS, 3), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            logits: (N, K), floating.
            target: (N,), classes 0 to K - 1.
        """
        confidence, prediction = at_least_fp32(logits).softmax(dim=1).max(dim=1)
        place = (confidence * _BINS).ceil().long().clamp(1, _BINS) - 1
        right = (prediction == target).to(confidence.dtype)
        entries = torch.stack([torch.ones_like(confidence), confidence, right], dim=1)
        self.bins.index_add_(0, place, entries.to(self.bins.dtype))

    def compute(self) -> Tensor:
        """Return the error of everything that was counted since the last reset; `nan` of nothing."""
        pictures, confidence, right = self.bins.unbind(dim=1)
        return (confidence - right).abs().sum() / pictures.sum()


@final
class TemperatureSearch(PreciseMetric):
    """The temperature that makes a classifier's probabilities likeliest (Guo et al. 2017, section 4.2).

    The loss is summed for 41 temperatures from 1/8 to 8 as pictures come, so that no logits are kept, and the best one
    is refined by the parabola through it and its neighbours. Dividing by a temperature never changes which class is
    the likeliest.
    """

    is_differentiable = False
    full_state_update = False

    losses: Tensor
    temperatures: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("losses", default=torch.zeros(len(_TEMPERATURES)), dist_reduce_fx="sum")
        # Where the logits are, as a copy from the host would be waited for.
        self.register_buffer("temperatures", _TEMPERATURES.clone(), persistent=False)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            logits: (N, K), floating.
            target: (N,), classes 0 to K - 1.
        """
        # All temperatures at once, of as many pictures as leaves their logits a few megabytes.
        count = max(_MOST_LOGITS // (len(self.temperatures) * logits.shape[1]), 1)
        for some, truth in zip(torch.split(at_least_fp32(logits), count), torch.split(target, count), strict=True):
            scaled = some / self.temperatures[:, None, None]
            losses = F.cross_entropy(scaled.flatten(0, 1), truth.repeat(len(scaled)), reduction="none")
            self.losses += losses.view(len(scaled), -1).sum(dim=1)

    def compute(self) -> Tensor:
        """Return the temperature for everything that was counted since the last reset, fp32."""
        losses, logarithms = self.losses.cpu().double(), _TEMPERATURES.double().log()
        best = int(losses.argmin())
        if not 0 < best < len(losses) - 1:
            return _TEMPERATURES[best]
        before, least, after = losses[best - 1 : best + 2]
        step = logarithms[1] - logarithms[0]
        shift = 0.5 * (before - after) / (before - 2 * least + after)
        refined: Tensor = (logarithms[best] + shift * step).exp()
        return refined.float()
