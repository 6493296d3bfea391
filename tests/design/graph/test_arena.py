import torch
from torch import nn

from hybridge.design.graph.arena import arena_bytes
from hybridge.design.graph.capture import capture
from hybridge.design.nets.parts import Block, MBConv


def arena(module, channels, side):
    return arena_bytes(capture(module, torch.zeros(1, channels, side, side)))


def test_what_is_read_and_what_is_written_are_alive_together():
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1))
    assert arena(chain, 3, 4) == (3 + 8) * 16


def test_normalisation_and_activation_take_no_room_of_their_own():
    plain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1))
    dressed = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1), nn.Flatten()
    )
    assert arena(dressed, 3, 4) == arena(plain, 3, 4)


def test_what_a_residual_adds_is_alive_until_then():
    block = MBConv(Block(8, 24, 8, 3))
    assert block.residual
    assert arena(block, 8, 4) == (8 + 24 + 24) * 16
    assert arena(MBConv(Block(8, 24, 16, 3)), 8, 4) == (24 + 24) * 16


def test_an_activation_that_is_not_the_only_reader_has_its_own_place():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Sigmoid()

        def forward(self, maps):
            return maps * self.gate(maps)

    assert arena(Gated(), 2, 2) == 3 * 8
