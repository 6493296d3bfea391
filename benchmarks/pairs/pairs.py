"""Pairs with room for the router, on CIFAR-10: the tables and figures of the paper, in kind.

Steps, each resumable, each skipping what is done; all files lie in --folder:

    train NAME SEED [FOLD]   one network, or (with FOLD) the twin that has not seen that fold
    alternate SEED VARIANT   rb, rbg, or plain (as many epochs of both, without weights)
    evaluate BASE GLOBAL SEED [VARIANT]   all methods over five splits, to JSON
    appeal SEED              base and router trained AppealNet's way, and measured
    all                      everything, seed by seed
    report                   docs/results/pairs.md from the JSON files

Networks are trained on rows 0 to 39,999 of the training set. Routers are fitted on the other
10,000 and on halves of the test set; ResNet-56 has seen the former, so pairs with it do without.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from hybridge.cost.operating import Costs, UnitCost, measure_at
from hybridge.cost.target import Target, choose
from hybridge.data.dataset import Dataset, subset
from hybridge.data.parquet import open_parquet
from hybridge.data.splits import folds, halves
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.design.nets.weights import load_weights, save_weights
from hybridge.design.query.alternate import alternate
from hybridge.design.query.alternation import AlternateSettings, Alternation, Twin
from hybridge.design.query.appeal import AppealSettings, fit_appeal
from hybridge.design.query.evaluate import SPLITS_PER_SEED, EvaluateSettings
from hybridge.design.query.router import RouterSettings
from hybridge.design.store import Store
from hybridge.design.train.loop import TrainSettings, fit
from hybridge.design.train.outputs import keep_outputs
from hybridge.files import write_atomically
from hybridge.hashing import hash_json
from hybridge.recipes.hybrid import HybridRun, RecipeData, evaluate_pair
from hybridge.recipes.load import data_root, validate
from hybridge.recipes.schema import HybridRecipe
from hybridge.recipes.summary import summarise

STEPS = ("train", "alternate", "evaluate", "appeal", "all", "report")
SEEDS = (0, 1, 2)
BASES, GLOBALS = ("base_small", "base_medium"), ("global_", "resnet56")
TRAINED = ("base_medium", "global_")
TRAIN_ROWS = 40_000
_COMMON = {"batch_size": 128, "precision": "bf16", "augment": "crop_flip", "warmup_epochs": 1}
NETWORKS = {
    "base_small": (8, {"epochs": 16, "learning_rate": 0.2, "weight_decay": 1e-4, **_COMMON}),
    "base_medium": (16, {"epochs": 16, "learning_rate": 0.2, "weight_decay": 2e-4, **_COMMON}),
    "global_": (32, {"epochs": 15, "learning_rate": 0.2, "weight_decay": 5e-4, **_COMMON}),
}
# The rate is a twentieth of the first training's: the paper's 1e-4 moves nets this small nowhere.
_ON = {"epochs": 1, "batch_size": 256, "learning_rate": 0.01, "precision": "bf16"}
ROUTER = {"epochs": 20, "batch_size": 512, "folds": 3}


def new(name: str, label: str) -> PixelNetwork:
    """Return a network with the initial weights that its label stands for."""
    torch.manual_seed(int(hash_json(label)[:8], 16))
    info = networks.get("cifar_resnet8")
    width, _ = NETWORKS[name]
    return PixelNetwork(build("cifar_resnet8", 10, width=width, stem_stride=2), info.mean, info.std)


def data(file: str) -> Dataset:
    """Return the images of ``train`` or ``test``."""
    return open_parquet(
        data_root() / f"cifar10/{file}.parquet", networks.get("cifar_resnet8").geometry
    )


def train(folder: Path, name: str, seed: int, fold: int | None = None) -> Path:
    """Train a network, or a twin; return the file of its weights."""
    label = f"{name}_seed{seed}" + ("" if fold is None else f"_fold{fold}")
    target = folder / f"{label}.safetensors"
    if target.exists():
        return target
    rows = np.arange(TRAIN_ROWS)
    if fold is not None:
        rows = np.setdiff1d(rows, folds(TRAIN_ROWS, 2, seed)[fold])
    network = new(name, label)
    settings = TrainSettings.model_validate(NETWORKS[name][1])
    checkpoint = folder / f"{label}.part"
    fit(network, subset(data("train"), rows), settings, seed=seed, checkpoint=checkpoint)
    save_weights(network.network, target)
    checkpoint.unlink()
    return target


def trained(folder: Path, name: str, seed: int, variant: str = "r") -> PixelNetwork:
    """Return a network with its weights; variants other than ``r`` are made by `go_on`."""
    if name == "resnet56":
        info = networks.get("cifar_resnet56")
        network = PixelNetwork(build("cifar_resnet56", 10), info.mean, info.std)
        load_weights(network.network, data_root() / "weights/resnet56_cifar10.safetensors")
        return network.eval()
    suffix = "" if variant == "r" else f"_{variant}"
    network = new(name, name)
    load_weights(network.network, folder / f"{name}_seed{seed}{suffix}.safetensors")
    return network.eval()


def go_on(folder: Path, seed: int, variant: str) -> None:
    """Run algorithm 3 on the trained pair."""
    base_name, global_name = TRAINED
    targets = [folder / f"{name}_seed{seed}_{variant}.safetensors" for name in TRAINED]
    if all(target.exists() for target in targets):
        return
    twins = []
    for number, fold in enumerate(folds(TRAIN_ROWS, 2, seed)):
        twin = new(base_name, "twin")
        load_weights(twin.network, train(folder, base_name, seed, number))
        twins.append(Twin(twin, fold, TRAIN_ROWS))
    base, global_ = trained(folder, base_name, seed), trained(folder, global_name, seed)
    images = data("train")
    settings = AlternateSettings.model_validate(
        {"cycles": 10, "base": _ON, "global": _ON, "focus": variant != "plain"}
    )
    task = Alternation(
        base,
        global_,
        twins,
        subset(images, np.arange(TRAIN_ROWS)),
        subset(images, np.arange(TRAIN_ROWS, 50_000)),
        settings,
        RouterSettings.model_validate(ROUTER),
        mode="rb" if variant == "rb" else "rbg",
        seed=seed,
    )
    records = alternate(task, checkpoint=folder / f"alternate_seed{seed}_{variant}.part")
    log = folder / f"cycles_seed{seed}_{variant}.json"
    write_atomically(log, json.dumps([vars(record) for record in records], indent=1).encode())
    for network, target in zip((base, global_), targets, strict=True):
        save_weights(network.network, target)


def evaluate(folder: Path, base_name: str, global_name: str, seed: int, variant: str = "r") -> None:
    """Measure every method on a pair, and write what comes of it as JSON."""
    target = folder / f"result_{base_name}_{global_name}_seed{seed}_{variant}.json"
    if target.exists():
        return
    ablations = variant == "r" and (base_name, global_name) == TRAINED
    recipe = validate(
        HybridRecipe,
        {
            "name": f"{base_name}-{global_name}",
            "seed": seed,
            "data": {"held_out": {"format": "parquet", "path": "cifar10/test.parquet"}},
            "base": {"network": "cifar_resnet8"},
            "global": {"network": "cifar_resnet56"},
            "router": ROUTER,
        },
        str(target),
    )
    settings = EvaluateSettings(splits=5, ablations=ablations)
    recipe = recipe.model_copy(update={"evaluate": settings})
    router_set = None
    if global_name != "resnet56":
        router_set = subset(data("train"), np.arange(TRAIN_ROWS, 50_000))
    images = RecipeData(data("test"), None, router_set)
    base = trained(folder, base_name, seed, variant)
    global_ = trained(folder, global_name, seed, variant)
    result = evaluate_pair(recipe, images, base, global_)
    summary = summarise(HybridRun(recipe, images, base, global_, (), result))
    text = json.dumps({**summary, "mode": variant, "seed": seed}, indent=1)
    write_atomically(target, text.encode())


def appeal(folder: Path, seed: int) -> None:
    """Train base and router AppealNet's way, and measure them on the halves of this seed."""
    target = folder / f"appeal_seed{seed}.json"
    if target.exists():
        return
    store, images = Store(), data("test")
    base, global_ = (trained(folder, name, seed) for name in TRAINED)
    seen = subset(data("train"), np.arange(TRAIN_ROWS))
    router, _ = fit_appeal(
        base,
        keep_outputs(global_, seen, store=store),
        seen,
        RouterSettings(start="scratch"),
        AppealSettings(),
        seed=seed,
    )
    of_base, of_global = (
        torch.from_numpy(keep_outputs(n, images, store=store).logits) for n in (base, global_)
    )
    labels = torch.from_numpy(images.labels)
    with torch.no_grad():
        score = router.eval().score(of_base).double().numpy()
    right = [(logits.argmax(dim=1) == labels).numpy() for logits in (of_base, of_global)]
    costs, points = Costs(macs=UnitCost(0, 1)), []
    for coverage in EvaluateSettings().coverages:
        accuracy = []
        for number in range(EvaluateSettings().splits):
            calibration, reporting = halves(len(labels), SPLITS_PER_SEED * seed + number)
            seen_half, held = (
                [score[i], *(r[i] for r in right), costs] for i in (calibration, reporting)
            )
            threshold = choose(*seen_half, Target(coverage=coverage)).threshold
            accuracy.append(100 * measure_at(threshold, *held).accuracy)
        points.append({"coverage": coverage, "accuracy_mean": float(np.mean(accuracy))})
    result = {"base_accuracy": 100 * float(right[0].mean()), "operating_points": points}
    write_atomically(target, json.dumps(result, indent=1).encode())


def everything(folder: Path) -> None:
    """Do all that is not done yet, seed by seed."""
    for seed in SEEDS:
        for name in NETWORKS:
            train(folder, name, seed)
        for base_name in BASES:
            for global_name in GLOBALS:
                evaluate(folder, base_name, global_name, seed)
        for variant in ("rb", "rbg", "plain"):
            go_on(folder, seed, variant)
            evaluate(folder, *TRAINED, seed, variant)
        appeal(folder, seed)


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--folder", type=Path, default=Path("runs/pairs"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    match given.step, given.rest:
        case "train", [name, seed, *fold]:
            train(given.folder, name, int(seed), int(fold[0]) if fold else None)
        case "alternate", [seed, variant]:
            go_on(given.folder, int(seed), variant)
        case "evaluate", [base_name, global_name, seed, *variant]:
            evaluate(given.folder, base_name, global_name, int(seed), *variant)
        case "appeal", [seed]:
            appeal(given.folder, int(seed))
        case "all", []:
            everything(given.folder)
        case "report", []:
            from report import write_report

            write_report(given.folder, Path("docs/results"))
        case _:
            parser.error(f"{given.step} does not take {given.rest}")


if __name__ == "__main__":
    main()
