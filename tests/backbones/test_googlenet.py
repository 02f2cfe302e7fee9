"""GoogLeNet against torchvision's, its auxiliary classifiers included."""

import torch
from torchvision.models.feature_extraction import create_feature_extractor

from resvision import create_backbone
from resvision.backbones.googlenet import AUXILIARY_FEATURES
from resvision.backbones.weights import load_strictly
from resvision.heads import AuxiliaryHead
from tests.backbones.oracles import torchvision_model


def test_googlenet__equals_torchvision_with_its_auxiliary_classifiers() -> None:
    model = torchvision_model("googlenet")
    ours = create_backbone("googlenet", out_features=[*AUXILIARY_FEATURES, "stage4"]).eval()
    load_strictly(ours, model.state_dict(), source="torchvision")
    heads = {feature: AuxiliaryHead(ours.feature_specs[feature].channels, 1000) for feature in AUXILIARY_FEATURES}
    for number, head in enumerate(heads.values(), start=1):
        head.load_state_dict(model.get_submodule(f"aux{number}").state_dict())
        head.eval()
    names = (*AUXILIARY_FEATURES, "inception5b")
    extractor = create_feature_extractor(model, {f"{name}.cat": name for name in names}, suppress_diff_warning=True)
    for height, width in ((64, 64), (65, 97)):
        images = torch.randn(2, 3, height, width)
        with torch.no_grad():
            features, seen = ours(images), extractor(images)
            torch.testing.assert_close(features["stage4"], seen["inception5b"], rtol=0, atol=1e-5)
            logits = model.get_submodule("fc")(features["stage4"].mean((2, 3)))
            torch.testing.assert_close(logits, model(images), rtol=0, atol=1e-5)
            for number, (feature, head) in enumerate(heads.items(), start=1):
                torch.testing.assert_close(features[feature], seen[feature], rtol=0, atol=1e-5)
                expected = model.get_submodule(f"aux{number}")(seen[feature])
                torch.testing.assert_close(head(features[feature]), expected, rtol=0, atol=1e-5)


def test_googlenet__has_nine_modules_and_the_strides_of_the_paper() -> None:
    backbone = create_backbone("googlenet")
    assert sum(type(module).__name__ == "Inception" for module in backbone.modules()) == 9
    specs = [(spec.channels, spec.stride) for spec in backbone.feature_specs.values()]
    assert specs == [(64, 2), (192, 4), (480, 8), (832, 16), (1024, 32)]


def test_googlenet__builds_no_more_than_its_auxiliary_features_need() -> None:
    backbone = create_backbone("googlenet", out_features=["inception4a"])
    assert "inception4b.branch1.conv.weight" not in backbone.state_dict()
    assert backbone(torch.randn(1, 3, 64, 64))["inception4a"].shape == (1, 512, 4, 4)
