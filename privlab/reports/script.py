"""A run as a Python program with plain PyTorch and Opacus that repeats it without PrivLab."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby

from privlab.config.sections import PARTLY_TRAINED
from privlab.data.catalogue import DATASETS
from privlab.models.catalogue import MODELS, TRANSFORMERS
from privlab.preflight import trained_parameters
from privlab.privacy.accounting import epsilon_of
from privlab.privacy.confirm import grid_spacing
from privlab.reports.expressible import not_expressible, part_trained
from privlab.reports.networks import NETWORKS
from privlab.reports.records import features, source
from privlab.runs.record import Run, RunEvent

#: Numbers of per-sample gradients in memory at once.
_GRADIENTS = 1 << 27
#: Records at once, at most: of pictures and tables, of texts.
_RECORDS, _TEXTS = 512, 32


#: Modules of Python's own that a program may import.
_STANDARD = ("hashlib", "pathlib", "warnings")
_QUIET = """
# The first layer's inputs are records and need no gradient, which Opacus's hooks remark on at every step.
warnings.filterwarnings("ignore", message="Full backward hook")
"""


class NotExpressible(ValueError):
    """The run cannot be written with plain Opacus; the message gives every reason."""


@dataclass(frozen=True)
class Section:
    """A part of the program: what it is called, one or two sentences about it, and its code."""

    title: str
    words: str
    code: str


def script(run: Run, events: Sequence[RunEvent] = ()) -> str:
    """The program. It needs nothing of PrivLab; :func:`travelling` says whether it needs a file of inputs beside it.

    Initial weights, Poisson sampling, clipping, noise, optimiser and steps are those of the run up to its last point. Batches
    and noise are fresh: the accuracy differs as that of a second run would, and ε by dp-accounting must equal the run's.

    Raises:
        NotExpressible: with every reason of :func:`privlab.reports.expressible.not_expressible`.
    """
    parts = sections(run, events, folder="Path(__file__).parent")
    body = "\n".join(f"\n# {part.title}\n{part.code}" if part.title else part.code for part in parts)
    return f'"""{headline(run)}\n\n{about(run)}\n\n    {pip_line(run)}\n"""\n\n{body}'


def travelling(run: Run) -> bool:
    """Whether the run's records have no public source that a program could take them from."""
    return source(run.config.data.dataset, "").travels


def packages(run: Run) -> dict[str, str]:
    """Distributions that the program imports, with the versions that are installed here."""
    data, model = run.config.data.dataset, run.config.model.name
    wanted = ["torch", *(["opacus"] if _clips(run) else []), *(["dp-accounting"] if run.plan.is_private else [])]
    wanted += ["numpy", *source(data, "").packages]
    if made := features(model, data):
        wanted += made.packages
    # A build for one kind of processor (“+cpu”) is the same source.
    return {name: version(name).partition("+")[0] for name in wanted}


def pip_line(run: Run) -> str:
    """What installs :func:`packages`."""
    return "pip install " + " ".join(f"{name}=={number}" for name, number in packages(run).items())


def sections(run: Run, events: Sequence[RunEvent], *, folder: str, marks: int = 0) -> tuple[Section, ...]:
    """The program in order, the imports first.

    Args:
        folder: an expression for the folder that holds a file of inputs, a ``pathlib.Path``.
        marks: measure about so often on the way, into ``curve``: triples of step, ε (None without a guarantee) and result.

    Raises:
        NotExpressible
    """
    if why := not_expressible(run, events):
        raise NotExpressible(" ".join(why))
    return (
        Section("", "What is needed.", _imports(run)),
        Section("The settings of the run", "All of them are public.", _settings(run)),
        Section("The records", source(run.config.data.dataset, folder).words, _records(run, folder)),
        Section("1 load the parameters (2 encrypt them: here they stay in this process)", _ABOUT_MODEL, _model(run)),
        Section("How the parameters move", _ABOUT_MOVES, _moves(run)),
        Section("How good the released model is", "Test records are taken to be public.", _measure(run)),
        Section("What it costs", _ABOUT_COST, _cost(run)),
        Section("The training", _ABOUT_TRAINING[run.plan.shuffled], _training(run, marks)),
        Section("The result, beside the run's", "", _result(run)),
    )


_ABOUT_MODEL = "The initial weights follow from the seed and are those of the run; nothing else may follow from it."
_ABOUT_MOVES = (
    "Opacus clips each record's gradient and adds noise to the sum; any optimiser may follow, at no privacy cost."
)
_ABOUT_COST = "dp-accounting composes the privacy losses of Poisson-sampled Gaussian steps, a tight upper bound."
_ABOUT_TRAINING = {
    False: "Each record joins each batch by its own coin flip, as the accounting supposes: batches vary in size and may be empty.",
    True: "Every record comes once an epoch, in random order, which no accountant here counts: nothing is claimed.",
}


def _clips(run: Run) -> bool:
    return run.plan.max_grad_norm is not None


def _facts(run: Run):
    return DATASETS[run.config.data.dataset]


def headline(run: Run) -> str:
    """What the program trains, in one line."""
    what = f"{MODELS[run.config.model.name].title} on {_facts(run).title}"
    if not run.plan.is_private:
        return f"{what}, without a privacy guarantee (ε = ∞)."
    return f"{what} by DP-SGD: ε = {run.epsilon:.4g} at δ = {run.plan.delta:g}."


def about(run: Run) -> str:
    """What it repeats, what it does not, and on what its ε rests; some lines."""
    lines = [
        f"This repeats run {run.id} of PrivLab with plain PyTorch{' and Opacus' if _clips(run) else ''}, up to its step {run.step:,}. "
        "Initial weights, sampling,",
        "clipping, noise and optimiser are the run's. Batches and noise are drawn afresh, so the accuracy differs a little.",
    ]
    if run.plan.is_private:
        lines += [
            "The coin flips are NumPy's and the noise is PyTorch's, in floating point: neither is cryptographic, so ε holds if nobody",
            "can work out a generator's state or sees the exact bits of a single noisy sum.",
        ]
    if run.config.privacy.randomness == "reproducible":
        lines.append(
            "The run itself drew all from a known seed and claims nothing; with fresh randomness ε below would hold."
        )
    if run.plan.is_private:
        lines.append("ε is of this training alone: other trainings on the same records cost privacy too.")
    if travelling(run):
        lines.append("The inputs are in data.npz beside this file, because no public source has them in this form.")
    return "\n".join(lines)


def _imports(run: Run) -> str:
    plan, data = run.plan, run.config.data.dataset
    made = features(run.config.model.name, data)
    given = [*source(data, "").imports, *(made.imports if made else ())]
    if plan.is_private:
        given += [
            "from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent",
            "from dp_accounting.pld import PLDAccountant",
        ]
    if _clips(run):
        given += ["from opacus.grad_sample import GradSampleModule", "from opacus.optimizers import DPOptimizer"]
    given += ["import numpy as np", "import torch", "import torch.nn.functional as F", "from torch import nn"]
    given += ["from torch.func import functional_call"]
    if _clips(run):
        given.append("import warnings")
    groups = [[line for line in given if (line.split()[1] in _STANDARD) is own] for own in (True, False)]
    # As isort has it: first what is imported whole.
    text = "\n\n".join("\n".join(sorted(group, key=lambda row: (row[:4] == "from", row))) for group in groups if group)
    return f"{text}\n{_QUIET if _clips(run) else ''}"


def _stretches(values: Iterable[float]) -> str:
    """``values``, one a step, as source of pairs (steps, value)."""
    pairs = [f"({len(list(group))}, {value!r})" for value, group in groupby(values)]
    rows = [", ".join(pairs[at : at + 4]) for at in range(0, len(pairs), 4)]
    return f"[{rows[0]}]" if len(rows) == 1 else "[\n    " + ",\n    ".join(rows) + ",\n]"


def _settings(run: Run) -> str:
    plan, training = run.plan, run.config.training
    lines = [
        f"RECORDS = {plan.records}  # N",
        f"BATCH_SIZE = {plan.batch_size}{'' if plan.shuffled else '  # B, expected; each record joins with q = B / N'}",
        f"STEPS = {run.step}",
        f"LEARNING_RATE = {training.learning_rate!r}",
        f"SEED = {training.seed}  # of the initial weights",
    ]
    steps = range(1, run.step + 1)
    if _clips(run):
        lines.append("# C and σ as pairs (steps, value), in order.")
        lines.append(f"MAX_GRAD_NORM = {_stretches(float(plan.max_grad_norm_at(step)) for step in steps)}")
        lines.append(f"NOISE_MULTIPLIER = {_stretches(float(plan.noise_multiplier_at(step)) for step in steps)}")
    if plan.is_private:
        lines.append(f"DELTA = {plan.delta!r}")
        lines.append(f"RUN_EPSILON = {expected_epsilon(run)!r}{_counted_otherwise(run)}")
    if training.ema_decay:
        lines.append(f"EMA_DECAY = {training.ema_decay!r}  # the average of the parameters is what is released")
    lines.append(f"AT_ONCE = {_at_once(run)}  # most records in memory at once; changes nothing but rounding")
    return "\n".join(lines) + "\n"


def _counted_otherwise(run: Run) -> str:
    return f"  # by PLD; the run counted by RDP, which says {run.epsilon:.6g}" if run.plan.accountant == "rdp" else ""


def expected_epsilon(run: Run) -> float:
    """ε by PLD of the steps done, which the program must arrive at. Raises ValueError for a run without a guarantee."""
    plan = run.plan
    return epsilon_of(plan.phases_until(run.step), plan.delta, adjacency=plan.adjacency)


def _at_once(run: Run) -> int:
    most = _TEXTS if _reads_tokens(run) else _RECORDS
    return max(1, min(most, _GRADIENTS // trained_parameters(run.config)))


def _reads_tokens(run: Run) -> bool:
    return run.config.model.name in PARTLY_TRAINED


def _language(run: Run) -> bool:
    return run.config.data.task == "language"


def _records(run: Run, folder: str) -> str:
    data = run.config.data.dataset
    made = features(run.config.model.name, data)
    turned = (
        "train_x, train_y, test_x, test_y = map(torch.from_numpy, (train_x, train_y, test_x, test_y))\n"
        "assert len(train_x) == RECORDS\n"
    )
    return source(data, folder).code + turned + (made.code if made else "")


def _model(run: Run) -> str:
    rows = [NETWORKS[run.config.model.name](_facts(run)), ""]
    rows += [
        "torch.manual_seed(SEED)",
        "net = network()",
        *_trained_part(run),
        "torch.seed()  # noise that followed from a known seed would protect nothing",
        "trained = {name: p for name, p in net.named_parameters() if p.requires_grad}",
    ]
    return "\n".join(rows) + "\n"


def _trained_part(run: Run) -> list[str]:
    part = part_trained(run) if _reads_tokens(run) else "all"
    if part == "all":
        return []
    chosen = {
        "head": 'name.startswith("head.")',
        "last": f'name.startswith(("head.", "norm.", "blocks.{_last_block(run)}."))',
        "bias": 'name.startswith("head.") or name.endswith("bias")',
    }[part]
    return ["for name, p in net.named_parameters():", f"    p.requires_grad_({chosen})"]


def _last_block(run: Run) -> int:
    return TRANSFORMERS[run.config.model.name].blocks - 1


_CLIPPERS = {
    "automatic": '''\
class Clipping(DPOptimizer):
    """Scales every gradient to nearly C (Bu et al. 2023, automatic clipping)."""

    def clip_and_accumulate(self):
        samples = self.grad_samples
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in samples], 1).norm(dim=1)
        factors = torch.where(norms < 1e-12, 0.0, self.max_grad_norm / (norms + {stability!r}))
        for p, g in zip(self.params, samples):
            total = torch.einsum("i,i...", factors, g)
            p.summed_grad = total if p.summed_grad is None else p.summed_grad + total
''',
    "per-layer": '''\
LAYERS = [own for m in net.modules() if (own := [p for p in m.parameters(recurse=False) if p.requires_grad])]


class Clipping(DPOptimizer):
    """Shortens each of L layers' gradient to C/√L, which is C together (McMahan et al. 2018)."""

    def clip_and_accumulate(self):
        bound = self.max_grad_norm / len(LAYERS) ** 0.5
        for layer in LAYERS:
            norms = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in layer], 1).norm(dim=1)
            factors = (bound / norms).clamp(max=1)
            for p in layer:
                total = torch.einsum("i,i...", factors, p.grad_sample)
                p.summed_grad = total if p.summed_grad is None else p.summed_grad + total
''',
}

_ADAM_CORRECTED = '''\
class AdamCorrected(torch.optim.Optimizer):
    """Adam less the variance that the noise adds to its second moment (Tang et al. 2024, DP-AdamBC)."""

    noise_variance = 0.0

    @torch.no_grad()
    def step(self, closure=None):
        for p in (p for group in self.param_groups for p in group["params"]):
            state = self.state[p]
            if not state:
                state |= {"step": 0, "noise": 0.0, "first": torch.zeros_like(p), "second": torch.zeros_like(p)}
            state["step"] += 1
            state["first"].lerp_(p.grad, 0.1)
            state["second"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            state["noise"] = 0.999 * state["noise"] + 0.001 * self.noise_variance
            signal = (state["second"] - state["noise"]) / (1 - 0.999 ** state["step"])
            p.addcdiv_(state["first"], signal.clamp(min=1e-8).sqrt(), value=-LEARNING_RATE / (1 - 0.9 ** state["step"]))
'''


def _moves(run: Run) -> str:
    plan, training = run.plan, run.config.training
    made = {
        "sgd": f"torch.optim.SGD(trained.values(), lr=LEARNING_RATE, momentum={training.momentum!r})",
        "adam": "torch.optim.Adam(trained.values(), lr=LEARNING_RATE)",
        "adam-bc": "AdamCorrected(trained.values(), {})",
    }[training.optimizer]
    rows = [_ADAM_CORRECTED, ""] if training.optimizer == "adam-bc" else []
    if not _clips(run):
        return "\n".join([*rows, "model = net", f"optimizer = {made}"]) + "\n"
    own = _CLIPPERS.get(plan.clipping)
    if own:
        rows += [own.replace("{stability!r}", repr(plan.stability)), ""]
    rows += [
        "C = np.repeat([value for _, value in MAX_GRAD_NORM], [steps for steps, _ in MAX_GRAD_NORM])",
        "SIGMA = np.repeat([value for _, value in NOISE_MULTIPLIER], [steps for steps, _ in NOISE_MULTIPLIER])",
        'model = GradSampleModule(net, loss_reduction="sum")',
        f"optimizer = {'Clipping' if own else 'DPOptimizer'}(",
        f"    {made},",
        "    noise_multiplier=SIGMA[0],",
        "    max_grad_norm=C[0],",
        "    expected_batch_size=BATCH_SIZE,  # the public B, never a batch's real size",
        ")",
    ]
    return "\n".join(rows) + "\n"


def _measure(run: Run) -> str:
    if _language(run):
        return """\
def record_losses(scores, wanted):
    each = F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="none", ignore_index=-100).view_as(wanted)
    return each.sum(1) / (wanted != -100).sum(1).clamp(min=1)  # of each record by itself: no other changes its weight


@torch.no_grad()
def perplexity(weights):
    total = 0.0
    for x, y in zip(test_x.split(64), test_y.split(64)):
        scores = functional_call(net, weights, x)
        total += F.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="sum", ignore_index=-100).item()
    return np.exp(total / (test_y != -100).sum().item())
"""
    return """\
def record_losses(scores, wanted):
    return F.cross_entropy(scores, wanted, reduction="none")


@torch.no_grad()
def accuracy(weights):
    said = torch.cat([functional_call(net, weights, x).argmax(1) for x in test_x.split(AT_ONCE)])
    return (said == test_y).double().mean().item()
"""


def _cost(run: Run) -> str:
    if not run.plan.is_private:
        return "# Without noise on clipped gradients no privacy is claimed: ε = ∞.\n"
    relation = {"add-or-remove-one": "ADD_OR_REMOVE_ONE", "replace-one": "REPLACE_ONE"}[run.plan.adjacency]
    spacing = grid_spacing(run.plan.phases_until(run.step))
    return f"""\
def epsilon(steps):
    accountant = PLDAccountant(NeighboringRelation.{relation}, {spacing!r})
    for sigma, count in zip(*np.unique(SIGMA[:steps], return_counts=True)):
        accountant.compose(PoissonSampledDpEvent(BATCH_SIZE / RECORDS, GaussianDpEvent(float(sigma))), int(count))
    return accountant.get_epsilon(DELTA)
"""


#: What a batch is, where records are drawn by coin flips and where they are shuffled.
_BATCHES = {
    False: "np.flatnonzero(coins.random(RECORDS) < BATCH_SIZE / RECORDS)",
    True: "shuffled[(step - 1) * BATCH_SIZE : step * BATCH_SIZE]",
}


def _training(run: Run, marks: int) -> str:
    training = run.config.training
    clips, average = _clips(run), bool(training.ema_decay)
    rows = ["coins = np.random.default_rng()  # seeded by the operating system"]
    if average:
        rows.append("average = {name: torch.zeros_like(p) for name, p in trained.items()}")
    if marks:
        rows.append(
            f"marks, curve = set(np.linspace(1, STEPS, {min(marks, run.step)}).round().astype(int).tolist()), []"
        )
    if run.plan.shuffled:
        rows.append(
            "shuffled = np.concatenate([coins.permutation(RECORDS) for _ in range(STEPS * BATCH_SIZE // RECORDS + 1)])"
        )
    rows.append("for step in range(1, STEPS + 1):  # 7 repeat 3 to 6")
    if clips:
        rows.append("    optimizer.max_grad_norm, optimizer.noise_multiplier = C[step - 1], SIGMA[step - 1]")
    if training.optimizer == "adam-bc":
        spread = "(C[step - 1] * SIGMA[step - 1] / BATCH_SIZE) ** 2" if clips else "0.0"
        rows.append(f"    {'optimizer.original_optimizer' if clips else 'optimizer'}.noise_variance = {spread}")
    rows += [
        f"    batch = torch.from_numpy({_BATCHES[run.plan.shuffled]})",
        "    parts = batch.split(AT_ONCE)",
        "    for number, part in enumerate(parts, 1):",
    ]
    if clips:
        rows += [
            "        optimizer.signal_skip_step(number < len(parts))  # noise and update once, after the last part",
            "        record_losses(model(train_x[part]), train_y[part]).sum().backward()  # 3 compute per-sample gradients",
            "        optimizer.step()  # 4 clip them · 5 perturb their sum · 6 update the parameters",
            "        optimizer.zero_grad()",
        ]
    else:
        rows += [
            "        (record_losses(model(train_x[part]), train_y[part]).sum() / BATCH_SIZE).backward()",
            "    optimizer.step()",
            "    optimizer.zero_grad()",
        ]
    if average:
        rows += [
            "    for name, p in trained.items():",
            "        average[name].lerp_(p.detach(), 1 - EMA_DECAY)",
        ]
    if marks:
        spent = "epsilon(step)" if run.plan.is_private else "None"
        rows += [
            "    if step in marks:",
            f"        released = {_released(run)}",
            f"        curve.append((step, {spent}, {measure(run)}(released)))",
        ]
    return "\n".join(rows) + "\n"


def measure(run: Run) -> str:
    """Name of the program's function that says how good the model is: ``accuracy`` or ``perplexity``."""
    return "perplexity" if _language(run) else "accuracy"


def _released(run: Run) -> str:
    """Source of the weights that are released after ``step`` steps, by name."""
    if run.config.training.ema_decay:
        return "{name: total / (1 - EMA_DECAY**step) for name, total in average.items()}"
    return "dict(trained)"


def _result(run: Run) -> str:
    metric, shown = measure(run), ".3f" if _language(run) else ".4f"
    known = run.metrics.get(f"test_{metric}")
    beside = f" (the run: {known:{shown}})" if known is not None and math.isfinite(known) else ""
    rows = [f"released = {_released(run)}", f'print(f"test {metric} {{{metric}(released):{shown}}}{beside}")']
    if run.plan.is_private:
        rows += [
            "spent = epsilon(STEPS)",
            'print(f"epsilon {spent:.6f} at delta {DELTA:g} (the run: {RUN_EPSILON:.6f})")',
            'assert abs(spent - RUN_EPSILON) <= 1e-3 * max(1, RUN_EPSILON), "this is not the guarantee of the run"',
        ]
    else:
        rows.append('print("epsilon inf: no privacy is claimed")')
    return "\n".join(rows) + "\n"
