from pathlib import Path

import pytest
import yaml

from resvision.cli import main
from tests.cli.test_resume import CONFIG
from tests.parsing import parse

COSINE = ["--model.scheduler", "CosineAnnealingLR", "--trainer.max_epochs", "3"]


@pytest.mark.parametrize(
    ("said", "words", "period"),
    [
        ({}, COSINE, 3),
        ({}, [*COSINE, "--model.scheduler.T_max", "7"], 7),
        (
            {"scheduler": {"class_path": "CosineAnnealingLR", "init_args": {"T_max": 9}}},
            ["--trainer.max_epochs", "3"],
            9,
        ),
    ],
)
def test_period__of_a_cosine_is_that_of_the_run_unless_it_is_said(
    tmp_path: Path, said: dict[str, object], words: list[str], period: int
) -> None:
    config = tmp_path / "mine.yaml"
    model = CONFIG["model"] | {"init_args": CONFIG["model"]["init_args"] | said}  # type: ignore[operator,index]
    config.write_text("# T_max is not said by a comment\n" + yaml.safe_dump(CONFIG | {"model": model}))
    assert parse("--config", str(config), *words).model.init_args.scheduler.init_args.T_max == period


def _help(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help__of_scoring_names_no_option_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    said = _help("test", capsys)
    assert "Score a checkpoint on the test split, by the config of its run or by another." in said
    assert "The run that best and last speak of." in said
    assert "--resume" not in said
    assert "--resume" in _help("fit", capsys)
