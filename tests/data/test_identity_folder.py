from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.data import DataError, IdentityFolder
from resvision.inference import EmbeddingResult, load
from resvision.tasks import VerificationTask
from tests.shared_data import shared_data
from tests.tasks.trainers import quiet_trainer


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for place in ("a/s1", "a/s2", "b/s3", "b/s10", "s11"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(3):
            assert cv2.imwrite(str(tmp_path / place / f"{number}.png"), np.full((20, 16), 9 * number, np.uint8))
    return tmp_path


def _data(root: Path, **arguments: Any) -> IdentityFolder:
    defaults: dict[str, Any] = {"val": ["s1[01]"], "image_size": 8, "augmentation": "none"}
    return IdentityFolder(str(root), **(defaults | arguments))


def test_identities__are_found_anywhere_and_kept_apart(faces: Path) -> None:
    data = _data(faces, test=["s3"])
    assert data.class_names == ("s1", "s2")
    assert data.identities == {"train": ["s1", "s2"], "val": ["s10", "s11"], "test": ["s3"]}
    val = data.dataset("val")
    assert [val[index]["label"] for index in range(len(val))] == [0, 0, 0, 1, 1, 1]
    assert Path(val.name(3)) == faces / "s11" / "0.png"
    assert val[0]["image"].shape == (8, 8, 3)
    assert len(data.dataset("train")) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": ["s4"]}, "no identity is called s4; there are s1, s10, s11, s2, s3"),
        ({"test": ["s10"]}, "this identity is named in val and in test"),
        ({"val": ["s*"]}, "leave 0 identities to train on; name fewer"),
    ],
)
def test_identities__must_be_there_once(faces: Path, arguments: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _data(faces, **arguments)


def test_folders__of_one_name_are_an_error(faces: Path) -> None:
    (faces / "b" / "s1").mkdir()
    assert cv2.imwrite(str(faces / "b" / "s1" / "0.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match="has the same name"):
        _data(faces)


def test_folder__must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        _data(tmp_path / "none")
    with pytest.raises(DataError, match="there are pictures in 0 folders"):
        _data(tmp_path)


def test_split__without_identities_is_named(faces: Path) -> None:
    with pytest.raises(DataError, match="no identities are named for the split test; set test"):
        _data(faces).dataset("test")


def test_identities__of_the_orl_faces() -> None:
    data = _data(shared_data("orl_faces"), val=["s2[89]", "s30"], test=["s3[1-9]", "s40"])
    assert len(data.class_names) == 27
    assert len(data.identities["test"]) == 10
    assert len(data.dataset("test")) == 100


def test_pictures__are_seen_as_a_whole_in_training_validation_and_serving(tmp_path: Path) -> None:
    # Red at the left, green at the right: the middle alone would have neither.
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, :30, 0], picture[:, -30:, 1] = 255, 255
    for name in ("ann", "bob", "cem", "dan"):
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture[..., ::-1])
    data = IdentityFolder(str(tmp_path), val=["cem", "dan"], image_size=32, augmentation="none", num_workers=0)
    data.setup("fit")
    for split in ("train", "val"):
        image = data.dataset(split)[0]["image"]
        assert image.shape == (32, 32, 3)
        assert (image[:, 0].mean(0).tolist(), image[:, -1].mean(0).tolist()) == ([255, 0, 0], [0, 255, 0])
    task = VerificationTask(["ann", "bob"], backbone="resnet10t")
    (tmp_path / "run").mkdir()
    trainer = quiet_trainer(tmp_path / "run")
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    predictor = load(tmp_path / "a.ckpt", "cpu")
    assert isinstance(predictor.task, VerificationTask)
    assert predictor.task.whole_pictures
    batch = torch.from_numpy(data.dataset("val")[0]["image"]).permute(2, 0, 1)[None]
    result = predictor.predict(picture)
    assert isinstance(result, EmbeddingResult)
    with torch.inference_mode():
        np.testing.assert_allclose(result.embedding, predictor.task(batch)[0].numpy(), atol=1e-6)
