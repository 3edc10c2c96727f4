"""What an action leaves behind: rows of a snapshot and an action -> the snapshot after it."""

from dataclasses import replace

from certagent.core.actions import Install, Quarantine, Recover, RejectStaged, Rollback, Scan
from certagent.core.facts import Trust
from certagent.core.predict import forecast, predict
from tests.core.building import DAY, NOW, generation, leaf, policy, snapshot, staged

BACK = Rollback("node", 1, "node-101", "node-1", 0o600, 999, 999, "it was asked for")


def test_predict_recovery_ends_the_interruption() -> None:
    """After a recovery no intent is left."""
    found = snapshot()
    torn = replace(found, directory=replace(found.directory, interrupted=True))
    assert predict(torn, Recover("a swap did not finish"), NOW) == found


def test_predict_installation_of_vanished_staged_pair_changes_nothing() -> None:
    """A staged pair that is gone meanwhile cannot be installed."""
    action = Install("node", ("crt", "key"), "node-2", 0o600, 999, 999, "staged")
    assert predict(snapshot(), action, NOW) == snapshot()


def test_predict_rejection_removes_staged_pair_and_is_recorded() -> None:
    """A refused pair is no longer staged, and counts as a refused installation; other staged pairs stay."""
    other = staged("client.root")
    after = predict(snapshot(staged=(staged(), other)), RejectStaged("node", ("crt", "key"), "too weak"), NOW)
    assert after.staged == (other,)
    assert [(a.kind, a.subject, a.outcome, a.reason) for a in after.attempts] == [
        ("install", "node", "refused", "too weak")
    ]


def test_predict_rollback_restores_generation_and_quarantines_other() -> None:
    """The generation is live with the configured mode; the certificate that it replaces is never installed again."""
    after = predict(snapshot(generations=(generation(),)), BACK, NOW)
    live = after.pair("node")
    assert live is not None
    assert live.key is not None
    assert live.leaf is not None
    assert (live.leaf.fingerprint, live.key.file.mode, live.trust) == ("node-101", 0o600, Trust("ca"))
    assert after.quarantined == {"node-1"}
    assert [(a.kind, a.outcome, a.fingerprint) for a in after.attempts] == [("rollback", "ok", "node-101")]


def test_predict_rollback_without_bad_certificate_quarantines_nothing() -> None:
    """Without a certificate that is known to be bad, none is quarantined."""
    after = predict(snapshot(generations=(generation(),)), replace(BACK, bad=""), NOW)
    assert after.quarantined == frozenset()


def test_predict_rollback_of_pruned_generation_changes_nothing() -> None:
    """A generation that was pruned meanwhile cannot be restored."""
    assert predict(snapshot(), BACK, NOW) == snapshot()


def test_predict_quarantine_and_scan_are_recorded() -> None:
    """A quarantined certificate is remembered; a search for processes is as old as the moment."""
    assert predict(snapshot(), Quarantine("node", "node-1", "revoked"), NOW).quarantined == {"node-1"}
    assert predict(snapshot(), Scan("search"), NOW + DAY).processes_at == NOW + DAY


def test_predict_forecast_ends_after_a_number_of_steps() -> None:
    """An empty directory needs several steps; a forecast limited to one step has the first actions alone."""
    found = snapshot(processes_at=None, pairs=(), issued=frozenset())
    first, all_of_them = forecast(policy(), found, NOW, steps=1), forecast(policy(), found, NOW)
    assert first == all_of_them[: len(first)]
    assert 0 < len(first) < len(all_of_them)


def test_predict_bundle_has_no_key_owner() -> None:
    """A bundle has no key whose owner an installation would change."""
    answer = staged("ca", leaf("ca", 2, not_after=NOW + 3000 * DAY))
    action = Install("ca", ("crt", ""), "ca-2", 0o600, 999, 999, "staged")
    after = predict(snapshot(staged=(answer,)), action, NOW)
    live = after.pair("ca")
    assert live is not None
    assert (live.key, live.leaf) == (None, answer.pair.leaf)
