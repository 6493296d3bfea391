"""Choosing the threshold of a selective query from its rehearsal."""

from hybridge.cost.estimate import price_query
from hybridge.cost.operating import OperatingPoint, measure_at
from hybridge.cost.surroundings import Surroundings
from hybridge.cost.target import Target, choose
from hybridge.errors import PlanError
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Rehearsal


def tune(
    plan: Plan, rehearsal: Rehearsal, target: Target, surroundings: Surroundings
) -> OperatingPoint:
    """Return the operating point that reaches ``target`` on the rehearsed data.

    Costs and coverage are those that the device would realise on these data. Accuracies come from
    held-out scores, where the rehearsal has them.

    Args:
        plan: A selective query: base and router on the edge, one fork, the global in the cloud.
        rehearsal: Played with its programs.
        target: What to reach.
        surroundings: What prices it.

    Raises:
        InfeasibleError: No threshold reaches the target; names the nearest value that one does.
        PlanError: The plan is not a selective query.
    """
    steps = list(plan.steps("cloud"))
    if len(steps) != 1 or len(steps[0][0]) != 1:
        raise PlanError(
            "tuning expects one fork with one cloud step below it, "
            f"got a plan with {len(steps)} cloud steps"
        )
    path, step = steps[0]
    fork = path[:-1]
    around = surroundings.look_up()
    price = price_query(
        [layer for program in plan.programs_at("edge") for layer in program.layers],
        plan.programs[step.program].layers,
        rehearsal.payload_bytes[path, step.codec],
        device=around.device,
        cloud=around.cloud,
        link=around.link,
    )
    right = (
        rehearsal.answers((*fork, 0)) == rehearsal.truth,
        rehearsal.answers(path, step.codec) == rehearsal.truth,
    )
    score = rehearsal.score[fork]
    held_out = rehearsal.held_out_score.get(fork, score)
    costs = price.costs()
    judged = held_out if target.what == "accuracy" else score
    threshold = choose(judged, *right, costs, target).threshold
    realised = measure_at(threshold, score, *right, costs)
    honest = measure_at(threshold, held_out, *right, costs)
    return realised.model_copy(
        update={"accuracy": honest.accuracy, "accuracy_kept": honest.accuracy_kept}
    )
