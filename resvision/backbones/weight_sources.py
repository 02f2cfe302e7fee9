"""Fetch pretrained weights through the libraries that publish them: the only place that uses the network."""

from difflib import get_close_matches

from torch import Tensor

from resvision.backbones.entry import BackboneEntry
from resvision.layers.normalize import InputStatistics

__all__ = ["fetch_timm", "fetch_torchvision"]

Weights = tuple[dict[str, Tensor], InputStatistics]


def fetch_timm(entry: BackboneEntry, tag: str) -> Weights:
    """Load the weights that timm publishes under a tag such as `a1_in1k`, from its cache if they are there.

    Raises:
        ValueError: timm has no such model, or no such tag of it.
        FileNotFoundError: They are not in the cache and cannot be fetched.
    """
    # Takes seconds to import, and only these weights need it.
    import timm
    from timm.models import get_arch_pretrained_cfgs

    model = _reference(entry, "timm")
    published = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
    _check_published(tag, published, entry=entry, library="timm")
    config = get_arch_pretrained_cfgs(model)[f"{model}.{tag}"]
    try:
        state = timm.create_model(f"{model}.{tag}", pretrained=True).state_dict()
    except Exception as error:  # the hub's client, and what it uses for requests, each have their own errors
        place = f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise FileNotFoundError(
            f"cannot fetch timm/{tag} for {entry.name}: {_first_line(error)}. Without a network, get "
            f"model.safetensors of {place} elsewhere, and pass the file's path as weights"
        ) from error
    return state, InputStatistics(tuple(config.mean), tuple(config.std))


def fetch_torchvision(entry: BackboneEntry, name: str) -> Weights:
    """Load the weights that torchvision publishes under a name such as `IMAGENET1K_V2`.

    Raises:
        ValueError: torchvision has no such model, or no such weights of it.
        FileNotFoundError: They are not in the cache and cannot be fetched.
    """
    from torchvision.models import get_model_weights  # takes seconds, and only these weights need it

    published = get_model_weights(_reference(entry, "torchvision"))
    _check_published(name, list(published.__members__), entry=entry, library="torchvision")
    weights = published[name]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # a refused connection, a wrong hash, a full disk: each its own error
        raise FileNotFoundError(
            f"cannot fetch torchvision/{name} for {entry.name}: {_first_line(error)}. Without a network, get "
            f"{weights.url} elsewhere, and pass the file's path as weights"
        ) from error
    transforms = weights.transforms()
    return state, InputStatistics(tuple(transforms.mean), tuple(transforms.std))


def _reference(entry: BackboneEntry, library: str) -> str:
    model = entry.reference_in(library)
    if model is None:
        raise ValueError(f"{library} has no model equal to {entry.name}; pass the path of a file as weights")
    return model


def _check_published(tag: str, published: list[str], *, entry: BackboneEntry, library: str) -> None:
    if tag not in published:
        near = get_close_matches(tag, published, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"{library} has no weights {tag!r} for {entry.name}; {hint}there are {', '.join(published) or 'none'}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
