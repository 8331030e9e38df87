"""The two error measures that every kernel and backend must hold against fp64, never looser in CI."""

import torch

RELATIVE_RMS = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1.5e-2,
}


def rms(x):
    return x.double().square().mean().sqrt()


def assert_matches(name, out, exact, plain):
    """out: under test; exact: the definition in fp64; plain: the definition in out's dtype."""
    assert torch.isfinite(out).all(), f"{name}: non-finite values"
    relative = (rms(out.double() - exact) / (rms(exact) + 1e-30)).item()
    ceiling = RELATIVE_RMS[out.dtype]
    assert relative <= ceiling, f"{name}: relative RMS {relative:.2e} > {ceiling:.0e} ({out.dtype})"
    worst = (out.double() - exact).abs().max().item()
    floor = max(1e-5, torch.finfo(out.dtype).eps) * exact.abs().max().item()
    limit = 2 * (plain.double() - exact).abs().max().item() + floor
    assert worst <= limit, f"{name}: largest error {worst:.2e} > {limit:.2e}"
