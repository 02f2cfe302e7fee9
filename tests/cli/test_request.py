from pathlib import Path

import pytest

from resvision.cli.request import Request


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("seg.yaml", "seg"),
        ("runs/seg/3/config.yaml", "seg"),
        ("elsewhere/config.yaml", "config"),
        ("runs/seg/3/other.yaml", "other"),
    ],
)
def test_request__names_its_run_after_the_config(
    config: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Request.parse(["--config", config, "--trainer.max_epochs", "1"]).name == name


def test_request__is_named_run_without_a_config() -> None:
    assert Request.parse([]).name == "run"


def test_request__takes_its_words_apart() -> None:
    request = Request.parse(["-c", "a.yaml", "--config=b.yaml", "--ckpt_path", "best", "--run_dir", "r", "--x", "1"])
    assert (request.configs, request.ckpt_path, request.run_dir) == (("a.yaml", "b.yaml"), "best", Path("r"))
    assert request.rest == ("--x", "1")


@pytest.mark.parametrize("word", ["best", "last"])
def test_best_and_last__without_a_config_ask_for_one(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine/2").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as caught:
        _ = Request.parse(["--ckpt_path", word]).run
    assert str(caught.value) == (
        f"--ckpt_path {word} speaks of a run, and nothing says of which; give --config, whose newest run is meant, or "
        "--run_dir"
    )
    assert Request.parse(["--ckpt_path", word, "--config", "mine.yaml"]).run == Path("runs/mine/2")
    assert Request.parse(["--ckpt_path", word, "--config", "other.yaml"]).run is None
    assert Request.parse(["--ckpt_path", word, "--run_dir", "r"]).run == Path("r")
    Path(word).touch()
    assert Request.parse(["--ckpt_path", word]).run is None
