import pytest
import torch
from torch import nn

from resvision.layers import FrozenBatchNorm2d, norm_factory


def test_frozen_norm__equals_batch_norm_in_evaluation_and_loads_its_state() -> None:
    batch, frozen = nn.BatchNorm2d(8), FrozenBatchNorm2d(8)
    batch(torch.randn(16, 8, 4, 4) * 3 + 1)
    frozen.load_state_dict(batch.state_dict())
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(frozen.train()(x), batch.eval()(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (16, 16), (24, 8)])
def test_group_norm__has_32_groups_or_what_divides_narrow_layers(channels: int, groups: int) -> None:
    norm = norm_factory("group")(channels)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


def test_norm_factory__an_unknown_word_is_an_error() -> None:
    with pytest.raises(ValueError, match="norm must be one of 'batch', 'group', 'frozen', 'sync', 'none', got 'layer'"):
        norm_factory("layer")  # type: ignore[arg-type]
