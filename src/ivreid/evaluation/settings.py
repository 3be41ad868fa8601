"""Which protocol settings can be evaluated on some images, and what is said of those that cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.config.schema import Config
from ivreid.datasets import Dataset
from ivreid.errors import IvreidError, ProtocolError, UsageError
from ivreid.protocols import Protocol, every_setting, get_protocol, make_protocol
from ivreid.retrieval import Reranker
from ivreid.types import Notice


@dataclass(frozen=True)
class ChosenSetting:
    """A protocol with its options decided, and a re-ranking or none."""

    protocol: Protocol
    reranker: Reranker | None

    @property
    def spectra(self) -> bool:
        """Whether the re-ranking needs several embeddings of each image."""
        return self.reranker is not None and self.reranker.spectra


def choose_settings(
    settings: Sequence[Mapping[str, Any]],
    rerankers: Sequence[Reranker | None],
    dataset: Dataset,
    *,
    every: bool = False,
    permutations: Path | str | None = None,
    notice: Notice = lambda _: None,
) -> list[ChosenSetting]:
    """The settings that the images can serve; of several, those that they cannot are told once and left out.

    Args:
        settings: Options of `make_protocol`; a value of None is the default.
        rerankers: The re-ranking of each setting.
        dataset: The images, with the split "test".
        every: Take every mode, number of shots and direction that a setting leaves open.
        permutations: SYSU-MM01's draw, where the dataset does not hold it.
        notice: Called with a line about what is left out.

    Raises:
        UsageError: A value that does not exist; or nothing that can be served.
        ProtocolError: The images cannot serve the only setting.
        DataError: Permutations that cannot be read.
    """
    served, faults = [], list[tuple[str, IvreidError]]()
    draw = permutations or dataset.permutations
    asked = [
        (options, reranker)
        for setting, reranker in zip(settings, rerankers, strict=True)
        for options in _options(dataset.name, setting, draw, every)
    ]
    for given, reranker in asked:
        _refuse_unknown_values(dataset.name, given)
        try:
            protocol = make_protocol(
                dataset.name,
                **given,
                permutations=draw,
                trial=dataset.trial,
            )
            if len(asked) > 1:
                protocol.trials(dataset.table("test"))
        except (UsageError, ProtocolError) as error:
            faults.append((", ".join(f"{key} {value}" for key, value in given.items()), error))
            continue
        served.append(ChosenSetting(protocol, reranker))
    if faults and not served:
        raise faults[0][1]
    if faults:
        told = "; ".join(f"{name or 'the default'} ({error})" for name, error in faults)
        notice(
            f"{len(faults)} of {len(asked)} evaluation settings are left out, {dataset.root} cannot serve them: {told}"
        )
    return served


def _options(dataset: str, setting: Mapping[str, Any], draw: object, every: bool) -> list[dict[str, Any]]:
    given = {key: value for key, value in setting.items() if value is not None}
    return every_setting(dataset, permutations=draw, **given) if every else [given]


def _refuse_unknown_values(dataset: str, given: Mapping[str, Any]) -> None:
    choices = get_protocol(dataset).choices
    for key, value in given.items():
        if key in choices and value not in choices[key]:
            make_protocol(dataset, **{key: value})  # its message says what there is


def tell_unserved(config: Config, dataset: Dataset, notice: Notice) -> Config:
    """Say before training which settings of `evaluation` the images cannot serve.

    Returns:
        The configuration without them; as it is where they can serve none, or there is nobody to test on.
    """
    settings = config.protocol_settings()
    if "test" not in dataset.splits:
        return config
    left: list[Any] = []
    for setting, section in zip(settings, config.evaluation, strict=True):
        try:
            options = {key: value for key, value in setting.items() if key != "rerank"}
            choose_settings([options, options], [None, None], dataset)
        except (UsageError, ProtocolError) as error:
            left.append((section, error))
    if not left:
        return config
    kept = tuple(one for one in config.evaluation if all(one is not section for section, _ in left))
    told = "; ".join(f"{_words(section) or 'the default'} ({error})" for section, error in left)
    what = f"{len(left)} of {len(settings)} settings" if kept else "each setting"
    notice(f"evaluation: {what} will be left out, {dataset.root} cannot serve it: {told}")
    return config.model_copy(update={"evaluation": kept}) if kept else config


def _words(section: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in section.model_dump(exclude_none=True).items())
