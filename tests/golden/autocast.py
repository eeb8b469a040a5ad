#!/usr/bin/python3
"""Prints how far PyTorch's bfloat16 autocast on the CPU is from float64 on the golden cases, beside which tests/parity holds
f16 and bf16 (float16 has no convolutions on the CPU).

    /usr/bin/python3 tests/golden/autocast.py nano b0
"""
import sys

import numpy as np
import torch
from torch.nn import functional as F

import make_golden as golden


def step(case, dtype, autocast):
    """Logits and gradients of a step with batch statistics, as float64 numpy arrays."""
    net = golden.build(case.variant, case.classes, case.padding)
    kind = golden.kinds(net)
    for name, t in net.state_dict().items():
        if kind[name]:
            t.copy_(torch.from_numpy(golden.values(case.seed, name, tuple(t.shape), kind[name])))
    net = net.to(dtype).train()
    edge = 3.0**0.5
    x = torch.from_numpy(golden.uniform(case.seed, "images", (case.n, 3, case.h, case.w), -edge, edge)).to(dtype)
    y = torch.from_numpy((golden.bits(case.seed, "labels", case.n) % np.uint64(case.classes)).astype(np.int64))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = net(x)
        loss = F.cross_entropy(logits, y)
    loss.backward()
    return logits.detach().double().numpy(), {k: p.grad.double().numpy() for k, p in net.named_parameters()}


for name in sys.argv[1:]:
    case = golden.CASES[name]
    logits, exact = step(case, torch.float64, False)
    half, got = step(case, torch.float32, True)
    sizes = {k: np.abs(v).max() for k, v in exact.items()}
    median = np.median(list(sizes.values()))
    errors = [np.abs(got[k] - exact[k]).max() / max(sizes[k], 1e-3 * median) for k in exact if sizes[k] >= 1e-9 * median]
    print(f"{name}: PyTorch {torch.__version__} in bfloat16: logits {np.abs(half - logits).max() / np.abs(logits).max():.1e}, "
          f"gradients worst {max(errors):.1e} median {np.median(errors):.1e}")
