from pathlib import Path

from resvision.data.yolo import YoloDetection
from tests.data.box_folders import write_yolo_set


def test_description__may_have_another_name(tmp_path: Path) -> None:
    (write_yolo_set(tmp_path) / "data.yaml").rename(tmp_path / "cats.yaml")
    data = YoloDetection(str(tmp_path), data_yaml="cats.yaml", num_workers=0)
    assert data.class_names == ("cat", "dog")
    assert len(data.dataset("train")) + len(data.dataset("val")) == 3
