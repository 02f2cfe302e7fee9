"""The detector against torchvision's FCOS under copied weights, and on pictures that break others."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS

from resvision.backbones import create_backbone
from resvision.models import Detector, Target
from resvision.models.assignment import Places
from resvision.models.boxes import BoxRules, Said
from tests.models.toy import ToyBackbone

STRIDES = (4, 8, 16)
NO_BOXES = torch.zeros(0, 4)
NO_LABELS = torch.zeros(0, dtype=torch.int64)


class _Pyramid(nn.Module):
    """Our backbone and pyramid, for torchvision's head to stand on."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.out_channels = model.pyramid.out_channels
        self.body, self.pyramid = model.backbone, model.pyramid

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {str(number): level for number, level in enumerate(self.pyramid(self.body(images)))}


def _fcos(model: Detector, num_classes: int) -> FCOS:
    """Build torchvision's FCOS with the weights of ours."""
    anchors = AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    statistics = model.backbone.input_statistics
    theirs = FCOS(
        _Pyramid(model),
        num_classes,
        min_size=64,
        max_size=128,
        image_mean=list(statistics.mean),
        image_std=list(statistics.std),
        anchor_generator=anchors,
        score_thresh=model.rules.score_threshold,
        nms_thresh=model.rules.nms_threshold,
        topk_candidates=3000,
    )
    head, ours = theirs.head, model.head
    assert ours.centerness is not None
    for copy, source in (
        (head.classification_head.conv, ours.class_branch),
        (head.classification_head.cls_logits, ours.classes),
        (head.regression_head.conv, ours.box_branch),
        (head.regression_head.bbox_reg, ours.distances),
        (head.regression_head.bbox_ctrness, ours.centerness),
    ):
        copy.load_state_dict(source.state_dict())
    return theirs


def _detector(**settings: Any) -> Detector:
    defaults: dict[str, Any] = {"strides": STRIDES, "channels": 32, "depth": 4}
    return Detector(ToyBackbone(), 3, **(defaults | settings))


def _lively(model: Detector) -> Detector:
    """Let the head say something different in every place."""
    for layer in (model.head.classes, model.head.distances, model.head.centerness):
        if layer is not None:
            nn.init.normal_(layer.weight, std=0.02 if layer is model.head.distances else 0.1)
    nn.init.constant_(model.head.classes.bias, -1.0)  # type: ignore[arg-type]
    return model


def _targets() -> list[Target]:
    boxes = torch.tensor([[3.0, 5.0, 20.0, 22.0], [10.0, 8.0, 70.0, 60.0], [80.0, 20.0, 100.0, 50.0]])
    return [
        Target(boxes=boxes, labels=torch.tensor([0, 2, 1])),
        Target(boxes=NO_BOXES, labels=NO_LABELS),
        Target(boxes=boxes[1:] / 2, labels=torch.tensor([1, 1])),
    ]


def test_losses__with_fcos_rules_equal_torchvisions() -> None:
    model = _lively(_detector(assignment="fcos", box_weight=1.0, channels=256))
    theirs = _fcos(model, 3)
    images = torch.rand(3, 3, 64, 128)
    found = model(images, _targets())
    expected = theirs(list(images), [dict(target) for target in _targets()])
    assert expected["bbox_regression"].item() > 0.1
    for ours, name in (
        ("classification", "classification"),
        ("box", "bbox_regression"),
        ("centerness", "bbox_ctrness"),
    ):
        torch.testing.assert_close(found[ours], expected[name], rtol=1e-5, atol=1e-5)
    sum(found.values()).backward()
    slope = model.head.class_branch[0].weight.grad
    sum(expected.values()).backward()
    their_slope = theirs.head.classification_head.conv[0].weight.grad
    # Each value is a sum over all places of terms as large as the largest slope: 16 roundings of these, in fp32.
    atol = 16 * torch.finfo(torch.float32).eps * their_slope.abs().max().item()
    torch.testing.assert_close(slope, their_slope, rtol=1e-4, atol=atol)


def test_detections__equal_torchvisions() -> None:
    model = _lively(_detector(score_threshold=0.3, channels=256)).eval()
    theirs = _fcos(model, 3).eval()
    images = torch.rand(3, 3, 64, 128)
    with torch.no_grad():
        found, expected = model(images), theirs(list(images))
    for ours, reference in zip(found, expected, strict=True):
        assert 5 < len(reference["boxes"]) <= 100
        for name in ("boxes", "scores", "labels"):
            torch.testing.assert_close(ours[name], reference[name], rtol=1e-4, atol=1e-4)


def test_detections__are_at_most_as_many_as_wanted() -> None:
    images = torch.rand(2, 3, 64, 128)
    model = _lively(_detector(score_threshold=0.01, nms_threshold=1.0)).eval()
    few, many = deepcopy(model), deepcopy(model)
    few.rules, many.rules = replace(model.rules, max_detections=7), replace(model.rules, max_detections=450)
    for some, most, default in zip(few(images), many(images), model(images), strict=True):
        assert (len(some["scores"]), len(default["scores"]), len(most["scores"])) == (7, 100, 450)
        assert torch.equal(some["boxes"], most["boxes"][:7])
        assert torch.equal(default["boxes"], most["boxes"][:100])


def test_detections__of_a_crowd_are_compared_with_enough_others() -> None:
    # Before the doubles of 400 objects are sorted out, 10 boxes for each are in the way of those with lower scores.
    centers = torch.stack([torch.arange(400.0) * 30 + 15, torch.full((400,), 15.0)], 1).repeat_interleave(12, 0)
    strides = torch.full((len(centers),), 8.0)
    logits = torch.linspace(5, 1, len(centers))[None, :, None]
    sides = torch.ones(1, len(centers), 4)
    said = Said(logits, sides, None, Places(centers, strides, (len(centers),)), (30, 12_000))
    (found,) = BoxRules(max_detections=400).detections(said)
    assert len(found["boxes"]) == 4000 // 12 + 1
    (found,) = BoxRules(max_detections=500).detections(said)
    assert len(found["boxes"]) == 400


@pytest.mark.parametrize("assignment", ["atss", "fcos"])
@pytest.mark.parametrize("quality", ["centerness", "iou"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses__stay_finite_whatever_is_in_the_pictures(assignment: Any, quality: Any, precision: torch.dtype) -> None:
    model = _detector(assignment=assignment, quality=quality)
    whole = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    label = torch.zeros(1, dtype=torch.int64)
    cases: list[Sequence[Target]] = [
        [Target(boxes=NO_BOXES, labels=NO_LABELS)],
        [Target(boxes=whole, labels=label, crowd=torch.tensor([True]))],
        [Target(boxes=torch.tensor([[7.5, 7.5, 8.5, 8.5]]), labels=label)],
        [Target(boxes=torch.tensor([[0.0, 0.0, 1e-3, 64.0]]), labels=label)],
        [Target(boxes=whole.repeat(500, 1), labels=label.repeat(500))],
    ]
    for targets in cases:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            losses = model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), targets)
        assert {loss.dtype for loss in losses.values()} == {torch.float32}
        total = sum(losses.values())
        total.backward()
        assert math.isfinite(total.item())
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


def test_losses__count_nothing_inside_a_crowd() -> None:
    model = _lively(_detector()).eval()
    images = torch.rand(1, 3, 64, 64)
    crowd = Target(
        boxes=torch.tensor([[-1.0, -1.0, 65.0, 65.0]]), labels=torch.zeros(1).long(), crowd=torch.tensor([True])
    )
    assert model(images, [crowd])["classification"].item() == 0
    empty = Target(boxes=NO_BOXES, labels=NO_LABELS)
    assert model(images, [empty])["classification"].item() > 0
    inside = torch.tensor([[10.0, 10.0, 40.0, 40.0]])
    both = Target(
        boxes=torch.cat([inside, crowd["boxes"]]), labels=torch.zeros(2).long(), crowd=torch.tensor([False, True])
    )
    said = model.say(images)
    losses = model.losses(said, [both])
    alone = model.losses(said, [Target(boxes=inside, labels=torch.zeros(1).long())])
    assert losses["box"].item() == alone["box"].item()
    assert losses["classification"].item() < alone["classification"].item()


def test_quality__of_iou_is_what_the_score_should_be() -> None:
    model = _detector(quality="iou")
    said = model.say(torch.rand(1, 3, 64, 64))
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    # Perfect boxes everywhere: the score wants to be 1 in the places of the object, 0 elsewhere.
    centers, strides = said.places.centers, said.places.strides[:, None]
    perfect = torch.cat([centers - box[:, :2], box[:, 2:] - centers], dim=1) / strides
    said = said._replace(distances=perfect[None], logits=torch.full_like(said.logits, -20.0))
    losses = model.losses(said, [Target(boxes=box, labels=torch.tensor([1]))])
    assert set(losses) == {"classification", "box"}
    assert losses["box"].item() == pytest.approx(0, abs=1e-5)
    assert losses["classification"].item() == pytest.approx(20, rel=1e-3)


def test_detections__lie_inside_the_content() -> None:
    model = _lively(_detector(score_threshold=0.1)).eval()
    found = model(torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8), sizes=torch.tensor([[64, 64], [30, 20]]))
    assert len(found[1]["boxes"]) > 0
    assert found[1]["boxes"][:, 0::2].max() <= 20
    assert found[1]["boxes"][:, 1::2].max() <= 30
    for picture in found:
        boxes, scores = picture["boxes"], picture["scores"]
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (scores.diff() <= 0).all()
        assert len(boxes) <= 100


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (97, 33)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_detector__takes_pictures_of_any_size(size: tuple[int, int], dtype: torch.dtype) -> None:
    model = _detector(score_threshold=0.0).eval()
    (found,) = model(torch.zeros(1, 3, *size, dtype=dtype))
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= torch.tensor([*size[::-1], *size[::-1]])).all()


def test_detector__says_nothing_of_an_empty_picture_above_the_threshold() -> None:
    (found,) = _detector(score_threshold=0.99).eval()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert (found["boxes"].shape, found["scores"].shape, found["labels"].shape) == ((0, 4), (0,), (0,))


def test_detector__stands_on_a_dilated_backbone() -> None:
    backbone = create_backbone("resnet10t", output_stride=16)
    model = Detector(backbone, 2, channels=32, depth=1)
    assert [len(model.pyramid.laterals), len(model.pyramid.extras)] == [2, 3]
    losses = model(torch.rand(1, 3, 64, 64), _targets()[1:2])
    assert math.isfinite(sum(losses.values()).item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"assignment": "simota"}, "assignment"),
        ({"quality": "ious"}, "quality"),
        ({"strides": (2, 8)}, "double"),
        ({"strides": (1, 2)}, r"no feature of stride \[1\]"),
        ({"channels": 0}, "^channels must be a whole number of at least 1, got 0$"),
        ({"nms_threshold": 60}, "^nms_threshold must be from 0 to 1, got 60$"),
        ({"nms_threshold": -1}, "^nms_threshold must be from 0 to 1, got -1$"),
        ({"nms_threshold": math.nan}, "^nms_threshold must be from 0 to 1, got nan$"),
        ({"score_threshold": 1.5}, "^score_threshold must be from 0 to 1, got 1.5$"),
    ],
)
def test_detector__refuses_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _detector(**settings)


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_losses__want_a_target_for_each_picture(quality: Any) -> None:
    model = Detector(create_backbone("resnet10t"), 2, quality=quality)
    with pytest.raises(ValueError, match="there are 3 pictures and 1 targets; each needs one"):
        model(torch.zeros(3, 3, 64, 64, dtype=torch.uint8), _targets()[:1])
