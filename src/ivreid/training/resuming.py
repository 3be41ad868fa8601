"""Which configuration a resumed run goes on with: its folder knows, so nothing need be said again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivreid.config.parse import differences, dump_config, load_config
from ivreid.config.schema import Config
from ivreid.distributed.collectives import broadcast
from ivreid.distributed.processes import ProcessRank
from ivreid.errors import ConfigError, UsageError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.types import Notice

ANOTHER_RUN = ("data.dataset", "method.name")
"""Where these differ, the folder is likely the wrong one."""
OF_A_MACHINE = ("out", "device", "data.root", "data.workers", "data.cache")
SHOWN = 12


def resumed_config(
    source: Path | str | None,
    words: Sequence[str | tuple[str, Any]],
    *,
    recipe: str | None = None,
    notice: Notice = lambda _: None,
) -> Config:
    """The configuration that a run folder holds, with what is said now on top.

    Where the folder holds no state yet, it is the configuration given. A configuration of another dataset or method
    is returned as it is, for resuming then refuses it. A run folder's own config.yaml means that folder, also after
    it was moved; where the place it came from holds a run, too, `out` must say which.

    Args:
        source: As for `load_config`; None where the folder alone shall say it.
        words: `KEY=VALUE` words, or pairs; `out` may stand among them.
        recipe: As for `load_config`.
        notice: Called with what the folder says otherwise than `source`.

    Raises:
        UsageError: Nothing names the run folder, two folders could be meant, or it holds nothing to go on from and
            no source is given.
        ConfigError: As `load_config`.
    """
    named = source is not None or recipe is not None
    given = load_config(source, words, recipe=recipe, notice=notice if named else None)
    if not any(_key(word) == "out" for word in words):
        given = _at_home(given, source, notice)
    if given.out is None:
        raise UsageError("say which run folder to go on with: --out RUN_DIR")
    folder = RunFolder(given.out)
    if not folder.states() or not folder.config.is_file():
        if not named:
            raise UsageError(
                f"{given.out} holds no training state to go on from; say what to train: ivreid train CONFIG --out "
                f"{given.out}"
            )
        return given
    kept = load_config(folder.config, [*words, ("out", str(given.out))])
    if not named:
        return kept
    changed = differences(dump_config(given), dump_config(kept))
    if any(key in ANOTHER_RUN for key, _, _ in changed):
        return given
    if changed:
        told = ", ".join(f"{key} = {now} (not {then})" for key, then, now in changed[:SHOWN])
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        notice(
            f"{folder.config} says what this run goes on with: {told}{more}; --set changes what may change"
        )
    return kept


def _key(word: str | tuple[str, Any]) -> str:
    return (word.partition("=")[0] if isinstance(word, str) else word[0]).strip()


def _at_home(given: Config, source: Path | str | None, notice: Notice) -> Config:
    """The same for the run folder that the file lies in, if it is one's own."""
    home = RunFolder(Path(source or "").parent)
    if source is None or Path(source).name != home.config.name or not home.states() or given.out is None:
        return given
    if home.path.resolve() == given.out.resolve():
        return given
    if RunFolder(given.out).states():
        raise UsageError(
            f"{source} lies in one run folder and was made for another, {given.out}, and both hold a training state: "
            f"go on with --out {home.path}, or with --out {given.out}"
        )
    notice(f"{source} was made for {given.out}, where no run is now: going on in {home.path}")
    return given.model_copy(update={"out": home.path})


def check_same_everywhere(process: ProcessRank, config: Config) -> None:
    """Refuse processes of one run with different configurations: only rank 0's machine may hold the run folder.

    Raises:
        ConfigError: On the process that differs; the message names the keys.
    """
    mine = dump_config(config)
    lines = [
        f"{key} is {first!r} in the first process and {here!r} here"
        for key, first, here in differences(broadcast(process, mine), mine)
        if key not in OF_A_MACHINE
    ]
    if lines:
        raise ConfigError(
            f"the processes of this run have different configurations: {'; '.join(lines[:SHOWN])}. Give every machine "
            "the same command; one that does not see the run folder needs every --set again"
        )
