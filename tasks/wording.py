"""How numbers are told to people."""


def counted(count: int, noun: str) -> str:
    """Return such as "1 task" or "3 tasks"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
