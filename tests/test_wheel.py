"""The wheel: what is in it, and the main job from it in an environment and a folder of their own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resvision._version import __version__

ROOT = Path(__file__).parents[1]
CONFIGS = {path.name for path in (ROOT / "configs").glob("*.yaml")}
STUDIES = {f"study/{path.name}" for path in (ROOT / "configs" / "study").glob("*.yaml")}
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=4", "--trainer.limit_val_batches=2"]


def _run(*words: str | Path, cwd: Path) -> str:
    """Run a program outside the checkout, where only what is installed can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _environment(folder: Path, *, with_pip: bool) -> tuple[Path, Path]:
    """Create a virtual environment; return its folders of programs and of packages."""
    venv.create(folder, symlinks=os.name != "nt", with_pip=with_pip)  # as `python -m venv` does
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    return Path(paths["scripts"]), Path(paths["purelib"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as a release does, with the installed backend."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (path,) = folder.iterdir()
    return path


def test_wheel__holds_the_package_its_types_and_its_configs_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name == f"resvision-{__version__}-py3-none-any.whl"
    info = f"resvision-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"resvision", info}
    assert "resvision/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    assert {name for name in names if name.startswith("resvision/configs/")} == {
        f"resvision/configs/{name}" for name in CONFIGS | STUDIES
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "resvision").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone into an environment that borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("borrowing")
    scripts, packages = _environment(folder / "venv", with_pip=False)
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # A path that a .pth file adds has its own .pth files left alone: an editable install stays out of sight.
    (packages / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", scripts / "python"]
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    return scripts


def test_installed__speaks_without_the_checkout(programs: Path, tmp_path: Path) -> None:
    package = Path(_run(programs / "python", "-c", "import resvision; print(resvision.__file__)", cwd=tmp_path))
    assert package.is_relative_to(programs.parent)
    assert _run(programs / "resvision", "--version", cwd=tmp_path) == f"resvision {__version__}\n"
    listed = _run(programs / "resvision", "configs", cwd=tmp_path).splitlines()
    assert {line for line in listed if line and not line.startswith(" ")} == CONFIGS


def test_installed__trains_and_predicts_from_any_folder(programs: Path, tmp_path: Path) -> None:
    run, resvision = Path("runs/seg_resunet/1"), programs / "resvision"
    small = ["--data.image_size=32", "--data.batch_size=2", "--model.backbone=resnet10t"]
    _run(resvision, "fit", "--config", "seg_resunet.yaml", *SHORT, *small, cwd=tmp_path)
    _run(resvision, "predict", "--ckpt_path", run, "--data", run / "pictures/val_00.png", cwd=tmp_path)
    assert (tmp_path / "predictions/1/masks/val_00.png").stat().st_size


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for an environment that takes several gigabytes, and remove it again."""
    yield tmp_path / "venv"
    shutil.rmtree(tmp_path / "venv")


@pytest.mark.slow
def test_wheel__does_the_main_job_in_an_empty_environment(wheel: Path, empty: Path, tmp_path: Path) -> None:
    scripts, _ = _environment(empty, with_pip=True)
    place = tmp_path / "place"
    place.mkdir()
    _run(scripts / "python", "-m", "pip", "install", "--quiet", wheel, cwd=place)
    resvision, run = scripts / "resvision", Path("runs/seg_resunet/1")

    assert _run(resvision, "--version", cwd=place) == f"resvision {__version__}\n"
    assert "seg_resunet.yaml" in _run(resvision, "configs", cwd=place).splitlines()
    shown = _run(resvision, "fit", "--config", "seg_resunet.yaml", *SHORT, cwd=place)
    assert shown.splitlines()[-1] == f"run folder {run}"
    for file in ("config.yaml", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "pictures/val_00.png"):
        assert (place / run / file).stat().st_size

    _run(resvision, "test", "--ckpt_path", run, cwd=place)
    result = json.loads((place / run / "test.json").read_text(encoding="utf-8"))
    assert 0 <= result["metrics"]["test/miou"] <= 1

    _run(resvision, "predict", "--ckpt_path", run, "--data", run / "pictures/val_00.png", "--output", "out", cwd=place)
    (line,) = (place / "out/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    for kind in ("mask", "overlay"):
        assert (place / "out" / json.loads(line)[kind]).stat().st_size
