"""The paper's search: trees are drawn from two controllers, which learn from the rewards.

Algorithm 1 finds the optimal branch of each type of bandwidth; algorithm 3 the tree, beginning
with those branches (section VII-A, "optimal branch boosting").

Letters: ``S`` states of the controllers, ``M`` nodes of all trees of a batch.
"""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from hybridge.design.modeltree.branches import (
    Branch,
    branch_of,
    fastest_cuts,
    tree_by_first_type,
    tree_of_blocks,
)
from hybridge.design.modeltree.choices import Composition, Tree
from hybridge.design.modeltree.controllers import Controllers, Policy
from hybridge.design.modeltree.episodes import Actions, Episodes, Sampler
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.plan.tensors import Frozen


class ReinforceSettings(Frozen):
    """How the controllers learn.

    Attributes:
        episodes: Trees drawn, those of the branches not among them.
        branch_episodes: Branches drawn for each type of bandwidth; 0 for no boosting.
        batch: Trees between two updates.
        hidden: Hidden features of each direction of each LSTM.
        learning_rate: Adam's.
        entropy: Reward of a policy's entropy, relative to that of a standard deviation.
        baseline_decay: Share of the moving average that an update keeps.
        fair_share: How often, at first, blocks on the first levels are left whole (alpha).
        fair_episodes: Share of the episodes over which that falls to zero.
        imitation: Updates towards the best tree of branches before the first tree is drawn.
        elite: Whether every update learns from the best tree so far, too.
        graft: Whether the best tree of all branches met so far is asked for after each batch; see
            `hybridge.design.modeltree.grafting`. The paper does without.
    """

    episodes: int = Field(default=400, gt=0)
    branch_episodes: int = Field(default=80, ge=0)
    batch: int = Field(default=4, gt=0)
    hidden: int = Field(default=24, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)
    entropy: float = Field(default=0.2, ge=0)
    baseline_decay: float = Field(default=0.5, ge=0, lt=1)
    fair_share: float = Field(default=0.8, ge=0, le=1)
    fair_episodes: float = Field(default=0.6, ge=0, le=1)
    imitation: int = Field(default=0, ge=0)
    elite: bool = True
    graft: bool = True


class Learner:
    """Monte-Carlo policy gradient over one space, from scratch (eqs. 8 to 10).

    Args:
        problem: What is searched; of one type, an optimal branch.
        seed: Of weights and draws.
        settings: How the controllers learn.
        episodes: Trees drawn in all.
    """

    def __init__(
        self, problem: TreeProblem, seed: int, settings: ReinforceSettings, episodes: int
    ) -> None:
        self.problem, self.settings, self.episodes = problem, settings, episodes
        self.best: Tree | None = None
        self.best_score = float("-inf")
        generator = torch.Generator().manual_seed(seed)
        bandwidths_bps = [link.bandwidth_bps for link in problem.links]
        self.controllers = Controllers(problem.space, bandwidths_bps, settings.hidden, generator)
        self._sampler = Sampler(problem.space, self.controllers.vocabulary, generator)
        self._optimizer = torch.optim.Adam(self.controllers.parameters(), lr=settings.learning_rate)
        self._baseline = Baseline(problem, settings.baseline_decay)
        self._drawn = 0
        self._begun = False
        self._asked: Episodes | None = None

    @property
    def done(self) -> bool:
        """Whether all episodes are over."""
        return self._drawn >= self.episodes

    def ask(self) -> Sequence[Tree]:
        """Return the original, cut where it is fastest; then batches of trees (forward generation).

        What is not compressed is seldom drawn, and is often better than the first that are.
        """
        if not self._begun:
            return [fastest_cuts(self.problem)]
        count = min(self.settings.batch, self.episodes - self._drawn)
        over = self._drawn / max(1.0, self.episodes * self.settings.fair_episodes)
        fair = self.settings.fair_share * max(0.0, 1.0 - over)
        self._asked = self._sampler.draw(self.controllers(), count, fair)
        return self._asked.trees

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Reward every node (backward estimation), and update both controllers."""
        if not self._begun:
            self._begun = True
            self.consider(candidates, scores)
            return
        if self._asked is None:
            raise RuntimeError("told before it was asked")
        self._drawn += len(candidates)
        self.consider(candidates, scores)
        rewards = [self.problem.rewards(tree, measures) for tree in candidates]
        found = torch.tensor([rewards[tree][path] for tree, path in self._asked.nodes])
        actions = self._asked.actions
        advantages = self._baseline.advantages(actions.states, found)
        if self.settings.elite and self.best is not None:
            best, good = self._praise(self.best, measures)
            actions, advantages = actions.joined(best), torch.cat([advantages, good])
        self._update(self._asked.policy, actions, advantages)

    def _praise(self, tree: Tree, measures: Mapping[Composition, float]) -> tuple[Actions, Tensor]:
        """Return a good tree's decisions, and how much better than usual each of them is."""
        rewards = self.problem.rewards(tree, measures)
        actions = self._sampler.actions_of(tree)
        found = torch.tensor([rewards[path] for path in tree])
        return actions, self._baseline.against(actions.states, found).clamp_min(0.0)

    def consider(self, candidates: Sequence[Tree], scores: Sequence[float]) -> None:
        """Keep the best of some trees, if it is better than what is kept."""
        for tree, score in zip(candidates, scores, strict=True):
            if score > self.best_score:
                self.best, self.best_score = tree, score

    def imitate(self, tree: Tree, updates: int) -> None:
        """Make the controllers decide rather as ``tree`` does."""
        actions = self._sampler.actions_of(tree)
        for _ in range(updates):
            self._update(self.controllers(), actions, torch.ones(len(actions.states)))

    def _update(self, policy: Policy, actions: Actions, advantages: Tensor) -> None:
        """Take a step from the weights that gave ``policy``."""
        gain = (actions.log_probabilities(policy) * advantages).mean()
        gain = gain + self.settings.entropy * policy.entropy().mean()
        self._optimizer.zero_grad()
        (-gain).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


class Baseline:
    """Exponential moving averages of the rewards in each state, and of their spread.

    Args:
        problem: Gives the states.
        decay: Share of an average that an update keeps.
    """

    def __init__(self, problem: TreeProblem, decay: float) -> None:
        self.decay = decay
        self._mean = torch.full((problem.space.levels * problem.space.types,), torch.nan)
        self._variance = torch.tensor(torch.nan)

    def advantages(self, states: Tensor, rewards: Tensor) -> Tensor:
        """Return how much better than usual rewards are, in standard deviations, and learn them.

        Args:
            states: State of each node, ``(M,)``.
            rewards: Its reward, ``(M,)``.
        """
        for state in sorted(set(states.tolist())):
            mean = rewards[states == state].mean()
            self._mean[state] = self._blend(self._mean[state], mean)
        variance = (rewards - self._mean[states]).square().mean()
        self._variance = self._blend(self._variance, variance)
        return self.against(states, rewards)

    def against(self, states: Tensor, rewards: Tensor) -> Tensor:
        """Return how much better than usual rewards are, in standard deviations."""
        usual = self._mean[states]
        usual = torch.where(usual.isnan(), rewards, usual)
        return (rewards - usual) / (self._variance.sqrt() + 1e-3)

    def _blend(self, kept: Tensor, new: Tensor) -> Tensor:
        return new if kept.isnan() else self.decay * kept + (1 - self.decay) * new


class Reinforce:
    """The optimal branch of each type, the trees made of these, then the tree search.

    Args:
        problem: What is searched.
        seed: Of weights and draws.
        settings: How the controllers learn.
    """

    def __init__(
        self, problem: TreeProblem, seed: int, settings: ReinforceSettings | None = None
    ) -> None:
        self.problem = problem
        self.settings = settings or ReinforceSettings()
        learners = problem.space.types + 1
        seeds = torch.randint(2**31, (learners,), generator=torch.Generator().manual_seed(seed))
        *branch_seeds, tree_seed = seeds.tolist()
        self._tree = Learner(problem, tree_seed, self.settings, self.settings.episodes)
        self._branches: list[Learner] = []
        if problem.space.types > 1 and self.settings.branch_episodes:
            self._branches = [
                Learner(problem.under(link), seed, self.settings, self.settings.branch_episodes)
                for link, seed in zip(problem.links, branch_seeds, strict=True)
            ]
        self._joins = bool(self._branches)

    @property
    def done(self) -> bool:
        """Whether all episodes are over."""
        return self._tree.done

    def ask(self) -> Sequence[Tree]:
        """Return branches as trees, then trees of branches, then trees."""
        learner = self._learner()
        if learner is not None:
            self._asked = learner.ask()
            return [self.problem.space.tree_of(branch_of(tree)) for tree in self._asked]
        if self._joins:
            branches: list[Branch] = [branch_of(one.best or {}) for one in self._branches]
            space = self.problem.space
            return [tree_by_first_type(space, branches), tree_of_blocks(space, branches)]
        return self._tree.ask()

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Update the controllers that drew the candidates."""
        learner = self._learner()
        if learner is not None:
            # A branch is worth something else under its type alone.
            rewards = [learner.problem.score(branch, measures) for branch in self._asked]
            learner.tell(self._asked, rewards, measures)
            self._tree.consider(candidates, scores)
        elif self._joins:
            self._joins = False
            self._tree.consider(candidates, scores)
            if self._tree.best is not None:
                self._tree.imitate(self._tree.best, self.settings.imitation)
        else:
            self._tree.tell(candidates, scores, measures)

    def _learner(self) -> Learner | None:
        """Return the first branch's that is not done."""
        return next((one for one in self._branches if not one.done), None)
