"""Typed settings: what they are, where each value comes from, and how they are written out.

`load` puts defaults, a TOML file, the environment and flags together; everything else in qtctl
takes the sections of its result as arguments. Importing this reads nothing.
"""

from qtctl.settings.catalog import FieldInfo, fields
from qtctl.settings.dump import digest, public, template, to_toml
from qtctl.settings.load import RECORDER, SERVICES, Loaded, load, section_of
from qtctl.settings.model import Allocation, Governor, Redis, Settings
from qtctl.settings.urls import SENTINEL, Nodes, display_url, hash_tag, nodes_of

__all__ = [
    "RECORDER",
    "SENTINEL",
    "SERVICES",
    "Allocation",
    "FieldInfo",
    "Governor",
    "Loaded",
    "Nodes",
    "Redis",
    "Settings",
    "digest",
    "display_url",
    "fields",
    "hash_tag",
    "load",
    "nodes_of",
    "public",
    "section_of",
    "template",
    "to_toml",
]
