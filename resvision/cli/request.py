"""What was asked for, read from the words before any parser is built: configs, checkpoint, run folder."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resvision.cli.run_folder import newest_run
from resvision.cli.shipped import find_config

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """The words of a command, taken apart.

    Attributes:
        configs: Paths of the configs, in their order; a shipped one's name is already resolved.
        ckpt_path: What `--ckpt_path` says.
        run_dir: What `--run_dir` says.
        resume: Whether `--resume auto` was said.
        rest: All other words, in their order.
    """

    configs: tuple[str, ...]
    ckpt_path: str | None
    run_dir: Path | None
    resume: bool
    rest: tuple[str, ...]

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Request":
        """Take the words apart."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-c", "--config", action="append", default=[])
        parser.add_argument("--ckpt_path")
        parser.add_argument("--run_dir", type=Path)
        parser.add_argument("--resume", choices=("auto",))
        known, rest = parser.parse_known_args(words)
        configs = tuple(map(find_config, known.config))
        return cls(configs, known.ckpt_path, known.run_dir, known.resume is not None, tuple(rest))

    @property
    def name(self) -> str:
        """Name of the run's parent folder: that of the first config, `run` without one.

        The `config.yaml` of a run folder `<name>/<n>/` stands for the config that it came from.
        """
        if not self.configs:
            return "run"
        config = Path(self.configs[0])
        folder = config.absolute().parent
        return folder.parent.name if config.name == "config.yaml" and folder.name.isdecimal() else config.stem

    @property
    def run(self) -> Path | None:
        """The run that the words `best` and `last` speak of: `--run_dir`, else the config's newest.

        Raises:
            FileNotFoundError: If one of these words was said, and nothing says of which run.
        """
        run = self.run_dir if self.run_dir is not None else newest_run(self.name)
        if (
            run is None
            and not self.configs
            and self.ckpt_path in ("best", "last")
            and not Path(self.ckpt_path).exists()
        ):
            raise FileNotFoundError(
                f"--ckpt_path {self.ckpt_path} speaks of a run, and nothing says of which; give --config, whose newest "
                "run is meant, or --run_dir"
            )
        return run
