"""Projections of volumes."""

from imagic4d_core.forward.project import Projector, project_volume

__all__ = ["Projector", "project_volume"]
