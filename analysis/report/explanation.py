"""What one analysis of networks is made of; each file of `analysis.report.explanations` has one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from analysis.explain.arrays import Arrays
from analysis.explain.cached_network import CachedNetwork
from analysis.explain.choices import Rule
from analysis.explain.study_images import StudyImages
from analysis.explain.study_networks import StudyNetworks
from analysis.report.figures import Picture, ProcessStyle
from analysis.report.page import Section
from analysis.report.study_tables import Labels
from analysis.runs.arguments import Key
from lightning_modules.registry import default_taps

SettingsT = TypeVar("SettingsT")
SummaryT = TypeVar("SummaryT", bound=Mapping[str, Any])

OnProgress = Callable[[int, int], None]
"""How much of a network's computation is done, of how much."""


@dataclass(frozen=True)
class StudyFacts:
    """What is known of an explained study, whatever the analysis; JSON values only.

    Attributes:
        study: Its id.
        target: Its target.
        size: Height and width of the networks' input in pixels.
        native_size: The shorter side of the target's images in pixels, before they are enlarged.
        runs: Full ids of the stage runs that were explained.
        processes: In the page's order.
        seeds: Of each process.
        seed: Of the networks that are shown, or None where the processes have no seed in common.
        skipped: What could not be explained, and why.
        weights: SHA-256 of the weights of each network, sources too, by its folder below the store.
    """

    study: str
    target: str
    size: int
    native_size: int
    runs: list[str]
    processes: list[str]
    seeds: dict[str, list[int]]
    seed: int | None
    skipped: list[str]
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a figure or a section knows beside its own summary.

    Attributes:
        study: Facts of the explained study.
        labels: Of its processes, in order.
        styles: Of its processes, in order.
    """

    study: StudyFacts
    labels: Labels
    styles: Mapping[str, ProcessStyle]


def _default_taps() -> str:
    return "|".join(default_taps())


@dataclass(frozen=True)
class BackwardSettings:
    """The backward path, for analyses that map features back."""

    layer: Annotated[
        str | None,
        Key("whose features are mapped back; the network's own default if left out", _default_taps),
    ] = None
    rule: Annotated[Rule, Key("desalinet, saliency or deconvnet")] = "desalinet"


class Explanation(ABC, Generic[SettingsT, SummaryT]):
    """One analysis of a study's networks: from settings to a section of the page.

    A file that has one gives it the name EXPLANATION. Modules that load torch are imported inside of
    `check`, `compute` and `summarise`: the report draws what is stored without torch.

    Attributes:
        name: Of the section's anchor, and of what is stored.
        title: The section's heading.
        order: Sections stand in this order.
        settings: A dataclass; its fields by `setting` are keys of the command, the others are not.
        optional: Figures and tables that are not made for every study, such as `figures/own_feature_maps`:
            files without suffix, removed where an earlier call left them.
        of_sources: Whether source networks are computed too, not only those that are compared.
        version: Of the summary; raised when other code cannot read it, which is then made again.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int]
    settings: type[SettingsT]
    optional: ClassVar[tuple[str, ...]] = ()
    of_sources: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def check(self, images: StudyImages, settings: SettingsT) -> None:  # most have nothing to refuse
        """Refuse settings that cannot be used, before anything is computed.

        Raises:
            RelayError: Says which setting, and what to give.
        """

    @abstractmethod
    def compute(
        self, network: CachedNetwork, images: StudyImages, settings: SettingsT, on_progress: OnProgress
    ) -> Arrays:
        """What is needed of one network, through `network.cached`, so that it is computed once."""

    @abstractmethod
    def summarise(
        self,
        networks: StudyNetworks,
        results: Mapping[str, Arrays],
        images: StudyImages,
        settings: SettingsT,
    ) -> SummaryT:
        """What figures and tables need of all networks.

        Args:
            networks: Those of the study.
            results: What `compute` gave for each, by run id.
            images: As for `compute`.
            settings: As for `compute`.

        Returns:
            Nested dicts and lists of arrays, tables (DataFrame) and JSON values, which are stored. It is read
            by whoever has the page: no name of a file, folder, image or patient may be in it.
        """

    @abstractmethod
    def figures(self, summary: SummaryT, context: Context) -> list[Picture]:
        """The section's figures. They are drawn once and kept until something they depend on changes."""

    @abstractmethod
    def section(self, summary: SummaryT, context: Context, figures: Sequence[Picture]) -> Section:
        """The section of the page, with these figures."""
