"""From a tree to a plan: what it costs, where it ends and goes home, and what it answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_library import NAMES, pixels_of, tiny_library

from hybridge.codecs.codec import codec_named, decode
from hybridge.cost.device import devices
from hybridge.cost.price import price_plan
from hybridge.design.graph.sizes import bound_sizes
from hybridge.design.modeltree.choices import KEEP, BlockChoice, Tree, branch_to, leaves
from hybridge.design.modeltree.compose import answer, compose
from hybridge.design.modeltree.costs import NetworkCosts
from hybridge.design.modeltree.drawn import Random, RandomSettings
from hybridge.design.modeltree.library import Library
from hybridge.design.modeltree.make_plan import TreePlan, make_plan
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.modeltree.programs import Exports, Outlines
from hybridge.design.modeltree.space import all_options, make_space
from hybridge.design.store import Store
from hybridge.errors import ConfigError, TransportError
from hybridge.links.link import Link
from hybridge.plan.answers import softmax
from hybridge.plan.bundle import Bundle
from hybridge.plan.plan import Fork, Node, Step
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Reply

CLOUD = devices.get("gtx1080ti")
#: With an overhead for every program, as the server has.
PHONE = devices.get("xiaomi-mi6x").model_copy(update={"overhead_ms": CLOUD.overhead_ms})
LINKS = (Link(1e6, 40), Link(8e6, 40))
BORDER_BPS = 3e6
OPTIONS = ("C1-1", "C3-0.5", "W1-0.5", "F1-0.5")


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Library, TreeProblem]]:
    """Of each network: its library, and a problem in which every cut is legal."""
    found = {}
    for name in NAMES:
        library = tiny_library(name, Store(tmp_path_factory.mktemp("variants")))
        sizes = {**bound_sizes(library.sliced.graph), "input": 1e9}
        space = make_space(library.sliced, all_options(library.sliced, OPTIONS), sizes, types=2)
        costs = NetworkCosts(library, PHONE, CLOUD, sizes)
        found[name] = library, TreeProblem(space, LINKS, costs, None)  # type: ignore[arg-type]
    return found


def drawn(problem: TreeProblem, seed: int) -> Tree:
    return Random(problem, seed, RandomSettings()).ask()[0]


def walks(node: Node, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], list[Step]]]:
    """Every way from a node to a leaf: its path, and its steps."""
    if isinstance(node, Step):
        for at, steps in walks(node.then, path):
            yield at, [node, *steps]
    elif isinstance(node, Fork):
        for index, child in enumerate(node.children):
            yield from walks(child, (*path, index))
    else:
        yield path, []


def planned(library: Library, problem: TreeProblem, tree: Tree) -> TreePlan:
    return make_plan(problem.space, tree, (BORDER_BPS,), Outlines(library))


@settings(max_examples=12)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10_000))
def test_a_branch_costs_what_its_programs_do(problems, name: str, seed: int) -> None:
    library, problem = problems[name]
    tree = drawn(problem, seed)
    plan = planned(library, problem, tree)
    prices = price_plan(plan.plan, PHONE, CLOUD)
    by_path = {at: sum(map(prices.step_ms, steps)) for at, steps in walks(plan.plan.root)}
    by_composition = {(end.composition, end.cut): by_path[at] for at, end in plan.endings.items()}
    for path in leaves(problem.space, tree):
        branch = branch_to(tree, path)
        took_ms = sum(problem.costs.edge_ms(level, choice) for level, choice in enumerate(branch))
        level, cut = len(branch) - 1, branch[-1].cut
        if cut is not None:
            took_ms += problem.costs.cloud_ms(level, cut)
            cut += library.sliced.block_starts[level]
        key = problem.space.composition(branch), cut
        assert by_composition[key] == pytest.approx(took_ms)


@settings(max_examples=12)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 10_000))
def test_every_leaf_has_an_ending_and_every_question_a_home(problems, name, seed) -> None:
    library, problem = problems[name]
    plan = planned(library, problem, drawn(problem, seed))
    assert set(plan.endings) == {path for path, _ in plan.plan.leaves()}
    for placed in plan.plan.nodes():
        if isinstance(placed.node, Fork):
            asks = any(step.place == "cloud" for _, steps in walks(placed.node) for step in steps)
            assert (placed.node.home is not None) == asks
    asked = {path for path, step in plan.plan.steps("cloud")}
    assert asked == {end.asks_at for end in plan.endings.values()} - {None}
    for at, steps in walks(plan.plan.root):
        cut = plan.endings[at].cut
        assert [step.place for step in steps].count("cloud") == (cut is not None)


def test_children_that_are_all_the_same_need_no_fork(problems) -> None:
    library, problem = problems["small_cnn"]
    space = problem.space
    whole = tuple(BlockChoice(None, (KEEP,) * len(block.slots)) for block in space.blocks)
    straight = planned(library, problem, space.tree_of(whole)).plan
    assert not any(isinstance(placed.node, Fork) for placed in straight.nodes())
    assert [step.place for _, step in straight.steps()] == ["edge"] * 3
    asking = planned(library, problem, space.tree_of((whole[0], BlockChoice(0, ())))).plan
    forks = [placed.node for placed in asking.nodes() if isinstance(placed.node, Fork)]
    assert [(fork.chooser.kind, fork.home) for fork in forks] == [("always", 1), ("always", 1)]


def test_a_tree_of_another_space_is_refused(problems) -> None:
    library, problem = problems["small_cnn"]
    with pytest.raises(ConfigError, match=r"the tree has no block at \(0,\)"):
        planned(library, problem, {})


def test_a_program_is_made_once_for_what_it_is(problems) -> None:
    outlines = Outlines(problems["small_cnn"][0])
    before, other = ("C1-1", *[KEEP] * 4), ("C3-0.5", *[KEEP] * 4)
    names = [outlines.edge(1, 3, composition) for composition in (before, other, before)]
    assert names[0] == names[2] != names[1]  # their statistics are of what stands before
    assert outlines.edge(1, 3, (*before[:3], "C1-1", "F1-0.5")) == names[0]
    assert len(outlines.made) == 2
    assert outlines.edge(0, 5, before).startswith("whole-")
    assert outlines.cloud(2, before).startswith("cloud2-")


TYPES = {"poor": BORDER_BPS / 2, "good": BORDER_BPS * 2}


class Seen:
    """The bandwidth before each block."""

    def __init__(self, kinds: tuple[int, ...]) -> None:
        self.left = [list(TYPES.values())[kind] for kind in kinds]

    def bandwidth_bps(self, now_ms: float) -> float:
        return self.left.pop(0)


def torch_answer(library: Library, composition, cut, codec: str | None, statistics, pixels):
    """What the composed network says, its features through the codec where it is cut."""
    units = compose(library, composition, statistics)

    def encode(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        by = codec_named(codec)
        array = tensor.numpy()
        encoded = by.encode(array)
        arrived = torch.from_numpy(np.array(by.decode(encoded, array.nbytes)))
        return arrived, torch.zeros(len(array))

    with torch.no_grad():
        return softmax(answer(units, pixels, cut, encode)[0].numpy())


def full_tree(problem: TreeProblem) -> Tree:
    """A tree with narrow blocks, cuts inside and between blocks, and a whole branch."""
    slots = [block.slots for block in problem.space.blocks]
    last = [slot.options[-1] for block in slots for slot in block]
    slim = BlockChoice(None, (slots[0][0].options[-1], *[KEEP] * (len(slots[0]) - 1)))
    kept = BlockChoice(None, (KEEP,) * len(slots[0]))
    middle = BlockChoice(None, (slots[1][0].options[1],))
    tree = {
        (0,): slim,
        (1,): kept,
        (0, 0): middle,
        (0, 1): BlockChoice(0, ()),
        (1, 0): BlockChoice(None, (KEEP,)),
        (1, 1): BlockChoice(None, (KEEP,)),
        (0, 0, 0): BlockChoice(None, tuple(last[-2:])),
        (0, 0, 1): BlockChoice(1, (slots[2][0].options[1],)),
        (1, 0, 0): BlockChoice(None, (KEEP, KEEP)),
        (1, 0, 1): BlockChoice(None, (KEEP, KEEP)),
        (1, 1, 0): BlockChoice(None, (KEEP, KEEP)),
        (1, 1, 1): BlockChoice(1, (KEEP,)),
    }
    problem.space.check(tree)
    return tree


@pytest.mark.parametrize("name", [NAMES[0], pytest.param(NAMES[1], marks=pytest.mark.slow)])
def test_the_plan_answers_as_the_composed_network(problems, name: str, tmp_path: Path) -> None:
    library, problem = problems[name]
    tree = full_tree(problem)
    statistics = pixels_of(library.sliced.geometry, 20, seed=3)
    exports = Exports(library, statistics, tmp_path)
    plan = make_plan(problem.space, tree, (BORDER_BPS,), exports)
    sessions = {key: ProgramSession(program) for key, program in plan.plan.programs.items()}
    pixels = pixels_of(library.sliced.geometry, 2, seed=4)

    def reply(message):
        tensors = {key: decode(item, 10**6) for key, item in message.tensors.items()}
        return Reply(sessions[message.program].run(tensors), cloud_ms=0.0)

    for path in leaves(problem.space, tree):
        # Where all types lead to the same, the plan does not fork.
        end = plan.endings[path] if path in plan.endings else plan.endings[path[:-1]]
        codec = {None: None, 0: "webp"}.get(end.cut, "int8-zstd")
        for row in range(len(pixels)):
            one = pixels[row : row + 1]
            with EdgeRuntime(Bundle(plan.plan), MockTransport(reply), bandwidth=Seen(path)) as edge:
                found = edge.predict(one[0].numpy())
            expected = torch_answer(library, end.composition, end.cut, codec, statistics, one)
            assert found.source == ("edge" if end.cut is None else "cloud")
            np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-4)


def test_without_the_cloud_the_home_answers(problems, tmp_path: Path) -> None:
    library, problem = problems["small_cnn"]
    space = problem.space
    statistics = pixels_of(library.sliced.geometry, 20, seed=3)
    exports = Exports(library, statistics, tmp_path)
    slim = BlockChoice(None, ("C1-1", KEEP))

    def home(branch):
        rest = [BlockChoice(None, ("C3-0.5",)), BlockChoice(None, (KEEP, "F1-0.5"))]
        return [slim, *rest][len(branch) :]

    tree = space.tree_of((slim, BlockChoice(0, ())))
    plan = make_plan(space, tree, (BORDER_BPS,), exports, home)
    pixels = pixels_of(library.sliced.geometry, 1, seed=4)
    down = MockTransport(fail=TransportError("down"))
    with EdgeRuntime(Bundle(plan.plan), down, bandwidth=Seen((0, 0, 0))) as edge:
        found = edge.predict(pixels[0].numpy())
    composition = ("C1-1", KEEP, "C3-0.5", KEEP, "F1-0.5")
    expected = torch_answer(library, composition, None, None, statistics, pixels)
    assert found.source == "edge"
    np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-4)
