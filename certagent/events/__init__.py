"""Log events: their catalogue, and the log in three forms: systemd's journal, JSON lines, text for a terminal."""

from certagent.events.catalogue import EVENTS, Event, Level, level_of, message_id
from certagent.events.log import Form, Log, changes, log_form, row_of

__all__ = ["EVENTS", "Event", "Form", "Level", "Log", "changes", "level_of", "log_form", "message_id", "row_of"]
