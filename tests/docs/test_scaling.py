"""The examples of `docs/scaling.md`: parsed with the live signatures, never run."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from resvision.cli import shipped
from tests.parsing import parse_verb

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["fsdp.yaml", "slurm.yaml"])
def test_config__parses_behind_a_shipped_one(name: str) -> None:
    first = str(shipped.folder() / "cls_imagenet.yaml")
    config = parse_verb("fit", "--config", first, "--config", str(DOCS / "scaling" / name)).config.fit
    assert config.trainer.accelerator == "gpu"
    assert config.trainer.strategy is not None


def test_config_for_shards__parses_alone() -> None:
    config = parse_verb("fit", "--config", str(DOCS / "scaling" / "shards.yaml")).config.fit
    assert config.data.class_path.endswith(".ShardedImages")
    assert config.data.init_args.root == "s3://bucket/shards"
    assert config.model.init_args.optimizer.init_args.lr == 0.1


def test_data_of_shards__takes_the_place_of_that_of_a_shipped_config(tmp_path: Path) -> None:
    settings = {"root": "shards", "class_names": ["cat", "dog"]}  # as `resvision pack` writes them
    said = yaml.safe_dump({"data": {"class_path": "ShardedImages", "init_args": settings}})
    (tmp_path / "data.yaml").write_text(said, encoding="utf-8")
    first = str(shipped.folder() / "cls_finetune.yaml")
    words = ["--config", first, "--config", str(tmp_path / "data.yaml"), "--data.root", "s3://bucket/shards"]
    data = parse_verb("fit", *words).config.fit.data
    assert data.class_path.endswith(".ShardedImages")
    assert data.init_args.root == "s3://bucket/shards"
    assert data.init_args.class_names == ["cat", "dog"]


def test_slurm_script__is_a_script_that_asks_for_its_signal_and_goes_on() -> None:
    path = DOCS / "scaling" / "slurm.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text(encoding="utf-8")
    assert "--signal=USR1@" in text
    assert "--resume auto" in text
    assert (DOCS.parent / "docs" / "scaling" / "slurm.yaml").is_file()


@pytest.mark.parametrize("page", ["scaling.md", "reliability.md"])
def test_page__names_only_what_is_there(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"\]\(([^)#:]+)\)", text)
    tests = re.findall(r"`((?:tests|benchmarks)/[\w/]+(?:\.py)?/?)`", text)
    assert named or tests
    assert [path for path in named if not (DOCS / path).exists()] == []
    assert [path for path in tests if not (DOCS.parent / path).exists()] == []
