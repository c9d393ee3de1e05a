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
from privlab.reports.program.expressible import not_expressible, part_trained
from privlab.reports.program.mechanism import clips, cost, is_language, loop, measure, moves, released
from privlab.reports.program.networks import NETWORKS
from privlab.reports.program.records import features, source
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
        NotExpressible: with every reason of :func:`privlab.reports.program.expressible.not_expressible`.
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
    wanted = ["torch", *(["opacus"] if clips(run) else []), *(["dp-accounting"] if run.plan.is_private else [])]
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
        Section("How the parameters move", _ABOUT_MOVES, moves(run)),
        Section("How good the released model is", "Test records are taken to be public.", _measure(run)),
        Section("What it costs", _ABOUT_COST, cost(run)),
        Section("The training", _ABOUT_TRAINING[run.plan.shuffled], loop(run, marks)),
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
        f"This repeats run {run.id} of PrivLab with plain PyTorch{' and Opacus' if clips(run) else ''}, up to its step {run.step:,}. "
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
    if clips(run):
        given += ["from opacus.grad_sample import GradSampleModule", "from opacus.optimizers import DPOptimizer"]
    given += ["import numpy as np", "import torch", "import torch.nn.functional as F", "from torch import nn"]
    given += ["from torch.func import functional_call"]
    if clips(run):
        given.append("import warnings")
    groups = [[line for line in given if (line.split()[1] in _STANDARD) is own] for own in (True, False)]
    # As isort has it: first what is imported whole.
    text = "\n\n".join("\n".join(sorted(group, key=lambda row: (row[:4] == "from", row))) for group in groups if group)
    return f"{text}\n{_QUIET if clips(run) else ''}"


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
    if clips(run):
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


def _measure(run: Run) -> str:
    if is_language(run):
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


def _result(run: Run) -> str:
    metric, shown = measure(run), ".3f" if is_language(run) else ".4f"
    known = run.metrics.get(f"test_{metric}")
    beside = f" (the run: {known:{shown}})" if known is not None and math.isfinite(known) else ""
    rows = [f"released = {released(run)}", f'print(f"test {metric} {{{metric}(released):{shown}}}{beside}")']
    if run.plan.is_private:
        rows += [
            "spent = epsilon(STEPS)",
            'print(f"epsilon {spent:.6f} at delta {DELTA:g} (the run: {RUN_EPSILON:.6f})")',
            'assert abs(spent - RUN_EPSILON) <= 1e-3 * max(1, RUN_EPSILON), "this is not the guarantee of the run"',
        ]
    else:
        rows.append('print("epsilon inf: no privacy is claimed")')
    return "\n".join(rows) + "\n"
