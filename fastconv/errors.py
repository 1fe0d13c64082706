"""Exceptions of fastconv's own; everything else is a built-in exception."""


class CheckpointError(ValueError):
    """A weight file is damaged, hostile or does not fit the model. The model is unchanged."""


class DatasetError(ValueError):
    """A data file is missing, damaged or not what it says it is."""
