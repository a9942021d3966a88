"""imagic4d_core: the science of im4d, without a command line."""

__version__ = "0.1.0"
