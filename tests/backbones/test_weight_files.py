import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from resvision.backbones.weight_files import read_state_dict
from tests.backbones.oracles import Hostile

STATE = {"conv1.weight": torch.arange(6.0).view(2, 3), "bn1.bias": torch.ones(2)}


def written(folder: Path, name: str, state: dict[str, Tensor]) -> Path:
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in state.items()})  # type: ignore[arg-type]  # no pickles
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.th", "w.bin", "w.ckpt", "w.safetensors", "w.npz"])
def test_read_state_dict__reads_each_format(name: str, tmp_path: Path) -> None:
    state = read_state_dict(written(tmp_path, name, STATE))
    assert set(state) == set(STATE)
    assert all(torch.equal(state[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_read_state_dict__finds_the_weights_in_a_training_checkpoint(wrapper: str, tmp_path: Path) -> None:
    torch.save({"epoch": 3, wrapper: STATE, "best": 0.9}, tmp_path / "c.pth")
    assert set(read_state_dict(tmp_path / "c.pth")) == set(STATE)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_read_state_dict__a_file_cut_short_is_one_clear_error(name: str, share: float, tmp_path: Path) -> None:
    path = written(tmp_path, name, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut short \(\d+ bytes\); fetch or copy"):
        read_state_dict(path)


def test_read_state_dict__code_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Hostile()}, "zip.pth")
    torch.save({"conv1.weight": nn.Linear(1, 1)}, "module.pth")
    with Path("raw.pth").open("wb") as file:
        pickle.dump({"conv1.weight": Hostile()}, file, protocol=2)
    np.savez("objects.npz", weight=np.array([Hostile()], dtype=object))
    for name in ("zip.pth", "module.pth", "raw.pth", "objects.npz"):
        with pytest.raises(ValueError, match=f"{name} holds something else than tensors, which could run code"):
            read_state_dict(Path(name))
    assert not Path("hostile").exists()


def test_read_state_dict__leaves_out_what_is_no_number(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {key: value.numpy() for key, value in STATE.items()}
    np.savez(tmp_path / "w.npz", class_names=np.array(["cat", "dog"]), **arrays)
    assert set(read_state_dict(tmp_path / "w.npz")) == set(STATE)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, not the file; download that by a link"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is a pointer of Git LFS",
        ),
    ],
)
def test_read_state_dict__knows_what_was_fetched_in_place_of_a_file(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} {message}"):
        read_state_dict(tmp_path / name)


def test_read_state_dict__says_what_else_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of weights at .*nowhere\.pth; check the path"):
        read_state_dict(tmp_path / "nowhere.pth")
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot tell the format of .*weights\.h5; weights end in \.pth"):
        read_state_dict(tmp_path / "weights.h5")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty\.pth holds no weights: a dict of tensors was expected"):
        read_state_dict(tmp_path / "empty.pth")
