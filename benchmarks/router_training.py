"""Fitting a router on kept outputs, against running both networks again in every epoch.

Bound: 45,000 inputs and 50 epochs in less than 60 seconds. The outputs are random logits of ten
classes: time does not know. Running both networks over all inputs is not measured but scaled up
from a sample of images.
"""

import statistics
import time

import torch
from common import CLASSES, Row, arguments, random_network, random_pixels, report

from hybridge.design.query.fit import RouterData, fit_router
from hybridge.design.query.router import RouterSettings

INPUTS = 45_000
SAMPLE = 512


def random_outputs(seed: int) -> RouterData:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (INPUTS,), generator=generator)
    base, sent = (2 * torch.randn(INPUTS, CLASSES, generator=generator) for _ in range(2))
    for logits, margin in ((base, 5.0), (sent, 7.0)):
        logits[torch.arange(INPUTS), labels] += margin
    return RouterData(base, sent.log_softmax(dim=1), labels)


def fitting_s(data: RouterData, settings: RouterSettings, seed: int) -> float:
    began = time.perf_counter()
    fit_router(data, settings, seed)
    return time.perf_counter() - began


def forwarding_s(seed: int) -> float:
    """Return seconds of running both networks over all inputs, scaled up from a sample."""
    pixels = torch.from_numpy(random_pixels(SAMPLE, seed))
    total_s = 0.0
    with torch.inference_mode():
        for name in ("cifar_resnet20", "cifar_resnet56"):
            network = random_network(name, seed)
            network(pixels[:64])
            began = time.perf_counter()
            for part in pixels.split(256):
                network(part)
            total_s += time.perf_counter() - began
    return total_s * INPUTS / SAMPLE


def main() -> None:
    settings = arguments(__doc__, rounds=1)
    router = RouterSettings()
    data = random_outputs(settings.seed)
    fits, forwards = [], []
    for number in range(settings.rounds):
        forwards.append(forwarding_s(settings.seed + number))
        fits.append(fitting_s(data, router, settings.seed + number))
    fit_s, once_s = statistics.median(fits), statistics.median(forwards)
    kept_s = once_s + fit_s
    seconds = {
        f"fitting alone: {INPUTS:,} inputs, {router.epochs} epochs": fit_s,
        "both networks over all inputs, once (scaled up)": once_s,
        "outputs kept: forward once, then fit": kept_s,
        "forward in every epoch (scaled up)": router.epochs * once_s + fit_s,
    }
    rows: list[Row] = [
        {"what": what, "seconds": value, "ratio": value / kept_s} for what, value in seconds.items()
    ]
    report("Fitting a router", rows, settings)


if __name__ == "__main__":
    main()
