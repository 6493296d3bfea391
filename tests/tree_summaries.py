"""A made-up summary of a model-tree run, as `hybridge tree search` writes it."""

from typing import Any

PHONE, SLOW = "phone", "phone / 20"


def _row(device: str, scene: str, method: str, kind: str, latency_ms: float, accuracy: float):
    return {
        "network": "vgg11_cifar",
        "device": device,
        "scene": scene,
        "method": method,
        "kind": kind,
        "reward": 300 * (500 - latency_ms) / 500 + 2 * (accuracy - 50),
        "latency_ms": latency_ms,
        "accuracy": accuracy,
    }


def _mean(kind: str, method: str, latency_ms: float, accuracy: float):
    made = _row("", "", method, kind, latency_ms, accuracy)
    return {key: made[key] for key in ("kind", "method", "reward", "latency_ms", "accuracy")}


def _curve(searcher: str, seed: int, *points: tuple[int, float, float]):
    names = ("evaluations", "seconds", "reward")
    return [
        {"searcher": searcher, "seed": seed, **dict(zip(names, point, strict=True))}
        for point in points
    ]


def summary() -> dict[str, Any]:
    """Two devices, of which one is slowed, two scenes, and three searchers."""
    against = {"kind": "emulated", "stronger": "surgery", "latency_saved_percent": 25.0}
    against |= {"accuracy_lost": 0.5, "reward_gained": 8.25}
    composition = {"composition": ["keep", "C1-2", "keep"], "library": 90.0, "distill": 89.5}
    return {
        "name": "vgg11-tree",
        "network": "vgg11_cifar",
        "original": {
            "calibration_accuracy": 92.0,
            "reporting_accuracy": 91.5,
            "macs_m": 153.3,
            "input_bytes": 900.0,
        },
        "library": {
            "variants": [{"unit": "conv1", "option": "C1-2", "error": 0.12, "seconds": 3.0}],
            "seconds_alone": 3.0,
            "seconds_together": 60.0,
            "searched": {"conv1": ["C1-2"]},
        },
        "rows": [
            _row(PHONE, "4G weak", "surgery", "offline", 40, 91.5),
            _row(PHONE, "4G weak", "tree", "offline", 30, 91),
            _row(PHONE, "4G weak", "surgery", "emulated", 44, 91.5),
            _row(PHONE, "4G weak", "tree", "emulated", 33, 91),
            _row(PHONE, "4G weak", "foresight", "emulated", 32, 91),
            _row(PHONE, "4G weak", "tree", "measured", 35, 91),
            _row(SLOW, "WiFi", "tree", "emulated", 400, 91),
        ],
        "means": [_mean("emulated", "surgery", 44, 91.5), _mean("emulated", "tree", 33, 91)],
        "against_surgery": [against],
        "slowed": {
            "means": [_mean("emulated", "tree", 400, 91)],
            "against_surgery": [against | {"latency_saved_percent": -2.0, "accuracy_lost": -0.25}],
        },
        "cloud_only_wins": [{"kind": "emulated", "device": SLOW, "scene": "WiFi"}],
        "search": [
            *_curve("reinforce", 0, (2, 1.0, 100.0), (40, 8.0, 396.0), (90, 20.0, 400.0)),
            *_curve("reinforce", 1, (3, 1.5, 150.0), (80, 16.0, 380.0)),
            *_curve("surgery", 0, (1, 0.5, 300.0)),
            *_curve("exact", 0, (1, 0.5, 300.0), (120, 30.0, 400.0)),
        ],
        "library_against_distill": {
            "compositions": [composition],
            "mean_error": 0.5,
            "mean_absolute_error": 0.5,
        },
    }
