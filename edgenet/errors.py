"""Exceptions that a user of edgenet can meet. Each message is one or two sentences that say what to do."""


class EdgenetError(Exception):
    """Base of every error edgenet raises on purpose."""


class ModelFormatError(EdgenetError):
    """A model file, or the graph in it, is not valid."""


class InputError(EdgenetError):
    """The caller passed something that the model cannot take: a wrong shape, dtype, image or path."""


class ConversionError(EdgenetError):
    """A checkpoint or module cannot be converted."""


class EngineError(EdgenetError):
    """The engine cannot run on this machine: no compiler, no usable kernels, no memory."""
