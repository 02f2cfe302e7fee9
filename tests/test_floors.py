"""`tests/floors.txt` pins what `pyproject.toml` says, so that `make floors` tries what is promised."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

TESTS = Path(__file__).parent
#: Extras of which `make floors` installs the requirements.
EXTRAS = ("figures", "huggingface", "jpeg", "test")


def _floor(requirement: Requirement) -> Version:
    (floor,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
    return floor


def test_floors__are_those_of_the_requirements() -> None:
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    floors: dict[str, Version] = {}
    for requirement in map(Requirement, said):
        if requirement.name != "resvision":
            floors[requirement.name] = max(_floor(requirement), floors.get(requirement.name, Version("0")))
    lines = (TESTS / "floors.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: Version(version) for name, version in pins.items()} == floors
    assert list(pins) == sorted(pins)
