"""Files as accidents and attackers make them, by the reader that meets them."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes

__all__ = ["ANNOTATIONS", "ARCHIVES", "CHECKPOINTS", "CONFIGS", "PICTURES", "TABLES", "WEIGHTS", "Bad", "Touch"]


class Bad(NamedTuple):
    """A file: its name in a test, and how it is written; the content is made only when a test asks for it."""

    name: str
    suffix: str
    content: Callable[[], bytes]


class Touch:
    """Unpickled by a reader that trusts a file, it makes a file named `owned`."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (Path("owned"),)


def _cut(name: str, suffix: str, content: Callable[[], bytes], parts: tuple[float, ...]) -> Iterator[Bad]:
    for part in parts:
        yield Bad(f"{name}-{part:.0%}", suffix, lambda part=part: content()[: int(len(content()) * part)])  # type: ignore[misc]


def _flipped(name: str, suffix: str, content: Callable[[], bytes], parts: tuple[float, ...]) -> Iterator[Bad]:
    for part in parts:

        def make(part: float = part) -> bytes:
            data = bytearray(content())
            place = int(len(data) * part)
            data[place : place + 8] = bytes(255 - value for value in data[place : place + 8])
            return bytes(data)

        yield Bad(f"{name}-flipped-{part:.0%}", suffix, make)


def _common(suffix: str) -> Iterator[Bad]:
    """What any file may be instead of what its name says."""
    yield Bad(f"empty{suffix}", suffix, lambda: b"")
    yield Bad(f"zeros{suffix}", suffix, lambda: bytes(5000))
    yield Bad(f"noise{suffix}", suffix, lambda: np.random.default_rng(0).bytes(5000))
    yield Bad(f"page{suffix}", suffix, lambda: b"<!DOCTYPE html><html><body>404 not found</body></html>")
    yield Bad(f"pointer{suffix}", suffix, lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


# Pictures


def _encoded(suffix: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return bytes(cv2.imencode(suffix, pixels)[1])


def _png(width: int, height: int, data: bytes = b"", kind: int = 2) -> bytes:
    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _tiff_of_floats() -> bytes:
    return bytes(cv2.imencode(".tiff", np.zeros((8, 8), np.float32))[1])


PICTURES = [
    *(bad for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm") for bad in _common(suffix)),
    *(
        bad
        for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm")
        for bad in _cut(f"cut{suffix}", suffix, lambda suffix=suffix: _encoded(suffix), (0.02, 0.3, 0.9))  # type: ignore[misc]
    ),
    Bad("bomb.png", ".png", lambda: _png(60_000, 60_000, bytes(10_000))),
    Bad("no-pixels.png", ".png", lambda: _png(0, 0)),
    Bad("no-data.png", ".png", lambda: _png(64, 64)),
    Bad("unknown-kind.png", ".png", lambda: _png(8, 8, bytes(500), kind=7)),
    Bad("bomb.ppm", ".ppm", lambda: b"P6 99999 99999 255\n"),
    Bad("endless-number.ppm", ".ppm", lambda: b"P6 " + b"9" * 5000 + b" 4 255\n"),
    Bad("negative.ppm", ".ppm", lambda: b"P6 -4 4 255\n" + bytes(48)),
    Bad("bomb.bmp", ".bmp", lambda: b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 2**30, 2**30, 1, 24, *[0] * 6)),
    Bad("floats.tif", ".tif", _tiff_of_floats),
    Bad("drawing.png", ".png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'),
    Bad("postscript.jpg", ".jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(owned) run\n"),
]


# Checkpoints and weights


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _checkpoint(**changes: Any) -> bytes:
    entry = {"version": "0", "task": "SegmentationTask", "class_names": ["a", "b"], "image_size": [8, 8]}
    content = {
        "resvision": entry,
        "hyper_parameters": {"backbone": "resnet10t", "class_names": ["a", "b"], "in_channels": 3},
        "state_dict": {"weight": torch.zeros(200)},
        "global_step": 1,
    }
    return _saved(content | changes)


def _archive(*entries: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def _numpy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


CHECKPOINTS = [
    *_common(".ckpt"),
    *_cut("cut", ".ckpt", _checkpoint, (0.01, 0.1, 0.5, 0.9, 0.99)),
    *_flipped("entry", ".ckpt", _checkpoint, (0.05, 0.2, 0.5, 0.8, 0.95)),
    Bad("code", ".ckpt", lambda: _checkpoint(run=Touch())),
    Bad("bare-code", ".ckpt", lambda: pickle.dumps(Touch())),
    Bad("code-in-archive", ".ckpt", lambda: _archive(("archive/data.pkl", pickle.dumps(Touch())))),
    Bad("outside", ".ckpt", lambda: _archive(("../../owned", b"x"), ("archive/data.pkl", b"x"))),
    Bad("bomb", ".ckpt", lambda: _archive(("archive/data.pkl", bytes(50_000_000)))),
    Bad("list", ".ckpt", lambda: _saved([1, 2])),
    Bad("tensor", ".ckpt", lambda: _saved(torch.zeros(3))),
    Bad("entry-is-text", ".ckpt", lambda: _checkpoint(resvision="x")),
    Bad("entry-is-empty", ".ckpt", lambda: _checkpoint(resvision={})),
    Bad("unknown-task", ".ckpt", lambda: _checkpoint(resvision={"task": "os.system", "class_names": ["a"]})),
    Bad("no-settings", ".ckpt", lambda: _checkpoint(hyper_parameters=None)),
    Bad("settings-are-a-list", ".ckpt", lambda: _checkpoint(hyper_parameters=[1])),
    Bad(
        "settings-that-name-code",
        ".ckpt",
        lambda: _checkpoint(hyper_parameters={"_instantiator": "os.system", "_class_path": "os.system", "x": 1}),
    ),
    Bad("weights-of-nothing", ".ckpt", _checkpoint),
    Bad("weights-are-text", ".ckpt", lambda: _checkpoint(state_dict={"weight": "x"})),
    Bad("no-weights", ".ckpt", lambda: _checkpoint(state_dict=None)),
]


def _safetensors() -> bytes:
    return safetensors_bytes({"weight": torch.zeros(200)})


def _header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


WEIGHTS = [
    *(bad for suffix in (".pth", ".safetensors", ".npz") for bad in _common(suffix)),
    *_cut("cut", ".pth", lambda: _saved({"weight": torch.zeros(200)}), (0.1, 0.5, 0.95)),
    *_cut("cut", ".safetensors", _safetensors, (0.005, 0.05, 0.9)),
    *_cut("cut", ".npz", lambda: _archive(("weight.npy", _numpy(np.zeros(200)))), (0.1, 0.6, 0.95)),
    Bad("code", ".pth", lambda: _saved({"weight": Touch()})),
    Bad("old-code", ".pth", lambda: pickle.dumps({"weight": Touch()})),
    Bad("list", ".pth", lambda: _saved([torch.zeros(2)])),
    Bad("text", ".pth", lambda: _saved({"weight": "x"})),
    Bad("other-network", ".pth", lambda: _saved({"elsewhere.weight": torch.zeros(2)})),
    Bad("endless-header", ".safetensors", lambda: _header(b"{}", 2**63)),
    Bad("header-of-nothing", ".safetensors", lambda: _header(b"")),
    Bad("header-is-a-list", ".safetensors", lambda: _header(b"[1, 2]")),
    Bad(
        "outside-the-file",
        ".safetensors",
        lambda: _header(b'{"a": {"dtype": "F32", "shape": [9999999], "data_offsets": [0, 39999996]}}'),
    ),
    Bad(
        "negative-shape",
        ".safetensors",
        lambda: _header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}') + bytes(4),
    ),
    Bad("code", ".npz", lambda: _archive(("weight.npy", _numpy(np.array([Touch()], dtype=object))))),
    Bad("outside", ".npz", lambda: _archive(("../owned.npy", _numpy(np.zeros(2))))),
    Bad("no-array", ".npz", lambda: _archive(("weight.npy", b"no array"))),
]


# Archives of pictures in folders of classes


def _pictures(*more: tuple[str, bytes]) -> bytes:
    return _archive(*((f"{name}/{number}.png", _encoded(".png")) for name in "ab" for number in range(3)), *more)


def _patched(offset: int, value: bytes) -> bytes:
    """Change what the table of contents says of the first entry (APPNOTE.TXT of PKWARE, section 4.3.12)."""
    data = bytearray(_pictures())
    place = data.index(b"PK\x01\x02") + offset
    data[place : place + len(value)] = value
    return bytes(data)


def _end(offset: int, value: bytes) -> bytes:
    """Change what the end of the archive says of its table of contents (section 4.3.16)."""
    data = bytearray(_pictures())
    place = data.rindex(b"PK\x05\x06") + offset
    data[place : place + len(value)] = value
    return bytes(data)


ARCHIVES = [
    *_common(".zip"),
    *_cut("cut", ".zip", _pictures, (0.01, 0.3, 0.7, 0.95, 0.99)),
    *_flipped("entry", ".zip", _pictures, (0.05, 0.4)),
    Bad("nothing", ".zip", _archive),
    Bad("no-pictures", ".zip", lambda: _archive(("a/1.txt", b"x"), ("b/1.txt", b"x"))),
    Bad("no-classes", ".zip", lambda: _archive(("1.png", _encoded(".png")))),
    Bad("outside", ".zip", lambda: _pictures(("../owned.png", b"x"))),
    Bad("outside-windows", ".zip", lambda: _pictures(("..\\owned.png", b"x"))),
    Bad("absolute", ".zip", lambda: _pictures(("/tmp/owned.png", b"x"))),
    Bad("drive", ".zip", lambda: _pictures(("C:\\owned.png", b"x"))),
    Bad("empty-picture", ".zip", lambda: _pictures(("b/9.png", b""))),
    Bad("archive-as-picture", ".zip", lambda: _pictures(("b/9.png", _archive(("a/1.png", b"x"))))),
    Bad("bomb-as-picture", ".zip", lambda: _pictures(("b/9.png", _png(60_000, 60_000, bytes(10_000))))),
    Bad("encrypted", ".zip", lambda: _patched(8, b"\x01")),
    Bad("unknown-method", ".zip", lambda: _patched(10, b"\x61")),
    Bad("wrong-sum", ".zip", lambda: _patched(16, bytes(4))),
    Bad("bomb", ".zip", lambda: _patched(24, b"\xfe\xff\xff\xff")),
    Bad("larger-than-said", ".zip", lambda: _patched(24, b"\x64\x00\x00\x00")),
    Bad("entry-beyond-the-end", ".zip", lambda: _patched(42, b"\xff\xff\xff\x7f")),
    Bad("endless-name", ".zip", lambda: _patched(28, b"\xff\xff")),
    Bad("endless-table", ".zip", lambda: _end(12, b"\xff\xff\xff\x7f")),
    Bad("table-beyond-the-end", ".zip", lambda: _end(16, b"\xff\xff\xff\x7f")),
]


# Tables of pictures and labels


def _table(*lines: str) -> bytes:
    return "\n".join(lines or ("path,label", *(f"{n}.png,{'ab'[n % 2]}" for n in range(8)))).encode()


TABLES = [
    *_common(".csv"),
    *_cut("cut", ".csv", _table, (0.05, 0.15)),
    Bad("only-a-header", ".csv", lambda: _table("path,label")),
    Bad("other-columns", ".csv", lambda: _table("file,class", "0.png,a", "1.png,b")),
    Bad("columns-twice", ".csv", lambda: _table("path,label,label", "0.png,a,b")),
    Bad("both-kinds", ".csv", lambda: _table("path,label,labels", "0.png,a,b")),
    Bad("fewer-cells", ".csv", lambda: _table("path,label", "0.png,a", "1.png")),
    Bad("more-cells", ".csv", lambda: _table("path,label", "0.png,a,b,c", "1.png,b")),
    Bad("open-quote", ".csv", lambda: _table("path,label", '"0.png,a', "1.png,b")),
    Bad("endless-cell", ".csv", lambda: _table("path,label", "0.png," + "a" * 500_000, "1.png,b")),
    Bad("endless-line", ".csv", lambda: _table("path,label", "0.png" + ",a" * 500_000)),
    Bad("long-name", ".csv", lambda: _table("path,label", "x" * 50_000 + ".png,a", "1.png,b")),
    Bad("null-byte", ".csv", lambda: _table("path,label", "0\0.png,a", "1.png,b")),
    Bad("utf-16", ".csv", lambda: _table().decode().encode("utf-16")),
    Bad("latin-1", ".csv", lambda: "path,label\n0.png,\xe9".encode("latin-1")),
    Bad("parent", ".csv", lambda: _table("path,label", "../../../etc/passwd.png,a", "1.png,b")),
    Bad("parent-windows", ".csv", lambda: _table("path,label", "..\\..\\owned.png,a", "1.png,b")),
    Bad("absolute", ".csv", lambda: _table("path,label", "/etc/passwd.png,a", "1.png,b")),
    Bad("folder", ".csv", lambda: _table("path,label", ".,a", "1.png,b")),
    Bad("no-such-picture", ".csv", lambda: _table("path,label", *(f"{n + 90}.png,{'ab'[n % 2]}" for n in range(8)))),
    Bad("no-label", ".csv", lambda: _table("path,label", "0.png,", "1.png,b")),
    Bad("one-class", ".csv", lambda: _table("path,label", "0.png,a", "1.png,a")),
    Bad("twice", ".csv", lambda: _table("path,label", "0.png,a", "0.png,b")),
    Bad("unknown-split", ".csv", lambda: _table("path,label,split", "0.png,a,here", "1.png,b,val")),
    Bad("negative-weight", ".csv", lambda: _table("path,label,weight", "0.png,a,-1", "1.png,b,1")),
    Bad("infinite-weight", ".csv", lambda: _table("path,label,weight", "0.png,a,inf", "1.png,b,1")),
    Bad("formula-as-weight", ".csv", lambda: _table("path,label,weight", "0.png,a,=cmd|' /C calc'!A0", "1.png,b,1")),
    Bad(
        "weights-of-nothing",
        ".csv",
        lambda: _table("path,label,weight", *(f"{n}.png,{'ab'[n % 2]},0" for n in range(8))),
    ),
]


# Annotations: (format, file to replace) and what stands there then


def _deep(opening: str, closing: str = "", inner: str = "") -> bytes:
    return (opening * 100_000 + inner + closing * 100_000).encode()


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE annotation [<!ENTITY a0 "ha">{entities}]><annotation>&a11;</annotation>'.encode()


def _coco(**picture: Any) -> bytes:
    entry = {"id": 1, "file_name": "a.png", "width": 60, "height": 40} | picture
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}
    return json.dumps({"images": [entry], "categories": [{"id": 1, "name": "cat"}], "annotations": [box]}).encode()


_JSON, _XML, _LABELS, _YAML = "annotations/train.json", "Annotations/b.xml", "labels/train/b.txt", "data.yaml"

ANNOTATIONS: list[tuple[str, str, Bad]] = [
    *(("coco", _JSON, bad) for bad in _common(".json")),
    *(("coco", _JSON, bad) for bad in _cut("cut", ".json", _coco, (0.1, 0.5, 0.95))),
    ("coco", _JSON, Bad("deep-list", ".json", lambda: _deep("[", "]"))),
    ("coco", _JSON, Bad("deep-unclosed", ".json", lambda: _deep("["))),
    ("coco", _JSON, Bad("deep-mapping", ".json", lambda: _deep('{"images":', "}", "1"))),
    ("coco", _JSON, Bad("endless-number", ".json", lambda: b'{"images": [' + b"9" * 100_000 + b"]}")),
    ("coco", _JSON, Bad("utf-16", ".json", lambda: _coco().decode().encode("utf-16"))),
    ("coco", _JSON, Bad("parent", ".json", lambda: _coco(file_name="../../../../etc/passwd.png"))),
    ("coco", _JSON, Bad("absolute", ".json", lambda: _coco(file_name="/etc/passwd.png"))),
    ("coco", _JSON, Bad("null-byte", ".json", lambda: _coco(file_name="a\0.png"))),
    ("coco", _JSON, Bad("long-name", ".json", lambda: _coco(file_name="a" * 10_000 + ".png"))),
    ("coco", _JSON, Bad("folder", ".json", lambda: _coco(file_name="."))),
    ("coco", _JSON, Bad("negative-size", ".json", lambda: _coco(width=-5))),
    ("coco", _JSON, Bad("infinite-size", ".json", lambda: _coco(width=float("inf")))),
    *(("voc", _XML, bad) for bad in _common(".xml")),
    ("voc", _XML, Bad("laughs", ".xml", _laughs)),
    (
        "voc",
        _XML,
        Bad(
            "other-file",
            ".xml",
            lambda: b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
        ),
    ),
    ("voc", _XML, Bad("deep", ".xml", lambda: _deep("<a>", "</a>"))),
    ("voc", _XML, Bad("deep-unclosed", ".xml", lambda: _deep("<a>"))),
    ("voc", _XML, Bad("unknown-encoding", ".xml", lambda: b'<?xml version="1.0" encoding="ebcdic-9"?><annotation/>')),
    ("voc", _XML, Bad("wrong-encoding", ".xml", lambda: b'<?xml version="1.0" encoding="utf-16"?><annotation/>')),
    ("voc", _XML, Bad("other-root", ".xml", lambda: b"<svg/>")),
    ("voc", "ImageSets/Main/train.txt", Bad("parent", ".txt", lambda: b"../../etc/passwd\n")),
    ("voc", "ImageSets/Main/train.txt", Bad("binary", ".txt", lambda: np.random.default_rng(2).bytes(300))),
    *(("yolo", _LABELS, bad) for bad in (*_common(".txt"),) if not bad.name.startswith("empty")),
    ("yolo", _LABELS, Bad("words", ".txt", lambda: b"cat 1 1 1 1\n")),
    ("yolo", _LABELS, Bad("endless-line", ".txt", lambda: b"0 " + b"0.5 " * 100_000)),
    ("yolo", _LABELS, Bad("endless-number", ".txt", lambda: b"9" * 100_000 + b" 0.5 0.5 0.1 0.1")),
    *(("yolo", _YAML, bad) for bad in _common(".yaml")),
    (
        "yolo",
        _YAML,
        Bad("code", ".yaml", lambda: b"train: images/train\nnames: !!python/object/apply:os.mkdir [owned]"),
    ),
    ("yolo", _YAML, Bad("deep", ".yaml", lambda: b"[" * 20_000)),
    ("yolo", _YAML, Bad("parent", ".yaml", lambda: b"train: ../../../../../../etc\nnames: [cat, dog]")),
    ("yolo", _YAML, Bad("laughs", ".yaml", lambda: _aliases() + b"\ntrain: images/train\nnames: *a11")),
    (
        "yolo",
        _YAML,
        Bad("endless-classes", ".yaml", lambda: b"train: images/train\nnc: 9999999999\nnames: {9999999999: x}"),
    ),
]


# Configs


def _aliases() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


def _config(model: str = "SegmentationTask", data: str = "Shapes", more: str = "") -> bytes:
    return f"model: {{class_path: {model}}}\ndata: {{class_path: {data}}}\n{more}".encode()


CONFIGS = [
    *_common(".yaml"),
    Bad("code", ".yaml", lambda: b"model: !!python/object/apply:os.mkdir [owned]"),
    Bad("laughs", ".yaml", lambda: _aliases() + b"\nmodel: *a11"),
    Bad("deep", ".yaml", lambda: b"[" * 20_000),
    Bad("self", ".yaml", lambda: b"model: &m {class_path: SegmentationTask, init_args: *m}\ndata: *m"),
    Bad("model-is-a-command", ".yaml", lambda: _config(model="os.system")),
    Bad("model-is-a-process", ".yaml", lambda: _config(model="subprocess.Popen")),
    Bad("data-is-a-command", ".yaml", lambda: _config(data="os.mkdir")),
    Bad("model-is-a-number", ".yaml", lambda: b"model: 7\ndata: 8"),
    Bad("model-is-a-list", ".yaml", lambda: b"model: [a]\ndata: [b]"),
    Bad("callback-is-a-command", ".yaml", lambda: _config(more="trainer: {callbacks: [{class_path: os.mkdir}]}")),
    Bad("logger-is-a-process", ".yaml", lambda: _config(more="trainer: {logger: {class_path: subprocess.Popen}}")),
    Bad("endless-epochs", ".yaml", lambda: _config(more="trainer: {max_epochs: 1.0e+400}")),
    Bad("two-documents", ".yaml", lambda: _config() + b"---\nmodel: 1\n"),
    Bad("tabs", ".yaml", lambda: b"model:\n\tclass_path: SegmentationTask\n"),
]
