"""Settings at the wrong place, without a value, or twice: what the parser would pass by."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.optim import Adagrad

from resvision.cli.dispatch import main

DATA = {"image_size": 32, "task": "classification", "train_size": 4, "val_size": 2, "batch_size": 2, "num_workers": 0}


def _config() -> dict[str, Any]:
    return {
        "model": {"class_path": "ClassificationTask", "init_args": {"backbone": "resnet10t"}},
        "data": {"class_path": "Shapes", "init_args": dict(DATA)},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }


def _fit(config: dict[str, Any] | str, *words: str) -> int:
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    Path("mine.yaml").write_text(text, encoding="utf-8")
    return main(["fit", "--config", "mine.yaml", *words])


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("trainer", None, "mine.yaml: trainer is empty; give it settings, or remove it"),
        ("data", None, "mine.yaml: data is empty; "),
        ("trainer", [1], "mine.yaml: trainer is [1]; it is a mapping of settings"),
        ("model", {"class_path": "ClassificationTask", "init_args": None}, "mine.yaml: model.init_args is empty; "),
        (
            "model",
            {"class_path": "ClassificationTask", "backbone": "resnet34"},
            "mine.yaml: model.backbone stands beside class_path; put it below init_args",
        ),
        (
            "model",
            {
                "class_path": "ClassificationTask",
                "init_args": {"optimizer": {"class_path": "SGD", "lr": 0.1}},
            },
            "mine.yaml: model.init_args.optimizer.lr stands beside class_path; put it below init_args",
        ),
        ("ckpt_path", "a.ckpt", "mine.yaml: ckpt_path is an option and no setting; say --ckpt_path on the command"),
        ("run_dir", "a", "mine.yaml: run_dir is an option and no setting; "),
        ("resume", "auto", "mine.yaml: resume is an option and no setting; "),
        (
            "model",
            {"class_path": "ClassificationTask", "init_args": {"in_channels": 1}},
            "mine.yaml: model.in_channels cannot be set: the data says it, by data.in_channels",
        ),
        (
            "data",
            {"class_path": "Shapes", "init_args": {"seed": 7}},
            "mine.yaml: data.seed cannot be set: seed_everything says it",
        ),
        ("trainer", {"on": 1, True: 2}, "mine.yaml: trainer: keys are words, and YAML reads one as True; put it in"),
        ("trainer", {"default_root_dir": "q"}, "mine.yaml: trainer.default_root_dir cannot be set: a run has a folder"),
    ],
)
def test_fit__names_the_setting_that_is_at_the_wrong_place(
    section: str, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fit(_config() | {section: change}) == 2
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("section", "change", "key"),
    [
        ("data", {"init_args": {**DATA, "train_size": None}}, "data.train_size"),
        ("model", {"init_args": {"dropout": None}}, "model.dropout"),
        ("trainer", {"accumulate_grad_batches": None}, "trainer.accumulate_grad_batches"),
        (
            "model",
            {"init_args": {"optimizer": {"class_path": "SGD", "init_args": {"lr": None}}}},
            "model.optimizer.lr",
        ),
        (
            "trainer",
            {"callbacks": [{"class_path": "WeightEMA", "init_args": {"decay": None}}]},
            "trainer.callbacks[0].decay",
        ),
    ],
)
def test_fit__names_the_setting_without_a_value(
    section: str, change: dict[str, Any], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config()
    config[section] |= change
    assert _fit(config) == 2
    assert f"error: {key} is null, and it needs a value; give one, or leave it out" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_fit__takes_null_where_it_is_a_value() -> None:
    words = ["--model.weights", "null", "--model.scheduler", "null", "--data.num_workers", "null"]
    assert _fit(_config(), *words, "--trainer.limit_train_batches", "null", "--trainer.fast_dev_run", "true") == 0


def test_data_seed__is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert _fit(_config(), "--data.seed", "7") == 2
    assert "--data.seed cannot be set: seed_everything says it" in capsys.readouterr().err


def test_class_names__are_no_option_in_any_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert _fit(_config(), "--model.class_names+=a") == 2
    assert "--model.class_names cannot be set: the data says it" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n"])
def test_fit__names_the_config_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.yaml").write_text(text, encoding="utf-8")
    assert _fit(_config(), "--config", "other.yaml") == 2
    assert "other.yaml: the config is empty or no mapping of settings" in capsys.readouterr().err


def test_optimizer__that_is_named_has_the_defaults_of_its_class() -> None:
    words = ["--model.optimizer", "Adagrad", "--model.optimizer.lr_decay", "0.5", "--trainer.max_steps", "3"]
    assert _fit(_config(), *words) == 0
    kept = yaml.safe_load(Path("runs/mine/1/config.yaml").read_text(encoding="utf-8"))
    settings = kept["model"]["init_args"]["optimizer"]["init_args"]
    own = {name: one.default for name, one in inspect.signature(Adagrad).parameters.items() if name != "params"}
    # AdamW, which it takes the place of, decays weights by 0.01 and has another eps; its rate is that of the task.
    assert settings == own | {"lr_decay": 0.5, "lr": 1e-3, "fused": True}


def test_optimizer__that_is_not_named_has_those_of_the_task() -> None:
    assert _fit(_config(), "--model.optimizer.lr", "0.5") == 0
    kept = yaml.safe_load(Path("runs/mine/1/config.yaml").read_text(encoding="utf-8"))
    settings = kept["model"]["init_args"]["optimizer"]
    assert settings["class_path"] == "torch.optim.AdamW"
    assert (settings["init_args"]["lr"], settings["init_args"]["weight_decay"]) == (0.5, 0.01)


def test_fit__names_the_key_that_stands_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert _fit(yaml.safe_dump(_config()) + "trainer: {max_epochs: 3}\n") == 2
    assert ", line 18: trainer stands there for the second time; keep one of the two" in capsys.readouterr().err


def test_callbacks__may_be_one_without_a_list_and_have_defaults_of_any_kind() -> None:
    settings = {"class_path": "Timer", "init_args": {"duration": "00:00:10:00"}}
    config = _config()
    config["trainer"]["callbacks"] = settings
    assert _fit(config) == 0
    kept = yaml.safe_load(Path("runs/mine/1/config.yaml").read_text(encoding="utf-8"))
    assert kept["trainer"]["callbacks"]["init_args"]["interval"] == "step"


@pytest.mark.parametrize("named", [[], ["--run_dir", "here"]])
@pytest.mark.parametrize(
    "words", [["--model.scheduler.warmup", "5"], ["--trainer.devices", "0"], ["--model.optimizer.lr", "-1"]]
)
def test_fit__that_trains_nothing_leaves_no_run(
    words: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fit(_config(), *words, *named) != 0
    assert not Path("runs").exists()
    if named:
        assert not any(Path("here").iterdir())
    assert (
        f"nothing was trained, and what was in {'here' if named else 'runs/mine/1'} is removed"
        in capsys.readouterr().out
    )
