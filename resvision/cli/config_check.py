"""What is wrong with a config that the parser would pass by, or complain of in words about types."""

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from resvision.cli.messages import UsageError

__all__ = ["check_config", "check_nulls", "check_option"]

#: Settings that something else decides, and what.
_DECIDED: Final = {
    "model.class_names": "the data says it",
    "model.in_channels": "the data says it, by data.in_channels",
    "model.input_size": "the data says it, by data.image_size",
    "data.seed": "seed_everything says it",
    "trainer.default_root_dir": "a run has a folder of its own, which --run_dir names",
}
#: Options that `Request` reads from the words, before there is a parser.
_OPTIONS: Final = ("run_dir", "ckpt_path", "resume", "config")
_SECTIONS: Final = ("model", "data", "trainer")
_OF_A_CLASS: Final = ("class_path", "init_args", "dict_kwargs")


def check_option(word: str) -> None:
    """Refuse a word that sets what something else decides.

    Raises:
        UsageError: It does.
    """
    option = word.split("=")[0].rstrip("+")
    if option.startswith("--") and (why := _DECIDED.get(_short(option[2:]))) is not None:
        raise UsageError(f"{option} cannot be set: {why}")


def check_config(path: Path, config: Any) -> None:
    """Look for settings at the wrong place, and for sections without any.

    Args:
        path: Its file.
        config: What it says.

    Raises:
        UsageError: A setting is an option, is decided by something else, or stands beside `class_path`; its name is no
            word; a section is empty, or the config or `trainer` no mapping.
    """
    if not isinstance(config, Mapping):
        raise UsageError(
            f"{path}: the config is empty or no mapping of settings; it needs model: and data: (`resvision configs` "
            "lists some)"
        )
    for key, value in _nodes(config):
        if isinstance(value, Mapping) and (key in ("", *_SECTIONS) or key.endswith("init_args")):
            for name in value:
                if not isinstance(name, str):
                    where = f"{key}: " if key else ""
                    raise UsageError(
                        f"{path}: {where}keys are words, and YAML reads one as {name!r}; put it in quotes if it is one"
                    )
        if key in _OPTIONS and value is not None:
            raise UsageError(f"{path}: {key} is an option and no setting; say --{key} on the command line")
        if (why := _DECIDED.get(_short(key))) is not None and value is not None:
            raise UsageError(f"{path}: {_short(key)} cannot be set: {why}")
        if value is None and (key in _SECTIONS or key.endswith("init_args")):
            raise UsageError(f"{path}: {key} is empty; give it settings, or remove it")
        if key == "trainer" and not isinstance(value, Mapping):
            raise UsageError(f"{path}: trainer is {value!r}; it is a mapping of settings, such as max_epochs: 10")
        if isinstance(value, Mapping) and "class_path" in value:
            for name in value.keys() - _OF_A_CLASS:
                raise UsageError(f"{path}: {key}.{name} stands beside class_path; put it below init_args")


def check_nulls(config: Namespace) -> None:
    """Refuse null for a setting that must have a value; the parser takes it for any.

    Args:
        config: What was parsed for a verb.

    Raises:
        UsageError: A setting is null, and the signature that it goes to has no None.
    """
    _check_nulls("trainer", config.trainer, Trainer)
    for key, node in _nodes(config):
        if isinstance(node, Namespace) and isinstance(node.get("init_args"), Namespace):
            module, _, name = node.class_path.rpartition(".")
            _check_nulls(key, node.init_args, getattr(import_module(module), name))


def _check_nulls(key: str, given: Namespace, receiver: Any) -> None:
    nulls = {name for name, value in vars(given).items() if value is None}
    if not nulls:
        return
    try:
        parameters = inspect.signature(receiver, eval_str=True).parameters
    except (NameError, TypeError, ValueError, AttributeError):
        return  # annotations of others that cannot be evaluated
    for name in nulls & parameters.keys():
        parameter, setting = parameters[name], f"{_short(key)}.{name}"
        # What is decided by something else gets its value later.
        if setting not in _DECIDED and parameter.default is not None and not _takes_none(parameter.annotation):
            raise UsageError(f"{setting} is null, and it needs a value; give one, or leave it out")


def _takes_none(hint: Any) -> bool:
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(map(_takes_none, parts))
    if kind is Literal:
        return None in parts
    if kind is Annotated:
        return _takes_none(parts[0])
    # What else is no class, such as a type variable, may stand for anything.
    return hint in (object, type(None), inspect.Parameter.empty) or not isinstance(kind or hint, type)


def _short(key: str) -> str:
    """Return a key as it is said on the command line."""
    return key.replace(".init_args", "")


def _nodes(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a value and all that is in it, each with its dotted key."""
    yield key, value
    if isinstance(value, Mapping | Namespace):
        items = value.items() if isinstance(value, Mapping) else vars(value).items()
        for name, item in items:
            yield from _nodes(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _nodes(item, f"{key}[{number}]")
