"""Why our figures may not be the published ones, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ivreid.datasets import DatasetReport
from ivreid.datasets.registry import get_reader
from ivreid.errors import counted
from ivreid.methods import Method
from ivreid.reproduction.outcome import TEST_IDENTITIES, Compared
from ivreid.reproduction.weights import what_the_card_says

KEPT = {
    "published-test": "the epoch was chosen on the test identities{}, and the figures flatter",
    "validation": "the epoch was chosen on the validation identities",
    "last": "the last epoch was kept{}",
}
"""Which weights a training left, by `validation.select`."""
OTHER_SPLIT = (
    "tested on split {}; if the authors trained it on another one, some of these people were trained on: give its number "
    "with --trial"
)


def why_it_may_differ(
    kind: type[Method], rows: Sequence[Compared], made: Mapping[str, Any], report: DatasetReport
) -> list[str]:
    """Every reason why our figures may not be the published ones, for people."""
    identities = _test_identities(report)
    official = TEST_IDENTITIES.get(report.name)
    out = []
    if "trained_on" in made:
        out += what_the_card_says(made, report.name, report.fingerprint)
    if official is not None and identities != official:
        out.append(
            f"these are not the published images: {identities} test identities, {report.name} has {official}; nothing "
            "can be said about the published figures"
        )
    if report.problems:
        out.append(f"the check of the dataset found {counted(len(report.problems), 'problem')}")
    for row in rows:
        out += _of_the_row(row, flip_as_published=not changed(made.get("changed", ()), "embedding"))
    if "recipe" in made:
        as_published = ", as published" if made["selected_as_published"] else ""
        kept = KEPT[made["selected_on"]].format(as_published)
        out.append(f"trained here by {made['recipe']}: {kept}; another machine or seed gives others")
        if made["changed"]:
            out.append(f"the training was changed: {' '.join(made['changed'])}")
    elif "trained_on" not in made:
        out.append("the authors chose the checkpoint's epoch; on whom it was trained, the file does not say")
    out += [f"published: {remark}" for remark in (kind.publication.remarks if kind.publication else ())]
    for row in rows:
        out += row.result.notes
    return list(dict.fromkeys(out))


def changed(overrides: Sequence[str], section: str) -> bool:
    """Whether `KEY=VALUE` changes of a training touch a section."""
    return any(word.startswith((f"{section}.", f"{section}=")) for word in overrides)


def _of_the_row(row: Compared, *, flip_as_published: bool) -> Iterator[str]:
    """How one row was measured, where that is not as published or decides the figure."""
    one, options = row.published, row.result.options
    if "draw" in options:
        known = "as published" if one.draw == options["draw"] else "the published draw is not known"
        yield f"{one.setting}: galleries drawn as {options['draw']}, {known}"
    elif "direction" in options:
        yield f"{one.setting}: query first, as published; some programs report the other direction"
    splits = len(get_reader(one.dataset).trials)
    if one.split is not None and splits:
        tested = options.get("trial", "all")
        told = "as ours" if tested == one.split else f"ours is of split {tested}"
        yield f"{one.setting}: published on split {one.split} alone, {told}"
    elif splits > len(row.result.trials):
        ours = options.get("trial") or len(row.result.trials)
        yield f"{one.setting}: the published figures are means over {splits} splits, ours are of split {ours}"
    if one.kind != "plain":
        how = row.result.rerank or "not re-ranked, so they do not compare"
        yield f"{one.setting}: the published figures are {one.kind}; ours: {how}"
    if row.result.tta:
        how = ", as published" if flip_as_published else ""
        yield f"{one.setting}: several views of each image were embedded{how}: {row.result.tta}"


def _test_identities(report: DatasetReport) -> int:
    """Identities of the largest test split, of the modality and camera that most of them are seen by."""
    return max((count.identities for count in report.counts if count.split == "test"), default=0)
