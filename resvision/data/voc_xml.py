"""The XML file that Pascal VOC has for a picture: read with distrust, and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, ElementTree, SubElement, TreeBuilder, indent
from xml.parsers import expat

from resvision.data.annotation_files import box_of, read_small
from resvision.data.detection_records import Flag
from resvision.data.errors import DataError

__all__ = ["VocObject", "VocPicture", "parse_xml", "read_annotation", "write_annotation"]

#: Most bytes of an XML file. A box takes a few hundred, a parsed one many times that.
_MOST_BYTES: Final = 16 * 2**20
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
#: Marks of an object; `crowd` is COCO's word and none of VOC's, kept so that it survives a conversion.
_FLAGS: Final = {
    "truncated": Flag.TRUNCATED,
    "occluded": Flag.OCCLUDED,
    "difficult": Flag.DIFFICULT,
    "crowd": Flag.CROWD,
}


@dataclass(frozen=True)
class VocObject:
    """An object of a picture.

    Attributes:
        name: Its class.
        box: xyxy in pixels; the corners may be in any order.
        flags: What else is said of it, see `Flag`.
        area: Its pixels, None if the file does not state them.
    """

    name: str
    box: tuple[float, float, float, float]
    flags: int
    area: float | None


@dataclass(frozen=True)
class VocPicture:
    """An XML file.

    Attributes:
        file_name: What it calls its picture, empty if it does not.
        size: Height and width that it states, None if it does not.
        objects: Its objects, in their order.
    """

    file_name: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def parse_xml(path: Path) -> Element:
    """Parse an XML file that somebody else wrote.

    A document type is refused, as soon as it begins: annotations need none, and with it a file can define entities that
    grow to gigabytes or stand for other files.

    Args:
        path: File of at most 16 MiB.

    Raises:
        DataError: The file cannot be read, is too large, is no XML, or has a document type.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise DataError(f"{path}: it has a document type, which may hold entities; remove the line <!DOCTYPE ...>")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    data = read_small(path, _MOST_BYTES)
    try:
        parser.Parse(data, True)
        return builder.close()
    except DataError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two of an encoding that is not known
        raise DataError(f"{path}: not an XML file that can be read: {error}") from None


def read_annotation(path: Path) -> VocPicture:
    """Read the XML file of a picture.

    Args:
        path: File of at most 16 MiB.

    Raises:
        DataError: Not an annotation of Pascal VOC, or an object without a name or a box.
    """
    root = parse_xml(path)
    if root.tag != "annotation":
        raise DataError(f"{path}: not an annotation of Pascal VOC: it begins with <{root.tag:.40}>, not <annotation>")
    # Pascal's own files count pixels from 1 and name the last one inside; those of other tools state corners from 0.
    first = 1.0 if (root.findtext("source/annotation") or "").startswith("PASCAL VOC") else 0.0
    objects = tuple(_object(entry, f"{path}: object {n}", first) for n, entry in enumerate(root.findall("object")))
    size = (_whole(root.findtext("size/height")), _whole(root.findtext("size/width")))
    declared = (size[0], size[1]) if size[0] is not None and size[1] is not None else None
    return VocPicture((root.findtext("filename") or "").strip(), declared, objects)


def _object(entry: Element, where: str, first: float) -> VocObject:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{where}: it has no name")
    corners = [entry.findtext(f"bndbox/{corner}") for corner in _CORNERS]
    if None in corners:
        raise DataError(f"{where}: its bndbox lacks {_CORNERS[corners.index(None)]}")
    x1, y1, x2, y2 = box_of(corners, where)
    flags = sum(flag for key, flag in _FLAGS.items() if (entry.findtext(key) or "").strip() == "1")
    return VocObject(name, (x1 - first, y1 - first, x2, y2), flags, _number(entry.findtext("area")))


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number.is_integer() else None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def write_annotation(path: Path, picture: VocPicture) -> None:
    """Write the XML file of a picture; an area is left out where it is that of the box."""
    root = Element("annotation")
    SubElement(root, "filename").text = picture.file_name
    if picture.size is not None:
        size = SubElement(root, "size")
        SubElement(size, "width").text, SubElement(size, "height").text = str(picture.size[1]), str(picture.size[0])
    for thing in picture.objects:
        entry = SubElement(root, "object")
        SubElement(entry, "name").text = thing.name
        for key, flag in _FLAGS.items():
            if flag != Flag.CROWD or thing.flags & flag:
                SubElement(entry, key).text = str(int(thing.flags & flag != 0))
        box = SubElement(entry, "bndbox")
        for corner, value in zip(_CORNERS, thing.box, strict=True):
            SubElement(box, corner).text = _text(value)
        x1, y1, x2, y2 = thing.box
        if thing.area is not None and abs(thing.area - (x2 - x1) * (y2 - y1)) > 1e-6 * thing.area:
            SubElement(entry, "area").text = _text(thing.area)
    indent(root)
    ElementTree(root).write(path, encoding="utf-8")


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
