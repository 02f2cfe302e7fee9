"""One backbone with several heads, against the models of each kind under copied weights."""

import pytest
import torch
from torch import Tensor, nn

from resvision.batch import (
    ClassificationLabels,
    DetectionLabels,
    LabelKind,
    MultiTaskLabels,
    SegmentationLabels,
)
from resvision.losses import FixedWeights, cross_entropy, dice_loss
from resvision.models import (
    ClassificationBranch,
    Classifier,
    DetectionBranch,
    Detector,
    MultiHead,
    ResUNet,
    SegmentationBranch,
    targets_of,
)
from tests.models.toy import ToyBackbone

KINDS: tuple[LabelKind, ...] = ("classification", "segmentation", "detection")
STRIDES = (4, 8, 16)


def _model() -> MultiHead:
    torch.manual_seed(0)
    backbone = ToyBackbone()
    specs = backbone.feature_specs
    branches = {
        "classification": ClassificationBranch(specs, 3),
        "segmentation": SegmentationBranch(specs, 4, decoder_stride=2, decoder_widths=[8]),
        "detection": DetectionBranch(specs, 3, strides=STRIDES, channels=32),
    }
    return MultiHead(backbone, branches, FixedWeights(dict.fromkeys(KINDS, 1.0)))  # type: ignore[arg-type]


def _singles(model: MultiHead) -> dict[LabelKind, nn.Module]:
    """Return the model of each kind, with the weights of ours."""
    singles: dict[LabelKind, nn.Module] = {
        "classification": Classifier(ToyBackbone(), 3),
        "segmentation": ResUNet(ToyBackbone(), 4, decoder_stride=2, decoder_widths=[8]),
        "detection": Detector(ToyBackbone(), 3, strides=STRIDES, channels=32),
    }
    for kind, single in singles.items():
        shared = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
        shared |= {name: value for name, value in model.state_dict().items() if name.startswith("normalization.")}
        single.load_state_dict(shared | dict(model.branch(kind).state_dict()))
    return singles


def _labels(rows: Tensor) -> MultiTaskLabels:
    generator = torch.Generator().manual_seed(1)
    boxes = torch.tensor([[3.0, 5.0, 20.0, 22.0], [10.0, 8.0, 45.0, 40.0]])
    count = len(rows)
    size = torch.tensor([[48, 64]] * count)
    detection = DetectionLabels(
        boxes=[boxes] * count,
        labels=[torch.tensor([0, 2])] * count,
        crowd=[torch.tensor([False, False])] * count,
        area=[torch.tensor([289.0, 1120.0])] * count,
        size=size,
        original_size=size,
        index=rows,
    )
    return MultiTaskLabels(
        classification=ClassificationLabels(label=torch.arange(count) % 3, index=rows),
        segmentation=SegmentationLabels(
            mask=torch.randint(4, (count, 48, 64), dtype=torch.uint8, generator=generator), index=rows
        ),
        detection=detection,
    )


def _images(count: int = 3, height: int = 48, width: int = 64) -> Tensor:
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", [(48, 64), (33, 47), (1, 3)])
def test_multi_head__says_what_the_models_of_each_kind_say(size: tuple[int, int]) -> None:
    model = _model().eval()
    images = _images(2, *size)
    with torch.no_grad():
        said = model(images)
        singles = {kind: single.eval() for kind, single in _singles(model).items()}
        torch.testing.assert_close(said["segmentation"], singles["segmentation"](images))
        assert said["segmentation"].shape == (2, 4, *size)
        if min(size) >= 4:  # a classifier alone refuses smaller ones
            torch.testing.assert_close(said["classification"], singles["classification"](images))
        detector = singles["detection"]
        assert isinstance(detector, Detector)
        expected = detector.say(images)
        for ours, theirs in zip(said["detection"][:3], expected[:3], strict=True):
            torch.testing.assert_close(ours, theirs)
        assert said["detection"].size == expected.size == size


def test_losses__and_their_gradients_equal_those_of_the_models_of_each_kind() -> None:
    model = _model()
    rows, images = torch.arange(3), _images()
    labels = _labels(rows)
    losses = model.losses(model(images, dict.fromkeys(KINDS, rows)), labels)
    expected: dict[str, Tensor] = {}
    backbones = []
    for kind, single in _singles(model).items():
        if kind == "classification":
            expected[kind] = nn.functional.cross_entropy(single(images), labels["classification"]["label"])
        elif kind == "segmentation":
            logits, mask = single(images), labels["segmentation"]["mask"]
            expected[kind] = cross_entropy(logits, mask) + dice_loss(logits, mask)
        else:
            expected[kind] = torch.stack([*single(images, targets_of(labels["detection"])).values()]).sum()
        torch.testing.assert_close(losses[kind], expected[kind])
        expected[kind].backward()  # type: ignore[no-untyped-call]
        backbones.append(single.get_parameter("backbone.stem.conv.weight").grad)
    total: Tensor = model.weighting(losses)
    total.backward()  # type: ignore[no-untyped-call]
    assert all(slope is not None for slope in backbones)
    shared = sum(slope for slope in backbones if slope is not None)
    torch.testing.assert_close(model.backbone.get_parameter("stem.conv.weight").grad, shared, rtol=1e-4, atol=1e-5)


def _slopes(model: MultiHead, rows: dict[LabelKind, Tensor], images: Tensor) -> dict[str, Tensor]:
    labels = _labels(torch.arange(2))
    loss = model.weighting(model.losses(model(images, rows), labels))
    model.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_picture__without_a_kind_changes_nothing_in_the_gradient_of_its_branch(kind: LabelKind) -> None:
    model = _model()
    model.backbone.eval()  # its own batch norms see every picture
    images = _images(3)
    two, lacking = torch.arange(2), {kind: torch.arange(2)}
    alone = _slopes(model, {kind: two}, images[:2])
    with_another = _slopes(model, lacking, images)
    of_branch = [name for name in alone if name.startswith(f"branches.{kind}.")]
    assert of_branch
    for name in of_branch:
        torch.testing.assert_close(with_another[name], alone[name])
    assert not [name for name in with_another if name.startswith("branches.") and name not in of_branch]


def test_picture__without_a_mask_changes_no_statistics_of_the_decoder() -> None:
    images = _images(3)
    means = []
    for shown in (images[:2], images):
        model = _model()
        model.backbone.eval()
        model(shown, {"segmentation": torch.arange(2), "classification": torch.arange(len(shown))})
        means.append(model.get_buffer("branches.segmentation.decoder.blocks.0.bn1.running_mean"))
    torch.testing.assert_close(*means)


def test_backbone__runs_once() -> None:
    model = _model()
    calls: list[int] = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model(_images())
    assert len(calls) == 1
