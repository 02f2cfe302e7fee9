"""A trained model that takes pictures, as files or as arrays, and returns results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from resvision.batch import LabelKind
from resvision.data.detection_geometry import fitted_size, padded_size
from resvision.data.fitting import fit_to, resize
from resvision.data.reading import from_pillow, read_image
from resvision.inference.checkpoints import ENTRY, find_checkpoint, read_checkpoint
from resvision.inference.results import (
    ClassificationResult,
    DetectionResult,
    EmbeddingResult,
    MultiTaskResult,
    Result,
    SegmentationResult,
)
from resvision.models import Detection, rescale
from resvision.tasks import DetectionTask, LabelTask, MultiTask, SegmentationTask, VerificationTask, VisionTask
from resvision.tasks.multi_task import MultiTaskAnswers

__all__ = ["Predictor", "load"]


@final
class Predictor:
    """Applies a trained model.

    It computes in bf16 on a GPU that can and in 32 bit elsewhere.

    Args:
        task: The trained model. While it predicts it is in evaluation mode; what is to predict from several threads at
            once has to be in it before, as what `load` returns is.
        device: Where to compute, `cpu`, `cuda`, `cuda:1`, `mps`, ...; None takes a GPU if there is one.

    Raises:
        ValueError: There is no such device here.
    """

    def __init__(self, task: VisionTask, device: str | torch.device | None = None) -> None:
        self.device = _device(device or torch.accelerator.current_accelerator(check_available=True) or "cpu")
        self.task = task.to(self.device)
        self.class_names = tuple(task.class_names)
        self.in_channels: Literal[1, 3] = task.description()["in_channels"]

    @property
    def object_names(self) -> tuple[str, ...] | None:
        """Names of the classes of objects that it finds in boxes; None if it finds none."""
        if isinstance(self.task, MultiTask):
            return self.task.class_names_by_kind.get("detection")
        return self.class_names if isinstance(self.task, DetectionTask) else None

    def read(self, path: str | Path) -> NDArray[Any]:
        """Read a picture the way it was read in training, (H, W, C)."""
        return read_image(Path(path), channels=self.in_channels)

    @torch.inference_mode()
    def predict(self, image: str | Path | NDArray[Any] | Image.Image) -> Result:
        """Predict one picture; to be classified, it is cut to the size of training as it was in evaluation.

        Args:
            image: A file; a picture of Pillow's; or an array (H, W, C), uint8, uint16 or float32 in 0..1, RGB.

        Raises:
            TypeError: If it is something else.
            ValueError: If the picture cannot be read, is empty, or is not of the type, range or number of channels that
                the model takes; or if the task is none of resvision's.
        """
        with _evaluating(self.task):
            return self._predict(self._pixels(image))

    def _pixels(self, image: str | Path | NDArray[Any] | Image.Image) -> NDArray[Any]:
        """Return the pixels of a picture, (H, W, C), as the model takes them."""
        if isinstance(image, Image.Image):
            try:
                pixels = from_pillow(image, self.in_channels)
            except OSError as error:  # Pillow decodes here, and not before.
                raise ValueError(f"the picture is damaged or cut short: {error}") from error
        elif isinstance(image, np.ndarray):
            pixels = image
        elif isinstance(image, str | Path):
            return self.read(image)
        else:
            raise TypeError(
                f"a picture is a file, a picture of Pillow's, or a NumPy array (H, W, C), got {type(image).__name__}"
            )
        if pixels.ndim != 3 or pixels.shape[2] != self.in_channels:
            raise ValueError(
                f"the model takes pictures of shape (H, W, {self.in_channels}), this one has {pixels.shape}"
            )
        if not pixels.size or pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise ValueError(
                f"the model takes pixels of uint8, uint16 or float32 (0 to 1), these are {pixels.dtype} {pixels.shape}"
            )
        if pixels.dtype == np.float32 and not -0.5 < pixels.min() <= pixels.max() < 1.5:
            raise ValueError(
                f"the model takes float32 pixels from 0 to 1, these go from {pixels.min():.3g} to {pixels.max():.3g}; "
                "divide by what white is, such as 255"
            )
        return pixels

    def _predict(self, pixels: NDArray[Any]) -> Result:
        if isinstance(self.task, LabelTask | VerificationTask) and self.task.image_size is not None:
            is_whole = isinstance(self.task, VerificationTask) and self.task.whole_pictures
            pixels = (resize if is_whole else fit_to)(pixels, self.task.image_size)
        shape = (pixels.shape[0], pixels.shape[1])
        size = shape
        if isinstance(self.task, DetectionTask | MultiTask) and self.task.input_size is not None:
            size = fitted_size(shape, self.task.input_size)
            pixels = resize(pixels, size)
        if isinstance(self.task, DetectionTask):
            below, beside = np.subtract(padded_size(size), size)
            pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)))
        batch = torch.from_numpy(np.ascontiguousarray(pixels)[None]).permute(0, 3, 1, 2).to(self.device)
        bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if isinstance(self.task, LabelTask):
                return ClassificationResult(self.task.probabilities(batch)[0].cpu().numpy(), self.class_names)
            if isinstance(self.task, VerificationTask):
                return EmbeddingResult(self.task(batch)[0].cpu().numpy(), self.task.threshold.item())
            if isinstance(self.task, DetectionTask):
                (found,) = self.task(batch, torch.tensor([size]))
                return _boxes(rescale(found, size, shape), self.class_names)
            if isinstance(self.task, MultiTask):
                return _results(self.task(batch), size, shape, self.task.class_names_by_kind)
            if isinstance(self.task, SegmentationTask):
                return _mask(self.task(batch), self.class_names)
        raise ValueError(
            f"what a {type(self.task).__name__} says of a picture has no kind of result here; call the task itself: "
            "`load(...).task`"
        )


@contextmanager
def _evaluating(task: VisionTask) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its parts back into the mode that it was in."""
    modes = [(part, part.training) for part in task.modules()] if task.training else []
    if modes:
        task.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _mask(logits: Tensor, class_names: tuple[str, ...]) -> SegmentationResult:
    return SegmentationResult(logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy(), class_names)


def _boxes(found: Detection, class_names: tuple[str, ...]) -> DetectionResult:
    boxes, scores, labels = (found[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
    return DetectionResult(boxes, scores, labels, class_names)


def _results(
    said: MultiTaskAnswers,
    size: tuple[int, int],
    shape: tuple[int, int],
    class_names: Mapping[LabelKind, tuple[str, ...]],
) -> MultiTaskResult:
    """Return what is said of a picture that was resized to `size` in terms of the picture, of `shape`."""
    label, mask, boxes = None, None, None
    if "classification" in said:
        probabilities = said["classification"][0].float().softmax(dim=0).cpu().numpy()
        label = ClassificationResult(probabilities, class_names["classification"])
    if "segmentation" in said:
        logits = said["segmentation"]
        logits = logits if size == shape else F.interpolate(logits, size=shape, mode="bilinear")
        mask = _mask(logits, class_names["segmentation"])
    if "detection" in said:
        boxes = _boxes(rescale(said["detection"][0], size, shape), class_names["detection"])
    return MultiTaskResult(label, mask, boxes)


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (AssertionError, RuntimeError) as error:  # the first where torch was built without it
        raise ValueError(f"there is no device '{name}' here; give cpu, or cuda or mps where there is one") from error


def load(ckpt_path: str | Path, device: str | torch.device | None = None) -> Predictor:
    """Load a trained model; no config, data or pretrained weights need be at hand, and no code is run.

    Args:
        ckpt_path: A run folder, of which the best checkpoint is taken, or a checkpoint file.
        device: Where to compute; None takes a GPU if there is one.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the file is broken, holds code, or was not written by resvision; if there is no such device.
    """
    path = find_checkpoint(ckpt_path)
    checkpoint = read_checkpoint(path)
    kinds = _kinds(VisionTask)  # type: ignore[type-abstract]  # only its children are asked for
    name = checkpoint[ENTRY]["task"]
    if name not in kinds:
        raise ValueError(
            f"{path} is of the task {name}, which is not known here; "
            "in Python, import the module that defines it before load"
        )
    # Names that begin with an underscore are Lightning's notes on how it would build the class itself.
    settings = {key: value for key, value in checkpoint["hyper_parameters"].items() if key[0] != "_"}
    try:
        task = kinds[name](**settings)
        task.load_state_dict(checkpoint["state_dict"])
        task.on_load_checkpoint(checkpoint)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} is of a {name} that cannot be built: {reason}") from error
    return Predictor(task.eval(), device)


def _kinds(parent: type[VisionTask]) -> dict[str, type[VisionTask]]:
    """Return every task that is known, by its name."""
    # One's own task may have the name of one of these, whose checkpoints are not its own.
    children = sorted(parent.__subclasses__(), key=lambda child: child.__module__.startswith("resvision."))
    found = {name: kind for child in children for name, kind in _kinds(child).items()}
    return found | {child.__name__: child for child in children}
