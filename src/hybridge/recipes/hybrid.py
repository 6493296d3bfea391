"""A hybrid recipe, run: data, networks, alternating training, evaluation, bundle."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import JsonValue

from hybridge import __version__
from hybridge.cost.operating import OperatingPoint
from hybridge.cost.tune import tune
from hybridge.data.dataset import Dataset, subset
from hybridge.data.splits import Split, folds
from hybridge.design.graph.count import count_macs
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.weights import check_run, load_weights, save_weights
from hybridge.design.query.alternate import alternate
from hybridge.design.query.alternation import Alternation, CycleRecord, Mode, Twin
from hybridge.design.query.evaluate import Evaluation, PairOutputs, check_images, evaluate
from hybridge.design.query.make_plan import make_plan
from hybridge.design.query.router import Router
from hybridge.design.query.scores import Confidence
from hybridge.design.store import Store
from hybridge.design.train.outputs import hash_network, keep_outputs
from hybridge.design.train.processes import own_device
from hybridge.emulate.baselines import codecs_of
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.plan.variants import with_threshold
from hybridge.recipes.schema import SOURCE_PAIRS, DeployConfig, HybridRecipe, NetworkConfig
from hybridge.recipes.training import CHECKPOINTS, LOGS, read_weights_of, train_network
from hybridge.runtime.rehearse import rehearse


@dataclass(frozen=True)
class RecipeData:
    """The images of a recipe, opened.

    Attributes:
        held_out: To be halved: calibration and reporting.
        train: For networks, or None.
        router: For routers besides the calibration halves, or None.
    """

    held_out: Dataset
    train: Dataset | None
    router: Dataset | None


@dataclass(frozen=True)
class HybridRun:
    """What a recipe came to.

    Attributes:
        recipe: As it was run.
        data: Its images.
        base: The edge's network.
        global_: The cloud's network.
        cycles: Records of alternating training; empty in mode ``r``.
        evaluation: Every method over all splits.
    """

    recipe: HybridRecipe
    data: RecipeData
    base: PixelNetwork
    global_: PixelNetwork
    cycles: tuple[CycleRecord, ...]
    evaluation: Evaluation

    @property
    def split(self) -> Split:
        """The reporting half that goes with the bundle, with its fingerprint."""
        return Split(self.data.held_out, self.evaluation.first.reporting.numpy())


def check(recipe: HybridRecipe, root: Path) -> None:
    """Raise `ConfigError` naming everything that would stop the recipe, without running it."""
    faults = recipe.faults(root)
    if faults:
        raise ConfigError("; ".join(faults))


def run(recipe: HybridRecipe, root: Path, folder: Path, *, training: bool = True) -> HybridRun:
    """Train what is to be trained, and evaluate.

    Args:
        recipe: What to do.
        root: Folder that data paths start from.
        folder: Where checkpoints, weights and logs are kept; a run that was cut off goes on there.
        training: Off: networks must be trained already; nothing is.

    Raises:
        ConfigError: The recipe cannot be run; nothing has been written.
    """
    check(recipe, root)
    data = open_data(recipe, root)
    trainer = _Networks(recipe, root, folder, data, training)
    base, global_ = trainer.networks()
    cycles: tuple[CycleRecord, ...] = ()
    if recipe.mode != "r":
        cycles = trainer.alternate(base, global_, recipe.mode)
    evaluation = evaluate_pair(recipe, data, base, global_)
    return HybridRun(recipe, data, base, global_, cycles, evaluation)


def open_data(recipe: HybridRecipe, root: Path) -> RecipeData:
    """Open the images of a recipe.

    Raises:
        DataError: Some cannot be opened, or are too few to be evaluated on.
        ConfigError: Classes differ, two sources are the same, or the training images are fewer
            than the folds.
    """
    geometry = recipe.geometry()
    sources = recipe.data
    held_out = sources.held_out.open(geometry, root)
    train = sources.train.open(geometry, root) if sources.train else None
    router = sources.router.open(geometry, root) if sources.router else None
    for key, other in (("train", train), ("router", router)):
        if other is not None and len(other.class_names) != len(held_out.class_names):
            raise ConfigError(
                f"data.{key} has {len(other.class_names)} classes, data.held_out has "
                f"{len(held_out.class_names)}; they must be the same"
            )
    opened = RecipeData(held_out, train, router)
    for key, other_key in SOURCE_PAIRS:
        one, two = getattr(opened, key), getattr(opened, other_key)
        if one is not None and two is not None and one.fingerprint == two.fingerprint:
            raise ConfigError(f"data.{key} and data.{other_key} hold the same images")
    check_images(held_out.labels, recipe.router)
    if recipe.mode != "r" and train is not None and len(train) < recipe.alternate.folds:
        raise ConfigError(
            f"data.train has {len(train)} images, fewer than the {recipe.alternate.folds} folds"
        )
    return opened


def evaluate_pair(
    recipe: HybridRecipe, data: RecipeData, base: PixelNetwork, global_: PixelNetwork
) -> Evaluation:
    """Evaluate every method on the held-out images; outputs are computed once and kept."""
    store = Store()
    pair = _pair_outputs(base, global_, data.held_out, store)
    extra = _pair_outputs(base, global_, data.router, store) if data.router else None
    example = torch.from_numpy(data.held_out.pixels(np.arange(1)))
    return evaluate(
        pair,
        count_macs(base, example.to(base.mean.device)),
        count_macs(global_, example.to(global_.mean.device)),
        recipe.router,
        recipe.evaluate,
        seed=recipe.seed,
        extra=extra,
    )


def deploy(
    run: HybridRun, folder: Path, deploy: DeployConfig, router: Router | Confidence | None = None
) -> tuple[Bundle, OperatingPoint]:
    """Export the hybrid that the first split fitted, rehearse it, tune it and save the bundle.

    Args:
        run: What to export.
        folder: Where the bundle is written.
        deploy: What goes into it.
        router: What decides instead of the fitted router.

    Raises:
        InfeasibleError: No threshold reaches the target; no bundle has been written.
    """
    first = run.evaluation.first
    fitted = first.fused_router if deploy.fused else first.router
    with TemporaryDirectory() as programs:
        plan = make_plan(
            run.base,
            router or fitted.router,
            run.global_,
            geometry=run.recipe.geometry(),
            class_names=run.data.held_out.class_names,
            directory=Path(programs),
            fused=first.fusion if deploy.fused else None,
            codec=deploy.codec,
        )
        calibration = subset(run.data.held_out, first.calibration.numpy())
        # With the codecs of every baseline, so that any bundle can be emulated beside them.
        rehearsal = rehearse(plan, calibration, codecs_of(plan))
        if router is None:
            held_out = fitted.held_out_scores[: len(calibration)].numpy()
            rehearsal = replace(rehearsal, held_out_score={(): held_out})
        point = tune(plan, rehearsal, deploy.target, deploy.surroundings)
        metadata: dict[str, JsonValue] = {
            "name": run.recipe.name,
            "hybridge": __version__,
            "recipe": run.recipe.model_dump(mode="json", by_alias=True),
            "reporting_split": run.split.fingerprint,
            "operating_point": json.loads(point.model_dump_json()),
        }
        bundle = save_bundle(with_threshold(plan, point.threshold), folder, rehearsal, metadata)
    return bundle, point


class _Networks:
    """Makes the networks of a recipe: from weights, from an earlier run, or by training."""

    def __init__(
        self, recipe: HybridRecipe, root: Path, folder: Path, data: RecipeData, training: bool
    ) -> None:
        self.recipe, self.root, self.folder = recipe, root, folder
        self.data, self.training = data, training

    def networks(self) -> tuple[PixelNetwork, PixelNetwork]:
        """Return base and global, trained; weights are read before anything is trained."""
        configs = {"base": self.recipe.base, "global": self.recipe.global_}
        class_count = self.data.held_out.class_count
        made = {
            name: config.new(class_count, self.recipe.seed, name)
            for name, config in configs.items()
        }
        for name, config in configs.items():
            read_weights_of(config, made[name], self.root)
        for name, config in configs.items():
            self._train(made[name], config, self.data.train, name)
        base, global_ = (network.to(own_device()).eval() for network in made.values())
        return base, global_

    def alternate(
        self, base: PixelNetwork, global_: PixelNetwork, mode: Mode
    ) -> tuple[CycleRecord, ...]:
        """Run algorithm 3 on both networks in place, or load what an earlier run made of them."""
        recipe, data = self.recipe, self.data
        assert data.train is not None
        assert data.router is not None
        names = [f"base_{mode}", f"global_{mode}"]
        files = [self.folder / f"{name}.safetensors" for name in names]
        run = self._alternation_hash(base, global_, data.train, data.router)
        if not self.training:
            for network, file in zip((base, global_), files, strict=True):
                check_run(file, run)
                load_weights(network.network, file)
            return ()
        task = Alternation(
            base,
            global_,
            self._twins(),
            data.train,
            data.router,
            recipe.alternate,
            recipe.router,
            mode=mode,
            seed=recipe.seed,
        )
        cycles = alternate(
            task,
            checkpoint=self.folder / CHECKPOINTS / f"alternate_{mode}.safetensors",
            log_dir=self.folder / LOGS / f"alternate_{mode}",
        )
        for network, file in zip((base, global_), files, strict=True):
            save_weights(network.network, file, run)
        return cycles

    def _alternation_hash(
        self, base: PixelNetwork, global_: PixelNetwork, train: Dataset, router: Dataset
    ) -> str:
        """Hash all that alternating training depends on, without training twins for it."""
        recipe = self.recipe
        parts = [recipe.base, recipe.alternate, recipe.router]
        return hash_json(
            [
                [hash_network(network) for network in (base, global_)],
                [train.fingerprint, router.fingerprint],
                [part.model_dump(mode="json") for part in parts],
                recipe.mode,
                recipe.seed,
            ]
        )

    def _twins(self) -> list[Twin]:
        assert self.data.train is not None
        count, recipe = len(self.data.train), self.recipe
        # A base that has weights was trained elsewhere, and by images that a twin must not see.
        config = recipe.base.model_copy(update={"weights": None, "finetune": None})
        twins = []
        for number, fold in enumerate(folds(count, recipe.alternate.folds, recipe.seed)):
            network = config.new(self.data.held_out.class_count, recipe.seed, f"twin{number}")
            twins.append(Twin(network, fold, count))
            seen = subset(self.data.train, twins[-1].seen)
            self._train(network, config, seen, f"twin{number}")
        return twins

    def _train(
        self, network: PixelNetwork, config: NetworkConfig, data: Dataset | None, role: str
    ) -> None:
        """Train a network, unless its folder holds the finished weights of this same training."""
        train_network(
            network,
            config,
            data,
            folder=self.folder,
            role=role,
            seed=self.recipe.seed,
            training=self.training,
        )


def _pair_outputs(
    base: PixelNetwork, global_: PixelNetwork, data: Dataset, store: Store
) -> PairOutputs:
    of_base, of_global = (keep_outputs(network, data, store=store) for network in (base, global_))
    if of_base.logits.shape != of_global.logits.shape:
        raise ConfigError(
            f"the base answers with {of_base.logits.shape[1]} classes, the global with "
            f"{of_global.logits.shape[1]}; they must be the same"
        )
    features = None if of_base.features is None else torch.from_numpy(of_base.features)
    return PairOutputs(
        torch.from_numpy(of_base.logits),
        torch.from_numpy(of_global.logits),
        torch.from_numpy(data.labels),
        features,
    )
