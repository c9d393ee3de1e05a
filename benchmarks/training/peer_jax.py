"""jax-privacy on the same work: its Poisson sampler, ``clipped_grad`` and Gaussian privatizer, compiled whole."""

from __future__ import annotations

from peer_protocol import one_core, serve, told

one_core()

import math  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax import lax  # noqa: E402
from jax_privacy import __version__, batch_selection, clipped_grad, noise_addition  # noqa: E402

VOCABULARY, CONTEXT, WIDTH, HEADS, BLOCKS = 256, 64, 192, 6, 6
RESNET_WIDTHS, RESNET_BLOCKS = (16, 32, 64), 3
#: Records at once: the quickest found on one core among 1 to 608 (CNN, logistic) and 2 to 64 (ResNet).
MICROBATCH = {"logistic": 64, "cnn": 1, "resnet": 4, "gpt": 16}


class Weights:
    """Makes weights of PyTorch's default size; their values do not matter for speed, their number does."""

    def __init__(self):
        self._random = np.random.default_rng(0)

    def __call__(self, *shape, inputs):
        bound = 1 / math.sqrt(inputs)
        return jnp.asarray(self._random.uniform(-bound, bound, shape), jnp.float32)

    def linear(self, inputs, outputs):
        return {"w": self(inputs, outputs, inputs=inputs), "b": self(outputs, inputs=inputs)}

    def conv(self, size, inputs, outputs, bias=True):
        fan = size * size * inputs
        made = {"w": self(size, size, inputs, outputs, inputs=fan)}
        return made | {"b": self(outputs, inputs=fan)} if bias else made


def norm_weights(width):
    return {"scale": jnp.ones(width), "shift": jnp.zeros(width)}


def linear(p, x):
    return x @ p["w"] + p["b"]


def conv(p, x, stride=1, padding=0):
    out = lax.conv_general_dilated(
        x, p["w"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out + p["b"] if "b" in p else out


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID")


def normalise(p, x, axes):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(axes, keepdims=True) + 1e-5)


def group_norm(p, x):
    n, h, w, c = x.shape
    groups = normalise(p, x.reshape(n, h, w, c // 4, 4), (1, 2, 4)).reshape(x.shape)
    return groups * p["scale"] + p["shift"]


def layer_norm(p, x):
    return normalise(p, x, -1) * p["scale"] + p["shift"]


def logistic():
    return Weights().linear(784, 10), lambda p, x: linear(p, x.reshape(len(x), -1))


def cnn():
    make = Weights()
    params = {
        "c1": make.conv(8, 1, 16),
        "c2": make.conv(4, 16, 32),
        "l1": make.linear(512, 32),
        "l2": make.linear(32, 10),
    }

    def forward(p, x):
        x = pool(jnp.tanh(conv(p["c1"], x, 2, 2)))
        x = pool(jnp.tanh(conv(p["c2"], x, 2)))
        return linear(p["l2"], jnp.tanh(linear(p["l1"], x.reshape(len(x), -1))))

    return params, forward


def resnet():
    make, inputs = Weights(), RESNET_WIDTHS[0]
    params = {"first": make.conv(3, 1, inputs, bias=False), "norm": norm_weights(inputs), "blocks": []}
    for width in RESNET_WIDTHS:
        for _ in range(RESNET_BLOCKS):
            block = {
                "c1": make.conv(3, inputs, width, bias=False),
                "n1": norm_weights(width),
                "c2": make.conv(3, width, width, bias=False),
                "n2": norm_weights(width),
            }
            if inputs != width:
                block |= {"c3": make.conv(1, inputs, width, bias=False), "n3": norm_weights(width)}
            params["blocks"].append(block)
            inputs = width
    params["last"] = make.linear(inputs, 10)

    def forward(p, x):
        x = jax.nn.relu(group_norm(p["norm"], conv(p["first"], x, 1, 1)))
        for block in p["blocks"]:
            stride = 2 if "c3" in block else 1
            y = jax.nn.relu(group_norm(block["n1"], conv(block["c1"], x, stride, 1)))
            y = group_norm(block["n2"], conv(block["c2"], y, 1, 1))
            x = jax.nn.relu(y + (group_norm(block["n3"], conv(block["c3"], x, stride)) if "c3" in block else x))
        return linear(p["last"], x.mean((1, 2)))

    return params, forward


def gpt():
    make = Weights()
    params = {
        "token": make(VOCABULARY, WIDTH, inputs=1),
        "position": make(CONTEXT, WIDTH, inputs=1),
        "blocks": [
            {
                "n1": norm_weights(WIDTH),
                "n2": norm_weights(WIDTH),
                "qkv": make.linear(WIDTH, 3 * WIDTH),
                "project": make.linear(WIDTH, WIDTH),
                "up": make.linear(WIDTH, 4 * WIDTH),
                "down": make.linear(4 * WIDTH, WIDTH),
            }
            for _ in range(BLOCKS)
        ],
        "norm": norm_weights(WIDTH),
        "head": make.linear(WIDTH, VOCABULARY),
    }

    def forward(p, ids):
        n, tokens = ids.shape
        x = p["token"][ids] + p["position"][:tokens]
        for b in p["blocks"]:
            parts = linear(b["qkv"], layer_norm(b["n1"], x)).reshape(n, tokens, 3, HEADS, WIDTH // HEADS)
            seen = jax.nn.dot_product_attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2], is_causal=True)
            x = x + linear(b["project"], seen.reshape(n, tokens, WIDTH))
            hidden = jax.nn.gelu(linear(b["up"], layer_norm(b["n2"], x)), approximate=False)
            x = x + linear(b["down"], hidden)
        return linear(p["head"], layer_norm(p["norm"], x)[:, -1])

    return params, forward


def main() -> None:
    work = told()
    params, forward = {"logistic": logistic, "cnn": cnn, "resnet": resnet, "gpt": gpt}[work["row"]]()
    x = jnp.asarray(work["x"].transpose(0, 2, 3, 1) if work["x"].ndim == 4 else work["x"])
    y, batch, at_once = jnp.asarray(work["y"]), work["batch"], MICROBATCH[work["row"]]
    # Compiled code needs one size. jax-privacy pads; blocks of nothing but padding it leaves out.
    unit = math.ceil((batch + 4 * math.sqrt(batch)) / at_once) * at_once

    def loss(p, records, labels):
        return optax.softmax_cross_entropy_with_integer_labels(forward(p, records), labels).mean()

    clipped = clipped_grad(loss, l2_clip_norm=work["clip"], batch_argnums=(1, 2), microbatch_size=at_once)
    noise = noise_addition.gaussian_privatizer(stddev=work["sigma"] * work["clip"])

    # Records are arguments and no constants: a compiler would try to fold those.
    @jax.jit
    def advance(p, state, x, y, drawn):
        sums = clipped(p, x[drawn], y[drawn], is_padding_example=drawn < 0)
        noisy, state = noise.update(sums, state)
        return jax.tree.map(lambda a, g: a - work["rate"] / batch * g, p, noisy), state

    batches = batch_selection.CyclicPoissonSampling(batch / len(x), 10**9).batch_iterator(len(x))
    held = [params, noise.init(params)]

    def step() -> int:
        drawn = next(batches)
        padded = batch_selection.pad_to_multiple_of(drawn.astype(np.int32), unit)
        held[:] = advance(*held, x, y, padded)
        jax.block_until_ready(held)
        return len(drawn)

    count = sum(p.size for p in jax.tree.leaves(params))
    serve(step, {"jax-privacy": __version__, "jax": jax.__version__, "parameters": count})


main()
