"""Run folders: `runs/<config name>/<n>/`, or the folder that `--run_dir` names."""

from pathlib import Path

__all__ = ["RUNS", "new_run_folder", "newest_run"]

#: Where runs are kept, below the folder in which the command is called.
RUNS = Path("runs")


def new_run_folder(name: str, run_dir: Path | None) -> Path:
    """Create the folder of a new run; two runs that start at the same moment get two folders.

    Args:
        name: Name of the config, the run's parent folder.
        run_dir: The folder that the user asked for; None for the next number below `runs/<name>/`.

    Raises:
        ValueError: If `run_dir` holds something already.
        OSError: If the folder cannot be written.
    """
    try:
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)
            if any(run_dir.iterdir()):
                raise ValueError(
                    f"--run_dir {run_dir} is not empty; name another folder, or leave --run_dir out for a new one "
                    f"(to go on from that run's checkpoint: --ckpt_path {run_dir})"
                )
            _probe(run_dir)
            return run_dir
        parent = RUNS / name
        parent.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(parent), default=0) + 1
        while True:
            folder = parent / str(number)
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
                continue
            _probe(folder)
            return folder
    except OSError as error:
        where = run_dir if run_dir is not None else RUNS / name
        reason = error.strerror or error
        raise OSError(f"the run folder {where} cannot be written: {reason}; name another with --run_dir") from error


def newest_run(name: str) -> Path | None:
    """Return the run of this config with the highest number, None if there is none yet."""
    parent = RUNS / name
    number = max(_numbers(parent), default=None)
    return None if number is None else parent / str(number)


def _numbers(parent: Path) -> list[int]:
    if not parent.is_dir():
        return []
    return [int(path.name) for path in parent.iterdir() if path.name.isdecimal() and path.is_dir()]


def _probe(folder: Path) -> None:
    """Write and remove a file: some mounts let a folder be made and refuse what goes into it."""
    probe = folder / ".probe"
    probe.touch()
    probe.unlink()
