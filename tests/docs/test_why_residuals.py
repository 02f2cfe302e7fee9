"""`docs/why-residuals.md`: its program runs and says what is true, and its commands name what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resvision.cli.study.plan import names
from resvision.layers import BasicBlock, BlockStyle

PAGE = (Path(__file__).parents[2] / "docs" / "why-residuals.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ resvision study (\w+) ", PAGE, flags=re.MULTILINE)


def test_identity__holds_for_the_chain_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(code, "why-residuals.md", "exec"), found)
    assert len(found["shares"]) == 27
    shares, at_output, at_input = sum(found["shares"]), found["at_output"], found["gradients"][0]
    torch.testing.assert_close(at_input, at_output + shares, rtol=0, atol=1e-12)
    # The shares are not nothing, and neither is what they are added to.
    assert shares.norm() > 0.1 * at_output.norm()
    line = re.compile(r"^norm (\w+): off by (\S+); (\S+) of the gradient at the input, (\S+) without", re.MULTILINE)
    printed, said = (line.findall(text) for text in (capsys.readouterr().out, PAGE))
    assert [norm for norm, *_ in printed] == [norm for norm, *_ in said] == ["none", "batch"]
    for (_, error, *ratios), (_, _, *others) in zip(printed, said, strict=True):
        assert float(error) < 1e-12
        assert [float(ratio) for ratio in ratios] == pytest.approx([float(other) for other in others], rel=0.05)


def test_identity__needs_a_sum_that_nothing_follows() -> None:
    """A block with a rectifier after the sum hands on what the rectifier lets through."""
    block = BasicBlock(4, 4, style=BlockStyle()).double().eval()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    y = block(x)
    at_output = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, at_output)
    passed = at_output * (y > 0)
    inner = x.detach().requires_grad_()
    branch = nn.Sequential(block.conv1, block.bn1, nn.ReLU(), block.conv2, block.bn2)
    (share,) = torch.autograd.grad(branch(inner), inner, passed)
    torch.testing.assert_close(gradient, passed + share, rtol=0, atol=1e-12)
    assert (gradient - (at_output + share)).abs().max() > 0.1


def test_commands__name_every_study() -> None:
    assert set(COMMANDS) == set(names())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`((?:tests|benchmarks|configs)/[\w./]+)`", PAGE))))
def test_page__names_only_what_is_there(target: str) -> None:
    assert (Path(__file__).parents[2] / target).exists()
