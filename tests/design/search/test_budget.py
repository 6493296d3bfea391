import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybridge.design.search.budget import (
    AllOf,
    AnyOf,
    Candidates,
    Evaluations,
    Seconds,
    Spent,
    Stagnation,
)

spents = st.builds(
    Spent, st.integers(0, 100), st.integers(0, 100), st.floats(0, 100), st.integers(0, 100)
)
single = st.one_of(
    st.builds(lambda limit: Candidates(limit=limit), st.integers(1, 80)),
    st.builds(lambda limit: Evaluations(limit=limit), st.integers(1, 80)),
    st.builds(lambda limit: Seconds(limit=limit), st.floats(1, 80)),
    st.builds(lambda limit: Stagnation(limit=limit), st.integers(1, 80)),
)


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        (Candidates(limit=20), 0.5),
        (Evaluations(limit=20), 0.25),
        (Seconds(limit=8), 0.75),
        (Stagnation(limit=2), 1.0),
    ],
)
def test_each_budget_looks_at_its_own(budget, share):
    assert budget.progress(Spent(10, 5, 6.0, 3)) == share


@given(st.lists(single, min_size=1, max_size=4), spents)
def test_any_ends_with_the_first_and_all_with_the_last(budgets, spent):
    shares = [budget.progress(spent) for budget in budgets]
    assert all(0 <= share <= 1 for share in shares)
    assert AnyOf(tuple(budgets)).progress(spent) == max(shares)
    assert AllOf((AnyOf(tuple(budgets)), *budgets)).progress(spent) == min(shares)


@pytest.mark.parametrize("kind", [Candidates, Evaluations, Seconds, Stagnation])
def test_a_budget_of_nothing_is_refused(kind):
    with pytest.raises(ValidationError, match="greater than 0"):
        kind(limit=0)
