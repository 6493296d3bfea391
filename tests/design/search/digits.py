"""A problem whose candidates are vectors of digits: the higher their sum, the better."""

from dataclasses import dataclass, field

import numpy as np

from hybridge.design.search.problem import Measured
from hybridge.errors import InfeasibleError


@dataclass
class Digits:
    """Eight digits that may sum to no more than ``most``, which is known before measuring or not.

    Rung 0 measures with an error of a digit's parity.
    """

    most: int = 72
    tells: bool = True
    top: int = 1
    drawn: int = 0
    measured: list = field(default_factory=list)

    def draw(self, rng, thrift=0.0):
        self.drawn += 1
        digits = rng.integers(10, size=8)
        return tuple(np.where(rng.random(8) < thrift, 0, digits).tolist())

    def mutate(self, candidate, probability, rng):
        self.drawn += 1
        fresh = rng.integers(10, size=8)
        return tuple(np.where(rng.random(8) < probability, fresh, candidate).tolist())

    def promising(self, candidate):
        return not self.tells or sum(candidate) <= self.most

    def recombined(self, measures, count):
        best = max((part for part, _ in measures), key=sum)
        return [2 * max(best[:4], best[4:], key=sum)]

    def infeasible(self):
        return InfeasibleError(f"sums from 0 to 72, and at most {self.most}")

    def parts(self, trial):
        return ((trial.candidate, trial.rung),)

    def measure(self, part):
        self.measured.append(part)
        digits, rung = part
        return Measured(float(sum(digits) + (digits[0] % 2 if rung < self.top else 0)), 1.0)

    def score(self, trial, measures):
        fits = sum(trial.candidate) <= self.most
        return measures[self.parts(trial)[0]] if fits else float("-inf")
