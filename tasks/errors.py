"""Every orchestration error, and by its class what the worker does about it.

Messages follow one form: what failed, of which thing, what was found, what was expected, what to do next.
The engines have a tree of their own (`tasks.engines.errors`): they know nothing of queues.
"""


class ThorQueueError(Exception):
    """Anything this product raises on purpose."""


class PrefectUnavailableError(ThorQueueError):
    """A command that is for Prefect alone can't reach its server. No task depends on that."""


class BadInputError(ThorQueueError):
    """A person's input is wrong: the command ends with exit code 2, and nothing has been uploaded."""


class PermanentTaskError(ThorQueueError):
    """Trying again would fail again: the task becomes `failed` and its message is acked."""


class TaskMessageError(PermanentTaskError):
    """A message that names no task: it goes to the dead queue, since there is no task to mark."""


class TaskInputError(PermanentTaskError):
    """A task's inputs are missing or wrong (`error_kind` bad_input)."""


class TransientTaskError(ThorQueueError):
    """Trying later may succeed: the task goes back to the queue."""


class EngineUnavailableError(TransientTaskError):
    """The engine that the job asks for cannot run here, but perhaps by another worker."""


class BucketUnavailableError(TransientTaskError):
    """The bucket did not answer in time, after every retry."""


class BrokerUnavailableError(TransientTaskError):
    """The queue cannot be reached, or lost the connection."""


class ScratchFileError(TransientTaskError):
    """The disk of this machine has no room for a copy of the observations."""


class GenerationMismatchError(TransientTaskError):
    """A compare-and-swap was refused: another process wrote the object first."""


class ObjectNotFoundError(ThorQueueError):
    """An object that was asked for by name is not in the bucket."""


class MessageNotPublishedError(BrokerUnavailableError):
    """The queue refused a message, or did not confirm it: it may arrive later or never."""


class ShutdownRequested(BaseException):
    """The process was asked to leave; nothing may swallow it."""
