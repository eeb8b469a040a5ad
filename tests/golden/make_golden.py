#!/usr/bin/python3
"""Writes the golden files that the model is held against, from torchvision's EfficientNet.

    /usr/bin/python3 tests/golden/make_golden.py            # everything, about a minute and a half
    /usr/bin/python3 tests/golden/make_golden.py nano b0    # these cases only

Needs Debian's python3-torch and python3-torchvision (made with 1.13 and 0.14; the versions are in each file's metadata).

effnetv2/golden/data/CASE.safetensors holds, of one network and batch:
  infer.logits               with running statistics
  train.logits, train.loss   with batch statistics; dropout and stochastic depth off, mean cross-entropy without smoothing
  grad.*, stats.*            digests of every gradient and of every running statistic after that step
  steps.losses, steps.delta.*, steps.stats.*
                             losses before each of three RMSProp steps, digests of weight - initial weight and of the statistics
  *.err32                    PyTorch's own float32 error of the same quantity
  initial.projections        of every initial tensor and of the images, with which the two generators are compared
Everything is computed in float64 and stored in float32. Weights, images and labels are not stored: values() makes them
from the seed, here and in effnetv2/golden/values.go, bit for bit alike. A digest of a tensor (digest()) is the whole tensor when
it is small, else a fixed pseudo-random sample of SAMPLES elements, and always the largest absolute value and PROJECTIONS
sums of all elements with pseudo-random signs.

effnetv2/testdata/: the entries of torchvision's state_dicts and small files written by torch.save.
"""
import argparse
import collections
import functools
import hashlib
import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "effnetv2/golden/data"
TESTDATA = ROOT / "effnetv2/testdata"

SAMPLES, PROJECTIONS = 128, 4
LR, RHO, MOMENTUM, EPS, DECAY, STEPS = 0.02, 0.9, 0.9, 1e-3, 1e-5, 3

# Stem, (kind, repeats, stride, expand, out) of each stage, head: the rows of effnetv2/variant.go.
VARIANTS = {
    "nano": (8, [("F", 1, 1, 1, 8), ("F", 1, 2, 4, 8), ("F", 1, 2, 4, 16),
                 ("M", 1, 2, 4, 24), ("M", 2, 1, 6, 32), ("M", 3, 2, 6, 48)], 320),
    "b0": (32, [("F", 1, 1, 1, 16), ("F", 2, 2, 4, 32), ("F", 2, 2, 4, 48),
                ("M", 3, 2, 4, 96), ("M", 5, 1, 6, 112), ("M", 8, 2, 6, 192)], 1280),
    "s": (24, [("F", 2, 1, 1, 24), ("F", 4, 2, 4, 48), ("F", 4, 2, 4, 64),
               ("M", 6, 2, 4, 128), ("M", 9, 1, 6, 160), ("M", 15, 2, 6, 256)], 1280),
}

Case = collections.namedtuple("Case", "variant classes n h w padding seed full")
# Odd and non-square sizes. The two paddings differ where a stride-2 convolution meets an even size, so "same" has even sizes
# that turn odd on the way. S is large enough that its last batch norms see 36 values a channel: with 12, rounding errors grow so
# fast that PyTorch's own float32 is 16 % off after three steps.
CASES = {
    "nano": Case("nano", 10, 3, 37, 45, "torch", 1, True),
    "nano-same": Case("nano", 10, 3, 40, 36, "same", 2, False),
    "b0": Case("b0", 37, 2, 65, 97, "torch", 3, False),
    "b0-same": Case("b0", 37, 2, 64, 72, "same", 4, False),
    "s": Case("s", 1000, 3, 101, 75, "torch", 5, False),
}


def bits(seed, name, count):
    """64 pseudo-random bits for each element of a tensor: splitmix64, started at FNV-1a of "seed/name"."""
    state = 0xCBF29CE484222325
    for byte in f"{seed}/{name}".encode():
        state = (state ^ byte) * 0x100000001B3 & (1 << 64) - 1
    z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def uniform(seed, name, shape, low, high):
    """float32 values in [low, high): the upper 24 bits, scaled in float64."""
    u = (bits(seed, name, math.prod(shape)) >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return (low + (high - low) * u).astype(np.float32).reshape(shape)


def values(seed, name, shape, kind):
    """The initial value of one entry. Kernels have variance 1/fan-in, with which activations neither explode nor vanish in
    inference either, where the statistics are not the batch's; everything else is far from its usual start."""
    if kind in ("conv", "se", "fc"):
        bound = math.sqrt(3.0 / math.prod(shape[1:]))
        return uniform(seed, name, shape, -bound, bound)
    low, high = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "mean": (-0.2, 0.2), "var": (0.5, 2.0),
                 "sebias": (-0.5, 0.5), "fcbias": (-0.1, 0.1)}[kind]
    return uniform(seed, name, shape, low, high)


def build(variant, classes, padding):
    stem, rows, head = VARIANTS[variant]
    stages, width = [], stem
    for kind, repeats, stride, expand, out in rows:
        config = FusedMBConvConfig if kind == "F" else MBConvConfig
        stages.append(config(expand, 3, stride, width, out, repeats))
        width = out
    norm = functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.1)
    net = EfficientNet(stages, dropout=0.0, stochastic_depth_prob=0.0, num_classes=classes, norm_layer=norm, last_channel=head)
    for m in net.modules():
        if isinstance(m, nn.SiLU):
            m.inplace = False
        if padding == "same" and isinstance(m, nn.Conv2d) and m.stride[0] == 2:
            m.forward = functools.partial(same_conv, m)
    return net


def same_conv(conv, x):
    """TensorFlow's SAME: total = max((ceil(n/s)-1)*s + k - n, 0), total//2 of it before."""
    pads = []
    for n, k, s in zip(x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1]):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)


def kinds(net):
    """Entry name -> kind, None for counters."""
    out = {}
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            out[name + ".weight"] = "se" if m.bias is not None else "conv"
            out[name + ".bias"] = "sebias"
        elif isinstance(m, nn.BatchNorm2d):
            out.update({name + ".weight": "gamma", name + ".bias": "beta", name + ".running_mean": "mean",
                        name + ".running_var": "var", name + ".num_batches_tracked": None})
        elif isinstance(m, nn.Linear):
            out.update({name + ".weight": "fc", name + ".bias": "fcbias"})
    return out


def run(case, dtype):
    """One reference run; every quantity as float64 numpy arrays."""
    net = build(case.variant, case.classes, case.padding)
    kind = kinds(net)
    state = net.state_dict()
    for name, t in state.items():
        if kind[name]:
            t.copy_(torch.from_numpy(values(case.seed, name, tuple(t.shape), kind[name])))
    net = net.to(dtype)
    initial = {k: v.clone() for k, v in net.state_dict().items()}
    edge = math.sqrt(3.0)
    x = torch.from_numpy(uniform(case.seed, "images", (case.n, 3, case.h, case.w), -edge, edge)).to(dtype)
    y = torch.from_numpy((bits(case.seed, "labels", case.n) % np.uint64(case.classes)).astype(np.int64))
    numpy = lambda t: t.detach().double().numpy().copy()
    stats = lambda: {k: numpy(v) for k, v in net.state_dict().items() if kind[k] in ("mean", "var")}

    out = {"initial": {k: numpy(v) for k, v in initial.items() if kind[k]} | {"images": numpy(x)}}
    net.eval()
    with torch.no_grad():
        out["infer.logits"] = numpy(net(x))
    net.train()
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    out["train.logits"], out["train.loss"] = numpy(logits), numpy(loss).reshape(1)
    out["grad"] = {k: numpy(p.grad) for k, p in net.named_parameters()}
    out["stats"] = stats()

    # RMSProp as TensorFlow has it: ms starts at 1, epsilon inside the root, the rate inside the momentum.
    ms = {k: torch.ones_like(p) for k, p in net.named_parameters()}
    mom = {k: torch.zeros_like(p) for k, p in net.named_parameters()}
    losses = []
    for step in range(STEPS):
        if step > 0:  # the pass above is the first step's
            net.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
        losses.append(float(loss))
        with torch.no_grad():
            for k, p in net.named_parameters():
                g = p.grad + DECAY * p if kind[k] in ("conv", "se", "fc") else p.grad
                ms[k] += (1 - RHO) * (g * g - ms[k])
                mom[k] = MOMENTUM * mom[k] + LR * g / torch.sqrt(ms[k] + EPS)
                p -= mom[k]
    out["steps.losses"] = np.array(losses)
    out["steps.delta"] = {k: numpy(p) - numpy(initial[k]) for k, p in net.named_parameters()}
    out["steps.stats"] = stats()
    return out


def digest(case, name, x):
    flat = x.ravel()
    if case.full or flat.size <= SAMPLES:
        sample = flat
    else:
        sample = flat[bits(case.seed, "sample/" + name, SAMPLES) % np.uint64(flat.size)]
    sign = bits(case.seed, "project/" + name, flat.size)
    proj = [np.sum(np.where(sign >> np.uint64(k) & np.uint64(1), -flat, flat)) for k in range(PROJECTIONS)]
    return sample, np.abs(flat).max(), proj


def make(name, case):
    exact, single = run(case, torch.float64), run(case, torch.float32)
    tensors = {}
    for key, x in exact.items():
        if not isinstance(x, dict):
            tensors[key] = x
            tensors[key + ".err32"] = np.array([np.abs(x - single[key]).max()])
            continue
        if key == "initial":
            tensors[key + ".projections"] = np.array([digest(case, k, v)[2] for k, v in x.items()])
            continue
        # Only gradients and changes of nano are stored whole: its running statistics are small anyway.
        digests = [digest(case, k, v) for k, v in x.items()]
        tensors[key + ".values"] = np.concatenate([d[0] for d in digests])
        tensors[key + ".max"] = np.array([d[1] for d in digests])
        tensors[key + ".projections"] = np.array([d[2] for d in digests])
        tensors[key + ".err32"] = np.array([np.abs(v - single[key][k]).max() for k, v in x.items()])
    meta = {k: str(v) for k, v in case._asdict().items()}
    meta |= {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__}
    write_safetensors(GOLDEN / f"{name}.safetensors", {k: v.astype(np.float32) for k, v in tensors.items()}, meta)
    scale = np.maximum(tensors["grad.max"], 1e-3 * np.median(tensors["grad.max"]))
    err = tensors["grad.err32"] / scale
    print(f"{name}: loss {tensors['steps.losses']}, PyTorch's float32: logits "
          f"{tensors['infer.logits.err32'][0] / np.abs(tensors['infer.logits']).max():.1e} "
          f"{tensors['train.logits.err32'][0] / np.abs(tensors['train.logits']).max():.1e}, gradients worst {err.max():.1e} "
          f"median {np.median(err):.1e}, changes worst "
          f"{(tensors['steps.delta.err32'] / np.maximum(tensors['steps.delta.max'], 1e-3 * np.median(tensors['steps.delta.max']))).max():.1e}")


def write_safetensors(path, tensors, meta):
    header, offset, blobs = {"__metadata__": meta}, 0, []
    for name, x in sorted(tensors.items()):
        blob = x.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def entries(net):
    return "".join(f"{k} {list(v.shape)}\n" for k, v in net.state_dict().items())


def make_testdata():
    models = torchvision.models
    (TESTDATA / "torchvision_s.txt").write_text(entries(models.efficientnet_v2_s()))
    hashes = {n: hashlib.sha256(entries(f()).encode()).hexdigest() for n, f in
              {"m": models.efficientnet_v2_m, "l": models.efficientnet_v2_l, "v1-b0": models.efficientnet_b0}.items()}
    (TESTDATA / "torchvision.sha256").write_text("".join(f"{h}  {n}\n" for n, h in hashes.items()))

    def ramp(dtype, *shape):
        return (torch.arange(math.prod(shape), dtype=torch.float64) / 4 - 1).to(dtype).reshape(shape)

    whole = ramp(torch.float32, 4, 6)
    state = collections.OrderedDict(
        f32=ramp(torch.float32, 2, 3), f64=ramp(torch.float64, 5), f16=ramp(torch.float16, 3), bf16=ramp(torch.bfloat16, 3),
        i64=torch.tensor(7), transposed=whole.t(), row=whole[1], empty=torch.zeros(0, 3), parameter=nn.Parameter(ramp(torch.float32, 2)))
    torch.save(state, TESTDATA / "zip.pth")
    torch.save(state, TESTDATA / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, TESTDATA / "protocol4.pth", pickle_protocol=4)
    ema = {"n_averaged": torch.tensor(3), **{"module." + k: v for k, v in state.items()}}
    torch.save({"epoch": 5, "args": argparse.Namespace(lr=0.5), "metric": np.float64(0.5), "model": state, "optimizer": {"state": {}},
                "model_ema": collections.OrderedDict(ema)}, TESTDATA / "checkpoint.pth")
    torch.save(nn.Linear(2, 2), TESTDATA / "module.pth")
    write_safetensors(TESTDATA / "tiny.safetensors", {"a": np.arange(6).reshape(2, 3), "b": np.array(0.5)}, {"variant": "nano"})


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    TESTDATA.mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[1:] or [*CASES, "testdata"]
    for name in chosen:
        if name == "testdata":
            make_testdata()
        else:
            make(name, CASES[name])


if __name__ == "__main__":
    main()
