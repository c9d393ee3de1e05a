"""Each kind of layer: one pass says of its parameters what one-record gradients say."""

from __future__ import annotations

import pytest
import torch
from opacus.layers import DPGRU, DPLSTM, DPRNN, DPMultiheadAttention
from torch import Tensor, nn

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.layers.embedding import Lookup
from privlab.dpsgd.layers.linear import Product
from privlab.dpsgd.layers.rules import FORWARDS, RULES
from privlab.dpsgd.layers.scale import scaled, shifted
from privlab.dpsgd.layers.uses import Rows, Shared
from privlab.dpsgd.methods import gradients_for
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.onepass import OnePassGradients
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan
from tests.onerecord import Net, check, length, one_by_one, summed

CLASSES, WORDS, PLACES, WIDTH, RECORDS = 3, 11, 5, 8, 7


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def sentences(views: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randint(0, WORDS, (RECORDS * views, PLACES))
    x[0] = 4  # the same word everywhere
    return x, torch.randint(0, CLASSES, (RECORDS,))


def pictures(*shape: int, views: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(RECORDS * views, *shape) * torch.logspace(-1, 1, RECORDS * views).view(-1, *[1] * len(shape))
    return x, torch.randint(0, CLASSES, (RECORDS,))


def words(*between: nn.Module, embedding: nn.Module | None = None) -> nn.Module:
    """Words of a record → some layers on (rows, places, width) → its class."""
    return Net(
        lambda parts, x: parts[-1](nn.Sequential(*parts[1:-1])(parts[0](x)).mean(1)),
        embedding or nn.Embedding(WORDS, WIDTH),
        *between,
        nn.Linear(WIDTH, CLASSES),
    )


class Scale(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Shift(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def frozen(layer: nn.Module, name: str) -> nn.Module:
    getattr(layer, name).requires_grad_(False)
    return layer


ON_WORDS = {
    "embedding": lambda: words(nn.Tanh()),
    "embedding with padding": lambda: words(nn.Tanh(), embedding=nn.Embedding(WORDS, WIDTH, padding_idx=4)),
    "linear": lambda: words(nn.Linear(WIDTH, WIDTH), nn.Tanh()),
    "wide linear": lambda: words(nn.Linear(WIDTH, 90), nn.Tanh(), nn.Linear(90, WIDTH, bias=False)),
    "layer norm": lambda: words(nn.LayerNorm(WIDTH), nn.Tanh()),
    "layer norm over places too": lambda: words(nn.LayerNorm((PLACES, WIDTH)), nn.Tanh()),
    "layer norm without bias": lambda: words(nn.LayerNorm(WIDTH, bias=False, eps=0.1), nn.Tanh()),
    "layer norm without parameters": lambda: words(nn.LayerNorm(WIDTH, elementwise_affine=False), nn.Tanh()),
    "layer norm, frozen weight": lambda: words(frozen(nn.LayerNorm(WIDTH), "weight"), nn.Tanh()),
    "rms norm": lambda: words(nn.RMSNorm(WIDTH, eps=0.1), nn.Tanh()),
    "rms norm, own eps": lambda: words(nn.RMSNorm(WIDTH), nn.Tanh()),
    "group norm on places": lambda: words(nn.GroupNorm(1, PLACES), nn.Tanh()),
    "instance norm 1d": lambda: words(nn.InstanceNorm1d(PLACES, affine=True), nn.Tanh()),
}
ON_PICTURES = {
    "group norm": lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)),
    "instance norm 2d": lambda: nn.Sequential(
        nn.InstanceNorm2d(4, affine=True, eps=0.1), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)
    ),
    "instance norm 3d": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)), nn.InstanceNorm3d(2, affine=True), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)
    ),
    "changed in place": lambda: nn.Sequential(
        nn.Linear(4, 4),
        nn.ReLU(inplace=True),
        nn.InstanceNorm2d(4, affine=True),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    ),
}


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("name", ON_WORDS)
def test_layers_on_words(name: str, views: int) -> None:
    model = ON_WORDS[name]()
    assert gradients_for("one-pass", ON_WORDS[name](), 1.0).fallbacks == []
    check(model, *sentences(views), views=views)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("name", ON_PICTURES)
def test_layers_on_pictures(name: str, views: int) -> None:
    model = ON_PICTURES[name]()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    assert gradients_for("one-pass", ON_PICTURES[name](), 1.0).fallbacks == []
    check(model, *pictures(4, 4, 4, views=views), views=views, room=2e-5)


@pytest.mark.parametrize("shape", [(), (1,), (WIDTH,), (PLACES, 1), (PLACES, WIDTH), (1, PLACES, WIDTH)])
@pytest.mark.parametrize("views", [1, 2])
def test_a_rule_for_a_layer_of_ones_own(shape: tuple[int, ...], views: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/architecture.md says under “Adding things — a kind of layer”."""
    model = words(Scale(*shape), nn.Tanh(), Shift(*shape), nn.Tanh())
    with pytest.raises(MechanismError, match=r"\(Scale\) has no exact rule"):
        gradients_for("one-pass", model, 1.0)
    monkeypatch.setitem(RULES, Scale, scaled("scale"))
    monkeypatch.setitem(RULES, Shift, shifted("shift"))
    check(model, *sentences(views), views=views)


# --- Attention


def attending(layer: nn.MultiheadAttention, cross: str = "self", **options) -> nn.Module:
    """Words → attention to themselves, or to other embeddings of them → a class."""

    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        query = parts[0](x)
        key = query if cross == "self" else parts[1](x[:, 1:])
        value = parts[2](x[:, 1:]) if cross == "values apart" else key
        first = layer.batch_first
        inputs = (query, key, value) if first else (query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        if cross == "self":
            inputs = (inputs[0],) * 3
        given = {name: make(x) for name, make in options.items()}
        mixed, weights = parts[3](*inputs, **given)
        pooled = (mixed if first else mixed.transpose(0, 1)).mean(1)
        return (
            parts[4](pooled)
            if weights is None
            else parts[4](pooled) * weights.square().sum((-1, -2)).reshape(len(x), -1)[:, :1]
        )

    return Net(
        compute,
        nn.Embedding(WORDS, WIDTH),
        nn.Embedding(WORDS, layer.kdim),
        nn.Embedding(WORDS, layer.vdim),
        layer,
        nn.Linear(WIDTH, CLASSES),
    )


def _causal(keys: int):
    return lambda x: nn.Transformer.generate_square_subsequent_mask(PLACES)[:, :keys]


def _padding(keys: int):
    return lambda x: (x[:, :keys] == 2) & (torch.arange(keys) > 0)


def _of_each_head(keys: int):
    return lambda x: (
        (x[:, None, :, None] + x[:, None, None, :keys]).float().expand(-1, 2, -1, -1).reshape(-1, PLACES, keys)
    )


#: What is attended to, the layer's options, and the call's by the number of keys.
ATTENTION = {
    "self": ("self", {}, {}),
    "self without bias": ("self", {"bias": False}, {}),
    "without weights": ("self", {}, {"need_weights": lambda keys: lambda x: False}),
    "weights of each head": ("self", {}, {"average_attn_weights": lambda keys: lambda x: False}),
    "causal": ("self", {}, {"attn_mask": _causal, "need_weights": lambda keys: lambda x: False}),
    "causal by a hint": (
        "self",
        {},
        {"attn_mask": _causal, "is_causal": lambda keys: lambda x: True, "need_weights": lambda keys: lambda x: False},
    ),
    "padding": ("self", {}, {"key_padding_mask": _padding}),
    "both masks": (
        "self",
        {},
        {"key_padding_mask": _padding, "attn_mask": lambda keys: lambda x: _causal(keys)(x) < 0},
    ),
    "a mask of each head": ("self", {}, {"attn_mask": _of_each_head, "need_weights": lambda keys: lambda x: False}),
    "cross": ("keys", {}, {"key_padding_mask": _padding}),
    "cross without bias": ("keys", {"bias": False}, {}),
    "cross, values apart": ("values apart", {}, {}),
    "other widths": ("values apart", {"kdim": 6, "vdim": 5}, {}),
    "other width of keys and values": ("values apart", {"kdim": 6, "vdim": 6, "bias": False}, {}),
}


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask is deprecated")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str, batch_first: bool) -> None:
    cross, options, call = ATTENTION[name]
    keys = PLACES if cross == "self" else PLACES - 1
    layer = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first, **options)
    if layer.in_proj_bias is not None:
        nn.init.normal_(layer.in_proj_bias)
    model = attending(layer, cross, **{name: make(keys) for name, make in call.items()})
    x, y = sentences()
    gradients = gradients_for("one-pass", model, 1.0)
    with gradients.bare() as bare:
        usual = bare(x)
    with gradients._recorder.recording(len(x)):
        torch.testing.assert_close(model(x), usual)
    check(model, x, y)
    assert "forward" not in vars(layer)
    check(model, *sentences(2), views=2, mode="per-layer")


def test_attention_with_frozen_projections() -> None:
    for name in ("in_proj_weight", "in_proj_bias"):
        check(attending(frozen(nn.MultiheadAttention(WIDTH, 2, batch_first=True), name)), *sentences())
    layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    layer.out_proj.requires_grad_(False)
    check(attending(layer), *sentences())
    layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    layer.in_proj_weight.requires_grad_(False)
    layer.in_proj_bias.requires_grad_(False)
    check(attending(layer), *sentences())


def test_attention_dropout_is_drawn_as_ever() -> None:
    model = attending(nn.MultiheadAttention(WIDTH, 2, 0.5, batch_first=True), need_weights=lambda x: False)
    x, _ = sentences()
    gradients = gradients_for("one-pass", model, 1.0)
    torch.manual_seed(3)
    usual = model(x)
    torch.manual_seed(3)
    with gradients._recorder.recording(len(x)):
        torch.testing.assert_close(model(x), usual)


def test_attention_twice_by_one_layer() -> None:
    layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        a = parts[0](x)
        a = parts[1](a, a, a)[0]
        b = a.flip(1)
        return parts[2](parts[1](a, b, b)[0].mean(1))

    check(Net(compute, nn.Embedding(WORDS, WIDTH), layer, nn.Linear(WIDTH, CLASSES)), *sentences())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_layers(batch_first: bool, bias: bool) -> None:
    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        first = parts[0](x) if batch_first else parts[0](x).transpose(0, 1)
        second = parts[3](parts[2](parts[1](first)), parts[1](first))
        return parts[4]((second if batch_first else second.transpose(0, 1)).mean(1))

    encoder, *others = (
        kind(WIDTH, 2, 16, 0.0, batch_first=batch_first, bias=bias)
        for kind in (nn.TransformerEncoderLayer, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    )
    model = Net(compute, nn.Embedding(WORDS, WIDTH), encoder, *others, nn.Linear(WIDTH, CLASSES))
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    check(model, *sentences())


@pytest.mark.parametrize("bias_kv", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_opacus_attention(batch_first: bool, bias_kv: bool) -> None:
    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        a = parts[0](x) if batch_first else parts[0](x).transpose(0, 1)
        a = parts[1](a, a, a)[0]
        return parts[2]((a if batch_first else a.transpose(0, 1)).mean(1))

    layer = DPMultiheadAttention(WIDTH, 2, batch_first=batch_first, add_bias_kv=bias_kv)
    check(Net(compute, nn.Embedding(WORDS, WIDTH), layer, nn.Linear(WIDTH, CLASSES)), *sentences())


@pytest.mark.parametrize("kind", [DPLSTM, DPGRU, DPRNN])
def test_opacus_recurrent_layers(kind: type[nn.Module]) -> None:
    model = Net(
        lambda parts, x: parts[2](parts[1](parts[0](x))[0].mean(1)),
        nn.Embedding(WORDS, WIDTH),
        kind(WIDTH, 6, batch_first=True, bidirectional=True),
        nn.Linear(12, CLASSES),
    )
    assert gradients_for("one-pass", model, 1.0).fallbacks == []
    check(model, *sentences())


# --- Parameters with several uses


def tied(kind: str) -> nn.Module:
    embedding, twice = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)
    head, other = nn.Linear(WIDTH, WORDS), nn.Linear(WIDTH, WIDTH)
    if kind == "embedding and head":
        head.weight = embedding.weight
        return Net(lambda parts, x: parts[1](parts[0](x).tanh()).mean(1)[:, :CLASSES], embedding, head)
    if kind == "embedding twice and head twice":
        head.weight = embedding.weight
        return Net(
            lambda parts, x: (parts[1](parts[0](x).tanh()) - parts[1](parts[0](x[:, 1:])).mean(1, True)).mean(1)[
                :, :CLASSES
            ],
            embedding,
            head,
        )
    if kind == "two embeddings":
        other = nn.Embedding(WORDS, WIDTH, padding_idx=4)
        other.weight = embedding.weight
        return words(nn.Tanh(), embedding=Net(lambda parts, x: parts[0](x) * parts[1](x.flip(1)), embedding, other))
    if kind == "one layer twice":
        return words(twice, nn.Tanh(), twice, nn.Tanh())
    if kind == "two layers":
        other.weight = twice.weight
        return words(twice, nn.Tanh(), other, nn.Tanh())
    if kind == "norm twice":
        norm = nn.LayerNorm(WIDTH)
        return words(norm, nn.Tanh(), norm)
    if kind == "a bias and a weight":
        norm, layer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        layer.bias = norm.weight
        return words(norm, nn.Tanh(), layer)
    raise ValueError(kind)


TIED = (
    "embedding and head",
    "embedding twice and head twice",
    "two embeddings",
    "one layer twice",
    "two layers",
    "norm twice",
    "a bias and a weight",
)


@pytest.mark.parametrize("mode", ["flat", "per-layer"])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("kind", TIED)
def test_uses_of_one_parameter_are_measured_together(kind: str, views: int, mode: str) -> None:
    check(tied(kind), *sentences(views), views=views, mode=mode)


@pytest.mark.parametrize("kind", TIED)
def test_summing_lengths_of_uses_would_be_wrong(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shared, "lengths", lambda self: torch.stack([use.lengths() for use in self._uses]).norm(dim=0))
    with pytest.raises(AssertionError):
        check(tied(kind), *sentences())


def test_no_gradient_of_a_whole_vocabulary_is_formed_for_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def each(self):
        raise AssertionError(f"{type(self).__name__} was formed for {tuple(self.parameter.shape)}")

    words_, wide = 500, 64
    embedding, head = nn.Embedding(words_, wide), nn.Linear(wide, words_, bias=False)
    head.weight = embedding.weight
    model = Net(lambda parts, x: parts[1](parts[0](x).tanh()).mean(1)[:, :CLASSES], embedding, head)
    for kind in (Lookup, Product, Shared, Rows):
        monkeypatch.setattr(kind, "each", each)
    check(model, torch.randint(0, words_, (RECORDS, PLACES)), torch.randint(0, CLASSES, (RECORDS,)))


# --- Terms that cancel


def cancelling(places: int, width: int, difference: float, kinds: int) -> tuple[Tensor, Tensor]:
    """A sequence of few nearly equal tokens, whose gradients nearly cancel each other: every rounding is repeated many times."""
    came = torch.randn(1, width) + difference * torch.randn(kinds, width)
    back = torch.randn(1, width) + difference * torch.randn(kinds, width)
    kind = torch.randint(0, kinds, (places,))
    return came[kind][None], (back[kind] * torch.tensor([1.0, -1.0]).repeat(places // 2)[:, None])[None]


def test_where_terms_cancel_what_is_measured_is_what_is_summed() -> None:
    worst = worst_without = 0.0
    for places in (2, 8, 64):
        for difference in torch.logspace(-7, 0, 15).tolist():
            for kinds in (2, 3, 4):
                came, back = cancelling(places, 256, difference, kinds)
                use = Product(nn.Parameter(torch.empty(256, 256)), came, back)
                lengths = use.lengths()
                if lengths > 0:
                    worst = max(worst, use.total(1 / lengths).double().norm().item() - 1)
                    grams = ((came @ came.mT) * (back @ back.mT)).sum().clamp(min=1e-30).sqrt()
                    worst_without = max(worst_without, ((back.mT @ came).double().norm() / grams).item() - 1)
    assert worst <= 2e-5  # 1e-4 of C is the self-check's room
    assert worst_without > 1  # … which the inner products alone exceed by far


def test_where_uses_cancel_what_is_measured_is_what_is_summed() -> None:
    worst = worst_without = 0.0
    for difference in torch.logspace(-7, 0, 15).tolist():
        parameter = nn.Parameter(torch.empty(40, 32))
        ids, back = torch.randint(0, 40, (1, 6)), torch.randn(1, 6, 32)
        # The head's gradient undoes the embedding's.
        opposite = -torch.nn.functional.one_hot(ids, 40).float()
        uses = [Lookup(parameter, ids, back), Product(parameter, back + difference * torch.randn_like(back), opposite)]
        shared = Shared(uses)
        lengths = shared.lengths()
        worst = max(worst, shared.total(1 / lengths).double().norm().item() - 1)
        squares = sum(use.lengths().square() for use in uses) + 2 * uses[0].inner(uses[1])
        worst_without = max(worst_without, (shared.each().double().norm() / squares.clamp(min=1e-30).sqrt()).item() - 1)
    assert worst <= 2e-5
    assert worst_without > 1e-3


def test_a_batch_with_a_cancelling_record_is_clipped_exactly() -> None:
    """Only the record whose terms cancel is formed; the others' sum is as ever."""
    came, back = torch.randn(5, 8, 256), torch.randn(5, 8, 256)
    came[2], back[2] = (part[0] for part in cancelling(8, 256, 1e-4, 2))
    use = Product(nn.Parameter(torch.empty(256, 256)), came, back)
    each = back.double().mT @ came.double()
    lengths = use.lengths()
    assert use._formed.tolist() == [2]
    torch.testing.assert_close(lengths.double(), each.flatten(1).norm(dim=1), rtol=1e-4, atol=0)
    factors = torch.rand(5)
    torch.testing.assert_close(
        use.total(factors).double(), torch.einsum("n,npd->pd", factors.double(), each), rtol=1e-4, atol=1e-3
    )


def test_rows_of_a_parameter() -> None:
    """Apart, the same and overlapping."""
    parameter = nn.Parameter(torch.empty(6, 3))
    parts = [(0, 2), (4, 2), (0, 2), (1, 4)]
    uses = [
        Rows(Product(parameter, torch.randn(5, 2, 3), torch.randn(5, 2, count)), first, count) for first, count in parts
    ]
    for some in (uses[:2], uses[:3], uses):
        each = sum(use.each().double() for use in some)
        shared = Shared(some)
        torch.testing.assert_close(shared.lengths().double(), each.flatten(1).norm(dim=1), rtol=1e-5, atol=0)
        factors = torch.rand(5)
        torch.testing.assert_close(shared.total(factors).double(), torch.einsum("n,npd->pd", factors.double(), each))
        torch.testing.assert_close(shared.some(torch.tensor([3, 1])).double(), each[[3, 1]])


# --- One row for all records


@pytest.mark.parametrize("shape", [(PLACES,), (1, PLACES)])
@pytest.mark.parametrize("records", [1, PLACES, RECORDS])
def test_positions_that_all_records_share(shape: tuple[int, ...], records: int) -> None:
    """With as many records as places, too: one position for each record would be read alike."""
    model = Net(
        lambda parts, x: parts[3]((parts[0](x) + parts[2](parts[1](torch.arange(PLACES).view(shape)))).tanh().mean(1)),
        nn.Embedding(WORDS, WIDTH),
        nn.Embedding(PLACES, WIDTH),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, CLASSES),
    )
    x, y = torch.randint(0, WORDS, (records, PLACES)), torch.randint(0, CLASSES, (records,))
    check(model, x, y, physical=PLACES)
    check(model, x.repeat_interleave(2, 0), y, views=2)


def test_one_number_for_each_record() -> None:
    check(
        Net(lambda parts, x: parts[1](parts[0](x)), nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, CLASSES)),
        torch.randint(0, WORDS, (RECORDS,)),
        torch.randint(0, CLASSES, (RECORDS,)),
    )


def test_inputs_of_several_lengths() -> None:
    model = words(nn.Tanh())
    gradients = gradients_for("one-pass", model, 1e9)
    for places in (3, 5, 3):
        x, y = torch.randint(0, WORDS, (4, places)), torch.randint(0, CLASSES, (4,))
        _, (chunk,) = summed(gradients, x, y, 4)
        torch.testing.assert_close(
            chunk.norms, torch.tensor([length(one) for one in one_by_one(model, x, y)]), rtol=1e-5, atol=0
        )


# --- Whatever the pass


def text_network() -> nn.Module:
    """A small language model: shared positions, attention, norms, and a head that is the embedding too."""
    embedding, head = nn.Embedding(WORDS, WIDTH, padding_idx=4), nn.Linear(WIDTH, WORDS)
    head.weight = embedding.weight
    encoder = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True)
    return Net(
        lambda parts, x: parts[3](parts[2](parts[0](x) + parts[1](torch.arange(PLACES))).mean(1))[:, :CLASSES],
        embedding,
        nn.Embedding(PLACES, WIDTH),
        encoder,
        head,
    )


@pytest.mark.parametrize("bound", [0.01, 1e6])
def test_a_coarse_pass_keeps_the_bound_exactly(bound: float) -> None:
    """Passes in bfloat16 round gradients to 8 bits, but what is measured is what is summed."""
    gradients = gradients_for("one-pass", text_network(), bound, precision=torch.bfloat16)
    x, y = sentences()
    for i in range(RECORDS):
        total, (chunk,) = summed(gradients, x[i : i + 1], y[i : i + 1], 1)
        assert total.norm().item() == pytest.approx(min(bound, chunk.norms.item()), rel=1e-5)
        assert total.dtype == torch.float32


def test_a_step_of_a_language_model_by_autograd_and_by_one_pass() -> None:
    check(text_network(), *sentences())
    check(text_network(), *sentences(3), views=3, physical=2, mode="per-layer")


def test_self_check_of_a_language_model() -> None:
    model = text_network()
    plan = PrivacyPlan(records=2000, batch_size=100, steps=9, noise_multiplier=1.2, max_grad_norm=0.5, delta=1e-5)
    noise = noise_source("reproducible", "none", 1, torch.device("cpu"), 7)
    step = PrivateStep(model, plan, "one-pass", torch.optim.SGD(model.parameters(), 0.1), noise, 16)
    found = self_check(step, *sentences())
    assert found.sensitivity == pytest.approx(1, abs=1e-4) and found.gradient_error <= 1e-5


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_record_that_is_not_finite_contributes_zero(poison: float) -> None:
    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        return parts[2](parts[1](parts[0](x)).mean(1))

    encoder = nn.TransformerEncoderLayer(WIDTH, 2, 40, 0.0, batch_first=True)
    model = Net(compute, nn.Linear(WIDTH, WIDTH), encoder, nn.Linear(WIDTH, CLASSES))
    x, y = pictures(30, WIDTH)
    good = torch.arange(RECORDS) != 2
    gradients = gradients_for("one-pass", model, 0.5)
    expected, _ = summed(gradients, x[good], y[good], RECORDS)
    x[2, 1, 0] = poison
    total, (chunk,) = summed(gradients, x, y, RECORDS)
    assert chunk.dropped == 1 and len(chunk.norms) == RECORDS - 1
    torch.testing.assert_close(total, expected)


# --- What is refused by name


@pytest.mark.parametrize(
    ("model", "words_"),
    [
        (
            lambda: words(embedding=nn.Embedding(WORDS, WIDTH, max_norm=1.0)),
            r"“parts.0” \(Embedding\): max_norm=1 shortens",
        ),
        (
            lambda: words(embedding=nn.Embedding(WORDS, WIDTH, scale_grad_by_freq=True)),
            r"\(Embedding\): scale_grad_by_freq",
        ),
        (lambda: words(embedding=nn.Embedding(WORDS, WIDTH, sparse=True)), r"\(Embedding\): sparse"),
        (
            lambda: words(nn.InstanceNorm1d(PLACES, track_running_stats=True)),
            r"\(InstanceNorm1d\): track_running_stats=True keeps running statistics",
        ),
        (lambda: attending(nn.MultiheadAttention(WIDTH, 2, add_bias_kv=True)), r"“parts.3” .*add_bias_kv=True is not"),
        (
            lambda: attending(nn.MultiheadAttention(WIDTH, 2, add_zero_attn=True)),
            r"“parts.3” .*add_zero_attn=True is not",
        ),
        (
            lambda: nn.Sequential(nn.EmbeddingBag(WORDS, WIDTH), nn.Linear(WIDTH, 3)),
            r"“0” \(EmbeddingBag\) has no exact",
        ),
        (lambda: words(nn.LSTM(WIDTH, WIDTH)), r"\(LSTM\) has no exact rule"),
    ],
)
def test_layers_that_are_refused(model, words_: str) -> None:
    with pytest.raises(MechanismError, match=words_):
        gradients_for("one-pass", model(), 1.0)


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_opacus_methods_refuse_what_no_method_can_do(method: str) -> None:
    for model in (
        words(embedding=nn.Embedding(WORDS, WIDTH, max_norm=1.0)),
        words(nn.InstanceNorm1d(PLACES, track_running_stats=True)),
    ):
        with pytest.raises(MechanismError, match=r"max_norm|track_running_stats"):
            gradients_for(method, model, 1.0)


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_opacus_methods_refuse_attention_that_only_one_pass_knows(method: str) -> None:
    with pytest.raises(MechanismError, match="MultiheadAttention"):
        gradients_for(method, attending(nn.MultiheadAttention(WIDTH, 2)), 1.0)


def run(model: nn.Module, x: Tensor | None = None) -> None:
    words_, labels = sentences()
    gradients_for("one-pass", model, 1.0).differentiate(words_ if x is None else x, labels)


def test_a_layer_that_sees_rows_of_several_records_is_refused() -> None:
    mixing = Net(
        lambda parts, x: parts[1](parts[0](x).flatten(0, 1)).unflatten(0, x.shape).mean(1),
        nn.Embedding(WORDS, WIDTH),
        nn.Linear(WIDTH, CLASSES),
    )
    with pytest.raises(MechanismError, match=r"parts.1 \(Linear\) got 10 rows for 2 records"):
        run(mixing)


def test_one_row_for_all_that_cannot_be_one_for_each_is_refused() -> None:
    """A bias between places, as T5 has it, is permuted as a table of two axes."""
    model = Net(
        lambda parts, x: (
            parts[1](parts[0](x)).mean(1)
            + parts[2](torch.arange(PLACES)[:, None] * torch.arange(PLACES)).permute(2, 0, 1).mean((1, 2))
        ),
        nn.Embedding(WORDS, WIDTH),
        nn.Linear(WIDTH, CLASSES),
        nn.Embedding(20, CLASSES),
    )
    with pytest.raises(MechanismError, match=r"Layers parts.2 \(Embedding\) read one row for all records"):
        run(model)


def test_a_constant_that_all_records_share_is_refused_elsewhere() -> None:
    model = Net(
        lambda parts, x: parts[1](parts[0](x).mean(1)) + parts[2](torch.ones(1, 4)),
        nn.Embedding(WORDS, WIDTH),
        nn.Linear(WIDTH, CLASSES),
        nn.Linear(4, CLASSES),
    )
    with pytest.raises(MechanismError, match=r"parts.2 \(Linear\) got 1 rows for 2 records"):
        run(model)


def test_an_input_that_is_changed_afterwards_is_refused() -> None:
    def compute(parts: nn.ModuleList, x: Tensor) -> Tensor:
        a = parts[0](x) * 2
        b = parts[1](a)
        a.add_(1)
        return b.mean(1)

    with pytest.raises(MechanismError, match=r"went into layer parts.1 \(Linear\) was changed in place"):
        run(Net(compute, nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, CLASSES)))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_a_parameter_that_somebody_put_into_a_layer_is_refused() -> None:
    model = words(nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH)))
    with pytest.raises(
        MechanismError, match=r"parts.1 \(Linear\) has parameters that its per-sample rule does not know"
    ):
        run(model)


def test_a_layer_that_is_skipped_at_times_is_refused() -> None:
    class Now(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> bool:
            Now.calls += 1
            return Now.calls % 2 == 0

    model = Net(
        lambda parts, x: parts[1](parts[2](parts[0](x)) if parts[3](x) else parts[0](x)).mean(1),
        nn.Embedding(WORDS, WIDTH),
        nn.Linear(WIDTH, CLASSES),
        nn.Linear(WIDTH, WIDTH),
        Now(),
    )
    with pytest.raises(MechanismError, match="not called equally often"):
        run(model)


def test_attention_without_an_axis_of_records_is_refused() -> None:
    layer = nn.MultiheadAttention(WIDTH, 2)
    model = Net(
        lambda parts, x: parts[2](parts[1](*[parts[0](x[:, 0])] * 3)[0]),
        nn.Embedding(WORDS, WIDTH),
        layer,
        nn.Linear(WIDTH, CLASSES),
    )
    with pytest.raises(MechanismError, match=r"a query of 2 axes"):
        run(model)


def test_watching_ends_with_the_pass_even_where_it_fails() -> None:
    layer = nn.MultiheadAttention(WIDTH, 2)
    model = attending(layer)
    gradients = gradients_for("one-pass", model, 1.0)
    assert isinstance(gradients, OnePassGradients)
    with pytest.raises(ValueError, match="stop"), gradients._recorder.recording(3):
        raise ValueError("stop")
    assert "forward" not in vars(layer) and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("form", "room"), [(torch.contiguous_format, 5e-5), (torch.channels_last, 5e-4)])
def test_group_norm_far_from_zero(form: torch.memory_format, room: float) -> None:
    """A mean of thirty deviations. With channels last PyTorch's own deviation is right to four digits there."""
    layer, came = nn.GroupNorm(2, 6), (torch.randn(4, 6, 5, 3) + 30).to(memory_format=form)
    found = {}

    def tap(rule, came, output, parameters):
        back = torch.randn_like(output)
        for use in rule(layer, came, back, 4):
            found[use.parameter] = use.each()
        for i in range(4):
            # Contiguous: where the input needs no gradient, PyTorch 2.13 crashes on channels last.
            exact = layer.double()(came[i : i + 1].double().contiguous())
            grads = torch.autograd.grad(exact, parameters, back[i : i + 1].double())
            layer.float()
            for parameter, right in zip(parameters, grads, strict=True):
                torch.testing.assert_close(found[parameter][i].double(), right, rtol=1e-5, atol=room)
        return output

    assert torch.equal(FORWARDS[nn.GroupNorm](layer, tap, came), layer(came))
    assert len(found) == 2
