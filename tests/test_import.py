"""What importing the package and asking for help may load: checked by module names, for time depends on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

import resvision

_HEAVY = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "albumentations",
    "torchmetrics",
    "numpy",
    "cv2",
    "yaml",
)


def _loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('LOADED', *sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(run.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import resvision",
        "from resvision.cli import main; main(['--help'])",
        "from resvision.cli import main; main(['--version'])",
        "from resvision.cli import main; main(['configs'])",
        "from resvision.cli import main; main(['backbones', 'list'])",
        "from resvision.cli import main; main(['fitt'])",
    ],
)
def test_light_commands__import_nothing_heavy(code: str) -> None:
    assert not _loaded_by(code).intersection(_HEAVY)


def test_convert__needs_no_torch() -> None:
    loaded = _loaded_by("import resvision.cli.convert")
    assert not loaded.intersection({"torch", "lightning", "albumentations"})


def test_backbone__needs_neither_lightning_nor_what_comes_with_training() -> None:
    loaded = _loaded_by("import resvision; resvision.create_backbone('resnet18')")
    assert not loaded.intersection({"lightning", "torchmetrics", "albumentations", "timm", "jsonargparse"})


def test_package__every_public_name_is_there() -> None:
    for name in resvision.__all__:
        assert getattr(resvision, name) is not None
    rooms = {path.parent.name for path in Path(resvision.__path__[0]).glob("*/__init__.py")} - {"cli"}
    assert set(dir(resvision)) == {*resvision.__all__, *rooms}
    assert all(getattr(resvision, room).__all__ for room in rooms)


def test_package__unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'ResNUet'"):
        resvision.ResNUet  # noqa: B018
