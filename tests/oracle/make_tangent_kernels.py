"""Makes ``data/tangent_kernels.npz``: kernels by JAX's neural-tangents, which share no code with this package or torch.

Two networks in float64, their weights and inputs drawn by numpy: the layers of ``simple-cnn`` at an eighth of its width
on 8×8 images, and a tanh perceptron. The networks are written here in plain JAX; ``neural_tangents.empirical_ntk_fn``
gives the full kernel, its Jacobian contraction and its vector products agreeing to 1e-10.

In a throw-away environment: ``pip install neural-tangents==0.6.5 jax==0.4.35 tf2jax==0.3.6``, then
``python tests/oracle/make_tangent_kernels.py`` (made on a CPU). The arrays: ``NAME/inputs``, ``NAME/weights/TENSOR`` in torch's shapes and names,
``NAME/logits``, and ``NAME/kernel`` with rows ``i·C + k``.
"""

from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import neural_tangents as nt  # noqa: E402
import numpy as np  # noqa: E402

CHANNELS = (3, 4, 4, 8, 8, 16, 16)
CLASSES, SAMPLES = 4, 5


def simple_cnn(weights, x):
    for number in range(1, 7):
        dims = jax.lax.conv_dimension_numbers(x.shape, (1, 1, 1, 1), ("NCHW", "OIHW", "NCHW"))
        kernel, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dims)
        x = jnp.maximum(x + bias[None, :, None, None], 0)
        if number % 2 == 0:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return x.mean((2, 3)) @ weights["head.weight"].T + weights["head.bias"]


def perceptron(weights, x):
    x = x.reshape(len(x), -1)
    for name in ("linear1", "linear2"):
        x = jnp.tanh(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
    return x @ weights["head.weight"].T + weights["head.bias"]


def shapes_cnn():
    for number in range(1, 7):
        yield f"conv{number}", (CHANNELS[number], CHANNELS[number - 1], 3, 3)
    yield "head", (CLASSES, CHANNELS[-1])


def shapes_perceptron():
    yield from (("linear1", (9, 48)), ("linear2", (7, 9)), ("head", (CLASSES, 7)))


def main():
    arrays = {}
    cases = {"simple-cnn": (simple_cnn, shapes_cnn, (3, 8, 8)), "mlp": (perceptron, shapes_perceptron, (3, 4, 4))}
    for seed, (name, (function, shapes, shape)) in enumerate(cases.items()):
        generator = np.random.default_rng(seed)
        weights = {}
        for layer, size in shapes():
            weights[f"{layer}.weight"] = generator.normal(size=size) * np.sqrt(2 / np.prod(size[1:]))
            weights[f"{layer}.bias"] = generator.normal(size=size[0]) * 0.1
        inputs = generator.normal(size=(SAMPLES, *shape))
        kernels = []
        for way in (nt.NtkImplementation.JACOBIAN_CONTRACTION, nt.NtkImplementation.NTK_VECTOR_PRODUCTS):
            kernel = nt.empirical_ntk_fn(function, trace_axes=(), implementation=way)
            both = kernel(jnp.asarray(inputs), None, {k: jnp.asarray(v) for k, v in weights.items()})
            kernels.append(np.asarray(both).transpose(0, 2, 1, 3).reshape(SAMPLES * CLASSES, -1))
        assert np.abs(kernels[0] - kernels[1]).max() <= 1e-10 * np.abs(kernels[0]).max()
        arrays[f"{name}/inputs"], arrays[f"{name}/kernel"] = inputs, kernels[0]
        arrays[f"{name}/logits"] = np.asarray(function(weights, inputs))
        arrays |= {f"{name}/weights/{key}": value for key, value in weights.items()}
    np.savez_compressed(Path(__file__).parent / "data" / "tangent_kernels.npz", **arrays)


if __name__ == "__main__":
    main()
