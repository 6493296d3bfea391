"""The controllers of the model tree: two LSTMs over a block's layers (section VI-C, figure 6).

A controller's *state* is a block and a type of bandwidth; what was chosen before does not matter
to it. So there are few states, and one pass gives the policy in all of them.

Letters: ``S`` states, ``N·K`` of them, level by level; ``P`` positions, the most that a block may
be cut at, with one for no cut; ``L`` slots, the most of a block; ``V`` options, of all slots;
``R`` sequences, of ``T`` steps with ``F`` features; ``H`` hidden features, both directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from hybridge.design.modeltree.choices import KEEP, BlockSpace, Slot, Space

_LEAST_LOGIT = -1e9  # Infinity would make gradients NaN.


@dataclass(frozen=True, slots=True)
class Policy:
    """What the controllers would do in every state.

    Attributes:
        positions: Log-probabilities of each position, ``(S, P)``; those of a block are its
            `BlockSpace.positions`, the last of which is no cut.
        options: Log-probabilities of what becomes of each slot, given the position,
            ``(S, P, L, V)``; slots that do not stand before the cut are kept.
    """

    positions: Tensor
    options: Tensor

    def detach(self) -> "Policy":
        """Return the same without gradients, to draw from."""
        return Policy(self.positions.detach(), self.options.detach())

    def entropy(self) -> Tensor:
        """Return the entropy of each state's decisions in nats, summed over slots, ``(S,)``."""
        positions = -(self.positions.exp() * self.positions).sum(-1)
        slots = -(self.options.exp() * self.options).sum((-1, -2))  # (S, P)
        return positions + (self.positions.exp().detach() * slots).sum(-1)


class Controllers(nn.Module):
    """The partition and the compression controller.

    Args:
        space: What may be chosen.
        bandwidths_bps: Bandwidth of each type.
        hidden: Hidden features of each direction of each LSTM.
        generator: Draws the weights.
    """

    def __init__(
        self,
        space: Space,
        bandwidths_bps: Sequence[float],
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.vocabulary = _vocabulary(space)
        self._layout = _Layout(space, self.vocabulary)
        self._blocks, self._edges = _sequences(space, bandwidths_bps)
        features = self._blocks.steps.shape[-1]
        with torch.device("meta"):  # A random start would draw from torch's global generator.
            self.partition = _Reader(features, hidden)
            self.compression = _Reader(features, hidden)
            self.cut_logit = nn.Linear(2 * hidden, 1)
            self.whole_logit = nn.Linear(2 * hidden, 1)
            self.option_logits = nn.Linear(2 * hidden, len(self.vocabulary))
        self.to_empty(device="cpu")
        bound = 1 / math.sqrt(hidden)
        for name, parameter in self.named_parameters():
            # Nothing is preferred at first, so that fair chances are fair.
            scale = 0.0 if "logit" in name else bound
            nn.init.uniform_(parameter, -scale, scale, generator=generator)

    def forward(self) -> Policy:
        """Return the policy in all states."""
        layout = self._layout
        read, whole = self.partition(self._blocks)  # (S, T, H), (S, H)
        logits = torch.cat([self.cut_logit(read).squeeze(-1), self.whole_logit(whole)], dim=1)
        logits = logits.gather(1, layout.step_of_position)  # (S, P)
        positions = logits.masked_fill(~layout.legal, _LEAST_LOGIT).log_softmax(-1)
        read, _ = self.compression(self._edges)  # (R, T, H)
        logits = self.option_logits(read)[layout.edge_of_position[..., None], layout.step_of_slot]
        options = logits.masked_fill(~layout.allowed, _LEAST_LOGIT).log_softmax(-1)
        return Policy(positions, options)


@dataclass(frozen=True, slots=True)
class _Sequences:
    """Sequences of steps, ``(R, T, F)``, filled up at their ends, and their lengths, ``(R,)``."""

    steps: Tensor
    lengths: Tensor


class _Reader(nn.Module):
    """A bidirectional LSTM over sequences of unequal length."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def forward(self, sequences: _Sequences) -> tuple[Tensor, Tensor]:
        """Return the states at every step, ``(R, T, H)``, and those at both ends, ``(R, H)``."""
        packed = pack_padded_sequence(
            sequences.steps, sequences.lengths, batch_first=True, enforce_sorted=False
        )
        read, (ends, _) = self.lstm(packed)
        padded, _ = pad_packed_sequence(
            read, batch_first=True, total_length=sequences.steps.shape[1]
        )
        return padded, torch.cat([ends[0], ends[1]], dim=-1)


class _Layout:
    """Where the logits of a state's positions and slots are read off, and which are right.

    Attributes:
        legal: Which positions a block has, ``(S, P)``.
        step_of_position: The first step of each position's unit, ``(S, P)``; one after the last
            stands for no cut.
        edge_of_position: The sequence of what stands before each position, ``(S, P)``.
        step_of_slot: The step of each slot, ``(S, 1, L)``.
        allowed: What each slot may become, ``(S, P, L, V)``.
    """

    def __init__(self, space: Space, vocabulary: tuple[str, ...]) -> None:
        states = [block for block in space.blocks for _ in range(space.types)]
        count = max(len(block.positions) for block in states)
        slots = max(1, *(len(block.slots) for block in states))
        longest = max(sum(_step_counts(block)) for block in states)
        shape = (len(states), count)
        self.legal = torch.zeros(shape, dtype=torch.bool)
        self.step_of_position = torch.full(shape, longest)
        self.edge_of_position = torch.zeros(shape, dtype=torch.int64)
        self.step_of_slot = torch.zeros((len(states), 1, slots), dtype=torch.int64)
        self.allowed = torch.zeros((*shape, slots, len(vocabulary)), dtype=torch.bool)
        self.allowed[..., 0] = True
        edges = 0
        for state, block in enumerate(states):
            starts = [0, *accumulate(_step_counts(block))]
            self.step_of_slot[state, 0, : len(block.slots)] = torch.tensor(_slot_steps(block))
            for position, cut in enumerate(block.positions):
                self.legal[state, position] = True
                if cut is not None:
                    self.step_of_position[state, position] = starts[cut]
                if cut != 0:
                    self.edge_of_position[state, position] = edges
                    edges += 1
                for slot in range(block.slot_count(cut)):
                    allowed = block.allowed(slot, cut)
                    self.allowed[state, position, slot] = torch.tensor(
                        [option in allowed for option in vocabulary]
                    )


def _sequences(space: Space, bandwidths_bps: Sequence[float]) -> tuple[_Sequences, _Sequences]:
    """Return the steps of whole blocks, and of what stands before each cut, state by state."""
    kinds = sorted({slot.kind for slot in space.slots})
    blocks, edges = [], []
    for level, block in enumerate(space.blocks):
        for bandwidth_bps in bandwidths_bps:
            # Bandwidths are told apart best where they are centred: 1 kbit/s to 1 Gbit/s.
            seen = [level / space.levels, (math.log10(bandwidth_bps) - 6) / 3]
            steps = [
                [*row, *seen]
                for unit in block.units
                for row in (_features(unit, kinds) or [[0.0] * (len(kinds) + 7)])
            ]
            starts = [0, *accumulate(_step_counts(block))]
            blocks.append(torch.tensor(steps))
            edges += [torch.tensor(steps[: starts[c]]) for c in block.cuts if c != 0]
            edges.append(torch.tensor(steps))
    return _padded(blocks), _padded(edges)


def _features(unit: tuple[Slot, ...], kinds: list[str]) -> list[list[float]]:
    """Return the features of each layer: its hyper-parameters, all of about the same size."""
    return [
        [
            *(float(slot.kind == kind) for kind in kinds),
            1.0,
            slot.kernel / 3,
            slot.stride / 2,
            slot.padding / 3,
            math.log2(1 + slot.in_channels) / 10,
            math.log2(1 + slot.channels) / 10,
            len(slot.options) / 5,
        ]
        for slot in unit
    ]


def _padded(rows: list[Tensor]) -> _Sequences:
    lengths = torch.tensor([len(row) for row in rows])
    return _Sequences(pad_sequence(rows, batch_first=True), lengths)


def _step_counts(block: BlockSpace) -> list[int]:
    """Return the steps of each unit: its slots, or an empty one."""
    return [max(1, len(unit)) for unit in block.units]


def _slot_steps(block: BlockSpace) -> list[int]:
    """Return the step of each slot."""
    starts = [0, *accumulate(_step_counts(block))]
    pairs = zip(block.units, starts, strict=False)
    return [start + index for unit, start in pairs for index in range(len(unit))]


def _vocabulary(space: Space) -> tuple[str, ...]:
    """Return all options, `KEEP` first."""
    found = sorted({option for slot in space.slots for option in slot.options} - {KEEP})
    return (KEEP, *found)
