import pytest
import torch

from resvision.heads import ClassificationHead


def test_head__is_an_affine_map_of_the_mean_over_the_picture() -> None:
    head = ClassificationHead(8, 3)
    x = torch.randn(2, 8, 5, 7)
    expected = x.sum(dim=(2, 3)) / 35 @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(head(x), expected)


def test_head__drops_channels_only_while_training() -> None:
    head = ClassificationHead(1000, 1, dropout=0.75)
    torch.nn.init.ones_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    x = torch.ones(1, 1000, 2, 2)
    assert head.eval()(x).item() == pytest.approx(1000)
    # Each channel that is kept counts 1 / (1 - 0.75).
    kept = head.train()(x).item() / 4
    assert kept == pytest.approx(round(kept), abs=1e-3)
    assert 200 < kept < 300


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_head__refuses_a_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"dropout must be from 0 to below 1, got {dropout}"):
        ClassificationHead(8, 3, dropout=dropout)
