"""YAML that somebody else wrote."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from resvision.data.errors import DataError
from resvision.data.plain_yaml import read_yaml


def _read(text: str, folder: Path) -> Any:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: {a: 2, c: [a, a, {a: 3}]}\n",
        "base: &base {a: 1, b: 2}\nmore: {<<: *base, a: 3}\n",
        "a: a\nb: a\nc: [a: 1, a: 2]\n",
        "names:\n  0: a\n  1: a\n",
    ],
)
def test_read_yaml__takes_a_key_once_in_each_mapping(text: str, tmp_path: Path) -> None:
    assert _read(text, tmp_path) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a stands there for the second time"),
        ("names: {0: cat, 0: dog}\n", "line 1: 0 stands"),
        ("a:\n  b: {c: 1}\n  d: [1, {x: 1,\n  x: 2}]\n", "line 4: x stands"),
        ("a: &n 1\nb: [*n, {k: *n, k: 2}]\n", "line 2: k stands"),
    ],
)
def test_read_yaml__refuses_a_key_that_stands_twice(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.yaml, {where}"):
        _read(text, tmp_path)


@pytest.mark.parametrize("text", ["a: !!bool foo", "a: !!int ''", "a: !!float ''", "a: !!timestamp foo", "{[a]: 1}"])
def test_read_yaml__names_the_file_whatever_is_wrong(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.yaml: not a YAML file that can be read"):
        _read(text, tmp_path)
