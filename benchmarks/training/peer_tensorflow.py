"""tensorflow-privacy on the same work: its ``DPSequential``, compiled by XLA.

It has no Poisson sampler, so batches have the fixed size B and are drawn evenly, which is the cheapest that can be done. Its
vectorized optimizers would need more than 13 GB for this CNN at B = 512.
"""

from __future__ import annotations

import os

from peer_protocol import one_core, serve, told

one_core()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import tensorflow as tf  # noqa: E402
import tensorflow_privacy  # noqa: E402
from tensorflow_privacy import DPSequential  # noqa: E402
from tensorflow_privacy.privacy.fast_gradient_clipping.layer_registry import (  # noqa: E402
    make_default_layer_registry,
)

L = tf.keras.layers


def layers(row: str) -> list:
    if row == "logistic":
        return [L.Flatten(), L.Dense(10)]
    return [
        L.ZeroPadding2D(2),
        L.Conv2D(16, 8, 2, activation="tanh"),
        L.MaxPool2D(2, 1),
        L.Conv2D(32, 4, 2, activation="tanh"),
        L.MaxPool2D(2, 1),
        L.Flatten(),
        L.Dense(32, activation="tanh"),
        L.Dense(10),
    ]


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    work = told()
    x, y, batch = tf.constant(work["x"].transpose(0, 2, 3, 1)), tf.constant(work["y"]), work["batch"]
    net = DPSequential(
        work["clip"], work["sigma"], layers=layers(work["row"]), layer_registry=make_default_layer_registry()
    )
    net.build((None, 28, 28, 1))
    losses = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(tf.keras.optimizers.SGD(work["rate"]), losses)

    def step() -> int:
        drawn = tf.random.uniform((batch,), 0, len(x), tf.int32)
        net.train_step((tf.gather(x, drawn), tf.gather(y, drawn)))
        return batch

    versions = {"tensorflow-privacy": tensorflow_privacy.__version__, "tensorflow": tf.__version__}
    serve(step, versions | {"parameters": net.count_params()})


main()
