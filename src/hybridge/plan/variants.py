"""Other plans made from a plan: one place alone, one branch, another threshold."""

from collections.abc import Callable, Iterator

from hybridge.errors import PlanError
from hybridge.plan.answers import Abstain, Fused, Newest
from hybridge.plan.choosers import Always, ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step


def edge_only(plan: Plan) -> Plan:
    """Return ``plan`` without a cloud: every fork that may ask goes home instead.

    Raises `PlanError` where a branch has no answer on the edge.
    """
    return _replant(plan, _without_cloud(plan.root, _home_of), may_not_answer=False)


def always_home(plan: Plan) -> Plan:
    """Return ``plan`` with every fork that may ask always going home.

    Like `edge_only`, but the tree stays as it is, so that the plan's rehearsal fits it. Raises
    `PlanError` where a branch has no answer on the edge.
    """

    def go_home(fork: Fork) -> Node:
        assert fork.home is not None
        return fork.model_copy(update={"chooser": Always(child=fork.home)})

    return _replant(plan, _without_cloud(plan.root, go_home), plan.may_not_answer)


def pinned(plan: Plan, leaf: Path) -> Plan:
    """Return ``plan`` with every fork on the way to the leaf at ``leaf`` always choosing that way.

    Homes and the rest of the tree stay, so that a cloud that fails is still made up for, and the
    plan's rehearsal fits. Raises `PlanError` where no leaf stands there.
    """
    leaves = [path for path, _ in plan.leaves()]
    if leaf not in leaves:
        raise PlanError(f"the plan has no leaf at {leaf}; its leaves are at {leaves}")

    def pin(node: Node, way: Path) -> Node:
        match node:
            case Step():
                return node.model_copy(update={"then": pin(node.then, way)})
            case Fork():
                children = list(node.children)
                children[way[0]] = pin(children[way[0]], way[1:])
                update = {"chooser": Always(child=way[0]), "children": tuple(children)}
                return node.model_copy(update=update)
            case Leaf():
                return node

    return _replant(plan, pin(plan.root, leaf), plan.may_not_answer)


def answering_alone(plan: Plan) -> Iterator[tuple[Path, Step, str]]:
    """Yield every cloud step that leads from the plan's input to logits by itself.

    Each comes with its path, and the name of its logits.
    """
    for path, step in plan.steps("cloud"):
        if set(step.feeds.values()) == {plan.input.name} and isinstance(step.then, Leaf):
            combine = step.then.combine
            logits = combine.global_ if isinstance(combine, Fused) else combine.needs[0]
            if logits.startswith(f"{step.program}."):
                yield path, step, logits


def cloud_only(plan: Plan, codec: str | None = None) -> Plan:
    """Return the cloud's program alone: its input is always sent, and it may not answer.

    Of several cloud programs that read the plan's input, the first that is met is taken.

    Args:
        plan: The plan.
        codec: How the input is encoded; None for the plan's own way.

    Raises:
        PlanError: No program leads from the input to logits by itself.
    """
    for _, step, logits in answering_alone(plan):
        update = {"codec": codec or step.codec, "then": Leaf(combine=Newest(logits=logits))}
        return _replant(plan, step.model_copy(update=update), may_not_answer=True)
    raise PlanError(
        "cloud_only needs a cloud step that reads the plan's input and answers by itself, "
        f"but none of {[program.name for program in plan.programs_at('cloud')]} does"
    )


def with_threshold(plan: Plan, threshold: float) -> Plan:
    """Return ``plan`` with every router score compared with ``threshold`` instead.

    Raises `PlanError` where no fork goes by a router score.
    """
    if not any(_goes_by_score(placed.node) for placed in plan.nodes()):
        raise PlanError("the plan has no score_threshold fork whose threshold could be set")

    def set_threshold(node: Node) -> Node:
        if isinstance(node, Fork) and _goes_by_score(node):
            return node.model_copy(update={"chooser": ScoreThreshold(threshold=threshold)})
        return node

    return _replant(plan, _rewrite(plan.root, set_threshold), plan.may_not_answer)


def abstaining(plan: Plan) -> Plan:
    """Return the abstaining classifier: where ``plan`` would ask the cloud, no label is given.

    What would be sent goes home instead, and its answer is withheld. Raises `PlanError` where a
    cloud step has no home.
    """

    def withhold(node: Node) -> Node:
        if isinstance(node, Leaf):
            return Leaf(combine=Abstain(logits=node.combine.needs[0]))
        # No fork below answers any more, so none is a home.
        return node.model_copy(update={"home": None}) if isinstance(node, Fork) else node

    def abstain(node: Node) -> Node:
        if not isinstance(node, Fork) or node.home is None:
            return node
        silent = _rewrite(node.children[node.home], withhold)
        children = tuple(silent if _asks(child) else child for child in node.children)
        return node.model_copy(update={"children": children})

    return _replant(plan, _rewrite(plan.root, abstain), may_not_answer=False)


def _replant(plan: Plan, root: Node, may_not_answer: bool) -> Plan:
    """Return a checked plan over ``root``, with only the programs that it runs."""
    bare = plan.model_copy(update={"root": root})
    used = {step.program for _, step in bare.steps()}
    return Plan(
        input=plan.input,
        programs={name: program for name, program in plan.programs.items() if name in used},
        root=root,
        class_names=plan.class_names,
        may_not_answer=may_not_answer,
    )


def _rewrite(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return the tree under ``node`` with every node changed, children first."""
    match node:
        case Step():
            return change(node.model_copy(update={"then": _rewrite(node.then, change)}))
        case Fork():
            children = tuple(_rewrite(child, change) for child in node.children)
            return change(node.model_copy(update={"children": children}))
        case Leaf():
            return change(node)


def _asks(node: Node) -> bool:
    match node:
        case Leaf():
            return False
        case Step():
            return node.place == "cloud" or _asks(node.then)
        case Fork():
            return any(map(_asks, node.children))


def _goes_by_score(node: Node) -> bool:
    return isinstance(node, Fork) and isinstance(node.chooser, ScoreThreshold)


def _without_cloud(node: Node, go_home: Callable[[Fork], Node]) -> Node:
    """Return ``node`` with ``go_home`` done to the uppermost forks that have a home and may ask."""
    if not _asks(node):
        return node
    match node:
        case Step(place="edge"):
            return node.model_copy(update={"then": _without_cloud(node.then, go_home)})
        case Fork(home=int()):
            return go_home(node)
        case Fork():
            children = tuple(_without_cloud(child, go_home) for child in node.children)
            return node.model_copy(update={"children": children})
        case _:
            raise PlanError("the plan has a branch without an answer on the edge")


def _home_of(fork: Fork) -> Node:
    assert fork.home is not None
    return fork.children[fork.home]
