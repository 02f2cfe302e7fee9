"""What the README shows: its commands, configs, programs and links."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from resvision.cli import predict, shipped
from resvision.cli.dispatch import _VERBS
from resvision.cli.request import Request
from tests.parsing import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(*languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    """Return every call of `resvision` in the shell blocks."""
    lines = "\n".join(_blocks("bash", "console")).replace("\\\n", " ").splitlines()
    calls = [call.strip() for line in lines for call in line.removeprefix("$ ").split("&&")]
    return [call for call in calls if call.startswith("resvision ")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the configs that the README spells out, each named by its first line."""
    for block in _blocks("yaml"):
        name = re.match(r"# (\S+\.yaml)\n", block)
        assert name is not None, f"this block does not begin with its file's name:\n{block}"
        (tmp_path / name[1]).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_block__holds_the_two_commands_of_a_new_user() -> None:
    fit, test = _blocks("bash")[0].splitlines()
    assert fit == "pip install -e . && resvision fit --config configs/seg_resunet.yaml"
    assert test == 'pip install -e ".[test]" && pytest'


def test_commands__are_found() -> None:
    verbs = {shlex.split(command)[1] for command in _commands()}
    assert verbs >= {"fit", "test", "predict"}


@pytest.mark.parametrize("command", _commands())
def test_command__has_a_known_verb_and_known_options(command: str, place: Path) -> None:
    verb, *words = shlex.split(command)[1:]
    assert verb in _VERBS
    request = Request.parse(words)
    for config in request.configs:
        assert Path(config).is_file()
    if verb == "predict":
        predict._parser(verb).parse_args(words)
    elif verb in ("fit", "validate", "test") and request.configs:
        parse(*(word for config in request.configs for word in ("--config", config)), *request.rest)


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`resvision ([a-z]\w*)", README))))
def test_verb__in_the_text_is_one(verb: str) -> None:
    assert verb in _VERBS


@pytest.mark.parametrize("name", sorted(set(re.findall(r"configs/(\w+\.yaml)", README))))
def test_config__in_the_text_is_shipped(name: str) -> None:
    assert name in shipped.names()


def test_yaml__is_parsed_against_the_live_signatures(place: Path) -> None:
    files = sorted(place.glob("*.yaml"))
    assert files
    for file in files:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert parse("--config", str(file)).data.init_args.root == said["data"]["init_args"]["root"]


def _needs_a_run(code: str) -> bool:
    return '"runs/' in code


@pytest.mark.parametrize("code", [code for code in _blocks("python") if not _needs_a_run(code)])
def test_python__runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("code", [code for code in _blocks("python") if _needs_a_run(code)])
def test_python__that_needs_a_trained_model_compiles_and_imports_what_there_is(code: str) -> None:
    compile(code, "README.md", "exec")
    imports = "\n".join(line for line in code.splitlines() if re.match(r"(from|import) ", line))
    assert imports
    exec(imports, {})


def test_python__is_found_of_both_kinds() -> None:
    assert {_needs_a_run(code) for code in _blocks("python")} == {False, True}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:|#)([^)#]+)", README))))
def test_link__leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()
