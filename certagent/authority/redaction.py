"""What no message may repeat: the secrets of this process, and what is derived from them.

It applies to a whole text before that is cut: of a token that is cut at the end of a message, most would be left.
"""

SHORTEST = 4  # a shorter line is a word
SHORTEST_DERIVED = 8
MARK = "[secret]"
_HIDDEN: set[str] = set()


def hide(*secrets: str, shortest: int = SHORTEST_DERIVED) -> None:
    """From now on no text of this process repeats these, nor a line of them."""
    for secret in secrets:
        _HIDDEN.update(part for part in (secret, *secret.splitlines()) if len(part.strip()) >= shortest)


def scrubbed(text: str, secrets: frozenset[str] | None = None) -> str:
    """Given a text, return it without a secret: of those given, or else of this process."""
    for secret in sorted(_HIDDEN if secrets is None else secrets, key=len, reverse=True):
        text = text.replace(secret, MARK)
    return text


def shown(text: object, most: int) -> str:
    """What another program or server said, for a message: without a secret, printable, and only then cut."""
    return "".join(c if c.isprintable() else " " for c in scrubbed(str(text or ""))).strip()[:most]
