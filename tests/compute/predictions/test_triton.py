"""The CUDA kernel in Triton's interpreter, which has to be chosen before triton is first imported: a process apart."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from landscape_cli.compute.predictions import distances

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed here")

CODE = """
import torch
from landscape_cli.compute.predictions import triton_kernels
from landscape_cli.compute.predictions.dense_distances import dense_sums

again = []

def dense(first, second, *, angles):
    again.append(len(first))
    return dense_sums(first, second, angles=angles)

triton_kernels.dense_sums = dense

def check(log_probs, tolerance, expected, split=None):
    again.clear()
    sides = (log_probs, None) if split is None else (log_probs[:split], log_probs[split:])
    found, exact = triton_kernels.bhattacharyya_sums(*sides, tile=16), dense_sums(*sides, angles=False)
    assert torch.equal(found.isinf(), exact.isinf())
    rest = exact.isfinite() & (exact > 0)
    error = float(((found - exact).abs() / exact)[rest].max()) if rest.any() else 0.0
    assert error <= tolerance, error
    assert len(again) == expected, again
    if split is None:
        assert torch.equal(found, found.T) and (found.diagonal() == 0).all()

stream = torch.Generator().manual_seed(0)
noise = torch.randn(21, 9, 10, generator=stream)
typical = torch.log_softmax(2 * noise, 2)
check(typical, 1e-6, 0)
check(typical.double(), 1e-6, 0, split=5)
check(torch.log_softmax(2 * noise[:, :8, :3], 2), 1e-6, 0)
check(torch.log_softmax(2 * noise[:1] + 1e-3 * noise, 2), 1e-6, 3)
check(torch.log_softmax(400 * noise, 2), 1e-6, 3)
check(torch.nn.functional.one_hot(noise.argmax(2), 10).double().log(), 0.0, 1, split=5)
triton_kernels.NUMBERS = 1
check(typical, 1e-6, 0)
triton_kernels.TILE = 16
assert triton_kernels.agree(torch.device("cpu"))
print("done")
"""


def test_the_fused_kernel_in_the_interpreter() -> None:
    """Typical models from the kernel alone; tiles that are close, or far beyond its range, again in float64."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_a_gpu_the_kernel_stands_its_trial_and_gives_what_the_cpu_gives() -> None:
    log_probs = torch.log_softmax(2 * torch.randn(300, 50, 10, generator=torch.Generator().manual_seed(0)), 2)
    assert distances.triton_kernels(torch.device("cuda", 0)) is not None
    found, exact = (distances.distance_sums(side, kind="bhattacharyya") for side in (log_probs.cuda(), log_probs))
    assert torch.allclose(found.cpu(), exact, rtol=1e-5, atol=0)


def test_a_kernel_that_does_not_run_or_is_wrong_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.compute.predictions import triton_kernels

    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no such instruction")

    for wrong, complaint in (
        (broken, "does not run"),
        (lambda first, _: torch.ones(len(first), len(first), dtype=torch.float64), "wrong"),
    ):
        triton_kernels.agree.cache_clear()
        monkeypatch.setattr(triton_kernels, "bhattacharyya_sums", wrong)
        with pytest.warns(UserWarning, match=complaint):
            assert not triton_kernels.agree(torch.device("cpu"))
    triton_kernels.agree.cache_clear()


def test_importing_the_distances_does_not_import_triton() -> None:
    code = "import sys, landscape_cli.compute.predictions.distances; print('triton' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
