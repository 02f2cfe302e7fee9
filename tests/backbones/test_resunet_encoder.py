import torch

from resvision import ResUNet, create_backbone
from resvision.backbones.weights import load_strictly


def test_resunet_encoder__has_the_sizes_of_the_papers_table_1() -> None:
    backbone = create_backbone("resunet_encoder")
    with torch.no_grad():
        features = backbone.eval()(torch.randn(1, 3, 224, 224))
    # Conv 2, 4, 6 and 8 of the table.
    assert [tuple(f.shape[1:]) for f in features.values()] == [
        (64, 224, 224),
        (128, 112, 112),
        (256, 56, 56),
        (512, 28, 28),
    ]


def test_resunet_encoder__a_unit_equals_the_formula_of_figure_1b() -> None:
    """BN, ReLU, convolution, twice, and the shortcut added: written out with functions."""
    backbone = create_backbone("resunet_encoder").eval()
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        features = backbone(images)
        unit = backbone.get_submodule("stage1")
        activated = torch.relu(unit.get_submodule("norm1")(features["stem"]))
        branch = torch.nn.functional.conv2d(activated, unit.get_parameter("conv1.weight"), stride=2, padding=1)
        branch = torch.relu(unit.get_submodule("norm2")(branch))
        branch = torch.nn.functional.conv2d(branch, unit.get_parameter("conv2.weight"), padding=1)
        shortcut = torch.nn.functional.conv2d(activated, unit.get_parameter("downsample.conv.weight"), stride=2)
    torch.testing.assert_close(features["stage1"], branch + shortcut, rtol=1e-5, atol=1e-5)


def test_resunet_encoder__is_the_papers_network_under_resunet() -> None:
    model = ResUNet(create_backbone("resunet_encoder"), num_classes=2)
    logits = model(torch.randint(0, 256, (2, 3, 40, 33), dtype=torch.uint8))
    assert logits.shape == (2, 2, 40, 33)


def test_resunet_encoder__both_convolutions_that_see_the_picture_adapt() -> None:
    colour, grey = create_backbone("resunet_encoder"), create_backbone("resunet_encoder", in_channels=1)
    load_strictly(grey, colour.state_dict(), source="colour.pth")
    for name in ("conv1.weight", "shortcut.weight"):
        torch.testing.assert_close(grey.get_parameter(name), colour.get_parameter(name).sum(1, keepdim=True))
