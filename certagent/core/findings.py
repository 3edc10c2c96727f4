"""Findings: each is a rule of the catalogue that does not hold, with the file, one sentence and one remedy.

What a decision asks of a finding (is the certificate unusable, does it differ from the configuration, would another
one remedy it) is a field of its rule, never a set of codes kept elsewhere.
"""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from enum import Flag, auto
from typing import Literal, get_args

from certagent.core.names import stem_of

Severity = Literal["ok", "info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ELSE = "which needs a running agent: systemctl start certagent, or certagent run"


def worst_of(severities: Iterable[str]) -> str:
    """The worst of several severities, "ok" of none."""
    return max(severities, key=SEVERITIES.index, default="ok")


class Is(Flag):
    """What decisions ask of a rule."""

    NOTHING = 0
    RENEWABLE = auto()  # another certificate remedies it
    UNUSABLE = auto()  # certificate or key cannot be used: a new one is requested immediately
    DIFFERENT = auto()  # the certificate is not what the configuration asks for: issued again, unless it is adopted
    TOLERATED = auto()  # the pre-install checks let a staged certificate pass that has it
    OF_LONE_KEYS = auto()  # `check` says it of a key without a certificate, too


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A row of the catalogue. In `advice` and `remedy` NAME stands for the name of the pair."""

    code: str
    means: str
    source: str  # where the rule comes from
    advice: str  # what `certagent explain` says to do
    severities: tuple[Severity, ...]  # that its findings may have; the first, where a finding names none
    flags: Is = Is.NOTHING
    _: KW_ONLY
    remedy: str = ""  # of its findings, where it is not the advice

    def __repr__(self) -> str:
        return self.code

    @property
    def unusable(self) -> bool:
        """Certificate or key cannot be used."""
        return Is.UNUSABLE in self.flags

    @property
    def different(self) -> bool:
        """The certificate is not what the configuration asks for."""
        return Is.DIFFERENT in self.flags

    @property
    def area(self) -> str:
        """The first word of the code: what it is about."""
        return self.code.partition(".")[0]

    def found(
        self,
        file: str,
        message: str,
        severity: Severity | None = None,
        remedy: str | None = None,
        *,
        renews: bool = False,
    ) -> "Finding":
        """A finding by this rule; `renews`: the remedy that is given is another certificate."""
        cure: Cure = "renew" if renews or (remedy is None and Is.RENEWABLE in self.flags) else ""
        if remedy is None:
            remedy = (self.remedy or self.advice).replace("NAME", stem_of(file))
        return Finding(self, severity or self.severities[0], file, message, remedy, cure)


Cure = Literal["", "renew", "reissue"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold: severity, the file, one sentence and one remedy."""

    rule: Rule
    severity: Severity
    file: str
    message: str
    remedy: str
    cure: Cure = ""  # another certificate, by `certagent renew` or reissued by others; "": it is something else

    @property
    def code(self) -> str:
        """The rule's stable code."""
        return self.rule.code

    def unmanaged(self) -> "Finding":
        """The same for a pair that is not configured: no command renews it."""
        if not self.cure:
            return self
        stem = stem_of(self.file)
        remedy = f"replace or remove {stem}.crt and {stem}.key; they are not configured here"
        return replace(self, remedy=remedy, cure="")

    def by_others(self) -> "Finding":
        """The same of a pair that no authority issues."""
        if not self.cure:
            return self
        return replace(
            self,
            remedy=f"replace {stem_of(self.file)}.crt with the tool that rotates it, or configure an authority",
            cure="reissue",
        )

    def without_agent(self) -> "Finding":
        """The same if no agent is known to run: `certagent renew` needs one."""
        return replace(self, remedy=f"{self.remedy}, {ELSE}") if self.cure == "renew" else self
