"""docs/results/pairs.md and its figures, from the JSON files of the experiment."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from results import (
    CONFIDENCES,
    COVERAGES,
    MACS_M,
    ROUTER_MACS_M,
    TITLES,
    VARIANTS,
    Result,
    equal_macs_m,
    load,
    spread,
    standalone_networks,
    table,
    verdict,
)

from hybridge.report.charts import Axis, Line, Mark, line_chart


def write_report(folder: Path, target: Path) -> None:
    """Write the page and its figures."""
    pairs = [
        load(folder, b, g) for b in ("base_small", "base_medium") for g in ("global_", "resnet56")
    ]
    variants = [load(folder, "base_medium", "global_", variant) for variant in VARIANTS]
    pairs, variants = ([r for r in results if r.seeds] for results in (pairs, variants))
    target.mkdir(parents=True, exist_ok=True)
    standalone = standalone_networks(pairs)
    (target / "pairs-macs.svg").write_text(macs_figure(pairs, standalone))
    (target / "pairs-base.svg").write_text(base_figure(pairs, standalone))
    sections = [
        head(pairs),
        counts([*pairs, *(v for v in variants if v.variant in ("rb", "rbg"))]),
        networks_table(pairs),
        coverage_table(pairs),
        difference_table([*pairs, *(v for v in variants if v.variant != "r")]),
        modes_table(variants),
        appeal_table(folder, variants[0]),
        cycles_table(folder),
        ablation_table(next(p for p in pairs if (p.base, p.global_) == ("base_medium", "global_"))),
        equal_table(pairs, standalone),
        trend_table(pairs),
        matching_table([*pairs, *(v for v in variants if v.variant != "r")]),
    ]
    (target / "pairs.md").write_text("\n\n".join(sections) + "\n")


def head(pairs: Sequence[Result]) -> str:
    """Return what was done."""
    count = max(len(pair.seeds) for pair in pairs)
    return f"""# Pairs with room for the router

CIFAR-10. Small base, medium base and own global are CIFAR ResNet-8 of width 8, 16 and 32 whose
first convolution has stride 2, trained here on 40,000 training images (16, 16 and 15 epochs);
ResNet-56 is the pre-trained one. {count} seeds: each has its own networks, twins, routers and five
random halves of the test set. Numbers are means over splits, then mean ± standard deviation over
seeds, in percent of the reporting halves; thresholds come from the calibration halves. Routers of
pairs with the own global are also fitted on the 10,000 training images that no network has seen.
"Best confidence" is the best of entropy, top-1 probability and top-2 margin, tempered or not, on
the reporting halves themselves: a bar set with hindsight.

`benchmarks/pairs/pairs.py` makes all of it; this page is written by `report` there."""


def counts(results: Sequence[Result]) -> str:
    """Return how often the router wins, ties and loses."""
    lines = []
    for against in ("entropy", "best"):
        words = [
            _difference(result, fused, coverage, against).split()[-1]
            for result in results
            for fused in (False, True)
            for coverage in COVERAGES
        ]
        said = ", ".join(f"{words.count(word)} {word}" for word in ("win", "tie", "loss"))
        name = "entropy" if against == "entropy" else "the best confidence"
        lines.append(f"- Router against {name}, over all pairs, modes and coverages: {said}.")
    return "## In short\n\n" + "\n".join(lines)


def networks_table(pairs: Sequence[Result]) -> str:
    """Return the accuracy of every network."""
    rows = [
        [TITLES[name], f"{macs:.2f}", spread(accuracy)]
        for name, (macs, accuracy) in standalone_networks(pairs).items()
    ]
    return "## Networks\n\n" + table(["network", "M MACs", "accuracy"], rows)


def coverage_table(pairs: Sequence[Result]) -> str:
    """Return tables 1 and 3 in kind."""
    rows = []
    for pair in pairs:
        for coverage in COVERAGES:
            best = pair.best_confidence(False, coverage)
            rows.append(
                [
                    pair.title,
                    f"{coverage:.0%}",
                    spread(pair.point("router", False, coverage, "accuracy_kept_mean")),
                    spread(pair.point(best, False, coverage, "accuracy_kept_mean")),
                    spread(pair.point("router", False, coverage, "accuracy_mean")),
                    spread(pair.point(best, False, coverage, "accuracy_mean")),
                    spread(pair.point("router", True, coverage, "accuracy_mean")),
                    spread(pair.point("label_oracle", False, coverage, "accuracy_mean")),
                ]
            )
    names = ["pair", "coverage", "kept: router", "kept: confidence", "hybrid: router"]
    names += ["hybrid: best confidence", "hybrid fused: router", "label oracle"]
    text = """## Accuracy at fixed coverage (tables 1 and 3 in kind), mode r

"Kept" is the abstaining classifier: accuracy on what the base answers itself."""
    return f"{text}\n\n{table(names, rows)}"


def difference_table(results: Sequence[Result]) -> str:
    """Return where the router wins, ties and loses."""
    rows = [
        [
            result.title,
            result.variant,
            "yes" if fused else "no",
            against,
            *(_difference(result, fused, coverage, against) for coverage in COVERAGES),
        ]
        for result in results
        for fused in (False, True)
        for against in ("entropy", "best")
    ]
    names = ["pair", "mode", "fused", "against", *(f"{coverage:.0%}" for coverage in COVERAGES)]
    text = """## Router against entropy and against the best confidence, paired

Difference in points over seeds, with its 95 % t-interval. A win or loss is one whose interval
leaves zero out; all else is a tie. Entropy is the paper's baseline."""
    return f"{text}\n\n{table(names, rows)}"


def _difference(result: Result, fused: bool, coverage: float, against: str) -> str:
    rival = result.best_confidence(fused, coverage) if against == "best" else against
    router, other = (
        np.array(result.point(method, fused, coverage, "accuracy_mean"))
        for method in ("router", rival)
    )
    return verdict(router - other)


def modes_table(variants: Sequence[Result]) -> str:
    """Return what training base and global along brings."""
    rows = []
    for result in variants:
        hybrid = [
            spread(result.point("router", False, coverage, "accuracy_mean"))
            for coverage in COVERAGES
        ]
        fused = spread(result.point("router", True, 0.7, "accuracy_mean"))
        base, global_ = (spread(result.accuracy(f"{n}_accuracy")) for n in ("base", "global"))
        rows.append([VARIANTS[result.variant], base, global_, *hybrid, fused])
    by_name = {result.variant: result for result in variants}
    for mode, rival in (("rb", "r"), ("rbg", "r"), ("rbg", "plain")):
        if {mode, rival} <= by_name.keys():
            rows.append(_less(by_name[mode], by_name[rival]))
    names = ["mode", "base", "global", *(f"hybrid {c:.0%}" for c in COVERAGES), "fused 70%"]
    text = """## Modes r, rb and rbg (algorithm 3), medium base + own global

"Without weights" trains base and global for as many epochs at the same rate, but every image
counts the same: what of rbg's gain is only longer training (seed 0 alone)."""
    return f"{text}\n\n{table(names, rows)}"


def _less(result: Result, rival: Result) -> list[str]:
    """Return what a mode gains over another, paired over the seeds that both have."""
    common = min(len(result.seeds), len(rival.seeds))

    def gain(fused: bool, coverage: float) -> str:
        mine, other = (
            np.array(r.point("router", fused, coverage, "accuracy_mean")[:common])
            for r in (result, rival)
        )
        return verdict(mine - other)

    cells = [gain(False, coverage) for coverage in COVERAGES]
    seeds = "1 seed" if common == 1 else f"{common} seeds"
    name = f"{result.variant} less {'without weights' if rival.variant == 'plain' else 'r'}"
    return [f"{name}, {seeds}", "", "", *cells, gain(True, 0.7)]


def appeal_table(folder: Path, plain: Result) -> str:
    """Return AppealNet's way beside ours."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("appeal_seed*.json"))]
    rows = [
        [
            "AppealNet's way",
            spread([float(seed["base_accuracy"]) for seed in found]),
            *(
                spread([float(seed["operating_points"][i]["accuracy_mean"]) for seed in found])
                for i in range(len(COVERAGES))
            ),
        ],
        [
            "mode r, router",
            spread(plain.accuracy("base_accuracy")),
            *(spread(plain.point("router", False, c, "accuracy_mean")) for c in COVERAGES),
        ],
    ]
    names = ["method", "base", *(f"{coverage:.0%}" for coverage in COVERAGES)]
    text = f"""## AppealNet's way, medium base + own global, {len(found)} seeds

Base and router trained together on the training images for ten epochs, by the relaxed objective
without an oracle; the threshold comes from the calibration half like all others."""
    return f"{text}\n\n{table(names, rows)}"


def cycles_table(folder: Path) -> str:
    """Return what the router decided in the cycles."""
    rows = []
    for variant in ("rb", "rbg"):
        logs = [json.loads(p.read_text()) for p in sorted(folder.glob(f"cycles_*_{variant}.json"))]
        for number in (0, 4, 9):
            cells = [
                spread([100 * log[number][key] for log in logs])
                for key in ("sent_share", "oracle_share", "base_accuracy", "global_accuracy")
            ]
            rows.append([variant, str(number + 1), *cells])
    names = ["mode", "cycle", "sent, out of fold", "oracle sends", "base", "global"]
    text = """## The cycles

Share of the 40,000 training images that the router sends, by the twins' answers; the oracle's
share and both accuracies are on the 10,000 router images, before the cycle."""
    return f"{text}\n\n{table(names, rows)}"


def ablation_table(pair: Result) -> str:
    """Return routers that lack or add one part, and the other baselines."""
    names = ["router", "router_scratch", "router_scratch_no_penalty"]
    names += ["router_scratch_no_oracle_weight", "router_scratch_relaxed", "router_embedding"]
    names += [*CONFIDENCES, "random", "agreement_oracle", "label_oracle"]
    rows = [
        [
            name.replace("_", " "),
            *(spread(pair.point(name, False, c, "accuracy_mean")) for c in COVERAGES),
        ]
        for name in names
    ]
    header = ["method", *(f"{coverage:.0%}" for coverage in COVERAGES)]
    text = f"""## Baselines and ablations, {pair.title}, mode r

Router: starts at the best confidence, shrunk by cross-fitting. Scratch: the paper's free router;
no penalty: lambda = 0; no oracle weight: W_r = 1; relaxed: eq. 5 without an oracle; embedding:
reads the base's penultimate features too."""
    return f"{text}\n\n{table(header, rows)}"


def equal_table(pairs: Sequence[Result], standalone: dict[str, tuple[float, list[float]]]) -> str:
    """Return table 10 in kind."""
    rows = []
    for pair in pairs:
        for coverage in (0.8, 0.7):
            accuracy = float(np.mean(pair.point("router", False, coverage, "accuracy_mean")))
            equal = equal_macs_m(accuracy, standalone)
            own = MACS_M[pair.base] + ROUTER_MACS_M
            rows.append(
                [
                    pair.title,
                    f"{coverage:.0%}",
                    f"{accuracy:.2f}",
                    f"{own:.2f}",
                    f"{equal:.2f}",
                    f"{equal / own:.1f}x",
                ]
            )
    names = ["pair", "coverage", "hybrid accuracy", "device M MACs", "standalone M MACs", "gain"]
    text = f"""## Base MACs against an equally accurate standalone network (figure 2, table 10)

The device runs base and router; the router adds {ROUTER_MACS_M:.4f} M MACs to either, which is
{ROUTER_MACS_M / MACS_M["base_medium"]:.1%} of the medium base and
{ROUTER_MACS_M / MACS_M["base_small"]:.1%} of the small one (paper: under 2 %). The MACs of the
standalone network are interpolated, in accuracy over the logarithm of MACs, between the networks
above. Between the own global and ResNet-56 that also spans a longer training, so gains there are
rough.

![Base MACs against an equally accurate standalone network](pairs-base.svg)
![Hybrid accuracy over MACs](pairs-macs.svg)"""
    return f"{text}\n\n{table(names, rows)}"


def trend_table(pairs: Sequence[Result]) -> str:
    """Return how the hybrid fares as base and global grow apart."""
    rows = []
    for pair in sorted(pairs, key=lambda p: MACS_M[p.global_] / MACS_M[p.base]):
        base, global_, hybrid = (
            float(np.mean(values))
            for values in (
                pair.accuracy("base_accuracy"),
                pair.accuracy("global_accuracy"),
                pair.point("router", False, 0.7, "accuracy_mean"),
            )
        )
        rows.append(
            [
                pair.title,
                f"{MACS_M[pair.global_] / MACS_M[pair.base]:.1f}x",
                f"{global_ - base:.2f}",
                f"{hybrid:.2f}",
                f"{hybrid - base:.2f}",
                f"{(hybrid - base) / (global_ - base):.0%}",
            ]
        )
    names = ["pair", "MACs apart", "points apart", "hybrid at 70 %", "gain over base", "of the gap"]
    text = "## The trend with the distance between base and global, mode r"
    return f"{text}\n\n{table(names, rows)}"


def matching_table(results: Sequence[Result]) -> str:
    """Return what is needed to match the global."""
    rows = []
    for result in results:
        whole = MACS_M[result.global_]
        for fused in (False, True):
            macs = np.array(result.matching("router", fused, "macs_m"))
            rows.append(
                [
                    result.title,
                    result.variant,
                    "yes" if fused else "no",
                    spread([100 * rate for rate in result.matching("router", fused, "mean")]),
                    spread(result.matching("router", fused, "accuracy_minus_global_mean")),
                    f"{100 * (macs.mean() / whole - 1):+.0f} %",
                ]
            )
    names = [
        "pair",
        "mode",
        "fused",
        "query rate, %",
        "accuracy less global's",
        "MACs against global",
    ]
    text = """## Needed to match the global (paper: about 20 % fewer MACs)

The least query rate that reaches the global's accuracy on the calibration half, and what came of
it on the reporting half."""
    return f"{text}\n\n{table(names, rows)}"


def macs_figure(pairs: Sequence[Result], standalone: dict[str, tuple[float, list[float]]]) -> str:
    """Return hybrid accuracy over MACs."""
    lines = []
    for pair in pairs:
        ends = [(1.0, pair.base, "base_accuracy"), (0.0, pair.global_, "global_accuracy")]
        start, end = ((MACS_M[n], float(np.mean(pair.accuracy(key)))) for _, n, key in ends)
        inner = [
            tuple(
                float(np.mean(pair.point("router", False, c, key)))
                for key in ("macs_m", "accuracy_mean")
            )
            for c in COVERAGES
        ]
        whole = (MACS_M[pair.base] + ROUTER_MACS_M + end[0], end[1])
        x, y = zip(start, *inner, whole, strict=True)
        lines.append(Line(pair.title, np.array(x) * 1e6, np.array(y) / 100))
    marks = [
        Mark(TITLES[name], macs * 1e6, float(np.mean(values)) / 100)
        for name, (macs, values) in standalone.items()
    ]
    axis = Axis("Mean MACs per image, edge and cloud", "count", log=True)
    return line_chart(lines, axis, Axis("Accuracy", "percent"), marks=marks)


def base_figure(pairs: Sequence[Result], standalone: dict[str, tuple[float, list[float]]]) -> str:
    """Return figure 2 in kind: accuracy over the MACs that run on the device."""
    alone = [(macs, float(np.mean(values))) for macs, values in standalone.values()]
    x, y = zip(*alone, strict=True)
    lines = [Line("standalone", np.array(x) * 1e6, np.array(y) / 100, role="bound")]
    for global_ in ("global_", "resnet56"):
        own = [pair for pair in pairs if pair.global_ == global_]
        at_70 = [float(np.mean(p.point("router", False, 0.7, "accuracy_mean"))) for p in own]
        base_macs = np.array([MACS_M[pair.base] + ROUTER_MACS_M for pair in own]) * 1e6
        lines.append(Line(f"with {TITLES[global_]}, 70% kept", base_macs, np.array(at_70) / 100))
    return line_chart(
        lines, Axis("MACs on the device", "count", log=True), Axis("Accuracy", "percent")
    )
