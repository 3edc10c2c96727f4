"""While no server runs here, a few members are looked at, so that it is known whether one may start."""

from certagent.core.actions import LookAt
from certagent.core.decide.part import NOTHING, Part
from certagent.core.rotation.returning import AGAIN, chosen, offered, stopped, told
from certagent.core.view import View


def part(view: View) -> Part:
    """The looks that are due."""
    pair = offered(view)
    if pair is None or pair.leaf is None or not stopped(view):
        return NOTHING
    mark, stem = pair.leaf.fingerprint, pair.name.stem
    seen = {look.address: look.at + AGAIN for look in told(view, pair)}
    looks = [
        LookAt(address=at, offers=stem, staged=False, fingerprint=mark, reason=f"see whether it accepts {stem}.crt")
        for at in chosen(view)
        if seen.get(at, view.now) <= view.now and not view.running("look", f"{at} {mark}")
    ]
    return Part(actions=tuple(looks), wakes=tuple(at for at in seen.values() if at > view.now))
