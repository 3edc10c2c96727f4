"""What CAs answered to an earlier version is marked once, when the ledger is opened: it is for root, too.

Earlier versions wrote a CA's words into a reason without marks (core/words.py), so what is theirs in it and what is
ours cannot be told apart any more: the whole reason is withheld. The number of the application in the file says that it
was done. Rejected: a new version of the schema, which an earlier program would refuse after a downgrade.
"""

from certagent.core.words import BEGIN, END
from certagent.state.database import Database, Statement

DONE = 0x63657274  # "cert"
PLAIN = f"replace(replace({{}}, '{BEGIN}', '<'), '{END}', '>')"
UNMARKED = f"reason <> '' and instr(reason, '{BEGIN}') = 0"
ANSWERS = f"""
update attempts set reason = '{BEGIN}' || {PLAIN.format("reason")} || '{END}'
where kind in ('issue', 'window') and outcome not in ('ok', 'asked') and {UNMARKED}
"""  # noqa: S608 - our own words
WORDS = PLAIN.format("substr(reason, instr(reason, ' ') + 1)")
WINDOWS = f"""
update attempts set reason = substr(reason, 1, instr(reason, ' ')) || '{BEGIN}' || {WORDS} || '{END}'
where kind = 'window' and outcome = 'ok' and instr(reason, ' ') > 0 and {UNMARKED}
"""  # noqa: S608 - our own words
MARKING: tuple[Statement, ...] = ((ANSWERS, ()), (WINDOWS, ()), (f"pragma application_id = {DONE}", ()))


def mark_words(ledger: Database) -> None:
    """Mark what an earlier version wrote, once for each file. Raises sqlite3.Error."""
    if ledger.rows("pragma application_id") != [(DONE,)]:
        ledger.commit(MARKING, synced=False)
