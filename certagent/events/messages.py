"""The message catalogue of systemd's journal (`journalctl -x`): what each event means and what to do."""

from certagent.events.catalogue import EVENTS, Event, message_id

HEAD = """# Explanations of certagent's log events for `journalctl -x`: copy it to /usr/lib/systemd/catalog/, then
# journalctl --update-catalog. Written by `python -m tests.public.renew`.
"""
PAGE = "file:/usr/share/doc/certagent/docs/events.md"
FINDING = """
The finding @CERTAGENT_CODE@ has the severity @CERTAGENT_SEVERITY@.

`certagent explain @CERTAGENT_CODE@` says what it means and what to do;
`certagent status` shows what holds now.
"""
OTHER = """
{advice}

The fields CERTAGENT_DIR, CERTAGENT_FILE and CERTAGENT_REASON of the entry say
where and why: journalctl -o verbose.
"""


def rendered() -> str:
    """The whole file."""
    return HEAD + "".join(_entry(name, event) for name, event in EVENTS.items())


def _entry(name: str, event: Event) -> str:
    head = f"\n-- {message_id(name)}\nSubject: {_subject(event)}\nDefined-By: certagent\nDocumentation: {PAGE}\n"
    advice = f"What to do: {event.remedy}." if event.remedy else "Nothing has to be done."
    return head + (FINDING if "code" in event.fields else OTHER).format(advice=advice)


def _subject(event: Event) -> str:
    """The meaning, as the beginning of a sentence."""
    return event.meaning[:1].upper() + event.meaning[1:]
