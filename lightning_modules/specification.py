"""The description of a network: its layers, its head, the points where maps are taken, its least input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from stages.errors import RelayError
from stages.recipe import RANGE

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind = Literal["convolution", "linear", "normalisation", "block"]
"""A block is any other module, most often one with others inside, such as a residual block."""


@dataclass(frozen=True)
class Layer:
    """One layer with parameters, as transfer rules, tables and figures name it.

    Attributes:
        name: As people know it. It may have dots.
        path: Of its module in the network, such as "features.0".
        kind: What that module is.
        tap: The tap where its features are taken, after its activation; None for a layer without, such as
            the head, whose units are the classes of one stage.
        raised_bias: Whether its bias starts above zero in the schemes `krizhevsky` and `caffe`.
        narrow: Whether its weights start with the smaller deviation of the scheme `caffe`.
        own: Whether only what the module itself holds is meant, without the modules inside it: the tokens and
            positions of a transformer, whose path is "", the network itself.
    """

    name: str
    path: str
    kind: Kind
    tap: str | None = None
    raised_bias: bool = False
    narrow: bool = False
    own: bool = False


def keys_of_layers(layers: Sequence[Layer], network: "nn.Module") -> dict[str, tuple[str, ...]]:
    """Layer -> the names of its parameters and persistent buffers, as in `network.state_dict()`.

    A tensor that several modules hold belongs, under all of its names, to the layer where it is registered
    first: so what is done with a layer is done with each of its tensors once.
    """
    first: dict[int, str] = {}
    state = network.state_dict(keep_vars=True)
    names = {key: first.setdefault(id(tensor), key) for key, tensor in state.items()}
    found = {}
    for layer in layers:
        start = f"{layer.path}." if layer.path else ""
        children = network.get_submodule(layer.path).named_children() if layer.own else ()
        inside = tuple(f"{start}{name}." for name, _ in children)
        found[layer.name] = tuple(
            key for key, name in names.items() if name.startswith(start) and not name.startswith(inside)
        )
    return found


@dataclass(frozen=True)
class Input:
    """The images that a network was made for.

    Attributes:
        size: Their height and width in pixels.
        mean: Subtracted from the channels after division by 255.
        std: What the channels are divided by then.
        reduction: Pixels of an image, along one side, for each pixel of its last features.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    reduction: int


@dataclass(frozen=True)
class Specification:
    """The description of a network. Each file of `lightning_modules/networks` declares one.

    Attributes:
        name: The network's name in `model.name`, and that of its file.
        layers: The layers with parameters, in the order in which they run. Each parameter and each
            persistent buffer of the network belongs to exactly one of them.
        head: The name of the layer that gives the logits.
        classifier: The name of the first layer of the classifier, which ends with the head; the layers before
            it extract features (paper, section 4.1). The head alone if None.
        taps: Where maps and frequencies may be taken: name -> path of a module.
        default_tap: The tap that is taken where none is asked for.
        least_size: Least height and width of an image in pixels; 1 of timm's, whose sizes are tried.
        scalable: Whether `model.width` may be less than 1.
        outside_class: Full name of a class of another package whose instances this describes too.
        heads: The layers that give logits, where there are several and their mean is taken; else empty.
        architecture: timm's name of it; None for a network of `lightning_modules/networks`.
        input: The images that it was made for; None where the configuration alone says it.
        undefined: Words of transfer rules that mean nothing here -> the reason.

    Raises:
        RelayError: The description contradicts itself.
    """

    name: str
    layers: tuple[Layer, ...]
    head: str
    taps: Mapping[str, str] = field(hash=False)
    default_tap: str
    least_size: int
    classifier: str | None = None
    scalable: bool = False
    outside_class: str | None = None
    heads: tuple[str, ...] = ()
    architecture: str | None = None
    input: Input | None = None
    undefined: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        names = self.layer_names
        wrong = [name for name in names if names.count(name) > 1 or RANGE in name]
        if wrong:
            raise RelayError(
                f"{self.name}: layer {wrong[0]!r}; each name stands once and has no {RANGE!r} in it"
            )
        ends = (
            ("head", self.head),
            ("classifier", self.classifier),
            *(("head", head) for head in self.heads),
        )
        for what, layer in ends:
            if layer is not None and layer not in names:
                raise RelayError(f"{self.name}: the {what} {layer!r} is not one of its layers")
        taken = [name for name in names if name not in self.words.get(name, (name,))]
        if taken:
            raise RelayError(
                f"{self.name}: a layer named {taken[0]!r}; in a transfer rule this word stands for "
                f"{', '.join(self.words[taken[0]])}, so give the layer another name"
            )
        wanted = (self.default_tap, *(layer.tap for layer in self.layers if layer.tap is not None))
        missing = [tap for tap in wanted if tap not in self.taps]
        if missing:
            raise RelayError(f"{self.name}: {missing[0]!r} is not one of its taps, {', '.join(self.taps)}")

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers' names, in the order in which they run."""
        return tuple(layer.name for layer in self.layers)

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Words of transfer rules -> the layers that each stands for in this network.

        `features` and `classifier` are the two parts of the paper's section 4.1, `head` is what gives the
        logits, a kind is all layers of it. A rule of such words fits networks whose layers have other names.
        """
        names = self.layer_names
        heads = self.heads or (self.head,)
        cut = names.index(self.classifier or heads[0])
        kinds = {
            kind: tuple(layer.name for layer in self.layers if layer.kind == kind) for kind in get_args(Kind)
        }
        return {"features": names[:cut], "classifier": names[cut:], "head": heads, **kinds}

    @property
    def feature_taps(self) -> dict[str, str]:
        """Layer -> the tap where its features are taken, in order; without layers that have none."""
        return {layer.name: layer.tap for layer in self.layers if layer.tap is not None}

    def layer(self, name: str) -> Layer:
        """The layer of a name.

        Raises:
            RelayError: There is none; lists the layers.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise RelayError(f"{self.name} has no layer {name}; the layers are {', '.join(self.layer_names)}")

    def check_images(self, images: "Tensor", channels: int) -> None:
        """Refuse images that are too small, or have other channels than the first layer takes.

        Args:
            images: (N, channels, H, W).
            channels: The number of channels that the network was built for.

        Raises:
            RelayError: A shape does not fit; the message says which, and the least size.
        """
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != channels:
            raise RelayError(f"{self.name}: images of shape {shape}; give (N, {channels}, height, width).")
        if min(shape[2:]) < self.least_size:
            raise RelayError(
                f"{self.name}: images of {shape[2]}x{shape[3]} px vanish inside the network; "
                f"resize them to {self.least_size}x{self.least_size} px or more."
            )
