import pytest
import torch

from resvision.tasks.precise import PictureMean


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_mean__counts_pictures_and_no_batches(dtype: torch.dtype) -> None:
    mean = PictureMean().to(dtype)
    for number in range(300):
        mean.update(torch.tensor(1.0, dtype=dtype), 1)
        mean.update(torch.tensor(5.0 * number, dtype=dtype), torch.tensor(0))
    mean.update(torch.tensor(2.0, dtype=dtype), torch.tensor(300))
    assert mean.compute().item() == pytest.approx(1.5)
