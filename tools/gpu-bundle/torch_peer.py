"""Times PyTorch on the work that `vkeffnet bench` times, for a ratio on one machine.

python3 torch_peer.py --mode train --model s --size 300 --batch 32 --precision f32 [--compile] [--seconds 5]

prints one JSON line with the keys of `vkeffnet bench --json`: median_ms, min_ms and images_per_s of a whole step as the
host sees it, inputs already on the device. Activations are channels-last, as everywhere in vkeffnet.

Precisions: f32 (TF32 off), tf32 (matrix units for float32 where the GPU has them), amp (autocast to float16 with loss
scaling). A training step is forward, cross-entropy, backward and RMSProp with the recipe's rho 0.9, momentum 0.9 and
epsilon 1e-3. Models come from timm where it is installed, else from torchvision.
"""
import argparse
import functools
import json
import statistics
import time

import torch
from torch import nn

TIMM = {"b0": "tf_efficientnetv2_b0", "b1": "tf_efficientnetv2_b1", "b2": "tf_efficientnetv2_b2", "b3": "tf_efficientnetv2_b3",
        "s": "efficientnetv2_s", "m": "efficientnetv2_m", "l": "efficientnetv2_l", "xl": "efficientnetv2_xl"}

# Expand ratio, kernel, stride, input and output channels, layers of V2-B0's stages, fused ones first (paper, table 4, scaled).
B0_FUSED = [(1, 3, 1, 32, 16, 1), (4, 3, 2, 16, 32, 2), (4, 3, 2, 32, 48, 2)]
B0_MBCONV = [(4, 3, 2, 48, 96, 3), (6, 3, 1, 96, 112, 5), (6, 3, 2, 112, 192, 8)]


def build(name):
    """Returns the network and the package that it is from."""
    try:
        import timm
        return timm.create_model(TIMM[name]), "timm " + timm.__version__
    except ImportError:
        pass
    import torchvision
    from torchvision.models import efficientnet as e
    source = "torchvision " + torchvision.__version__
    if name in ("s", "m", "l"):
        return getattr(e, "efficientnet_v2_" + name)(), source
    if name == "b0":
        rows = [e.FusedMBConvConfig(*r) for r in B0_FUSED] + [e.MBConvConfig(*r) for r in B0_MBCONV]
        return e.EfficientNet(rows, dropout=0.2, last_channel=1280, norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3)), source
    raise SystemExit(f"torch_peer: model {name} needs timm")


def stepper(a, net, device):
    """Returns a function that does one step."""
    x = torch.randn(a.batch, 3, a.size, a.size, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (a.batch,), device=device)
    cast = functools.partial(torch.autocast, device.type, torch.float16 if device.type == "cuda" else torch.bfloat16, enabled=a.precision == "amp")
    run = torch.compile(net) if a.compile else net
    if a.mode == "infer":
        net.eval()

        def infer():
            with torch.inference_mode(), cast():
                run(x)
        return infer

    net.train()
    optimizer = torch.optim.RMSprop(net.parameters(), 1e-4, alpha=0.9, eps=1e-3, momentum=0.9)
    scaler = torch.cuda.amp.GradScaler(enabled=a.precision == "amp" and device.type == "cuda")

    def train():
        optimizer.zero_grad(set_to_none=True)
        with cast():
            loss = nn.functional.cross_entropy(run(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return train


def measure(step, sync, seconds):
    """Returns the times of single steps in ms, and that of the first one, which includes compilation."""
    start = time.perf_counter()
    step()
    sync()
    first = (time.perf_counter() - start) * 1e3
    for _ in range(3):
        step()
    sync()
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds and len(times) < 200:
        start = time.perf_counter()
        step()
        sync()
        times.append((time.perf_counter() - start) * 1e3)
    return times, first


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--mode", choices=["infer", "train"], required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--size", type=int, required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--precision", choices=["f32", "tf32", "amp"], default="f32")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--seconds", type=float, default=5)
    a = p.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    net, source = build(a.model.lower())
    net = net.to(device=device, memory_format=torch.channels_last)
    sync = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    times, first = measure(stepper(a, net, device), sync, a.seconds)
    median = statistics.median(times)
    print(json.dumps({
        "peer": "pytorch " + torch.__version__, "source": source, "suite": a.mode, "model": a.model, "size": a.size, "batch": a.batch,
        "precision": a.precision, "compiled": a.compile, "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "median_ms": round(median, 3), "min_ms": round(min(times), 3), "images_per_s": round(a.batch / median * 1e3, 2),
        "first_step_ms": round(first, 1),
        "memory_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    }))


main()
