"""What a command begins with: a checkpoint, a run that goes on in its folder, and the config that follows from them."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from resvision.callbacks import remove_orphans
from resvision.cli.config_check import check_config, check_option
from resvision.cli.messages import UsageError
from resvision.cli.request import Request
from resvision.cli.run_folder import RUNS
from resvision.data.plain_yaml import read_yaml
from resvision.inference.checkpoints import ENTRY, find_checkpoint, read_checkpoint

__all__ = ["Origin", "newest_good", "sweep"]

Say = Callable[[str], None]

#: What the data decides and a config therefore does not say.
_LINKED: Final = ("class_names", "in_channels", "input_size")


@dataclass(frozen=True)
class Origin:
    """Where `fit` goes on, or what `validate` and `test` score.

    Attributes:
        checkpoint: None where everything begins.
        done: Optimiser steps of the checkpoint.
        run: Folder of the run that goes on in it; None if it gets a folder of its own.
        words: Config that the checkpoint, or the run around it, stands for; weaker than everything else that is said.
    """

    checkpoint: Path | None
    done: int
    run: Path | None
    words: tuple[str, ...]

    @classmethod
    def of(cls, verb: str, request: Request, say: Say) -> "Origin":
        """Find out.

        Args:
            verb: `fit`, `validate` or `test`.
            request: The words after the verb.
            say: Gets what a person should know of it: what is skipped, and what comes from where.

        Raises:
            UsageError: What is asked for makes no sense.
        """
        for word in request.rest:
            check_option(word)
        run = request.run if request.resume and request.ckpt_path is None else None
        run = run if run is not None and (run / "config.yaml").is_file() else None
        checkpoint = _find(verb, request, say)
        if checkpoint is None:
            words = () if run is None or request.configs else ("--config", str(run / "config.yaml"))
            return cls(None, 0, run, words)
        content = read_checkpoint(checkpoint)
        said = _config(verb, checkpoint, content, request, say)
        return cls(checkpoint, int(content.get("global_step", 0)), run, ("--config", json.dumps(said)))

    @property
    def run_of_checkpoint(self) -> Path | None:
        """The run folder that the checkpoint lies in, None if it lies in none."""
        folder = None if self.checkpoint is None else self.checkpoint.parent.parent
        return folder if folder is not None and (folder / "config.yaml").is_file() else None


def _find(verb: str, request: Request, say: Say) -> Path | None:
    given = request.ckpt_path
    if request.resume:
        if verb != "fit" or given is not None:
            raise UsageError("--resume auto goes on with a run of fit by itself; it is not for --ckpt_path or scores")
        return None if request.run is None else newest_good(request.run, say)
    if given is None:
        if verb != "fit" and not {"-h", "--help"} & set(request.rest):
            raise UsageError(f"{verb} needs a trained model: give --ckpt_path best, last, a run folder or a file")
        return None
    if "weights" in _said_by_words(request):
        raise UsageError(
            "--model.weights begins a new run from old weights, and --ckpt_path goes on with a run, whose weights "
            "it has: give one of the two"
        )
    return find_checkpoint(given, which="last" if verb == "fit" else "best", run=request.run)


def newest_good(run: Path, say: Say) -> Path | None:
    """Return the newest checkpoint of a run that can be read, None if the run has none yet.

    Args:
        run: The run folder.
        say: Gets a line for each one that is skipped.

    Raises:
        ValueError: There are some, and none can be read.
    """
    found = list((run / "checkpoints").glob("*.ckpt"))
    # Of the same age, which they have in a copied folder, the last one knows most.
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name == "last.ckpt"), reverse=True)
    for path in found:
        try:
            read_checkpoint(path)
        except (ValueError, OSError) as error:
            say(f"skipped: {error}")
        else:
            return path
    if found:
        raise ValueError(f"no checkpoint of {run} can be read; to begin again, remove {run / 'checkpoints'}")
    return None


def _config(verb: str, path: Path, content: Mapping[str, Any], request: Request, say: Say) -> dict[str, Any]:
    """Return the part of a config that a checkpoint, or the run around it, stands for."""
    settings = {k: v for k, v in content["hyper_parameters"].items() if k not in _LINKED and k[0] != "_"}
    if request.configs:
        said = _said_by_words(request) | _said_by_configs(request) | {"weights"}
        told = "".join(f"\n  model.{name}: {value}" for name, value in settings.items() if name not in said)
        stands = ", and where the training stands" if verb == "fit" else ""
        say(f"from {path}: the weights{stands}{'; neither config nor command says:' if told else ''}{told}")
        return {"model": {"class_path": _class_path(content[ENTRY]["task"], request), "init_args": settings}}
    config = path.parent.parent / "config.yaml"
    if not config.is_file():
        raise UsageError(f"{path} lies in no run folder, so nothing says which data to use; add --config FILE")
    if verb == "fit":
        say(f"from {config}: all that this command does not say; from {path.name}: where the training stands")
    said_by_run = read_yaml(config)
    if not isinstance(said_by_run, dict):
        raise UsageError(f"{config} is no mapping of settings, so nothing says which data to use; add --config FILE")
    check_config(config, said_by_run)
    return {key: said_by_run[key] for key in ("seed_everything", "trainer", "model", "data") if key in said_by_run}


def _said_by_words(request: Request) -> set[str]:
    """Return the settings of the model that words name."""
    names = (word.split("=")[0].removeprefix("--model.") for word in request.rest if word.startswith("--model."))
    return {name.removeprefix("init_args.").split(".")[0].rstrip("+") for name in names}


def _said_by_configs(request: Request) -> set[str]:
    said: set[str] = set()
    for config in request.configs:
        with _mistakes():
            said |= set(read_yaml(Path(config))["model"]["init_args"])
    return said


def _class_path(task: str, request: Request) -> str:
    """Return where the class of a task is found: for one's own tasks the configs say it, and a checkpoint does not."""
    found = task
    for config in request.configs:
        with _mistakes():
            path = read_yaml(Path(config))["model"]["class_path"]
            found = path if path.rpartition(".")[2] == task else found
    return found


def _mistakes() -> contextlib.suppress:
    """Overlook what is wrong with a config, of which the parser complains."""
    return contextlib.suppress(ValueError, KeyError, TypeError, AttributeError)


def sweep(*runs: Path | None) -> None:
    """Remove what killed saves have left in these runs and in all below `runs/`."""
    folders = [run / "checkpoints" for run in runs if run is not None]
    remove_orphans([*folders, *RUNS.glob("*/*/checkpoints")])
