"""What `openmsi plugins` lists: one plugin of each kind, for PANalytical .xrdml scans."""

from .extractor import XRDExtractor
from .processor import XRDPoints
from .sink import XRDShelf

__all__ = ["XRDExtractor", "XRDPoints", "XRDShelf"]
