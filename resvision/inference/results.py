"""What a model says of one picture, in the terms of the picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resvision.drawing import class_colours, draw_boxes, overlay

__all__ = [
    "ClassificationResult",
    "DetectionResult",
    "EmbeddingResult",
    "MultiTaskResult",
    "Result",
    "SegmentationResult",
]


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """One class per pixel.

    Attributes:
        mask: (H, W), uint8, class numbers, of the picture's own size.
        class_names: Names in the order of the class numbers.
    """

    mask: NDArray[np.uint8]
    class_names: tuple[str, ...]

    def shares(self) -> dict[str, float]:
        """Return the part of the picture that each class covers, 0 to 1."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.class_names))
        return {name: float(count) / self.mask.size for name, count in zip(self.class_names, counts, strict=True)}

    def index_image(self) -> Image.Image:
        """Return the mask as a palette picture: its values are the class numbers, and viewers show colours."""
        picture = Image.fromarray(self.mask)
        picture.putpalette(class_colours(len(self.class_names)).tobytes())
        return picture

    def overlay(self, image: NDArray[Any]) -> Image.Image:
        """Return the picture, (H, W, C), with the colours of the classes laid over it."""
        return Image.fromarray(overlay(image, self.mask, len(self.class_names)))


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """One class for the picture.

    Attributes:
        probabilities: (num_classes,), float32, of each class; they sum to 1 where the classes exclude each other.
        class_names: Names in the order of the class numbers.
    """

    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]

    def top(self, count: int = 1) -> list[tuple[str, float]]:
        """Return the likeliest classes with their probabilities, the likeliest first; at most as many as there are."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[number], float(self.probabilities[number])) for number in order]


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """Objects in boxes, the surest first.

    Attributes:
        boxes: (K, 4), float32, xyxy in pixels of the picture.
        scores: (K,), float32, 0 to 1.
        labels: (K,), int64, class numbers.
        class_names: Names in the order of the class numbers.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def surer_than(self, score: float) -> "DetectionResult":
        """Return the objects with at least a score."""
        kept = self.scores >= score
        return DetectionResult(self.boxes[kept], self.scores[kept], self.labels[kept], self.class_names)

    def names(self) -> list[str]:
        """Return the class of each object."""
        return [self.class_names[label] for label in self.labels]

    def overlay(self, image: NDArray[Any]) -> Image.Image:
        """Return the picture, (H, W, C), with boxes, names and scores."""
        texts = [f"{name} {score:.2f}" for name, score in zip(self.names(), self.scores, strict=True)]
        return Image.fromarray(draw_boxes(image, self.boxes, self.labels, len(self.class_names), texts))


@dataclass(frozen=True, eq=False)
class EmbeddingResult:
    """A point on a sphere for the picture: pictures of the same lie close together.

    Attributes:
        embedding: (embedding_size,), float32, of length 1.
        threshold: Cosine from which two pictures were taken for the same in validation.
    """

    embedding: NDArray[np.float32]
    threshold: float

    def similarity(self, other: "EmbeddingResult") -> float:
        """Return the cosine of the angle to another picture's: 1 for the same, about 0 for strangers."""
        return float(self.embedding @ other.embedding)

    def same(self, other: "EmbeddingResult") -> bool:
        """Return whether both pictures show the same, by the threshold of the validation."""
        return self.similarity(other) >= self.threshold


@dataclass(frozen=True, eq=False)
class MultiTaskResult:
    """What several heads say; None of a kind that the model does not know."""

    classification: ClassificationResult | None
    segmentation: SegmentationResult | None
    detection: DetectionResult | None


Result = SegmentationResult | ClassificationResult | DetectionResult | EmbeddingResult | MultiTaskResult
