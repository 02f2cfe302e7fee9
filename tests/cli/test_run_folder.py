from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resvision.cli.run_folder import discard, new_folder, newest_run


def test_new_folder__counts_up(tmp_path: Path) -> None:
    made = [new_folder(tmp_path / "runs", None, "--run_dir") for _ in range(3)]
    assert made == [tmp_path / "runs" / number for number in ("1", "2", "3")]


def test_new_folder__goes_on_after_the_highest_number(tmp_path: Path) -> None:
    for name in ("7", "notes", "10"):
        (tmp_path / name).mkdir()
    assert new_folder(tmp_path, None, "--run_dir") == tmp_path / "11"


def test_new_folder__never_gives_one_folder_twice(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path, None, "--run_dir"), range(24)))
    assert len(set(made)) == 24


def test_new_folder__takes_an_empty_named_one(tmp_path: Path) -> None:
    assert new_folder(tmp_path / "runs", tmp_path / "mine", "--run_dir") == tmp_path / "mine"
    assert new_folder(tmp_path / "runs", tmp_path / "mine", "--run_dir") == tmp_path / "mine"


def test_new_folder__refuses_one_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    with pytest.raises(ValueError, match="is not empty; name another folder"):
        new_folder(tmp_path / "runs", tmp_path, "--run_dir")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_new_folder__says_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be written: .*; name another: --run_dir"):
        new_folder(tmp_path, tmp_path / "file" / "run", "--run_dir")


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


BEGINNING = ("config.yaml", "metrics.csv", "tensorboard/hparams.yaml", "tensorboard/events.1", "checkpoints/best.ckpt")


def test_discard__removes_what_a_run_begins_with_and_empty_folders_around_it(tmp_path: Path) -> None:
    for _ in range(2):
        _write(new_folder(tmp_path / "runs" / "a", None, "--run_dir"), *BEGINNING)
    assert discard(tmp_path / "runs" / "a" / "2", None)
    assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == ["1"]
    assert discard(tmp_path / "runs" / "a" / "1", None)
    assert not list(tmp_path.iterdir())


def test_discard__empties_a_folder_that_was_named(tmp_path: Path) -> None:
    _write(tmp_path / "mine", *BEGINNING)
    assert discard(tmp_path / "mine", tmp_path / "mine")
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize(
    "name", ["checkpoints/last.ckpt", "nonfinite/report.json", "skipped.csv", "pictures/val_00.png"]
)
def test_discard__leaves_what_has_come_about(name: str, tmp_path: Path) -> None:
    _write(tmp_path / "mine", *BEGINNING, name)
    assert not discard(tmp_path / "mine", None)
    assert (tmp_path / "mine" / name).is_file()


def test_newest_run__is_the_highest_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert newest_run("seg") is None
    for number in ("2", "10", "9"):
        (tmp_path / "runs" / "seg" / number).mkdir(parents=True)
    assert newest_run("seg") == Path("runs/seg/10")
