"""What is asked where names leave something open, and how it is answered: as options, or in a conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ivreid.errors import UsageError, did_you_mean

Ask = Callable[["Question"], str]
"""Shows a question to a person and gives back what they wrote."""


@dataclass(frozen=True)
class Question:
    """Something that names do not tell.

    Attributes:
        option: The option that answers it beforehand, without dashes.
        text: The question, in a sentence or two.
        choices: Every answer with what it means; empty where any words are an answer.
        example: An answer, where there are no choices.
    """

    option: str
    text: str
    choices: tuple[tuple[str, str], ...] = ()
    example: str = ""

    def lines(self) -> list[str]:
        """The question and its answers, for people."""
        return [self.text, *(f"  {answer}: {meaning}" for answer, meaning in self.choices)]


@dataclass(frozen=True)
class Answers:
    """What was said beforehand; None leaves it to the names, or to a question.

    Attributes:
        person: The part of a path, or the column, that names the person: "folder 2", "name 1", "who".
        camera: The part or column that names the camera; "none" where cameras are unknown.
        infrared: Names or numbers that mark infrared pictures, with commas: "cam3,cam6", "night"; "none" or "all".
        same_cameras: Whether one number in both modalities is one device: "shared" or "apart".
        across_days: Whether one number on several days is one person: "same" or "apart".
    """

    person: str | None = None
    camera: str | None = None
    infrared: str | None = None
    same_cameras: str | None = None
    across_days: str | None = None

    def get(self, question: Question, ask: Ask | None) -> str:
        """The answer to a question: the one given, else the one that a person gives now.

        Raises:
            UsageError: Nobody can be asked, or the answer is none of the choices.
        """
        given: str | None = getattr(self, question.option.replace("-", "_"))
        if given is None:
            if ask is None:
                known = ", ".join(answer for answer, _ in question.choices) or question.example
                raise UsageError(
                    "\n".join([*question.lines(), f"answer it with --{question.option} ANSWER ({known})"])
                )
            given = ask(question)
        return check_answer(question.option, given, [answer for answer, _ in question.choices])


def check_answer(option: str, given: str, known: Sequence[str]) -> str:
    """The answer as it is spelled among the known ones; any, where there are none.

    Raises:
        UsageError: It is none of them; the message names the nearest.
    """
    wanted = given.strip()
    found = next((one for one in known if one.lower() == wanted.lower()), None)
    if known and found is None:
        raise UsageError(f"--{option} {given!r} is no answer here; {did_you_mean(wanted, known)}")
    return found or wanted
