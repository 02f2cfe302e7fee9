"""`resvision backbones`: list what there is, show one in numbers, and take a trained one out of a run.

Listing imports no torch, and showing no Lightning.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resvision.backbones import BackboneEntry, get_entry, list_backbones
from resvision.backbones.family import ResNetLayout

if TYPE_CHECKING:
    from torch import Tensor

    from resvision.inference import Predictor

__all__ = ["main"]

_SUFFIXES = {  # of the file for each library, its usual one first
    "torchvision": (".pth", ".safetensors"),
    "timm": (".safetensors", ".pth"),
    "safetensors": (".safetensors",),
}
_SIDE = 224  # of the pictures that an export is compared on, where the run does not say


def main(verb: str, words: Sequence[str]) -> int:
    """Run one of the three commands.

    Args:
        verb: What the person typed before, `backbones`.
        words: What the person typed after it.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog=f"resvision {verb}", description="The backbones: list, show, export.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="list the registered backbones")
    listing.add_argument("--pattern", default="*", help="only names that match, such as 'resnet*d'")
    listing.add_argument("--stage-table", action="store_true", help="print what each stage is made of")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--markdown", action="store_true", help="print the table of the manual, sizes included")
    listing.set_defaults(run=_list)
    showing = commands.add_parser("show", help="show one backbone: stages, parameters, GMACs, weights, paper")
    showing.add_argument("name", help="a backbone, such as resnet50")
    showing.add_argument("--size", type=int, default=224, help="side of the picture that GMACs are counted for")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(run=_show)
    exporting = commands.add_parser("export", help="take a trained backbone out of a run, for another library")
    exporting.add_argument("checkpoint", help="a run folder or a checkpoint file")
    exporting.add_argument("--to", required=True, choices=tuple(_SUFFIXES), help="who is to load the file")
    exporting.add_argument("--output", type=Path, help="the file to write")
    exporting.add_argument("--pictures", type=Path, help="pictures to compare the two models on; by default the run's")
    exporting.set_defaults(run=_export)
    arguments = parser.parse_args(words)
    exit_code: int = arguments.run(arguments)
    return exit_code


def _list(arguments: argparse.Namespace) -> int:
    entries = [get_entry(name) for name in list_backbones(arguments.pattern)]
    if not entries:
        raise ValueError(f"no backbone matches {arguments.pattern!r}; there are {', '.join(list_backbones())}")
    if arguments.json:
        print(json.dumps([_facts(entry) for entry in entries], indent=2))
        return 0
    if arguments.markdown:
        print("\n".join(_markdown(entries)))
        return 0
    if arguments.stage_table:
        rows = [("name", "block", "blocks per stage", "width per stage", "stem", "shortcut"), *map(_stages, entries)]
    else:
        rows = [("name", "equal to", "paper")]
        rows += [(entry.name, ", ".join(entry.references), entry.paper or "") for entry in entries]
    _print_table(rows)
    return 0


def _markdown(entries: Sequence[BackboneEntry]) -> list[str]:
    # Takes torch, to count parameters and GMACs.
    from resvision.backbones.describe import describe

    lines = [
        "| name | blocks per stage | parameters | GMACs | at | deepest feature | equal to | paper |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    for entry in entries:
        layout = entry.layout if isinstance(entry.layout, ResNetLayout) else None
        size = 32 if layout is not None and layout.stem == "cifar" else 224
        numbers = describe(entry, size=size)
        deepest = numbers.features[-1]
        blocks = "" if layout is None else f"{'-'.join(map(str, layout.depths))} {layout.block}"
        paper = f"[{entry.paper}](https://arxiv.org/abs/{entry.paper.removeprefix('arXiv:')})" if entry.paper else ""
        lines.append(
            f"| `{entry.name}` | {blocks} | {numbers.parameters / 1e6:.2f} M | {numbers.gmacs:.2f} | {size} "
            f"| {deepest.channels}, stride {deepest.stride} | {', '.join(entry.references)} | {paper} |"
        )
    return lines


def _facts(entry: BackboneEntry) -> dict[str, Any]:
    layout = asdict(entry.layout) if isinstance(entry.layout, ResNetLayout) else None
    return {"name": entry.name, "references": entry.references, "paper": entry.paper, "layout": layout}


def _stages(entry: BackboneEntry) -> tuple[str, ...]:
    layout = entry.layout
    if not isinstance(layout, ResNetLayout):
        return (entry.name, "", "", "", "", "")
    shortcut = "none" if layout.block == "plain" else layout.shortcut
    depths, widths = ("-".join(map(str, numbers)) for numbers in (layout.depths, layout.channels))
    return (entry.name, layout.block, depths, widths, layout.stem, shortcut)


def _show(arguments: argparse.Namespace) -> int:
    # Takes torch, and with it a second or two, which listing does without.
    from resvision.backbones.describe import describe
    from resvision.backbones.weight_sources import list_weights

    description = describe(get_entry(arguments.name), size=arguments.size)
    entry = get_entry(arguments.name)  # its module, imported by now, may have named the paper
    weights = list_weights(entry.name)
    if arguments.json:
        print(json.dumps(_facts(entry) | asdict(description) | {"size": arguments.size, "weights": weights}, indent=2))
        return 0
    print(f"{entry.name}: {description.parameters:,} parameters, {description.gmacs:.2f} GMACs at {arguments.size}")
    print(f"paper: {entry.paper or 'none named'}; equal to: {', '.join(entry.references) or 'no other model'}\n")
    _print_table(
        [
            ("feature", "channels", "stride", "side", "parameters"),
            *(
                (f.name, str(f.channels), str(f.stride), str(f.side), _count(f.parameters))
                for f in description.features
            ),
        ]
    )
    print("\nweights:", ", ".join(weights) or "none published; give the path of a file")
    print("options:", ", ".join(entry.option_names()))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    # Takes Lightning, which rebuilds the model of the run.
    import torch

    from resvision.backbones.base import Backbone
    from resvision.backbones.export import export_backbone, write_whole
    from resvision.heads import ClassificationHead
    from resvision.inference import load

    predictor = load(arguments.checkpoint, device="cpu")
    settings, model = predictor.task.hparams, predictor.task.get_submodule("model")
    backbone, head = model.get_submodule("backbone"), getattr(model, "head", None)
    if not isinstance(backbone, Backbone):
        raise ValueError(f"the model in {arguments.checkpoint} has no backbone of resvision's to export")
    entry = get_entry(settings["backbone"])
    path = arguments.output or Path(f"{entry.name.replace('/', '_')}_{arguments.to}{_SUFFIXES[arguments.to][0]}")
    if path.suffix not in _SUFFIXES[arguments.to]:
        raise ValueError(f"--output must end in {' or '.join(_SUFFIXES[arguments.to])}, got {path}")
    pixels, pictures = _pictures(arguments.pictures or _trained_on(Path(arguments.checkpoint)), predictor)
    # A checkpoint is loaded without the weights that it began with, and what they said of their pictures.
    backbone.input_statistics = predictor.task.input_statistics
    classifier = head if isinstance(head, ClassificationHead) else None
    channels = {} if backbone.in_channels == 3 else {"in_channels": backbone.in_channels}
    with torch.no_grad():
        passport = export_backbone(
            backbone,
            path,
            entry=entry,
            to=arguments.to,
            images=model.get_submodule("normalization")(pixels),
            pictures=pictures,
            options=channels | (settings.get("backbone_options") or {}),
            head=classifier and classifier.fc,
            logits=model(pixels) if classifier else None,
            class_names=predictor.class_names,
        )
    beside = path.with_suffix(".passport.json")
    write_whole(beside, (json.dumps(passport.as_dict(), indent=2) + "\n").encode())
    print(f"wrote {path} and {beside}")
    print(f"largest difference of the {passport.compared} on {pictures}: {passport.largest_difference:.2g}")
    print(f"load it with: {passport.loads_with}")
    return 0


def _trained_on(checkpoint: Path) -> Path | None:
    """Return the folder of pictures that a run was trained on, if the run says it and it is still there."""
    from resvision.data.listing import find_pictures
    from resvision.data.plain_yaml import read_yaml

    for folder in (checkpoint, *checkpoint.parents[:2]):  # a run, or a file in its `checkpoints`
        if (folder / "config.yaml").is_file():
            config = read_yaml(folder / "config.yaml")
            parts = (_said(config, "data", "init_args", *keys) for keys in (("root",), ("train", "images")))
            root = Path(*(part for part in parts if isinstance(part, str)))
            return root if root != Path() and find_pictures(root) else None  # an archive is not looked into
    return None


def _said(config: Any, *keys: str) -> Any:
    """Return what a config says below some keys, None where it says nothing."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _pictures(folder: Path | None, predictor: "Predictor") -> tuple["Tensor", str]:
    """Return at most 8 pictures (N, C, H, W) of the size of the run's, and what they are."""
    import torch

    from resvision.data.fitting import fit_to
    from resvision.data.listing import find_pictures

    size = predictor.task.image_size or (_SIDE, _SIDE)
    if folder is None:
        drawn, shape = torch.Generator().manual_seed(0), (8, predictor.in_channels, *size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn), "8 noise pictures"
    files = [folder / path for path in find_pictures(folder)]
    if not files:
        raise ValueError(f"there are no pictures in {folder}; name a folder that holds some")
    chosen = files[:: -(-len(files) // 8)]  # of every class, where each has a folder
    read = [torch.from_numpy(fit_to(predictor.read(file), size)).permute(2, 0, 1) for file in chosen]
    if len({image.dtype for image in read}) > 1:
        raise ValueError(f"some pictures in {folder} have 8 bits and others 16; name others")
    return torch.stack(read), f"{len(chosen)} pictures of {folder}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
