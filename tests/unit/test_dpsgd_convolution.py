"""Convolutions in one pass: lengths and weighted sums are those of each record's own gradient, however the layer is set."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.layers import convolution as module
from privlab.dpsgd.layers.convolution import Convolved, convolution
from privlab.dpsgd.layers.kernels import Kernels, using
from tests.onerecord import Net, check

#: PyTorch tells of a copy that it makes.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

WAYS = ["formed", "grams", "grouped"]


class Only(Kernels):
    """Takes one way where the layer has it."""

    def __init__(self, way: str):
        super().__init__()
        self._way = way

    def choose(self, layer, device, ways, trial) -> str:
        # The library does not group what it does not pad itself.
        return "formed" if self._way == "grouped" and "grouped" not in ways else self._way


def one_by_one(layer: nn.Module, x: Tensor, back: Tensor, n: int) -> list[Tensor]:
    """Gradients of Σ back·layer(x) over each record's rows, (n, …) for each parameter, in double precision."""
    layer = layer.double()
    found = []
    for rows, gradient in zip(x.double().chunk(n), back.double().chunk(n), strict=True):
        found.append(torch.autograd.grad(layer(rows), list(layer.parameters()), gradient))
    layer.float()
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def agree(layer: nn.Module, x: Tensor, n: int, way: str, room: float = 1e-5) -> None:
    # A record's gradient is as long as it is by chance, and longer where its rows are.
    back = torch.randn_like(layer(x)) * torch.logspace(-1, 1, len(x)).view(-1, *[1] * (x.dim() - 1))
    expected = one_by_one(layer, x, back, n)
    factors = torch.rand(n)
    # A new object for each, since a way is kept with what it formed.
    with using(Only(way)):
        together = [(use, use.lengths(), use.total(factors)) for use in convolution(layer, x, back, n)]
        each = [use.each() for use in convolution(layer, x, back, n)]
    assert [use.parameter for use, *_ in together] == list(layer.parameters())
    for (_, lengths, total), apart, right in zip(together, each, expected, strict=True):
        norms = right.flatten(1).norm(dim=1)
        assert ((lengths - norms).abs() <= room * norms + 1e-12).all()
        summed = torch.einsum("n,n...->...", factors.double(), right)
        assert total.shape == right.shape[1:]
        assert (total - summed).norm() <= room * (factors.double() @ norms)
        assert (apart - right).flatten(1).norm(dim=1).le(room * norms + 1e-12).all()


CONFIGURATIONS = {
    "plain": (lambda: nn.Conv2d(3, 4, 3), (3, 8, 7)),
    "no bias": (lambda: nn.Conv2d(3, 4, 3, bias=False), (3, 8, 7)),
    "stride that leaves a rest": (lambda: nn.Conv2d(2, 4, 3, stride=(2, 3), padding=(1, 2)), (2, 8, 9)),
    "dilation": (lambda: nn.Conv2d(2, 4, (3, 2), dilation=(2, 3), padding=1), (2, 9, 8)),
    "same, even kernel": (lambda: nn.Conv2d(2, 4, 4, padding="same"), (2, 6, 5)),
    "same, dilated": (lambda: nn.Conv2d(2, 4, (2, 3), padding="same", dilation=3), (2, 6, 7)),
    "valid": (lambda: nn.Conv2d(2, 4, 2, padding="valid"), (2, 6, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1, stride=2), (4, 6, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 6, 5)),
    "one place": (lambda: nn.Conv2d(2, 5, (6, 5)), (2, 6, 5)),
    "pointwise": (lambda: nn.Conv2d(4, 6, 1), (4, 6, 5)),
    "pointwise, strided": (lambda: nn.Conv2d(4, 6, 1, stride=2), (4, 6, 5)),
    "one axis": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=2), (3, 9)),
    "one axis, same": (lambda: nn.Conv1d(4, 4, 4, padding="same", groups=2), (4, 9)),
    "three axes": (lambda: nn.Conv3d(2, 4, (2, 3, 1), padding=(1, 0, 2), stride=(1, 2, 1)), (2, 4, 5, 3)),
    **{
        mode: (lambda mode=mode: nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode=mode, stride=2), (2, 6, 5))
        for mode in ("circular", "reflect", "replicate")
    },
    "circular, same": (lambda: nn.Conv1d(2, 4, 4, padding="same", padding_mode="circular"), (2, 9)),
}
FORMATS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1),
    "part of a larger tensor": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("views", [1, 3])
def test_each_setting_of_a_layer(name: str, way: str, views: int) -> None:
    build, shape = CONFIGURATIONS[name]
    agree(build(), torch.randn(5 * views, *shape), 5, way)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["plain", "groups", "three axes"])
def test_wherever_the_numbers_lie(form: str, way: str, name: str) -> None:
    build, shape = CONFIGURATIONS[name]
    agree(build(), FORMATS[form](torch.randn(6, *shape)), 6, way)


@pytest.mark.parametrize("records", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_few_records_at_a_time(monkeypatch, records: int, way: str) -> None:
    """Blocks of one, two and three records of seven: the last is not full."""
    layer, x = nn.Conv2d(2, 4, 3, padding=1), torch.randn(14, 2, 6, 5)
    a_record = 2 * 30 * 18 * 4
    monkeypatch.setitem(module._BLOCK_BYTES, "cpu", records * a_record)
    agree(layer, x, 7, way)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_layers(data) -> None:
    axes = data.draw(st.integers(1, 3))

    def several(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(axes))

    groups, kernel, dilation = data.draw(st.integers(1, 3)), several(1, 3), several(1, 2)
    stride = several(1, 3)
    padding = data.draw(st.sampled_from(["same", "valid", *[several(0, 2)] * 2]))
    if padding == "same":
        stride = (1,) * axes
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
        groups * data.draw(st.integers(1, 3)),
        groups * data.draw(st.integers(1, 3)),
        kernel,
        stride,
        padding,
        dilation,
        groups,
        data.draw(st.booleans()),
        data.draw(st.sampled_from(["zeros", "circular", "replicate"])),
    )
    places = [d * (k - 1) + 1 + data.draw(st.integers(0, 3)) for k, d in zip(kernel, dilation, strict=True)]
    n, views = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    if layer.padding_mode == "circular":  # PyTorch goes around once at most
        places = [max(p, 4) for p in places]
    x = FORMATS[data.draw(st.sampled_from(list(FORMATS)))](torch.randn(n * views, layer.in_channels, *places))
    agree(layer, x, n, data.draw(st.sampled_from(WAYS)))


def test_terms_that_cancel_are_measured_as_they_are_summed() -> None:
    """The gradients at most places cancel; inner products alone would be wrong by a third of the length."""
    layer, x = nn.Conv2d(2, 4, 2, bias=False), torch.ones(3, 2, 5, 5)
    back = torch.randn(3, 4, 4, 4) * 1e3
    back -= back.mean((2, 3), keepdim=True)
    back += 1e-3 * torch.randn(3, 4, 1, 1)
    use = Convolved(layer, x, back, 3, "grams")
    lengths, formed = use.lengths(), Convolved(layer, x, back, 3).each()
    torch.testing.assert_close(lengths, formed.flatten(1).norm(dim=1))
    for i in range(3):
        factors = torch.eye(3)[i]
        assert use.total(factors).norm() <= lengths[i] * (1 + 1e-5)


def test_one_layer_used_twice_has_one_gradient() -> None:
    shared = nn.Conv2d(2, 2, 3, padding=1)
    model = Net(lambda parts, x: parts[1](parts[0](torch.tanh(parts[0](x))).flatten(1)), shared, nn.Linear(60, 3))
    check(model, torch.randn(9, 2, 6, 5), torch.randint(0, 3, (9,)))


def test_whichever_part_trains() -> None:
    layer, x = nn.Conv2d(2, 4, 3), torch.randn(3, 2, 6, 5)
    back = torch.randn(3, 4, 4, 3)
    layer.weight.requires_grad_(False)
    assert [use.parameter for use in convolution(layer, x, back, 3)] == [layer.bias]
    layer.weight.requires_grad_(True), layer.bias.requires_grad_(False)
    assert [use.parameter for use in convolution(layer, x, back, 3)] == [layer.weight]


def test_input_without_records_is_refused() -> None:
    with pytest.raises(MechanismError, match="Conv2d got an input of 3 axes"):
        list(convolution(nn.Conv2d(2, 4, 3), torch.randn(2, 6, 5), torch.randn(4, 4, 3), 1))


def test_fewer_multiplications_come_first() -> None:
    assert module.quicker(784, 144, 16) == ["formed"]
    assert module.quicker(16, 4608, 512) == ["grams", "formed"]
    assert module.quicker(49, 576, 64) == ["grams", "formed"]
    assert module.quicker(64, 576, 64) == ["formed", "grams"]
