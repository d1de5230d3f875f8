"""torchvision's AlexNet under the layer names of a transfer rule."""

import pytest
import torch
from torchvision.models import alexnet

from lightning_modules.alexnet import AlexNet
from lightning_modules.build import build_network
from lightning_modules.initialisation import initialise_layers
from lightning_modules.layers import layer_modules, layer_parameters
from lightning_modules.torchvision_alexnet import TorchvisionAlexNet
from stages.errors import RelayError

SHAPES = {  # of the file alexnet-owt-7be5be79.pth
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216),
    "classifier.4": (4096, 4096),
    "classifier.6": (1000, 4096),
}


@pytest.fixture(scope="module")
def network():
    return build_network("torchvision_alexnet", num_classes=1000, seed=1)


def test_its_state_dict_is_torchvisions(network):
    with torch.device("meta"):
        reference = alexnet(weights=None)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == {key: tuple(value.shape) for key, value in reference.state_dict().items()}
    assert {key.removesuffix(".weight"): shape for key, shape in shapes.items() if "weight" in key} == SHAPES
    assert sum(p.numel() for p in network.parameters()) == 61_100_840


def test_layers_are_mapped_in_order(network):
    assert tuple(layer_modules(network)) == AlexNet.specification.layer_names
    assert list(layer_parameters(network).values()) == [(f"{path}.weight", f"{path}.bias") for path in SHAPES]
    assert layer_modules(network)["fc8"].out_features == 1000


@pytest.mark.slow
def test_a_file_of_torchvisions_loads_and_computes_the_same(tmp_path):
    reference = alexnet(weights=None, dropout=0.3).eval()
    weights = reference.state_dict()
    for key in ("classifier.1.weight", "classifier.4.weight"):  # a small file: one row stands for all
        weights[key] = weights[key][:1].clone().expand(weights[key].shape)
    torch.save(weights, tmp_path / "alexnet.pth")
    weights = torch.load(tmp_path / "alexnet.pth", weights_only=True)
    reference.load_state_dict(weights)
    own = TorchvisionAlexNet(dropout=0.3, seed=0).eval()
    own.load_state_dict(weights)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(own(images), reference(images))
    assert [m.p for m in own.modules() if isinstance(m, torch.nn.Dropout)] == [0.3, 0.3]


def test_its_initialisation_is_by_layer_and_repeats(network):
    weight = network.features[3].weight.detach()
    assert weight.std().item() == pytest.approx((64 * 25) ** -0.5, rel=0.02)
    before = network.classifier[6].weight.detach().clone()
    initialise_layers(network, ["fc8"], "krizhevsky", seed=5)
    assert network.classifier[6].weight.std().item() == pytest.approx(0.01, rel=0.02)
    initialise_layers(network, ["fc8"], "lecun_normal", seed=1)
    assert torch.equal(network.classifier[6].weight, before)
    assert not network.classifier[6].bias.any()


def test_images_and_arguments_are_checked():
    with torch.device("meta"):
        network = TorchvisionAlexNet(num_classes=7)
        assert network(torch.empty(2, 3, 63, 64, device="meta")).shape == (2, 7)
        with pytest.raises(RelayError, match="63x63"):
            network(torch.empty(2, 3, 62, 64, device="meta"))
        with pytest.raises(RelayError, match="0 classes"):
            TorchvisionAlexNet(num_classes=0)
        with pytest.raises(RelayError, match="dropout is -1"):
            TorchvisionAlexNet(dropout=-1)
