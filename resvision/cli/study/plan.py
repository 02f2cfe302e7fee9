"""What a study trains: its file, read and checked, and the runs that follow from it."""

import argparse
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

from resvision.cli import shipped
from resvision.cli.messages import UsageError
from resvision.cli.request import Request
from resvision.data.names import is_too_long, leads_out
from resvision.data.plain_yaml import read_yaml

__all__ = ["Draw", "PlannedRun", "Study", "Vary", "folder", "names"]

Draw = Literal["errors", "values", "gradients"]

#: What the file of a study may say.
_KEYS: Final = ("config", "seeds", "settings", "members", "vary", "draw", "test", "paper")


@dataclass(frozen=True)
class Vary:
    """A setting that takes several values for every member.

    Args:
        setting: Its dotted key.
        values: In the order of the axis.
        label: What the axis is called.
    """

    setting: str
    values: tuple[float, ...]
    label: str


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study.

    Args:
        member: Name of the member.
        value: Of what is varied; None where nothing is.
        seed: Seed of the run.
        words: What `resvision fit` is told, but for the folder.
    """

    member: str
    value: float | None
    seed: int
    words: tuple[str, ...]

    @property
    def title(self) -> str:
        """What a person reads."""
        value = "" if self.value is None else f", {self.value:g}"
        return f"{self.member}{value}, seed {self.seed}"

    @property
    def place(self) -> Path:
        """Its run folder below that of the study."""
        member = Path(re.sub(r"[^\w.-]+", "-", self.member))
        return (member if self.value is None else member / f"{self.value:g}") / str(self.seed)

    @property
    def task(self) -> str | None:
        """Class of its task; None where neither a word nor a config says it plainly."""
        request = Request.parse(self.words)
        configs = [read_yaml(Path(config)) for config in request.configs if Path(config).is_file()]
        models = [config.get("model") for config in configs if isinstance(config, dict)]
        said = [model.get("class_path") if isinstance(model, dict) else model for model in models]
        # A word counts more than any config.
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("--model", "--model.class_path", dest="task")
        said.append(parser.parse_known_args(request.rest)[0].task)
        return next((task for task in reversed(said) if isinstance(task, str)), None)


@dataclass(frozen=True)
class Study:
    """A question, and the trainings that answer it.

    Args:
        name: Name of its file.
        config: Config from which all members start: a file, or the name of a shipped one.
        seeds: Seeds, each of which is a run of every member.
        settings: What all members change of it, by dotted keys.
        members: What each member changes besides.
        vary: A setting that takes several values for each member.
        draw: Training and validation error over steps; error over what is varied; or norms of the gradient by layer.
        test: Whether the last weights of a run are scored on the test split too.
        paper: Error in percent that a paper gives for a member.
    """

    name: str
    config: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    members: Mapping[str, Mapping[str, Any]]
    vary: Vary | None = None
    draw: Draw = "errors"
    test: bool = False
    paper: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def find(cls, given: str) -> "Study":
        """Read a study by the name of a shipped one, or by its file.

        Raises:
            UsageError: There is none, or it says what cannot be followed.
        """
        path = Path(given)
        if path.suffix != ".yaml":
            path = folder() / f"{given}.yaml"
        if not path.is_file():
            near = difflib.get_close_matches(path.stem, names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
            raise UsageError(f"there is no study {given!r}; {hint}")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> "Study":
        """Read the file of a study.

        Raises:
            UsageError: It says what cannot be followed.
        """
        said = read_yaml(path)
        if not isinstance(said, dict):
            raise UsageError(f"{path}: a study is a mapping with {', '.join(_KEYS)}")
        for key in said:
            if key not in _KEYS:
                near = difflib.get_close_matches(str(key), _KEYS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(_KEYS)}"
                raise UsageError(f"{path}: a study has no {key!r}; {hint}")
        vary = said.get("vary")
        study = cls(
            name=path.stem,
            config=_of(path, said, "config", str),
            seeds=tuple(_of(path, said, "seeds", list, [0])),
            settings=_of(path, said, "settings", dict, {}),
            members={str(name): changes or {} for name, changes in _of(path, said, "members", dict).items()},
            vary=None if vary is None else _vary(path, vary),
            draw=_of(path, said, "draw", str, "errors"),
            test=_of(path, said, "test", bool, False),
            paper={
                str(name): _number(path, f"paper of {str(name)!r}", error)
                for name, error in _of(path, said, "paper", dict, {}).items()
            },
        )
        study._check(path)
        return study

    def _check(self, path: Path) -> None:
        if self.draw not in get_args(Draw):
            raise UsageError(f"{path}: draw must be one of {', '.join(get_args(Draw))}, got {self.draw!r}")
        if (self.draw == "values") != (self.vary is not None):
            raise UsageError(f"{path}: a study that draws values has something to vary, and no other has")
        if not self.members or not self.seeds:
            raise UsageError(f"{path}: a study needs members and seeds")
        for seed in self.seeds:
            if type(seed) is not int or seed < 0:
                raise UsageError(f"{path}: seeds must be whole numbers, 0 or more, got {seed!r}")
        for name, changes in self.members.items():
            if not _names_a_folder(name):
                raise UsageError(
                    f"{path}: members: {name!r} cannot be the name of a folder; take a short one with letters or "
                    "digits, without slashes"
                )
            if not isinstance(changes, dict):
                raise UsageError(f"{path}: member {name!r} must be a mapping of settings, got {changes!r}")
        unknown = [name for name in self.paper if name not in self.members]
        if unknown:
            raise UsageError(f"{path}: paper has a number for {unknown[0]!r}, which is no member")
        places = [run.place for run in self.runs([])]
        if len(set(places)) < len(places):
            raise UsageError(f"{path}: two members or seeds have the same folder; give them other names")

    def runs(self, words: Sequence[str]) -> list[PlannedRun]:
        """Return the runs, the members side by side, so that each seed is whole before the next one begins.

        Args:
            words: What the person said; it counts more than what the study says.
        """
        runs = []
        for seed in self.seeds:
            for value in (None,) if self.vary is None else self.vary.values:
                for member, changes in self.members.items():
                    settings = {**self.settings, **changes}
                    if self.vary is not None:
                        settings[self.vary.setting] = value
                    said = [part for key, setting in settings.items() for part in (f"--{key}", _word(setting))]
                    seeded = ("--seed_everything", str(seed))
                    runs.append(PlannedRun(member, value, seed, ("--config", self.config, *said, *seeded, *words)))
        return runs


def folder() -> Path:
    """Return the folder of the shipped studies."""
    return shipped.folder() / "study"


def names() -> list[str]:
    """Return the names of the shipped studies, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def _of(path: Path, said: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    if key not in said and default is None:
        raise UsageError(f"{path}: a study needs {key}")
    value = said.get(key, default)
    if not isinstance(value, kind):
        raise UsageError(f"{path}: {key} must be a {kind.__name__}, got {value!r}")
    return value


def _vary(path: Path, said: Any) -> Vary:
    if (
        not isinstance(said, dict)
        or set(said) != {"setting", "values", "label"}
        or not isinstance(said["values"], list)
    ):
        raise UsageError(f"{path}: vary must say setting, values (a list) and label, got {said!r}")
    if not said["values"]:
        raise UsageError(f"{path}: vary.values must have a number or more, got []")
    values = tuple(_number(path, "vary.values", value) for value in said["values"])
    return Vary(str(said["setting"]), values, str(said["label"]))


def _number(path: Path, key: str, said: Any) -> float:
    """Return a finite number, which may be said as text: YAML reads `1e-3` as such, for want of a point."""
    try:
        value = (int(said) if said.isdecimal() else float(said)) if isinstance(said, str) else said
        if type(value) in (int, float) and math.isfinite(value):
            number: float = value
            return number
    except (ValueError, OverflowError):  # text that is no number, and a whole number beyond all floats
        pass
    raise UsageError(f"{path}: {key} must be a finite number, such as 8.75 or 1e-3, got {said!r}")


def _names_a_folder(name: str) -> bool:
    """Return whether a name is that of one folder, on Windows too, where dots and spaces at its end do not count."""
    return bool(name.strip(". ")) and not (re.search(r"[/\\]", name) or leads_out(name) or is_too_long(Path(name)))


def _word(value: Any) -> str:
    """Return a setting as one word of a command line."""
    if isinstance(value, str):
        return value
    # The end of a document follows a bare number or word.
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
