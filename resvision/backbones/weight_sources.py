"""Find pretrained weights, and read them: the only place that may use the network, and only when asked to."""

import hashlib
import json
import pickle
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urldefrag, urlsplit

import torch
from torch import Tensor

from resvision.backbones.entry import BackboneEntry
from resvision.backbones.registry import get_entry
from resvision.backbones.weight_files import SUFFIXES, read_header, read_state_dict
from resvision.layers.normalize import InputStatistics

__all__ = ["Weights", "list_weights", "read_weights"]

T = TypeVar("T")

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

# With these weights torchvision's network first undoes ImageNet's normalisation, as they were trained on -1..1.
_TORCHVISION_TRANSFORMED = {"googlenet": InputStatistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))}


class Weights(NamedTuple):
    """Parameters by name, and the statistics of the pictures that they were trained on, if the source says them."""

    state: dict[str, Tensor]
    statistics: InputStatistics | None


def list_weights(name: str) -> list[str]:
    """Return the published weights of a backbone, as `weights` of `create_backbone` takes them; needs no network.

    Raises:
        ValueError: No backbone is registered under the name.
    """
    entry, sources = get_entry(name), []
    if timm_name := entry.reference_in("timm"):
        sources += [f"timm/{tag}" for tag in _timm_tags(timm_name)]
    if torchvision_name := entry.reference_in("torchvision"):
        sources += [f"torchvision/{name}" for name in _torchvision_names(torchvision_name)]
    return sources


def read_weights(source: str, entry: BackboneEntry) -> Weights:
    """Read the weights that a source names.

    Args:
        source: `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>`, a URL that ends in `#sha256=<digest>`, or the
            path of a file.
        entry: Whose references say what the network is called in timm and torchvision.

    Raises:
        ValueError: The source or the file is not valid.
        FileNotFoundError: The weights are not there, or cannot be fetched; the message says which file to get.
    """
    if source.startswith("timm/"):
        return _from_timm(source, entry)
    if source.startswith("torchvision/"):
        return _from_torchvision(source, entry)
    if source.startswith("hf-hub:"):
        return _from_hub(source.removeprefix("hf-hub:"))
    if "://" in source:
        return _from_file(_from_url(source))
    return _from_file(Path(source).expanduser())


def _from_file(path: Path) -> Weights:
    """Read a file, and what it says of the pictures: in the header of what we export, or as a model's first layer."""
    state = read_state_dict(path)
    said = read_header(path)
    if "input_mean" in said:
        return Weights(state, InputStatistics(*(tuple(json.loads(said[key])) for key in ("input_mean", "input_std"))))
    for name in (name for name in state if name.endswith("normalization.mean")):
        return Weights(state, InputStatistics.of(state[name], state[name.removesuffix("mean") + "std"]))
    return Weights(state, None)


def _from_timm(source: str, entry: BackboneEntry) -> Weights:
    import timm  # takes seconds, and only these weights need it

    model, tag = _reference(entry, "timm"), source.removeprefix("timm/")
    _check_published(source, _timm_tags(model), entry)
    config = timm.models.get_arch_pretrained_cfgs(model)[f"{model}.{tag}"]
    repository = f"model.safetensors of https://huggingface.co/{config.hf_hub_id}"
    network = _fetch(lambda: timm.create_model(f"{model}.{tag}", pretrained=True), source, repository)
    return Weights(network.state_dict(), InputStatistics(tuple(config.mean), tuple(config.std)))


def _from_torchvision(source: str, entry: BackboneEntry) -> Weights:
    from torchvision.models import get_model_weights  # takes seconds, and only these weights need it

    model, name = _reference(entry, "torchvision"), source.removeprefix("torchvision/")
    _check_published(source, _torchvision_names(model), entry)
    weights = get_model_weights(model)[name]
    # `weights_only` is off by default here, and whatever code the file holds would run.
    state = _fetch(
        lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True),
        source,
        weights.url,
        cache=_torch_cache() / Path(weights.url).name,
    )
    transforms = weights.transforms()
    statistics = InputStatistics(tuple(transforms.mean), tuple(transforms.std))
    return Weights(state, _TORCHVISION_TRANSFORMED.get(model, statistics))


def _from_hub(repository: str) -> Weights:
    """Read a repository in timm's layout: the weights, and what `config.json` says of the pictures."""
    from huggingface_hub import hf_hub_download  # only these weights need it
    from huggingface_hub.errors import EntryNotFoundError

    def download() -> Path | None:
        absent = []
        for name in _HUB_FILES:
            try:
                return Path(hf_hub_download(repository, name))
            except EntryNotFoundError as error:
                absent.append(error)
        # Not in the cache, and no network to ask, is another thing than not in the repository.
        unknown = [error for error in absent if isinstance(error, FileNotFoundError)]
        if unknown:
            raise unknown[0]
        return None

    source = f"hf-hub:{repository}"
    file = _fetch(download, source, f"{_HUB_FILES[0]} of https://huggingface.co/{repository}")
    if file is None:
        raise ValueError(f"{source} has no file of weights; it needs {' or '.join(_HUB_FILES)}")
    try:
        text = Path(hf_hub_download(repository, "config.json")).read_text(encoding="utf-8")
        config = json.loads(text).get("pretrained_cfg", {})
    except EntryNotFoundError:
        config = {}
    statistics = InputStatistics(tuple(config["mean"]), tuple(config["std"])) if "mean" in config else None
    return Weights(read_state_dict(file), statistics)


def _from_url(source: str) -> Path:
    """Return the file of a URL, from torch's cache if it is there; its hash is checked each time."""
    url, fragment = urldefrag(source)
    digest = fragment.removeprefix("sha256=").lower()
    if not fragment.startswith("sha256=") or len(digest) != 64:
        raise ValueError(
            f"weights from a URL must end in '#sha256=' and 64 digits, so that they are known; got {source}"
        )
    name = Path(urlsplit(url).path).name
    if Path(name).suffix not in SUFFIXES:
        raise ValueError(f"cannot tell the format of {url}; weights end in {', '.join(SUFFIXES)}")
    path = _torch_cache() / f"{digest[:16]}-{name}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch = torch.hub.download_url_to_file
        _fetch(lambda: fetch(url, str(path), hash_prefix=digest, progress=False), source, url, cache=path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise ValueError(f"{path} is not the file that was asked for: its sha256 is {found}, not {digest}; delete it")
    return path


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _fetch(fetch: Callable[[], T], source: str, place: str, *, cache: Path | None = None) -> T:
    try:
        return fetch()
    except Exception as error:  # the hub's client, its HTTP library, urllib and torch each have their own errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "invalid hash value" in reason:
            raise ValueError(f"{source} is not the file that was asked for: {reason}") from error
        if isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"{source} holds something else than tensors, which could run code") from error
        raise FileNotFoundError(
            f"cannot fetch {source}: {reason}. Without a network, get {place} elsewhere, "
            f"and pass the file's path as weights{f', or put it at {cache}' if cache else ''}"
        ) from error


def _timm_tags(model: str) -> list[str]:
    import timm  # takes seconds, and only these weights need it

    return [name.removeprefix(f"{model}.") for name in timm.list_pretrained(f"{model}.*")]


def _torchvision_names(model: str) -> list[str]:
    from torchvision.models import get_model_weights  # takes seconds, and only these weights need it

    return [weights.name for weights in get_model_weights(model)]


def _reference(entry: BackboneEntry, library: str) -> str:
    model = entry.reference_in(library)
    if model is None:
        raise ValueError(f"{library} has no model equal to {entry.name}; pass the path of a file as weights")
    return model


def _check_published(source: str, published: Sequence[str], entry: BackboneEntry) -> None:
    library, _, tag = source.partition("/")
    if tag not in published:
        near = get_close_matches(tag, published, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(published) or "none"
        raise ValueError(f"{library} has no weights {tag!r} for {entry.name}; {hint}there are {known}")
