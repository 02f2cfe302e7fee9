from pathlib import Path
from typing import Any

import pytest
import yaml

from resvision.cli import main
from resvision.cli.messages import UsageError
from resvision.cli.shipped import header
from resvision.cli.study.plan import Study, folder, names
from tests.parsing import parse

SAID: dict[str, Any] = {
    "config": "mine.yaml",
    "seeds": [0, 4],
    "settings": {"trainer.max_epochs": 2, "model.losses": {"dice": 1.0}},
    "members": {"first": None, "the second": {"trainer.max_epochs": 3, "model.weights": None}},
}

VARY = {"setting": "data.train_pictures", "values": [10], "label": "pictures"}
A_NUMBER = "must be a finite number, such as 8.75 or 1e-3"


def _read(folder: Path, **changes: Any) -> Study:
    path = folder / "mine.yaml"
    said = {key: value for key, value in (SAID | changes).items() if value is not ...}
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return Study.read(path)


def test_runs__are_the_members_side_by_side_for_each_seed(tmp_path: Path) -> None:
    study = _read(tmp_path)
    runs = study.runs(["--trainer.max_epochs", "9"])
    assert [(run.member, run.value, run.seed) for run in runs] == [
        ("first", None, 0),
        ("the second", None, 0),
        ("first", None, 4),
        ("the second", None, 4),
    ]
    assert runs[3].words == (
        *("--config", "mine.yaml", "--trainer.max_epochs", "3", "--model.losses", "{dice: 1.0}"),
        *("--model.weights", "null", "--seed_everything", "4", "--trainer.max_epochs", "9"),
    )
    assert runs[3].place == Path("the-second/4")
    assert runs[3].title == "the second, seed 4"


@pytest.mark.parametrize(
    ("config", "words", "task"),
    [
        ("model: {class_path: FirstTask, init_args: {backbone: resnet18}}", [], "FirstTask"),
        ("model: FirstTask", ["--model.backbone", "resnet18"], "FirstTask"),
        ("model: {class_path: FirstTask}", ["--config", "second.yaml"], "SecondTask"),
        ("model: {class_path: FirstTask}", ["--model.class_path", "mine.Task", "--config", "second.yaml"], "mine.Task"),
        ("model: {class_path: FirstTask}", ["--model=ThirdTask", "--config", "missing.yaml"], "ThirdTask"),
        ("trainer: {max_epochs: 1}", [], None),
    ],
)
def test_task__is_that_of_the_last_word_or_else_the_last_config(
    config: str, words: list[str], task: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _read(tmp_path, config="first.yaml")
    monkeypatch.chdir(tmp_path)
    Path("first.yaml").write_text(config, encoding="utf-8")
    Path("second.yaml").write_text("model: {class_path: SecondTask}", encoding="utf-8")
    assert study.runs(words)[0].task == task


def test_members__may_be_numbers(tmp_path: Path) -> None:
    study = _read(tmp_path, members={20: None, 56: None}, paper={56: 6.9})
    assert [str(run.place) for run in study.runs([])] == ["20/0", "56/0", "20/4", "56/4"]
    assert study.paper == {"56": 6.9}


def test_runs__take_each_value_of_what_is_varied(tmp_path: Path) -> None:
    vary = {"setting": "data.train_pictures", "values": [10, 100], "label": "pictures of each class"}
    runs = _read(tmp_path, vary=vary, draw="values", seeds=[0]).runs([])
    assert [(run.member, run.value) for run in runs] == [
        ("first", 10),
        ("the second", 10),
        ("first", 100),
        ("the second", 100),
    ]
    assert runs[1].words[-4:] == ("--data.train_pictures", "10", "--seed_everything", "0")
    assert runs[1].place == Path("the-second/10/0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member": {}}, "a study has no 'member'; did you mean 'members'?"),
        ({"members": ...}, "a study needs members"),
        ({"members": {}}, "a study needs members and seeds"),
        ({"members": {"a": 3}}, "member 'a' must be a mapping of settings, got 3"),
        ({"members": {"a b": {}, "a, b": {}}}, "two members or seeds have the same folder"),
        ({"seeds": 3}, "seeds must be a list, got 3"),
        ({"seeds": ["../.."]}, "seeds must be whole numbers, 0 or more, got '../..'"),
        ({"seeds": [0, -1]}, "seeds must be whole numbers, 0 or more, got -1"),
        ({"seeds": [True]}, "seeds must be whole numbers, 0 or more, got True"),
        ({"draw": "error"}, "draw must be one of errors, values, gradients, got 'error'"),
        ({"draw": "values"}, "a study that draws values has something to vary"),
        ({"vary": {"setting": "a"}}, "vary must say setting, values"),
        ({"vary": VARY | {"values": []}}, "vary.values must have a number or more, got []"),
        ({"vary": VARY | {"values": [1, [1]]}}, f"vary.values {A_NUMBER}, got [1]"),
        ({"vary": VARY | {"values": ["few"]}}, f"vary.values {A_NUMBER}, got 'few'"),
        ({"vary": VARY | {"values": [True]}}, f"vary.values {A_NUMBER}, got True"),
        ({"vary": VARY | {"values": [float("nan")]}}, f"vary.values {A_NUMBER}, got nan"),
        ({"vary": VARY | {"values": [10**400]}}, f"vary.values {A_NUMBER}, got 1000"),
        ({"paper": {"third": 1.0}}, "paper has a number for 'third', which is no member"),
        ({"paper": {"first": "8.75 %"}}, f"paper of 'first' {A_NUMBER}, got '8.75 %'"),
        ({"paper": {"first": None}}, f"paper of 'first' {A_NUMBER}, got None"),
    ],
)
def test_study__that_says_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        _read(tmp_path, **changes)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}: {message}")


@pytest.mark.parametrize(
    "name", ["..", ".", "", " ", "...", ".. ", "../out", "/out", "a/b", "a\\b", "\\\\host", "C:", "c:out", "a" * 256]
)
def test_study__a_member_is_named_like_one_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        _read(tmp_path, members={name: {}})
    assert str(caught.value) == (
        f"{tmp_path / 'mine.yaml'}: members: {name!r} cannot be the name of a folder; take a short one with letters or "
        "digits, without slashes"
    )


def test_study__numbers_may_be_said_as_text(tmp_path: Path) -> None:
    vary = {"setting": "model.optimizer.init_args.lr", "values": ["1e-3", "20", 1], "label": "learning rate"}
    study = _read(tmp_path, vary=vary, draw="values", seeds=[0], members={"a.1": {}}, paper={"a.1": "8.75"})
    assert study.paper == {"a.1": 8.75}
    runs = study.runs([])
    assert [run.value for run in runs] == [0.001, 20, 1]
    assert [run.words[-3] for run in runs] == ["0.001", "20", "1"]
    assert [str(run.place) for run in runs] == ["a.1/0.001/0", "a.1/20/0", "a.1/1/0"]


def test_study__is_listed_with_its_header_and_found_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    shown = capsys.readouterr().out
    for name in names():
        assert f"{name}\n    {header(folder() / f'{name}.yaml').splitlines()[0]}" in shown
    assert main(["study", "degredation"]) == 2
    assert capsys.readouterr().err == (
        "resvision study: error: there is no study 'degredation'; did you mean 'degradation'?\n"
    )
    assert main(["study", "xyz"]) == 2
    assert f"there is no study 'xyz'; there are {', '.join(names())}" in capsys.readouterr().err


@pytest.mark.parametrize("name", names())
def test_shipped__says_what_it_shows_the_result_and_the_command(name: str) -> None:
    path = folder() / f"{name}.yaml"
    text = header(path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert "Result: " in text
    assert f"Command: resvision study {name}" in text


@pytest.mark.parametrize("name", names())
def test_shipped__members_parse_against_the_live_signatures(name: str) -> None:
    study = Study.find(name)
    parsed = {run.member: parse(*run.words) for run in study.runs([]) if run.seed == study.seeds[0]}
    assert list(parsed) == list(study.members)
    for member, changes in study.members.items():
        for key, value in {**study.settings, **changes}.items():
            where: Any = parsed[member]
            for part in key.split("."):
                where = where[part] if part in where else where["init_args"][part]
            if not isinstance(value, dict | list):
                assert where == value, f"{member}: {key}"
