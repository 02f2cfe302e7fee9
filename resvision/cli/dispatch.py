"""From the words typed to the verb that does the work.

Answers `--help`, `--version` and a mistyped verb without importing torch, and imports only what the verb needs.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

from resvision._version import __version__

__all__ = ["main"]


class _Verb(NamedTuple):
    module: str
    summary: str


_VERBS: Final = {
    "fit": _Verb("resvision.cli.lightning_cli", "train a model"),
    "tune": _Verb("resvision.cli.tune", "find a learning rate or a batch size for a config"),
    "validate": _Verb("resvision.cli.lightning_cli", "score a checkpoint on the validation split"),
    "test": _Verb("resvision.cli.lightning_cli", "score a checkpoint on the test split"),
    "predict": _Verb("resvision.cli.predict", "apply a checkpoint to pictures"),
    "convert": _Verb("resvision.cli.convert", "turn boxes of COCO, VOC or YOLO into another of these formats"),
    "pack": _Verb("resvision.cli.pack", "put labelled pictures into shards, for an object store"),
    "replay": _Verb("resvision.cli.replay", "look into the batch at which a run's loss became no number"),
    "study": _Verb("resvision.cli.study", "train several configs over seeds, with one figure and one table"),
    "backbones": _Verb("resvision.cli.backbones", "list, show and export backbones"),
    "configs": _Verb("resvision.cli.shipped", "list the configs that come with resvision"),
}

_USAGE = """usage: resvision VERB [options]

{verbs}

Start here, no data needed:
  resvision fit --config seg_resunet.yaml

`resvision VERB --help` lists a verb's options. With --debug an error shows its traceback.
`resvision --version` prints the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The words after `resvision`; those of the process if None.

    Returns:
        The exit code: 0 if all went well, 2 for a mistake of the user's, 1 for a failure, 130 after Ctrl-C, 143
        after SIGTERM or SIGUSR1, 141 if nobody reads the output any more.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        exit_code = _answer(words)
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        print("resvision: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            raise
        from resvision.cli.messages import explain

        explanation = explain(error)
        print(f"resvision {words[0]}: error: {explanation.text}", file=sys.stderr)
        return explanation.exit_code


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_USAGE.format(verbs="\n".join(f"  {name:9} {verb.summary}" for name, verb in _VERBS.items())))
        return 0
    if words[0] in ("-V", "--version"):
        print(f"resvision {__version__}")
        return 0
    if words[0] not in _VERBS:
        return _complain_about_verb(words[0])
    module = import_module(_VERBS[words[0]].module)
    exit_code: int = module.main(words[0], words[1:])
    return exit_code


def _complain_about_verb(word: str) -> int:
    near = difflib.get_close_matches(word, _VERBS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the verbs are {', '.join(_VERBS)}."
    print(f"resvision: error: there is no verb {word!r}; {hint}", file=sys.stderr)
    return 2
