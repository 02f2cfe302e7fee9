import math

import pytest
import torch

from resvision.batch import DetectionLabels
from resvision.models import Detection
from resvision.tasks.detection_evaluation import DetectionEvaluation


def test_scores__are_of_pixels_of_the_original_pictures() -> None:
    # One picture, half as large as the original in height and a third in width; one object and a crowd.
    labels = DetectionLabels(
        boxes=[torch.tensor([[4.0, 4.0, 20.0, 20.0], [30.0, 4.0, 60.0, 28.0]])],
        labels=[torch.tensor([1, 1])],
        crowd=[torch.tensor([False, True])],
        area=[torch.tensor([16.0 * 3 * 16 * 2, 30.0 * 3 * 24 * 2])],
        size=torch.tensor([[30, 60]]),
        original_size=torch.tensor([[60, 180]]),
        index=torch.tensor([0]),
    )
    # In the resized picture the overlap is 14 / 16; the original is stretched, and clipped at its border.
    boxes = torch.tensor([[4.0, 4.0, 20.0, 18.0], [35.0, 5.0, 64.0, 32.0]])
    given = Detection(boxes=boxes, scores=torch.tensor([0.9, 0.8]), labels=torch.tensor([1, 1]))
    evaluation = DetectionEvaluation(["circle", "square", "triangle", "star"])
    evaluation.update([given], labels, torch.tensor(0.5))
    scores = evaluation.scores()
    assert scores["loss"] == 0.5
    assert scores["map_50"] == pytest.approx(1.0)
    assert scores["map"] == pytest.approx(0.8)  # found at overlaps up to 0.85, 8 of 10
    assert scores["map_medium"] == pytest.approx(0.8)  # 1536 pixels of the original; 256 of the resized are small
    assert math.isnan(scores["map_small"])
    assert evaluation.average_precision.found[-1][1, 2:6].tolist() == [105, 10, 180, 60]  # xyxy
    assert scores["ap/square"] == pytest.approx(0.8)
    assert math.isnan(scores["ap/circle"])
    assert evaluation.report().splitlines()[2].split() == ["square", "0.800", "1.000", "1", "1"]
