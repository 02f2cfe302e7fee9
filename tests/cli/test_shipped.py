from pathlib import Path

import pytest

from resvision.cli import main, shipped


def test_configs__prints_each_with_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    text = capsys.readouterr().out
    for name in shipped.names():
        assert f"{name}\n    {shipped.header(shipped.folder() / name).splitlines()[0]}" in text


def test_configs__prints_one_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "seg_resunet"]) == 0
    assert capsys.readouterr().out == (shipped.folder() / "seg_resunet.yaml").read_text()


def test_find_config__prefers_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find_config("seg_resunet.yaml") == str(shipped.folder() / "seg_resunet.yaml")
    assert shipped.find_config("configs/seg_resunet.yaml") == str(shipped.folder() / "seg_resunet.yaml")
    (tmp_path / "seg_resunet.yaml").touch()
    assert shipped.find_config("seg_resunet.yaml") == "seg_resunet.yaml"


@pytest.mark.parametrize("given", ["mine/seg_resunet.yaml", "/seg_resunet.yaml", "unknown.yaml"])
def test_find_config__leaves_other_paths_alone(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find_config(given) == given


def test_find_config__leaves_what_can_be_no_file_to_its_reader() -> None:
    given = "a" * 5000 + ".yaml"
    assert shipped.find_config(given) == given
