"""What was published about a method: paper, code, licence, figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["plain", "re-ranked", "transductive"]
"""`re-ranked` and `transductive` figures use other test images and compare with none of the plain ones."""


@dataclass(frozen=True)
class PublishedFigures:
    """Figures of one dataset as somebody published them, in percent.

    Attributes:
        dataset: Registry name.
        setting: Protocol setting, e.g. "all-search, single-shot" or "visible-to-infrared".
        rank1: Rank-1.
        mean_ap: mAP.
        mean_inp: mINP where it was given.
        kind: Plain, re-ranked or transductive.
        source: "code" (the authors' program or log), "paper", or who else measured it.
        draw: How the gallery was drawn (SYSU-MM01).
        rerank: The re-ranking behind the figures, as `ivreid.retrieval.parse_reranker` reads it; empty for none.
        split: RegDB: the one split they were measured on; None: the mean over all.
    """

    dataset: str
    setting: str
    rank1: float
    mean_ap: float
    mean_inp: float | None = None
    kind: Kind = "plain"
    source: str = "paper"
    draw: str = ""
    rerank: str = ""
    split: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The setting as options of `ivreid.make_protocol`."""
        if self.dataset != "sysu-mm01":
            return {"direction": self.setting}
        mode, shots = self.setting.split("-search, ")
        options: dict[str, Any] = {"mode": mode, "shots": 1 if shots == "single-shot" else 10}
        return {**options, "draw": self.draw} if self.draw else options


@dataclass(frozen=True)
class Publication:
    """A method's paper and code.

    Attributes:
        title: Of the paper.
        authors: "First Author and Second Author and ...", as BibTeX has it; empty where there is no paper.
        venue: Conference or journal.
        year: Of publication.
        code: The authors' public repository, "owner/name".
        licence: Of that code; "none" forbids copying it.
        figures: What was published; measured by others than us.
        remarks: What a reader of these figures must know: selection, quirks, doubts.
    """

    title: str
    authors: str = ""
    venue: str = ""
    year: int | None = None
    code: str = ""
    licence: str = "none"
    figures: tuple[PublishedFigures, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """E.g. "Ye et al., TPAMI 2021"; the code's name where there is no paper."""
        if not self.authors:
            return self.code
        names = [name.strip() for name in self.authors.split(" and ")]
        last = [name.split(",")[0] if "," in name else name.split()[-1] for name in names]
        who = (
            last[0]
            if len(last) == 1
            else f"{last[0]} and {last[1]}"
            if len(last) == 2
            else f"{last[0]} et al."
        )
        return f"{who}, {self.venue} {self.year}"

    @property
    def bibtex(self) -> str:
        """The entry to cite; the code where there is no paper."""
        if not self.authors:
            return f"@misc{{{self.code.split('/')[-1].lower()},\n  title = {{{self.title}}},\n  note = {{{self.code}}},\n}}"
        first = self.authors.split(" and ")[0]
        name = first.split(",")[0] if "," in first else first.split()[-1]
        word = re.sub(r"\W", "", self.title.split()[0]).lower()
        journal = self.venue.startswith(("TPAMI", "TCSVT", "TMM", "TIP", "Sensors"))
        kind, place = ("article", "journal") if journal else ("inproceedings", "booktitle")
        return (
            f"@{kind}{{{name.lower()}{self.year}{word},\n  title = {{{self.title}}},\n  author = {{{self.authors}}},\n"
            f"  {place} = {{{self.venue}}},\n  year = {{{self.year}}},\n}}"
        )
