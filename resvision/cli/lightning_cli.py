"""The verbs `fit`, `validate` and `test`: Lightning's own command line over the tasks and the data modules."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

import resvision.data
from resvision._version import __version__
from resvision.callbacks import (
    BestCheckpoint,
    NonFiniteLossError,
    Pictures,
    Progress,
    RunStopped,
    last_words,
    lost_process,
)
from resvision.cli import options, shipped
from resvision.cli.config_check import check_config, check_nulls
from resvision.cli.matching import check_labels, note_crowded
from resvision.cli.messages import UsageError
from resvision.cli.origin import Origin, sweep
from resvision.cli.parse_errors import explain_parse_error
from resvision.cli.quiet import quieten
from resvision.cli.request import Request
from resvision.cli.run_folder import RUNS, discard, new_folder
from resvision.cli.run_parts import is_first_process, run_callbacks, run_loggers, run_plugins
from resvision.cli.scores import can_write, changed_splits, write_scores
from resvision.data import VisionDataModule
from resvision.data.base import Split
from resvision.data.plain_yaml import read_yaml
from resvision.tasks import VisionTask

__all__ = ["VisionCLI", "main", "prepare"]

#: The split that a verb sees first.
_SPLITS: Final[dict[str, Split]] = {"fit": "train", "validate": "val", "test": "test"}
_DESCRIPTIONS: Final = {
    "fit": "Train a model. Its run folder gets the config, weights, scores and curves.",
    "validate": "Score a checkpoint on the validation split, by the config of its run or by another.",
    "test": "Score a checkpoint on the test split, by the config of its run or by another.",
}
#: How what jsonargparse wraps around an error begins.
_WRAPPERS: Final = ("Does not validate", "Problem with given", "Call to compute_fn")


def main(verb: str, words: Sequence[str]) -> int:
    """Run `fit`, `validate` or `test`."""
    prepare()
    try:
        VisionCLI(verb, Request.parse(words))
    except RunStopped as stop:
        return stop.exit_code
    except RuntimeError as error:
        if (lost := lost_process(error)) is None:
            raise
        raise lost from error
    return 0


def prepare() -> None:
    """Do what comes before any command line is built: quieten Lightning, and import what a config may name."""
    quieten()
    # Some of Lightning's defaults are texts of a kind that YAML does not know, such as the interval of its `Timer`.
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))
    for name in resvision.data.__all__:
        # A config may name a class without its module once the class is imported, and these are imported on use.
        getattr(resvision.data, name)


class VisionCLI(LightningCLI):
    """LightningCLI that keeps its runs in folders and takes checkpoints at their word.

    Command line over config over checkpoint: what a checkpoint says of its model is read first, then the configs,
    then the other words.

    Args:
        verb: `fit`, `validate` or `test`.
        request: The words after the verb.
    """

    model: VisionTask
    datamodule: VisionDataModule

    def __init__(self, verb: str, request: Request) -> None:
        self._verb = verb
        self._request = request
        self._origin = Origin.of(verb, request, _say)
        self._checkpoint = self._origin.checkpoint
        self._scored: Path | None = None  # run folder that takes the scores of `validate` and `test`
        self._first_weights: str | None = None  # what the config of a run that goes on says of them
        self.fresh_folder: Path | None = None  # that of a run that has just begun
        # LightningCLI warns when it is given words while the process has some of its own: ours come from there.
        with warnings.catch_warnings(), self._undone():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(
                VisionTask,
                VisionDataModule,
                save_config_callback=None,
                seed_everything_default=0,
                # Lightning's 50 leaves a small data set without a curve.
                trainer_defaults={"log_every_n_steps": 10},
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                parser_kwargs={verb: {"description": _DESCRIPTIONS[verb]}},
                args=self._words(),
            )

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        """Remove the folder of a run that ends before its first step, unless there is something in it to look at."""
        try:
            yield
        except BaseException:
            trainer: Trainer | None = getattr(self, "trainer", None)
            has_begun = trainer is not None and trainer.global_step > self._origin.done
            if self.fresh_folder is not None and not has_begun and discard(self.fresh_folder, self._request.run_dir):
                _say(f"\nnothing was trained, and what was in {self.fresh_folder} is removed")
            raise

    def _words(self) -> list[str]:
        """Return the words in the order of their authority, the weakest first."""
        words = [self._verb, *self._origin.words]
        for config in self._request.configs:
            if Path(config).is_file():  # what is not there, the parser complains of
                check_config(Path(config), read_yaml(Path(config)))
            words += ["--config", config]
        return [*words, *self._request.rest]

    @cached_property
    def _said(self) -> str:
        """All words, and what the configs hold."""
        configs = [str(read_yaml(Path(config))) for config in self._request.configs if Path(config).is_file()]
        return "\n".join((*self._origin.words, *self._request.rest, *configs))

    def _says(self, name: str) -> bool:
        """Return whether a word or a config holds a name."""
        return re.search(rf"\b{name}\b", self._said) is not None

    # The parser

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Create a parser that raises its errors, to be put into words, and whose configs name their version."""
        # A shortened option is most likely a mistyped one.
        kwargs |= {"exit_on_error": False, "allow_abbrev": False, "dump_header": [f"resvision {__version__}"]}
        return super().init_parser(**kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # one verb's parser, not all four
        """Return the verb asked for with the arguments of the Trainer's method that are not a person's to set."""
        skip = {"model", "dataloaders", "train_dataloaders", "val_dataloaders", "datamodule"}
        return {self._verb: skip | {"ckpt_path", "verbose", "weights_only"}}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed, on which the order, the augmentation and the first weights depend."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of every random draw of the run.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run, and tie together what must agree."""
        options.add_options(parser, self._verb)
        options.tie_to_data(parser, self.class_names_of)
        if not self._says("T_max"):  # of `CosineAnnealingLR`; a link would win over what is said
            parser.link_arguments("trainer.max_epochs", "model.init_args.scheduler.init_args.T_max")

    def class_names_of(self, data: VisionDataModule) -> options.ClassNames:
        """Return the names of the classes for the task that was chosen; the help shows this method's name."""
        return options.class_names_for(self.config[self._verb].model.class_path, data)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and put a mistake into words a person can act upon."""
        try:
            super().parse_arguments(parser, args)
        except Exception as error:
            message = explain_parse_error(
                str(error),
                keys=[action.dest for action in self._parser(self._verb)._actions],
                settings=options.settings_of_classes(),
                words=args,
                files=shipped.names(),
            )
            raise UsageError(message) from error

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the checkpoint's values win over the command line."""

    # The trainer

    def instantiate_classes(self) -> None:
        """Build the data, the task and the trainer."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse buries what a constructor says of its arguments in a list of types that did not fit.
            said: BaseException = error
            while said.__cause__ is not None and str(said).startswith(_WRAPPERS):
                said = said.__cause__
            if said is error:
                raise
            if str(said).startswith("Expected a"):
                # It was the first of several types, and a later one was meant; only the text knows of that.
                raise UsageError(explain_parse_error(str(error))) from None
            raise said from None

    def before_instantiate_classes(self) -> None:
        """Choose the precision if nobody did: bf16 where the hardware computes in it, else 32 bit."""
        check_nulls(self.config[self._verb])
        settings = self.config[self._verb].model.init_args
        if isinstance(optimizer := settings.get("optimizer"), Namespace):
            options.give_own_defaults(optimizer, self._says)
        if self._checkpoint is not None and "weights" in settings:
            # Its weights are those to use; the config keeps the name of the first ones, and nothing fetches them.
            self._first_weights, settings["weights"] = settings["weights"], None
        trainer = self.config[self._verb].trainer
        on_gpu = torch.cuda.is_available() and trainer.accelerator in ("auto", "gpu", "cuda")
        if trainer.precision is None and on_gpu and torch.cuda.is_bf16_supported():
            trainer.precision = "bf16-mixed"

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer, for `fit` with the run folder's loggers and callbacks."""
        # Every check of the data comes before the first folder is made.
        self.datamodule.setup(self._verb)
        check_labels(self.model, self.datamodule, _SPLITS[self._verb])
        if (note := note_crowded(self.model, self.datamodule, _SPLITS[self._verb])) is not None:
            _say(note)
        if self._verb == "fit" and self._checkpoint is None:
            self.model.require_weights()
        given = self.config_init[self._verb].trainer
        callbacks = self.said_callbacks()
        if given.enable_progress_bar is not False:
            callbacks.append(Progress())
        loggers: bool | list[Logger] = False
        self._run_folder: Path | None = None
        if self._verb == "fit" and not given.fast_dev_run:
            self._run_folder = self._enter_run_folder()
            loggers = run_loggers(self._run_folder, given.logger, self._origin.done)
            before = None if self._checkpoint is None else self._checkpoint.with_name("best.ckpt")
            callbacks += run_callbacks(self._run_folder, self.model, self.config[self._verb].seed_everything, before)
            kwargs["plugins"] = run_plugins(given.plugins)
            config = self._run_folder / "config.yaml"
            if self._origin.run is None:
                self._save_config(config)
            else:  # What a run had counts until its checkpoint has taken what is said now.
                callbacks.append(LambdaCallback(on_train_start=lambda *_: self._save_config(config)))
            kwargs["default_root_dir"] = str(self._run_folder)
        else:
            kwargs["enable_checkpointing"] = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
            self._scored = self._run_to_write_to()
            if self._scored is not None:
                callbacks.append(Pictures(self._scored / "pictures"))
        trainer = super().instantiate_trainer(callbacks=callbacks, logger=loggers, **kwargs)
        device = trainer.strategy.root_device.type
        _say(f"{trainer.num_devices} x {device}, precision {trainer.precision}, channels_last")
        return trainer

    def said_callbacks(self) -> list[Callback]:
        """Return the callbacks of the config, of which there may be one, several or none."""
        said = self.config_init[self._verb].trainer.callbacks
        return [said] if isinstance(said, Callback) else list(said or [])

    def _enter_run_folder(self) -> Path:
        folder = self._request.run_dir or Path()
        if is_first_process():
            sweep(self._request.run_dir, self._origin.run_of_checkpoint)
        if (run := self._origin.run) is not None:
            folder = run
        elif is_first_process():
            # A run that goes on by its folder alone has the name of the one before.
            before = None if self._request.configs else self._origin.run_of_checkpoint
            name = self._request.name if before is None else before.absolute().parent.name
            self.fresh_folder = folder = new_folder(RUNS / name, self._request.run_dir, "--run_dir")
        at = f", after step {self._origin.done}" if self._origin.done else ""
        _say(f"run folder {folder}{at}")
        return folder

    @rank_zero_only
    def _save_config(self, path: Path) -> None:
        if self._first_weights is not None:
            self.config[self._verb].model.init_args["weights"] = self._first_weights
        self._parser(self._verb).save(self.config[self._verb], path, skip_none=False, overwrite=True)

    # The verbs

    def fit(self, **kwargs: Any) -> None:
        """Train, score the best checkpoint on the validation split, and say where everything lies."""
        with last_words(self.trainer.world_size):
            self._train()
        if self._run_folder is None:
            return
        if self._origin.run is None and 0 < self._origin.done >= self.trainer.global_step:
            raise UsageError(
                f"the checkpoint is of a run that is done: it has taken {self._origin.done} steps, and this one would "
                "take no more; raise trainer.max_epochs, or score it by resvision validate"
            )
        self.trainer.loggers = []  # the table of the run ends with its last epoch
        kept = next((one for one in self.trainer.checkpoint_callbacks if isinstance(one, BestCheckpoint)), None)
        best = None if kept is None else kept.best_model_path or None
        self.trainer.validate(self.model, self.datamodule, ckpt_path=best, weights_only=True, verbose=False)
        _say(f"\n{self.model.report()}\n\nrun folder {self._run_folder}")

    def _train(self) -> None:
        """Train, and say how to go on where that ends early."""
        how = f"to go on: resvision fit --run_dir {self._run_folder} --resume auto"
        try:
            self.trainer.fit(self.model, self.datamodule, ckpt_path=self._checkpoint, weights_only=True)
        except RunStopped as stop:
            _say(f"\nsaved after step {stop.step}; {how}" if stop.saved else "\nstopped before the first step")
            raise
        except NonFiniteLossError as error:
            if not is_first_process():
                raise
            what = f"look into it: resvision replay {self._run_folder}; or lower the learning rate, and {how}"
            raise NonFiniteLossError(f"{error}\n{what}") from error
        except RuntimeError as error:
            if lost_process(error) is not None and self.trainer.global_step > 0:
                _say(f"\n{how}")
            raise
        except SystemExit as stop:
            # Lightning turns a Ctrl-C into an exit without a word.
            if self._run_folder is not None and any((self._run_folder / "checkpoints").glob("*.ckpt")):
                _say(f"\nstopped at once; {how}")
            raise KeyboardInterrupt from stop

    def validate(self, **kwargs: Any) -> None:
        """Score the checkpoint on the validation split."""
        self._score("validate")

    def test(self, **kwargs: Any) -> None:
        """Score the checkpoint on the test split."""
        self._score("test")

    def _run_to_write_to(self) -> Path | None:
        """Return the run folder that scores go to, if there is one, with what a person should know of it."""
        run = self._origin.run_of_checkpoint
        if run is None:
            return None
        if (warning := changed_splits(run, self.config[self._verb].data.init_args.as_dict())) is not None:
            _say(warning)
        if not can_write(run):
            _say(f"the run folder {run} cannot be written: the scores are only printed")
            return None
        return run

    def _score(self, verb: str) -> None:
        # A checkpoint that is only scored brings no training callbacks along.
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided")
        score = getattr(self.trainer, verb)
        found = score(self.model, self.datamodule, ckpt_path=self._checkpoint, weights_only=True, verbose=False)
        if not found:
            raise UsageError(f"nothing was scored: trainer.limit_{verb.removesuffix('idate')}_batches leaves no batch")
        _say(f"\n{self.model.report()}")
        if is_first_process() and self._checkpoint is not None and self._scored is not None:
            files = write_scores(self._scored, verb, self._checkpoint, found[0], self.model.tables())
            _say(f"\nwritten to {', '.join(map(str, files))} and {self._scored / 'pictures'}")


def _say(text: str) -> None:
    if is_first_process():
        print(text, flush=True)
