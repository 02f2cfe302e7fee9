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

_TARGETS = ("torchvision", "timm", "safetensors")
_SIDE = 224  # of the pictures that an export is compared on


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
    exporting.add_argument("--to", required=True, choices=_TARGETS, help="who is to load the file")
    exporting.add_argument("--output", type=Path, help="the file to write")
    exporting.add_argument("--pictures", type=Path, help="a folder of pictures to compare the two models on")
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
    entry = get_entry(arguments.name)
    # Takes torch, and with it a second or two, which listing does without.
    from resvision.backbones.describe import describe
    from resvision.backbones.weight_sources import list_weights

    description = describe(entry, size=arguments.size)
    weights = list_weights(entry.name)
    if arguments.json:
        print(json.dumps(_facts(entry) | asdict(description) | {"size": arguments.size, "weights": weights}, indent=2))
        return 0
    print(f"{entry.name}: {description.parameters:,} parameters, {description.gmacs:.2f} GMACs at {arguments.size}")
    print(f"paper: {entry.paper or 'none named'}; equal to: {', '.join(entry.references) or 'no other model'}\n")
    _print_table(
        [
            ("feature", "channels", "stride", "side", "parameters"),
            *((f.name, str(f.channels), str(f.stride), str(f.side), f"{f.parameters:,}") for f in description.features),
        ]
    )
    print("\nweights:", ", ".join(weights) or "none published; give the path of a file")
    print("options:", ", ".join(entry.option_names()))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    # Takes Lightning, which rebuilds the model of the run.
    from torch import nn

    from resvision.backbones.base import Backbone
    from resvision.backbones.export import export_backbone
    from resvision.inference import load

    predictor = load(arguments.checkpoint, device="cpu")
    model = predictor.task.get_submodule("model")
    backbone, head = model.get_submodule("backbone"), getattr(model, "head", None)
    if not isinstance(backbone, Backbone):
        raise ValueError(f"the model in {arguments.checkpoint} has no backbone of resvision's to export")
    entry = get_entry(predictor.task.hparams["backbone"])
    suffix = ".pth" if arguments.to == "torchvision" else ".safetensors"
    path = arguments.output or Path(f"{entry.name}_{arguments.to}{suffix}")
    if path.suffix not in (".pth", ".safetensors"):
        raise ValueError(f"--output must end in .pth or .safetensors, got {path}")
    pixels, pictures = _pictures(arguments.pictures, predictor)
    passport = export_backbone(
        backbone,
        path,
        entry=entry,
        to=arguments.to,
        images=model.get_submodule("normalization")(pixels),
        pictures=pictures,
        head=head if isinstance(head, nn.Linear) else None,
        class_names=predictor.class_names,
    )
    beside = path.with_suffix(".passport.json")
    beside.write_text(json.dumps(passport.as_dict(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path} and {beside}")
    print(f"largest difference of the {passport.compared} on {pictures}: {passport.largest_difference:.2g}")
    print(f"load it with: {passport.loads_with}")
    return 0


def _pictures(folder: Path | None, predictor: "Predictor") -> tuple["Tensor", str]:
    """Return at most 8 pictures (N, C, 224, 224) uint8, and what they are."""
    import cv2
    import torch

    from resvision.data.reading import IMAGE_SUFFIXES

    if folder is None:
        channels, drawn = predictor.in_channels, torch.Generator().manual_seed(0)
        return torch.randint(
            0, 256, (8, channels, _SIDE, _SIDE), dtype=torch.uint8, generator=drawn
        ), "8 noise pictures"
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)[:8]
    if not files:
        raise ValueError(f"there are no pictures in {folder}; name a folder that holds some")
    read = [cv2.resize(predictor.read(file), (_SIDE, _SIDE)).reshape(_SIDE, _SIDE, -1) for file in files]
    pixels = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in read])
    return pixels, f"{len(files)} pictures of {folder}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
