"""What can go wrong and can be mended by the user; shown as one message, without a traceback."""


class NmtError(Exception):
    """A mistake the user can mend. The message says what, where, and the remedy."""


class ConfigError(NmtError):
    """A configuration that cannot be run; the message lists every problem at once."""


class DataError(NmtError):
    """Text, columns or files that cannot be read as parallel data."""


class TokenizerError(NmtError):
    """A tokenizer that cannot be trained or loaded."""


class CheckpointError(NmtError):
    """A run folder or checkpoint that is missing, damaged or does not fit."""


class TrainingError(NmtError):
    """Training that cannot go on, such as a loss that is no longer a number."""


class AlignmentError(NmtError):
    """A matrix or link file that is not what it should be."""
