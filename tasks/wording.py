"""How numbers are told to people."""


def counted(count: int, noun: str) -> str:
    """Return such as "1 task" or "3 tasks"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def waiting_for_engine(engine: str, tasks: str) -> str:
    """Say that tasks (in words, such as "3 tasks") wait for a worker with an engine that those at work lack."""
    return (
        f"Waiting for a worker with engine {engine}: {tasks}. The workers that looked lack it. Start one that has it "
        "(for thor: THOR_PYTHON, docs/upstream.md); nothing of the job is lost, and no attempt is counted meanwhile."
    )
