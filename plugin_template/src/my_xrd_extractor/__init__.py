"""Metadata from PANalytical .xrdml scans, as a plugin of openmsi."""

from .extractor import XRDExtractor

__all__ = ["XRDExtractor"]
