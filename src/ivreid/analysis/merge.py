"""From the results of several runs of one study to one result: their mean, and their spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ivreid.errors import ProtocolError, UsageError
from ivreid.io import fingerprint
from ivreid.protocols.result import SYNTHETIC_MARK, Result, TrialResult

RUNS = "runs"
"""Key of the merged result's block with one entry a run: its name, figures and model."""
MANY = 10**4


def parse_numbers(text: str, what: str) -> tuple[int, ...]:
    """The numbers that "1-3,5" names, ascending.

    Args:
        text: Numbers and ranges with commas between.
        what: The option's name, for messages.

    Raises:
        UsageError: Not such a list, a range that descends, or a number named twice.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.strip().isascii() and end.strip().isdigit() for end in ends):
            raise UsageError(f"{what} {text}: {part.strip()!r} is no number or range; write e.g. 1-3,5")
        low, high = (int(end) for end in ends)
        if low > high or high - low >= MANY:
            raise UsageError(f"{what} {text}: the range {part.strip()} must ascend, by less than {MANY:,}")
        found += range(low, high + 1)
    twice = sorted({number for number in found if found.count(number) > 1})
    if twice:
        raise UsageError(f"{what} {text}: {format_numbers(twice)} named twice")
    return tuple(sorted(found))


def format_numbers(numbers: Iterable[int]) -> str:
    """The shortest text that `parse_numbers` reads back: "1-3,5" for 1, 2, 3, 5."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in runs)


def merge_results(results: Mapping[str, Result]) -> Result:
    """One result of a whole study.

    Each run counts once: its figures are the mean over its own trials (over SYSU-MM01's gallery draws, for
    instance), and the merged trials are the runs, so that `std` is the spread between runs. RegDB's splits,
    an option of each run, become one option that names them all ("1-10").

    Args:
        results: One result of each run by the run's name, all of one protocol setting.

    Raises:
        ProtocolError: Results of different protocols, versions, options, re-rankings or augmentations;
            different test images under one split; or one model twice. The message names the runs.
        UsageError: No results.
    """
    if not results:
        raise UsageError("there are no results to merge")
    _check_same_setting(results)
    _check_same_images(results)
    _check_distinct_models(results)
    runs = list(results.values())
    first = runs[0]
    counts = {name: [getattr(run, name) for run in runs] for name in ("queries", "valid_queries", "gallery")}
    drawn = {SYNTHETIC_MARK: True} if any(run.synthetic for run in runs) else {}
    return Result(
        protocol=first.protocol,
        title=_title(runs),
        version=first.version,
        options=_options(runs),
        **{name: values[0] for name, values in counts.items()},
        trials=tuple(_mean_trial(run) for run in runs),
        fingerprints=_fingerprints(runs),
        rerank=first.rerank,
        tta=first.tta,
        notes=_notes(results, counts),
        extra={**drawn, RUNS: [_run_json(name, run) for name, run in results.items()]},
    )


def _setting(result: Result) -> dict[str, Any]:
    options = {f"option {key}": value for key, value in result.options.items() if key != "trial"}
    head = {"protocol": result.protocol, "version": result.version}
    return {**head, "re-ranking": result.rerank, "augmentation": result.tta, **options}


def _check_same_setting(results: Mapping[str, Result]) -> None:
    (first, reference), *others = ((name, _setting(result)) for name, result in results.items())
    for name, setting in others:
        for key in [*reference, *setting]:
            one, other = reference.get(key), setting.get(key)
            if one != other:
                raise ProtocolError(
                    f"{first} and {name} cannot be merged: {key} is {one} and {other}; evaluate both anew "
                    "under one setting"
                )


def _check_same_images(results: Mapping[str, Result]) -> None:
    seen: dict[tuple[Any, str], tuple[str, str]] = {}
    for name, result in results.items():
        for kind in ("dataset", "split"):
            found = result.fingerprints.get(kind)
            if found is None:
                continue
            before, reference = seen.setdefault((result.options.get("trial"), kind), (name, found))
            if found != reference:
                raise ProtocolError(
                    f"{before} and {name} cannot be merged: they were tested on different images "
                    f"({kind} fingerprints {reference} and {found}); evaluate both anew on the same data"
                )


def _check_distinct_models(results: Mapping[str, Result]) -> None:
    seen: dict[tuple[str, Any], str] = {}
    for name, result in results.items():
        model = result.fingerprints.get("model")
        if model is None:
            continue
        before = seen.setdefault((model, result.options.get("trial")), name)
        if before != name:
            raise ProtocolError(f"{before} and {name} hold the same model ({model}): it would count twice")


def _splits(runs: Sequence[Result]) -> list[int]:
    return sorted({run.options["trial"] for run in runs if run.options.get("trial") is not None})


def _options(runs: Sequence[Result]) -> dict[str, Any]:
    options, splits = dict(runs[0].options), _splits(runs)
    if len(splits) > 1:
        options["trial"] = format_numbers(splits)
    return options


def _title(runs: Sequence[Result]) -> str:
    title, splits = runs[0].title, _splits(runs)
    if len(splits) > 1:
        title = title.replace(f"split {runs[0].options['trial']},", f"splits {format_numbers(splits)},")
    return f"{title}, {len(runs)} runs" if len(runs) > 1 else title


def _mean_trial(run: Result) -> TrialResult:
    if len(run.trials) == 1:
        return run.trials[0]
    curves = zip(*(trial.cmc for trial in run.trials), strict=True)
    return TrialResult(**run.mean, cmc=tuple(sum(values) / len(run.trials) for values in curves))


def _fingerprints(runs: Sequence[Result]) -> dict[str, str]:
    """What all runs share as it is, else one hash over theirs; nothing where a run does not know its own."""
    found = {}
    for kind in runs[0].fingerprints:
        values = [run.fingerprints.get(kind) for run in runs]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            continue
        found[kind] = known[0] if len(set(known)) == 1 else fingerprint((value, "") for value in set(known))
    return found


def _notes(results: Mapping[str, Result], counts: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(note for run in results.values() for note in run.notes))
    draws = {len(run.trials) for run in results.values()}
    if draws != {1}:
        notes.append(
            f"each trial here is one run, averaged over its {format_numbers(draws)} trials; the spread is "
            "between runs"
        )
    for name, values in counts.items():
        if len(set(values)) > 1:
            words = name.replace("_", " ")
            notes.append(f"{words} differ between runs, {min(values):,} to {max(values):,}; shown: the first")
    return tuple(notes)


def _run_json(name: str, run: Result) -> dict[str, Any]:
    keys = {"trial": run.options.get("trial"), "model": run.fingerprints.get("model")}
    return {"name": name, **{key: value for key, value in keys.items() if value is not None}, **run.mean}
