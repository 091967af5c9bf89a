"""Tangent kernels against torch.func, neural-tangents and nngeometry: simple-cnn and resnet20, CIFAR-sized, one run.

Sides are interleaved, each after a first call that is not counted; ratios are of medians.

    python benchmarks/kernel_speed.py                     # torch.func always; the other two where importable
    pip install neural-tangents==0.6.5 jax==0.4.35 tf2jax==0.3.6 nngeometry    # in an environment of their own
    python benchmarks/kernel_speed.py --network resnet20 --form trace --samples 64 --repeats 2
"""

import argparse
import importlib.util
import statistics
import time

import torch
from torch.func import functional_call, jacrev, vmap

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.networks.registry import NetworkSpec, build


def network_of(name, where, seed=0):
    torch.manual_seed(seed)
    network = build(NetworkSpec(name), (3, 32, 32), 10)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics as of a trained network, not of a new one
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return place(network.eval(), where)


def torch_func(network, x, form, chunk):
    """The textbook way: the Jacobian of all samples (in chunks, to be fair to its memory), then one product."""
    theta = {name: p.detach() for name, p in network.named_parameters()}

    def one(t, sample):
        return functional_call(network, t, (sample[None],))[0]

    rows = vmap(jacrev(one), in_dims=(None, 0), chunk_size=chunk)(theta, x)
    parts = [r.flatten(2) for r in rows.values()]
    if form == "trace":
        return sum(p.flatten(1) @ p.flatten(1).T for p in parts) / parts[0].shape[1]
    return sum(p.flatten(0, 1) @ p.flatten(0, 1).T for p in parts)


def jax_side(network, x, form, implementation):
    """neural-tangents on the same weights, inputs and network, channels last, compiled."""
    import jax
    import jax.interpreters.ad
    import jax.numpy as jnp
    import neural_tangents as nt
    import numpy as np

    for name in ("config", "source_info_util"):  # neural-tangents 0.6.5 looks for them where jax no longer has them
        source = jax._src.config.config if name == "config" else jax._src.source_info_util
        if not hasattr(jax.interpreters.ad, name):
            setattr(jax.interpreters.ad, name, source)

    weights = {}
    for name, tensor in network.state_dict().items():
        value = tensor.detach().float().numpy()
        weights[name] = jnp.asarray(np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value)
    trained = {name for name, _ in network.named_parameters()}
    fixed = {name: value for name, value in weights.items() if name not in trained}
    theta = {name: value for name, value in weights.items() if name in trained}
    images = jnp.asarray(np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()))

    def conv(w, name, y, stride=1):
        dims = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            y, w[f"{name}.weight"], (stride, stride), ((1, 1), (1, 1)), dimension_numbers=dims
        )
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def norm(w, name, y):
        deviation = jnp.sqrt(fixed[f"{name}.running_var"] + 1e-5)
        return (y - fixed[f"{name}.running_mean"]) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    def simple_cnn(w, y):
        for number in range(1, 7):
            y = jax.nn.relu(conv(w, f"conv{number}", y))
            if number % 2 == 0:
                y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return y.mean((1, 2)) @ w["head.weight"].T + w["head.bias"]

    def resnet20(w, y):
        y = jax.nn.relu(norm(w, "norm", conv(w, "conv", y)))
        for stage in (1, 2, 3):
            for block in range(3):
                name, stride = f"stage{stage}.{block}", 2 if stage > 1 and not block else 1
                z = jax.nn.relu(norm(w, f"{name}.norm1", conv(w, f"{name}.conv1", y, stride)))
                z = norm(w, f"{name}.norm2", conv(w, f"{name}.conv2", z))
                if stride == 2:
                    extra = z.shape[-1] - y.shape[-1]
                    y = jnp.pad(y[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))
                y = jax.nn.relu(z + y)
        return y.mean((1, 2)) @ w["head.weight"].T + w["head.bias"]

    function = simple_cnn if "conv1.weight" in weights else resnet20
    axes = (-1,) if form == "trace" else ()
    kernel = nt.empirical_ntk_fn(
        lambda w, y: function(w, y), trace_axes=axes, vmap_axes=0, implementation=implementation
    )
    compiled = jax.jit(lambda w: kernel(images, None, w))

    def call():
        out = np.asarray(compiled(theta).block_until_ready())
        return torch.tensor(out if form == "trace" else out.transpose(0, 2, 1, 3).reshape(len(x) * 10, -1))

    return call


def nngeometry_side(network, x):
    from nngeometry.gram import GramMatrix
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(x, torch.zeros(len(x), dtype=torch.long)), batch_size=len(x))

    def call():
        g = GramMatrix(network, loader, function=lambda *d: network(d[0])).data  # (class, sample, class, sample)
        return g.permute(1, 0, 3, 2).reshape(10 * len(x), -1)

    return call


def distance(one, two):
    """The kernel distance S, without cancellation."""
    one, two = one.double() / one.double().norm(), two.double() / two.double().norm()
    return float((one - two).square().sum()) / 2


def compare(sides, repeats, reference):
    """Interleaved medians; the kernels are compared with the first side's."""
    values = {name: side() for name, side in sides.items()}
    times = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            begun = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(t) for name, t in times.items()}
    for name, value in values.items():
        error = float((value.double() - reference.double()).norm() / reference.double().norm())
        print(f"  {name:34s} {medians[name]:8.2f} s   error of K {error:.1e}", flush=True)
    return medians


def pair_errors(network, other, x, form):
    """The error of S between two networks in reduced precision."""
    kernels = {
        p: [tangent_kernel(n, x, form=form, precision=p).values for n in (network, other)] for p in ("float32", "bf16")
    }
    return distance(*kernels["float32"]), distance(*kernels["bf16"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=["simple-cnn", "resnet20"], default="simple-cnn")
    parser.add_argument("--form", choices=["full", "trace"], default="full")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", type=int, default=16, help="samples for nngeometry")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = placement("cpu", "float32")
    network = network_of(options.network, where)
    x = torch.randn(options.samples, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    form = options.form
    exact = tangent_kernel(network, x, form=form, precision="float64").values
    sides = {
        "landscape, float32": lambda: tangent_kernel(network, x, form=form).values,
        "landscape, bf16": lambda: tangent_kernel(network, x, form=form, precision="bf16").values,
        "torch.func Jacobian + product": lambda: torch_func(network, x, form, 32),
    }
    if importlib.util.find_spec("neural_tangents"):
        import neural_tangents as nt

        for way in ("JACOBIAN_CONTRACTION", "STRUCTURED_DERIVATIVES"):
            sides[f"neural-tangents, {way.lower()}"] = jax_side(network, x, form, nt.NtkImplementation[way])
    print(f"{options.network}, {form}, n = {len(x)}, C = 10, {options.threads} threads")
    medians = compare(sides, options.repeats, exact)
    peers = {name: seconds for name, seconds in medians.items() if not name.startswith("landscape")}
    best = min(peers, key=peers.__getitem__)
    for name in ("landscape, float32", "landscape, bf16"):
        print(f"  {name}: {peers[best] / medians[name]:.2f} × the fastest peer ({best})")
    half = network_of(options.network, where)
    with torch.no_grad():
        for p in half.parameters():
            p.add_(torch.randn_like(p) * 0.01 * p.square().mean().sqrt())
    for label, other in (("another start", network_of(options.network, where, 1)), ("weights moved by 1 %", half)):
        s32, s16 = pair_errors(network, other, x, form)
        print(f"  S to {label}: float32 {s32:.6e}, bf16 {s16:.6e}")
    if importlib.util.find_spec("nngeometry") and form == "full" and options.small:
        few = x[: options.small].contiguous()
        print(f"{options.network}, full, n = {len(few)}")
        sides = {
            "landscape, float32": lambda: tangent_kernel(network, few).values,
            "nngeometry": nngeometry_side(network, few),
        }
        medians = compare(sides, 1, tangent_kernel(network, few, precision="float64").values)
        print(f"  {medians['nngeometry'] / medians['landscape, float32']:.1f} × nngeometry")


if __name__ == "__main__":
    main()
