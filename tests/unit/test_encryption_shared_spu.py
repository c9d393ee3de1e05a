"""Secret-shared training for real: three processes with SPU. Runs where ``make spu`` has been run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from privlab.encryption.shared import parties
from privlab.encryption.shared.datasets import owners_of
from privlab.encryption.shared.environment import available, python
from privlab.encryption.shared.settings import SharedError, SharedSettings
from privlab.encryption.shared.train import train

ready, why = available()
pytestmark = pytest.mark.skipif(not ready, reason=why)

ROOT = Path(__file__).resolve().parents[2]
LOGISTIC = SharedSettings(steps=12, open_every=10, randomness="reproducible")


def digits():
    x, y = load_digits(return_X_y=True)
    return owners_of(x[360:] / 16, y[360:]), (x[:360] / 16, y[:360])


@pytest.mark.parametrize(
    "settings", [LOGISTIC, replace(LOGISTIC, model="mlp", learning_rate=0.1)], ids=["logistic", "mlp"]
)
def test_three_parties_end_where_the_plain_twin_ends(settings):
    """The same coins and noise in double precision: every parameter agrees to what fixed point and softmax allow."""
    owners, test = digits()
    records = list(train(settings, owners, test, 10))
    assert [record.step for record in records] == [10, 12]
    assert all(0 < record.drift < 0.01 for record in records)
    assert all(abs(record.accuracy - record.twin_accuracy) <= 0.02 for record in records)
    assert records[-1].norm > 2
    assert all(record.bytes_sent > 1_000_000 and record.seconds > 0 for record in records)
    assert all(record.epsilon == np.inf for record in records)


def test_two_classes_end_where_their_twin_ends_to_the_last_digits():
    """The parties' line in double precision differs by rounding alone; what the true sigmoid does differently is within a point."""
    owners, (test_x, test_y) = digits()
    settings = replace(LOGISTIC, model="binary", steps=60)
    records = list(train(settings, [(x, y % 2) for x, y in owners], (test_x, test_y % 2), 2))
    assert [record.step for record in records] == [10, 20, 30, 40, 50, 60]
    assert all(0 < record.drift < 2e-6 for record in records)
    assert abs(records[-1].accuracy - records[-1].twin_accuracy) <= 0.01
    assert records[-1].accuracy > 0.85
    # A comparison, two products of matrices and a choice: fewer than a fifth of what softmax needs.
    assert records[-1].messages == 16


def test_a_layer_that_grows_beyond_its_limit_ends_the_run():
    owners, test = digits()
    run = train(replace(LOGISTIC, weight_limit=2.0), owners, test, 10)
    with pytest.raises(SharedError, match=r"grown to a norm of .*, above weight_limit=2"):
        list(run)


def test_a_party_that_is_killed_ends_the_run_and_the_others(monkeypatch):
    started, start = [], subprocess.Popen

    def watched(*given, **more):
        started.append(start(*given, **more))
        return started[-1]

    monkeypatch.setattr(parties.subprocess, "Popen", watched)
    owners, test = digits()
    run = train(replace(LOGISTIC, steps=500), owners, test, 10)
    next(run)
    os.kill(started[1].pid, signal.SIGKILL)
    with pytest.raises(SharedError, match="Party"):
        list(run)
    assert all(child.poll() is not None for child in started)


#: The parties of one process and its threads: one record at a time, no noise, so the sum *is* the record's clipped gradient.
ALONE = """
    import json, sys, threading
    import jax, numpy as np, spu
    from spu import libspu
    from spu.utils import frontend
    from privlab.encryption.shared.owner import in_plain_units, rows_for
    from privlab.encryption.shared.bounds import Scales
    from privlab.encryption.shared.program import Shape, steps_of
    from privlab.encryption.shared.twin import RampTwin, Twin
    jax.config.update("jax_enable_x64", True)
    given = json.loads(sys.argv[1])
    layers = tuple(map(tuple, given["layers"]))
    shape = Shape(layers, 1, Scales(**given["scales"]), 0.0, 0.0, given["clip"], given["longest"])
    draw = np.random.default_rng(0)
    parameters = draw.uniform(-1, 1, shape.dimension) * given["size"]
    parameters = np.rint(parameters * 2**18) / 2**18
    tests = given["records"]
    x = draw.uniform(0, 1, (tests, shape.inputs)) * 10 ** draw.uniform(-3, 0.3, (tests, 1))
    rows = rows_for(shape, x, draw.integers(0, max(2, shape.classes), tests), given["input_norm"])
    config = libspu.RuntimeConfig(protocol=libspu.ProtocolKind.ABY3, field=libspu.FieldType.FM64, fxp_fraction_bits=18)
    names = ["p", "v", *[f"b{k}" for k in range(3)], *[f"n{k}" for k in range(3)]]
    secret = [libspu.Visibility.VIS_SECRET] * 8
    program = frontend.compile(
        frontend.Kind.JAX, steps_of(shape), shape.examples(1), {}, names, secret, lambda _: ["out", "velocity"])[0]
    io, desc = spu.Io(3, config), libspu.link.Desc()
    for rank in range(3):
        desc.add_party(f"party{rank}", f"thread{rank}")
    shared = []
    for row in rows:
        values = shape.examples(1)
        values[0], values[2] = parameters * shape.scales.parameter, row[None, None, :]
        shared.append([io.make_shares(np.ascontiguousarray(v), secret[0]) for v in values])
    found = [[None] * 3 for _ in rows]
    def party(rank):
        runtime = spu.Runtime(libspu.link.create_mem(desc, rank), config)
        for index, values in enumerate(shared):
            for name, shares in zip(names, values):
                runtime.set_var(name, shares[rank])
            runtime.run(program)
            found[index][rank] = runtime.get_var("velocity")
    threads = [threading.Thread(target=party, args=(rank,)) for rank in range(3)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
    sums = [io.reconstruct(shares) for shares in found]
    kind = RampTwin if shape.binary else Twin
    rows = in_plain_units(shape, rows)
    twin, unclipped = (kind(layers, parameters, 0.0, 0.0, clip) for clip in (given["clip"], 1e9))
    plain = [twin.clipped_sum(row[None]) for row in rows]
    if shape.binary:
        rows[:, -1] = 1.0
    long = [float(np.linalg.norm(unclipped.clipped_sum(row[None]))) for row in rows]
    sums = [one / shape.scales.sum for one in sums]
    print(json.dumps({
        "norms": [float(np.linalg.norm(one)) for one in sums], "plain": [float(np.linalg.norm(one)) for one in plain],
        "apart": [float(np.linalg.norm(one - other)) for one, other in zip(sums, plain)], "long": long}))
"""


@pytest.mark.parametrize(
    ("model", "clip", "size"),
    [("binary", 1.0, 2.0), ("binary", 0.2, 200.0), ("logistic", 1.0, 0.5), ("mlp", 1.0, 0.4), ("mlp", 2.0, 1.5)],
)
def test_no_record_adds_more_than_the_margin_allows(model, clip, size):
    """Records of all lengths, one at a time without noise: the opened sum is the clipped gradient, never longer."""
    from privlab.encryption.shared.bounds import bounds_of, scales_of

    settings = SharedSettings(model=model, max_grad_norm=clip, learning_rate=0.1, hidden=8)
    classes = 2 if model == "binary" else 4
    bounds = bounds_of(settings, 6, classes, 3)
    given = {
        "layers": settings.layers(6, classes),
        "scales": asdict(scales_of(settings)),
        "clip": clip,
        "longest": bounds.longest,
        "size": size,
        "records": 40,
        "input_norm": settings.input_norm,
    }
    done = subprocess.run(
        [python(), "-c", textwrap.dedent(ALONE), json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_THREAD_LIMIT": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    norms, long = np.array(told["norms"]), np.array(told["long"])
    # Both kinds of records are among them: those that are shortened, and those that are not.
    assert (long > clip).any()
    assert (long < clip).any()
    assert norms.max() <= clip * (1 + bounds.margin)
    # And it is clipping, not something that is merely short.
    assert norms[long > clip].min() > 0.9 * clip
    assert np.max(told["apart"]) < 0.08 * clip
