"""Do two models answer alike, further than unrelated ones do? For models whose weights nobody shows.

The same prompts are put to the child, to each candidate and to controls known to be unrelated to the child; of each
answer only the beginning counts. A candidate is alike if it agrees with the child oftener than every control does: an
exact test of the prompts on which only one of the two agrees, the worst of all controls taken, and Holm's correction
for the number of candidates (after Nikolić, Baluta and Saxena, 2502.00706). What was learnt from another's answers
looks the same: reported beside the weights' evidence, never in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from headwater.core.errors import BadInput
from headwater.stats.counts import holm, share_interval, sign_test
from headwater.trace.judgement import Evidence, Judgement, Verdict
from headwater.trace.said import Said, said

VERSION = 1
"""Moves when other prompts are put, or answers are compared in another way."""
LEVEL = 0.001
FEWEST_PROMPTS, MOST_PROMPTS = 100, 1000
COUNTED = 12
"""Letters of an answer that are compared: two words or so. Fewer and strangers agree, more and rounding tells a model
from itself (docs/design/024-closed-models.md)."""
_SUBJECTS = ("The old captain", "My neighbour's daughter", "A committee of engineers", "The first chapter",
             "This recipe", "The smallest planet", "An honest lawyer", "The function below",
             "Every winter the river", "The painter",
             "A bag of rice", "The last train", "Nobody in the village", "The patient", "A theorem of this kind",
             "The market", "His answer", "The orchestra", "Our garden", "The new law")
_VERBS = ("was known for", "could not explain", "had always depended on", "returns", "is made of", "began with",
          "will probably need", "reminded everyone of", "was replaced by", "costs more than")
_ENDS = ("", " the", " a", " its", " two")


@dataclass(frozen=True)
class Likeness:
    """agree of asked prompts were answered alike; interval: exact, 95 %. control: the most any control agrees, as a
    share. p: one-sided, against the worst control. adjusted: Holm's, over all candidates."""

    name: str
    agree: int
    asked: int
    interval: tuple[float, float]
    control: float
    p: float
    adjusted: float

    @property
    def alike(self) -> bool:
        return self.adjusted <= LEVEL and self.asked >= FEWEST_PROMPTS

    @property
    def says(self) -> Said:
        low, high = self.interval
        return said("%(agree)s of %(asked)s answers begin alike (%(low)s to %(high)s); of unrelated models at most "
                    "%(control)s (p = %(p)s, corrected).", agree=self.agree, asked=self.asked, low=f"{low:.0%}",
                    high=f"{high:.0%}", control=f"{self.control:.0%}", p=f"{self.adjusted:.1g}")


def prompts(count: int = 400) -> list[str]:
    """Openings of sentences that leave much open; always the same ones, at most 1,000."""
    whole = [f"{subject} {verb}{end}" for verb, end, subject in product(_VERBS, _ENDS, _SUBJECTS)]
    if not 0 < count <= len(whole):
        raise BadInput(f"{count} prompts were asked for; there are {len(whole)}.")
    step = len(whole) / count
    return [whole[int(n * step)] for n in range(count)]


def beginning(prompt: str, answer: str) -> str:
    """What is compared of an answer: its first letters without the prompt, where it says that again; spaces and case
    put aside."""
    plain, asked = (" ".join(text.split()).casefold() for text in (answer, prompt))
    return plain.removeprefix(asked).strip(" .…\"“”")[:COUNTED].rstrip()


def likenesses(child: Sequence[str], candidates: Mapping[str, Sequence[str]],
               controls: Mapping[str, Sequence[str]], earlier: Sequence[float] = ()) -> tuple[Likeness, ...]:
    """All answers in the order of one list of prompts. earlier: p of candidates this child was held beside before,
    which are corrected for as well. Raises BadInput without a control: with none nothing follows.

    Prompts that child and controls all answer with nothing, or alike, tell nothing of a candidate and cost nothing.
    """
    if not controls:
        raise BadInput("models that are known to be unrelated are needed to compare with.",
                       hint="Give two or more of about the child's size, of other makers.")
    if any(len(x) != len(child) for x in (*candidates.values(), *controls.values())) or not child:
        raise BadInput("every model must have answered the same prompts, and one at least.")
    same = {name: [x == y != "" for x, y in zip(given, child, strict=True)]
            for name, given in (candidates | controls).items()}
    raw = {name: max(_p(same[name], same[control]) for control in controls) for name in candidates}
    adjusted = dict(zip(raw, holm([*raw.values(), *earlier]), strict=False))
    control = max(sum(same[name]) for name in controls) / len(child)
    return tuple(Likeness(name, sum(same[name]), len(child), share_interval(sum(same[name]), len(child)), control,
                          raw[name], adjusted[name]) for name in candidates)


def _p(candidate: Sequence[bool], control: Sequence[bool]) -> float:
    more = sum(x and not y for x, y in zip(candidate, control, strict=True))
    return sign_test(more, sum(y and not x for x, y in zip(candidate, control, strict=True)))


def with_behaviour(judgement: Judgement, found: Likeness) -> Judgement:
    """The judgement with this beside it. Only a verdict that weights are independent becomes `behaves-alike`."""
    figures = {"agree": found.agree, "asked": found.asked, "control": round(found.control, 4), "p": found.adjusted}
    evidence = (*judgement.evidence, Evidence("behaviour", "strong" if found.alike else "none", found.says, figures))
    if found.alike and judgement.verdict in (Verdict.UNRELATED, Verdict.SAME_ARCHITECTURE):
        says = said("A and B answer alike and have no weights of each other: one may have learnt from the other's "
                    "answers, or both from a third's. %(figures)s", figures=found.says)
        return replace(judgement, verdict=Verdict.BEHAVES_ALIKE, says=says, evidence=evidence)
    return replace(judgement, evidence=evidence)
