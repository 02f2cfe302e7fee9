import os
import subprocess
import sys

import pytest

from resvision._version import __version__
from resvision.cli import main


def test_help__names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in ("fit", "tune", "validate", "test", "predict", "convert", "backbones", "configs"):
        assert f"\n  {verb} " in text


def test_version__is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"resvision {__version__}\n"


def test_unknown_verb__suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predic"]) == 2
    assert capsys.readouterr().err == "resvision: error: there is no verb 'predic'; did you mean 'predict'?\n"


def test_unknown_verb__lists_the_verbs_when_none_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyz"]) == 2
    assert "the verbs are fit, tune, validate" in capsys.readouterr().err


def test_debug__lets_the_exception_through() -> None:
    with pytest.raises(ValueError, match="no shipped config 'nothing'"):
        main(["configs", "nothing", "--debug"])


@pytest.mark.parametrize("words", [["--help"], ["configs"]])
def test_output__that_nobody_reads_ends_without_a_word(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "resvision", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
