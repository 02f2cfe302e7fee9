"""What a run goes on with: its newest good checkpoint, and what of that one counts."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resvision.callbacks import remove_orphans
from resvision.cli.request import Request
from resvision.cli.run_folder import RUNS
from resvision.data.plain_yaml import read_yaml
from resvision.inference.checkpoints import read_checkpoint

__all__ = ["newest_good", "sweep", "unsaid"]


def newest_good(run: Path, say: Callable[[str], None]) -> Path | None:
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


def sweep(*runs: Path | None) -> None:
    """Remove what killed saves have left in these runs and in all below `runs/`."""
    folders = [run / "checkpoints" for run in runs if run is not None]
    remove_orphans([*folders, *RUNS.glob("*/*/checkpoints")])


def unsaid(settings: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return those settings of a checkpoint's model that neither a config nor another word says, and that so count."""
    said = {word.split("=")[0].removeprefix("--model.").removeprefix("init_args.") for word in request.rest}
    for config in request.configs:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # of which the parser complains, if it is a mistake
            said |= set(read_yaml(Path(config))["model"]["init_args"])
    said = {name.split(".")[0].rstrip("+") for name in said}
    return {name: value for name, value in settings.items() if name not in said}
