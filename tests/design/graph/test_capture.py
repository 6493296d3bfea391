import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridge.design.graph.capture import capture
from hybridge.design.graph.count import count_layers
from hybridge.design.graph.graph import INPUT, Graph
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.errors import ConfigError


def registered(name: str, device: str = "cpu") -> tuple[nn.Module, torch.Tensor]:
    info = networks.get(name)
    with torch.device(device):
        shape = (1, info.channels, info.resolution, info.resolution)
        return build(name, info.class_count), torch.rand(shape)


def captured(name: str, device: str = "cpu") -> Graph:
    return capture(*registered(name, device))


@pytest.mark.parametrize("name", networks.names())
def test_a_capture_costs_what_the_network_costs(name):
    network, images = registered(name, "meta")
    graph = capture(network, images)
    assert graph.layers == count_layers(network, images)
    assert graph.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert graph[graph.output].output_shape == (networks.get(name).class_count,)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


@pytest.mark.parametrize("name", ["tiny_cnn", "vgg11_cifar", "cifar_resnet56"])
def test_a_capture_computes_what_the_network_computes(name):
    network, images = registered(name)
    graph = capture(network.eval(), images)
    with torch.no_grad():
        assert torch.equal(graph.module(images), network(images))


def test_a_chain():
    graph = captured("vgg11_cifar")
    assert graph.is_chain
    assert graph.skips == ()
    assert [node.reads for node in graph.nodes[:2]] == [(INPUT,), ("features.0",)]
    assert graph.output == graph.nodes[-1].name == "classifier"
    assert (graph.input_shape, graph.input_dtype, graph.input_bytes) == (
        (3, 32, 32),
        "float32",
        12288,
    )


def test_skips_are_seen():
    graph = captured("cifar_resnet56")
    assert not graph.is_chain
    # Nine blocks in each of three stages; the two that thin their input lead past it twice.
    assert len(graph.skips) == 27 + 2
    assert graph.readers("relu") == ("layer1.0.conv1", "layer1.0.add")
    assert ("relu", "layer1.0.add") in graph.skips
    assert graph["layer1.0.add"].reads == ("layer1.0.bn2", "relu")
    assert graph["layer2.0.getitem"].reads == ("layer1.8.relu:2",)


def test_every_node_says_what_it_gives():
    graph = captured("vgg11_cifar")
    convolution, pool, flat = (graph[name] for name in ("features.4", "features.3", "flatten"))
    assert (convolution.operation, convolution.kind, convolution.kernel) == ("Conv2d", "conv", 3)
    assert (convolution.macs, convolution.parameters) == (9 * 64 * 128 * 16 * 16, 9 * 64 * 128)
    assert (convolution.output_shape, convolution.output_bytes) == ((128, 16, 16), 4 * 128 * 256)
    assert (pool.kind, pool.macs, pool.output_bytes) == ("pool", 0, 4 * 64 * 256)
    # It only looks at its input in another shape, but stays, so that edges are right.
    assert (flat.kind, flat.layers, flat.reads, flat.output_shape) == (
        "view",
        (),
        ("pool",),
        (512,),
    )
    assert flat.output_bytes == 2048


def test_weights_and_modules_are_the_originals():
    network, images = registered("tiny_cnn")
    network.train()
    graph = capture(network, images)
    assert network.training
    assert graph.module.get_submodule("features.0") is network.features[0]
    assert graph["features.0"].origin in graph.module.graph.nodes


def test_pixels_are_captured_with_their_own_type():
    network = PixelNetwork(build("cifar_resnet8", 10), (0.5,) * 3, (0.3,) * 3)
    graph = capture(network, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert (graph.input_dtype, graph.input_bytes) == ("uint8", 3072)
    assert [node.output_dtype for node in graph.nodes[:2]] == ["uint8", "float32"]


class Widened(nn.Module):
    """Takes a flag, reads its batch size, prepares a weight, and calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 8))
        self.layer = nn.Linear(4, 4)

    def forward(self, rows, doubled=False, *, scale=2, **ignored):
        batch = rows.size(0)
        if doubled:
            rows = rows * scale
        rows = self.layer(F.relu(self.layer(rows)))
        return (rows @ (self.weight * scale)).view(batch, -1)


def test_sizes_and_prepared_weights_are_no_nodes():
    network, rows = Widened(), torch.ones(1, 4)
    graph = capture(network, rows)
    assert [node.name for node in graph.nodes] == ["layer", "relu", "layer:2", "matmul", "view"]
    assert graph.is_chain
    # The weight is prepared for the product, and its cost goes there.
    assert [row.name for row in graph["matmul"].layers] == ["mul", "mm"]
    assert graph.layers == count_layers(network, rows)
    assert graph["layer"].parameters == 20
    assert graph["layer:2"].parameters == 0
    assert torch.equal(graph.module(torch.ones(3, 4)), network(torch.ones(3, 4)))


class Shuffled(nn.Module):
    def forward(self, maps):
        left, right = maps.chunk(2, dim=1)
        return torch.cat([right, F.relu(left)], dim=1)


def test_several_outputs_are_taken_apart():
    graph = capture(Shuffled(), torch.zeros(1, 4, 2))
    assert graph["chunk"].output_bytes == 32
    assert graph.readers("chunk") == ("getitem", "getitem:2")
    assert graph["cat"].reads == ("getitem:2", "relu")
    assert graph["getitem"].output_bytes == 16


class Decides(nn.Module):
    def forward(self, maps):
        return maps if maps.sum() > 0 else -maps


class Counts(nn.Module):
    def forward(self, maps):
        return maps * maps.mean().item()


class Masks(nn.Module):
    def forward(self, maps):
        return maps[maps > 0].sum()


class Overwrites(nn.Module):
    def forward(self, maps):
        maps = maps + 1
        return maps + F.relu(maps, inplace=True) + maps.abs()


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.ReLU()]

    def forward(self, maps):
        return self.layers[0](maps)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("module", "parts"),
    [
        (Decides(), ["'1' (Decides), line", "maps if maps.sum() > 0", "control flow", "decisions"]),
        (Counts(), ["'1.item' (item)", "depends on the values"]),
        (Masks(), ["'1.getitem' (getitem)", "'index'", "depends on the values"]),
        (Overwrites(), ["'1.add:2' (add) reads", "in place since '1.add' (add)", "inplace=False"]),
        (Hidden(), ["'1' (Hidden)", "not installed as a submodule", "attributes"]),
        (nn.Bilinear(4, 4, 2), ["Bilinear"]),
        (nn.Conv2d(3, 4, 3), ["'1' (Conv2d) cannot run on (1, 4, 4)", "size and channels"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_captured_is_named(module, parts, device):
    network = nn.Sequential(nn.Identity(), module).to(device)
    with pytest.raises(ConfigError) as caught:
        capture(network, torch.ones(1, 4, 4, device=device))
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


class Looks(nn.Module):
    """Takes rows of a table by whole numbers, as position biases do: no decision."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(5, 4))
        self.register_buffer("rows", torch.tensor([0, 3, 3, 1]))

    def forward(self, maps):
        return maps + self.table[self.rows]


def test_a_fixed_choice_of_rows_is_no_decision():
    assert capture(Looks(), torch.ones(1, 4, 4)).is_chain


class TwoInputs(nn.Module):
    def forward(self, one, other):
        return one + other


class TwoOutputs(nn.Module):
    def forward(self, maps):
        return maps, maps + 1


@pytest.mark.parametrize("module", [TwoInputs(), TwoOutputs(), nn.Identity()])
def test_one_tensor_goes_in_and_one_comes_out(module):
    with pytest.raises(ConfigError, match=r"one tensor to one tensor"):
        capture(module, torch.ones(1, 4))


def test_an_operator_without_a_price_is_named_with_its_module():
    network = nn.Sequential(nn.Identity(), nn.LSTM(4, 3))
    with pytest.raises(ConfigError, match=r"'1' \(LSTM\): the operator .* has no price"):
        capture(network, torch.zeros(1, 1, 4))
