"""Phases of progressive shrinking: what is free in each, and what a family does not have."""

import re
from itertools import pairwise

import pytest
from pydantic import ValidationError

from hybridge.design.nets.families import families
from hybridge.design.supernet.phases import Phase, ShrinkSettings, default_phases, resolutions_of

SMALL = families.get("elastic_small")


@pytest.mark.parametrize("name", list(families))
def test_the_usual_phases_free_everything_step_by_step(name: str) -> None:
    family = families.get(name)
    side = family.resolutions[-1]
    phases = default_phases(family, side)
    assert [fault for phase in phases for fault in phase.faults(family, side)] == []
    assert len({phase.name for phase in phases}) == len(phases)
    spaces = [phase.space(family.space) for phase in phases]
    assert spaces[0].smallest == spaces[0].largest == family.space.largest
    assert spaces[-1] == family.space
    assert resolutions_of(tuple(phases), side) == family.resolutions
    for before, after in pairwise(spaces):
        for choice in ("kernels", "expansions", "depths"):
            assert set(getattr(before, choice)) <= set(getattr(after, choice))


def test_the_small_familys_phases_are_those_of_the_paper() -> None:
    phases = default_phases(SMALL, 32)
    assert [phase.name for phase in phases] == [
        "full",
        "kernels",
        "depths-2",
        "depths-3",
        "expansions-2",
        "expansions-3",
    ]
    assert [phase.sort_channels for phase in phases] == [False] * 4 + [True] * 2
    assert (phases[2].depths, phases[4].expansions) == ((2, 3), (3, 4))


def test_images_smaller_than_the_familys_leave_out_its_larger_resolutions() -> None:
    phases = default_phases(SMALL, 28)
    assert resolutions_of(tuple(phases), 28) == (24, 28)


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"kernels": (3, 7)}, "one: kernels: expected some of 3, 5"),
        ({"kernels": (3,)}, "with 5 among them"),
        ({"depths": (1, 2)}, "depths: expected some of 1, 2, 3 with 3"),
        ({"expansions": (6, 4)}, "expansions: expected some of 2, 3, 4"),
        ({"resolutions": (24, 32)}, "resolutions: expected some of 24, 28$"),
    ],
)
def test_what_a_family_does_not_have_is_named(choices: dict[str, object], named: str) -> None:
    (found,) = Phase(name="one", epochs=1, **choices).faults(SMALL, 28)
    assert re.search(named, found)


def test_a_phase_is_trained_by_its_own_numbers_and_what_all_share() -> None:
    settings = ShrinkSettings(batch_size=7, augment="none")
    phase = Phase(name="one", epochs=3, learning_rate=0.2, warmup_epochs=1, weight_decay=0)
    training = settings.training(phase)
    assert (training.epochs, training.batch_size, training.augment) == (3, 7, "none")
    assert training.rate(1) == 0.2
    assert training.nesterov
    assert settings.training(phase, 9).epochs == 9


@pytest.mark.parametrize("subnets", [0, 5])
def test_one_to_four_subnets_are_drawn_in_a_step(subnets: int) -> None:
    with pytest.raises(ValidationError):
        Phase(name="one", epochs=1, subnets=subnets)
