"""Choosing the threshold of a selective query from its rehearsal."""

from hybridge.cost.operating import OperatingPoint, measure_at
from hybridge.cost.price import price_plan
from hybridge.cost.query import price_query
from hybridge.cost.reach import selective_query
from hybridge.cost.surroundings import Surroundings
from hybridge.cost.target import Target, choose
from hybridge.errors import ConfigError, PlanError
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
        ConfigError: The target is an energy, and the device's power is not known.
    """
    query = selective_query(plan)
    if query is None:
        raise PlanError(
            "tuning expects one fork, which keeps inputs by score or sends them to one cloud "
            f"step; got a plan with {len(list(plan.steps('cloud')))} cloud steps"
        )
    around = surroundings.look_up()
    if target.what == "energy_mj" and around.device.power is None:
        raise ConfigError(
            f"expected a device whose power is known for a target in energy_mj, got "
            f"{around.device.name!r}; give its profile a power, or another target"
        )
    price = price_query(
        plan,
        price_plan(plan, around.device, around.cloud),
        around.link,
        rehearsal.payload_bytes[query.sent, query.codec],
    )
    right = (
        rehearsal.answers(query.kept) == rehearsal.truth,
        rehearsal.answers(query.sent, query.codec) == rehearsal.truth,
    )
    score = rehearsal.score[()]
    held_out = rehearsal.held_out_score.get((), score)
    costs = price.costs()
    judged = held_out if target.what == "accuracy" else score
    threshold = choose(judged, *right, costs, target).threshold
    realised = measure_at(threshold, score, *right, costs)
    honest = measure_at(threshold, held_out, *right, costs)
    return realised.model_copy(
        update={"accuracy": honest.accuracy, "accuracy_kept": honest.accuracy_kept}
    )
