"""What pages say of descent, in the visitor's language: a family as a drawing, and the judge's words.

The judge speaks English, in sentences that know what they were made of (trace/said.py; web/told.py says them). Its
plain words are listed here for the catalogues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import time

from headwater.trace.closed import Beside
from headwater.trace.lineage import Family, Relative
from headwater.web.family_tree import Badge, Drawing, Member, Tie, draw
from headwater.web.words import Words

FRESH = 15.0
"""Seconds."""


@dataclass(frozen=True)
class Shown:
    """A family as a page shows it. drawing: None where nothing is tied to it. closed: models behind an API that were
    held beside it, newest first. fresh: stored so lately that the job that reads it may not be in the line yet."""

    family: Family
    drawing: Drawing | None
    relatives: tuple[Relative, ...]
    closed: tuple[Beside, ...] = ()
    fresh: bool = False

    @property
    def alike(self) -> tuple[Beside, ...]:
        return tuple(one for one in self.closed if one.likeness is not None and one.likeness.alike)


def shown(family: Family, closed: Sequence[Beside] = (), stored_at: float = 0.0) -> Shown:
    """stored_at: when the repo was last written to."""
    relatives = (*family.parents, *family.kin, *family.children)
    fresh = family.status.state == "not-yet-read" and time() - stored_at < FRESH
    return Shown(family, _drawing(family, relatives), relatives, tuple(closed), fresh)


def _drawing(family: Family, relatives: tuple[Relative, ...]) -> Drawing | None:
    members = {family.repo: Member(family.repo)}
    members |= {r.repo: Member(r.repo, _badge(family, r)) for r in relatives}
    known = {name.lower() for r in relatives for name in (r.repo, *r.also)} | {n.lower() for n in family.same}
    ties = [Tie(t.parent, t.child, t.order, t.verdict, t.agreement, t.share) for t in family.ties]
    for said in family.declared:
        if said.name.lower() not in known and said.name.lower() != family.repo.lower():
            badge: Badge = "not-here" if said.state == "not-here" else \
                "not-seen" if said.state == "not-seen" else "declared"
            members[said.name] = Member(said.name, badge, said.state != "not-here")
            ties.append(Tie(said.name, family.repo, "declared", "", None))
    for name in family.same[:4]:
        members[name] = Member(name, "")
        ties.append(Tie(family.repo, name, "open", "identical", None))
    if len(members) == 1:
        return None
    tied = {end for tie in ties for end in (tie.parent, tie.child)}
    beside = family.nearest_unrelated
    return draw([m for name, m in members.items() if name in tied], ties, family.repo,
                Member(beside.repo, "unrelated") if beside is not None and beside.repo not in members else None)


def _badge(family: Family, relative: Relative) -> Badge:
    """Of those further off: whether their own card names whom they are drawn under."""
    if relative.declared or any(t.child == relative.repo and t.order == "declared" for t in family.ties):
        return "both"
    if not relative.direct:
        return "kin"
    return "open" if relative.order == "open" else "found"


def operations(words: Words, operation: str | None) -> list[str]:
    return [words.gettext(one) for one in (operation or "").split(", ")
            if one and one != "merged"]  # the verdict says so


def always_said(words: Words) -> list[str]:
    """What the judge says in the same words each time; for the catalogues."""
    _ = words.gettext
    return [
        _("Nothing: it does not rest on a share or a chance."),
        _("Both files in whole: all neurons compared, and the difference of each tensor."),
        _("A third model that both come from."),
        _("A third model whose layers are in one and whose embeddings in both."),
        _("Only the sha256 of the files can say more: a piece of each tensor was read."),
        _("Both files in whole: the adapter's rows beside the model's neurons."),
        _("A copy whose embeddings are all new and whose stream was rotated looks the same: both files in whole can "
          "show that. Answers to the same questions can show if one learnt from the other."),
        _("no token strings were found, so there is no token frame."),
        _("no token embeddings were found, so there is no token frame."),
        _("the files hold no tokens; those of a known model of as many rows were tried."),
        _("layers dropped"), _("layers doubled"), _("layers reordered"), _("neurons pruned"), _("stream narrowed"),
        _("split into experts"), _("permuted or rotated"), _("quantised"), _("embeddings replaced"),
        _("words or embeddings replaced"), _("vocabulary changed"), _("adapter merged"),
    ]

