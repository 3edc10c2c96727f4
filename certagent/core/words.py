"""What a CA said, inside a sentence: in marks, so that it can be withheld from readers who are not trusted.

A user who may see the state of a certificate need not see what a CA, a proxy or a program sent: it may repeat a secret
in a form that nobody foresaw. Rejected: a field of its own next to each sentence. A sentence goes from an error by way
of the ledger to findings, blocked actions, history and documents, and each of them would need the field, too.
"""

import re
from typing import Any

BEGIN, END = "«", "»"
SAID = re.compile(f"{BEGIN}[^{BEGIN}{END}]*(?:{END}|$)")  # what was cut off ends with the text
OTHERS = str.maketrans({BEGIN: "<", END: ">"})
WITHHELD = "(withheld: what was answered is shown to root and the agent's user)"


def framed(text: str) -> str:
    """A text of others in marks, which it cannot leave; "" stays."""
    return f"{BEGIN}{text.translate(OTHERS)}{END}" if text else ""


def withheld(value: Any) -> Any:
    """Given a document, return it without what others said."""
    if isinstance(value, str):
        return SAID.sub(WITHHELD, value) if BEGIN in value else value
    if isinstance(value, dict):
        return {key: withheld(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [withheld(inner) for inner in value]
    return value
