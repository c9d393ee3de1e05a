"""The mechanism of a run as source: how gradients are clipped, how parameters move, what that costs, and the loop."""

from __future__ import annotations

from privlab.privacy.confirm import grid_spacing
from privlab.runs.record import Run


def clips(run: Run) -> bool:
    """Whether gradients are clipped, so that Opacus has a part in it."""
    return run.plan.max_grad_norm is not None


def is_language(run: Run) -> bool:
    """Whether the model learns to go on with texts."""
    return run.config.data.task == "language"


def measure(run: Run) -> str:
    """Name of the program's function that says how good the model is: ``accuracy`` or ``perplexity``."""
    return "perplexity" if is_language(run) else "accuracy"


def released(run: Run) -> str:
    """Source of the weights that are released after ``step`` steps, by name."""
    if run.config.training.ema_decay:
        return "{name: total / (1 - EMA_DECAY**step) for name, total in average.items()}"
    return "dict(trained)"


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


def moves(run: Run) -> str:
    """Clipping and optimiser: defines ``model`` and ``optimizer``, of ``net`` and ``trained``."""
    plan, training = run.plan, run.config.training
    made = {
        "sgd": f"torch.optim.SGD(trained.values(), lr=LEARNING_RATE, momentum={training.momentum!r})",
        "adam": "torch.optim.Adam(trained.values(), lr=LEARNING_RATE)",
        "adam-bc": "AdamCorrected(trained.values(), {})",
    }[training.optimizer]
    rows = [_ADAM_CORRECTED, ""] if training.optimizer == "adam-bc" else []
    if not clips(run):
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


def cost(run: Run) -> str:
    """Defines ``epsilon(steps)`` by dp-accounting, where ε is claimed."""
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


def loop(run: Run, marks: int) -> str:
    """The loop, which measures about ``marks`` times on the way."""
    training = run.config.training
    clipped, average = clips(run), bool(training.ema_decay)
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
    if clipped:
        rows.append("    optimizer.max_grad_norm, optimizer.noise_multiplier = C[step - 1], SIGMA[step - 1]")
    if training.optimizer == "adam-bc":
        spread = "(C[step - 1] * SIGMA[step - 1] / BATCH_SIZE) ** 2" if clipped else "0.0"
        rows.append(f"    {'optimizer.original_optimizer' if clipped else 'optimizer'}.noise_variance = {spread}")
    rows += [
        f"    batch = torch.from_numpy({_BATCHES[run.plan.shuffled]})",
        "    parts = batch.split(AT_ONCE)",
        "    for number, part in enumerate(parts, 1):",
    ]
    if clipped:
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
            f"        released = {released(run)}",
            f"        curve.append((step, {spent}, {measure(run)}(released)))",
        ]
    return "\n".join(rows) + "\n"
