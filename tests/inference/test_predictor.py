"""A trained model in somebody else's hands: one file, pictures in, results out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import ExifTags, Image
from torch import Tensor

from resvision import create_backbone, load
from resvision.data import Shapes
from resvision.data.detection import DetectionDataset, DetectionSample
from resvision.data.detection_geometry import fitted_size
from resvision.data.fitting import resize
from resvision.drawing import class_colours
from resvision.inference import ClassificationResult, DetectionResult, MultiTaskResult, Predictor, SegmentationResult
from resvision.inference.predictor import _kinds
from resvision.models import Classifier
from resvision.tasks import ClassificationTask, DetectionTask, MultiTask, SegmentationTask, VisionTask


@pytest.fixture(scope="module")
def task() -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask(["background", "circle", "square", "triangle", "star"], backbone="resnet10t")


@pytest.fixture(scope="module")
def checkpoint(task: SegmentationTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(task)
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


def _picture(height: int = 45, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_load__gives_the_model_that_was_saved(checkpoint: Path, task: SegmentationTask) -> None:
    image = _picture()
    with torch.inference_mode():
        logits = task.eval()(torch.from_numpy(image).permute(2, 0, 1)[None])
    result = load(checkpoint, device="cpu").predict(image)
    assert isinstance(result, SegmentationResult)
    assert result.mask.shape == (45, 70)
    assert result.mask.dtype == np.uint8
    np.testing.assert_array_equal(result.mask, logits[0].argmax(dim=0).numpy())


def test_load__takes_the_best_of_a_run_folder(checkpoint: Path) -> None:
    assert load(checkpoint.parent.parent).class_names == ("background", "circle", "square", "triangle", "star")


def test_load__says_that_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoints/best.ckpt; it holds no checkpoint at all"):
        load(tmp_path)


def test_load__names_a_task_that_is_not_known_here(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["resvision"]["task"] = "DepthTask"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="of the task DepthTask, which is not known here"):
        load(tmp_path / "other.ckpt")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu,cuda"])
def test_load__says_that_there_is_no_such_device(device: str, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no device '{device}' here; give cpu, or cuda or mps"):
        load(checkpoint, device)


def test_predict__reads_a_file_as_its_pixels(checkpoint: Path, tmp_path: Path) -> None:
    image = _picture()
    Image.fromarray(image).save(tmp_path / "a.png")
    predictor = load(checkpoint, device="cpu")
    from_file, from_array = predictor.predict(tmp_path / "a.png"), predictor.predict(image)
    assert isinstance(from_file, SegmentationResult)
    assert isinstance(from_array, SegmentationResult)
    np.testing.assert_array_equal(from_file.mask, from_array.mask)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 1), (32, 32, 4)])
def test_predict__refuses_other_channels(task: SegmentationTask, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes pictures of shape \(H, W, 3\)"):
        Predictor(task, "cpu").predict(np.zeros(shape, np.uint8))


def test_result__shares_add_up_and_count_pixels() -> None:
    result = SegmentationResult(np.array([[0, 2], [2, 2]], np.uint8), ("sky", "road", "car"))
    assert result.shares() == {"sky": 0.25, "road": 0.0, "car": 0.75}


def test_result__index_image_keeps_the_class_numbers(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    SegmentationResult(mask, ("sky", "road", "car")).index_image().save(tmp_path / "mask.png")
    stored = Image.open(tmp_path / "mask.png")
    assert stored.mode == "P"
    np.testing.assert_array_equal(np.asarray(stored), mask)
    np.testing.assert_array_equal(np.asarray(stored.convert("RGB"))[1, 0], class_colours(3)[2])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shapes]:
    """Return the checkpoint of a classifier that has seen two steps, and its data."""
    data = Shapes(40, task="classification", train_size=8, val_size=3, test_size=6, batch_size=4)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(ClassificationTask(["circle", "square", "triangle", "star"], backbone="resnet10t"), data)
    path = tmp_path_factory.mktemp("classifier") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path, data


def test_predict__classifies_as_in_evaluation(classifier: tuple[Path, Shapes]) -> None:
    path, data = classifier
    predictor = load(path, device="cpu")
    batch = next(iter(data.test_dataloader()))
    with torch.inference_mode():
        expected = predictor.task(batch["image"]).softmax(dim=1)
    for image, probabilities in zip(batch["image"], expected, strict=True):
        result = predictor.predict(image.permute(1, 2, 0).numpy())
        assert isinstance(result, ClassificationResult)
        np.testing.assert_allclose(result.probabilities, probabilities.numpy(), atol=1e-5)


def test_predict__cuts_a_picture_to_the_size_of_training(classifier: tuple[Path, Shapes]) -> None:
    predictor = load(classifier[0], device="cpu")
    assert predictor.task.image_size == (40, 40)
    small = _picture(40, 40)
    # Thrice as large, and wider on both sides by what is cut off.
    large = np.pad(small.repeat(3, axis=0).repeat(3, axis=1), ((0, 0), (30, 30), (0, 0)))
    results = [predictor.predict(image) for image in (small, large)]
    one, other = (result.probabilities for result in results if isinstance(result, ClassificationResult))
    np.testing.assert_allclose(one, other, atol=1e-6)
    tiny = predictor.predict(_picture(1, 1))
    assert isinstance(tiny, ClassificationResult)
    assert tiny.class_names == ("circle", "square", "triangle", "star")


def test_classification_result__names_the_likeliest_first() -> None:
    result = ClassificationResult(np.array([0.25, 0.5, 0.125, 0.125], np.float32), ("a", "b", "c", "d"))
    assert result.top() == [("b", 0.5)]
    assert result.top(3) == [("b", 0.5), ("a", 0.25), ("c", 0.125)]
    assert [name for name, _ in result.top(9)] == ["b", "a", "c", "d"]


def _detector(input_size: int | tuple[int, int] | None) -> Predictor:
    """Return a detector that finds the same in every place, with scores above its threshold."""
    torch.manual_seed(0)
    task = DetectionTask(["cat", "dog"], backbone="resnet10t", channels=32, input_size=input_size)
    return Predictor(task.eval(), "cpu")


@pytest.mark.parametrize("input_size", [64, (64, 96), None])
def test_predict__finds_boxes_as_in_evaluation(input_size: int | tuple[int, int] | None) -> None:
    predictor = _detector(input_size)
    image = _picture(90, 130)
    result = predictor.predict(image)
    assert isinstance(result, DetectionResult)
    assert isinstance(predictor.task, DetectionTask)
    size = (90, 130) if input_size is None else fitted_size((90, 130), input_size)
    sample = {"image": resize(image, size), "original_size": (90, 130), "index": 0}
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    nothing |= {"crowd": np.zeros(0, np.bool_), "area": np.zeros(0, np.float32)}
    batch = DetectionDataset.collate([DetectionSample(**(sample | nothing))])  # type: ignore[typeddict-item]
    with torch.inference_mode():
        (found,) = predictor.task(batch["image"], batch["size"])
    assert len(result.boxes) == len(found["boxes"]) > 0
    factor = np.tile([130 / size[1], 90 / size[0]], 2)
    np.testing.assert_allclose(result.boxes, found["boxes"].numpy() * factor, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(result.scores, found["scores"].numpy(), rtol=1e-5)
    assert result.boxes.max(axis=0).tolist() <= [130, 90, 130, 90]
    assert result.names() == [("cat", "dog")[label] for label in result.labels]


@pytest.mark.parametrize("input_size", [64, None])
def test_predict__answers_all_kinds_in_pixels_of_the_picture(input_size: int | None) -> None:
    torch.manual_seed(0)
    names = {"classification": ["day", "night"], "segmentation": ["road", "sky", "car"], "detection": ["car"]}
    task = MultiTask(names, backbone="resnet10t", channels=32, input_size=input_size)  # type: ignore[arg-type]
    predictor = Predictor(task.eval(), "cpu")
    assert predictor.object_names == ("car",)
    image = _picture(90, 130)
    result = predictor.predict(image)
    assert isinstance(result, MultiTaskResult)
    assert result.classification is not None
    assert result.segmentation is not None
    assert result.detection is not None
    size = (90, 130) if input_size is None else fitted_size((90, 130), input_size)
    with torch.inference_mode():
        said = task(torch.from_numpy(resize(image, size)).permute(2, 0, 1)[None])
    np.testing.assert_allclose(
        result.classification.probabilities, said["classification"].softmax(dim=1)[0].numpy(), rtol=1e-5
    )
    assert result.segmentation.mask.shape == (90, 130)
    # Whatever lies between its neighbours may have another class; what is amidst its own has not.
    small = said["segmentation"][0].argmax(dim=0).numpy()
    there = small[np.arange(90) * size[0] // 90][:, np.arange(130) * size[1] // 130]
    assert (result.segmentation.mask == there).mean() > (0.9 if input_size else 0.999)
    factor = np.tile([130 / size[1], 90 / size[0]], 2)
    np.testing.assert_allclose(result.detection.boxes, said["detection"][0]["boxes"].numpy() * factor, rtol=1e-4)
    assert result.detection.class_names == ("car",)
    assert Predictor(MultiTask({"classification": ["day", "night"]}), "cpu").object_names is None


def test_detection_result__leaves_out_what_is_not_sure() -> None:
    boxes = np.array([[0, 0, 9, 9], [1, 1, 5, 5]], np.float32)
    result = DetectionResult(boxes, np.array([0.9, 0.2], np.float32), np.array([1, 0]), ("cat", "dog"))
    sure = result.surer_than(0.5)
    assert (sure.boxes.tolist(), sure.names()) == ([[0, 0, 9, 9]], ["dog"])
    drawn = result.overlay(np.zeros((12, 20, 3), np.uint8))
    assert drawn.size == (20, 12)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.bool_])
def test_predict__refuses_other_types(task: SegmentationTask, dtype: type) -> None:
    with pytest.raises(ValueError, match="the model takes pixels of uint8, uint16 or float32"):
        Predictor(task, "cpu").predict(_picture().astype(dtype))
    with pytest.raises(ValueError, match="the model takes pixels of uint8"):
        Predictor(task, "cpu").predict(_picture()[:0])


@pytest.mark.parametrize(
    ("pixels", "said"), [(255 * np.ones((9, 9, 3)), "255 to 255"), (np.full((9, 9, 3), np.nan), "nan to nan")]
)
def test_predict__refuses_numbers_that_are_no_shares(task: SegmentationTask, pixels: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=f"takes float32 pixels from 0 to 1, these go from {said}; divide by"):
        Predictor(task, "cpu").predict(pixels.astype(np.float32))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("turned", [False, True])
def test_predict__takes_pictures_of_pillow_as_their_files(
    task: SegmentationTask, mode: str, turned: bool, tmp_path: Path
) -> None:
    wide = Image.fromarray(_picture()[..., 0].astype(np.uint16) * 200)
    picture = wide if mode == "I;16" else Image.fromarray(_picture()).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6 if turned else 1
    picture.save(path, exif=tags, compression="tiff_lzw")  # Pillow 13.0 turns what is not compressed in a wrong way
    predictor = Predictor(task, "cpu")
    with Image.open(path) as opened:
        found = predictor.predict(opened)
    expected = predictor.predict(path)
    assert isinstance(found, SegmentationResult)
    assert isinstance(expected, SegmentationResult)
    assert found.mask.shape == ((70, 45) if turned else (45, 70))
    assert (found.mask == expected.mask).all()


def test_predict__names_what_a_picture_may_be(task: SegmentationTask) -> None:
    with pytest.raises(TypeError, match=r"a picture is a file, a picture of Pillow's, or a NumPy array .*, got Tensor"):
        Predictor(task, "cpu").predict(torch.zeros(9, 9, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'F' has pixels of 32 bits; convert it to 8 or 16"):
        Predictor(task, "cpu").predict(Image.fromarray(np.zeros((9, 9), np.float32)))


def test_predict__leaves_a_task_that_is_training_as_it_was() -> None:
    task = SegmentationTask(["a", "b"], backbone="resnet10t").train()
    task.model.backbone.eval()
    modes = [part.training for part in task.modules()]
    assert {True, False} == set(modes)
    state = {name: value.clone() for name, value in task.state_dict().items()}
    first = Predictor(task, "cpu").predict(_picture())
    assert [part.training for part in task.modules()] == modes
    for name, value in task.state_dict().items():
        assert torch.equal(value, state[name])  # batch norms have counted nothing
    second = Predictor(task.eval(), "cpu").predict(_picture())
    np.testing.assert_equal(vars(first), vars(second))


class OwnTask(VisionTask):
    """As a user writes one."""

    def __init__(self) -> None:
        super().__init__(["a", "b"], optimizer=torch.optim.AdamW, scheduler=None)
        self.save_hyperparameters({"backbone": "resnet10t", "weights": None, "in_channels": 3}, logger=False)
        self.model = Classifier(create_backbone("resnet10t"), 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits

    def training_loss(self, batch: Any) -> Tensor:
        raise NotImplementedError

    def reset_evaluation(self) -> None:
        """Forget nothing."""

    def evaluate(self, batch: Any) -> None:
        """Count nothing."""

    def scores(self) -> dict[str, float]:
        return {}

    def report(self) -> str:
        return ""


def test_predict__of_a_task_of_ones_own_is_for_its_owner() -> None:
    with pytest.raises(ValueError, match="what a OwnTask says of a picture has no kind of result here"):
        Predictor(OwnTask(), "cpu").predict(_picture())


def test_kinds__of_tasks_with_one_name_are_those_of_the_package() -> None:
    # Not of `VisionTask` itself: the command line would find a task of that name in later tests.
    root: Any = type("Root", (), {})
    ours = type("Task", (root,), {"__module__": "resvision.tasks.some"})
    own = type("Task", (root,), {"__module__": "my_tasks"})
    other = type("Other", (own,), {"__module__": "my_tasks"})
    assert own in root.__subclasses__()
    assert _kinds(root) == {"Task": ours, "Other": other}
    below = type("Task", (other,), {"__module__": "my_tasks"})
    assert _kinds(root) == {"Task": ours, "Other": other}
    assert _kinds(other) == {"Task": below}


def test_load__says_that_plain_weights_are_no_checkpoint(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", weight=np.zeros(3))
    with pytest.raises(ValueError, match=r"weights.npz is not a checkpoint of resvision; to start from plain weights"):
        load(tmp_path / "weights.npz", "cpu")


def test_load__knows_the_home_folder(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert load(f"~/{checkpoint.name}", "cpu").class_names == load(checkpoint, "cpu").class_names


def test_results__can_be_compared_and_kept_in_sets(task: SegmentationTask) -> None:
    first, second = (Predictor(task, "cpu").predict(_picture()) for _ in range(2))
    assert first != second
    assert len({first, second, first}) == 2
