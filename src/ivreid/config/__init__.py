"""Every key of a configuration, its meaning and default; where values come from."""

from ivreid.config.load import dump_config, load_config, make_config, to_yaml
from ivreid.config.packaged import packaged_names, packaged_text
from ivreid.config.schema import Config

__all__ = [
    "Config",
    "dump_config",
    "load_config",
    "make_config",
    "packaged_names",
    "packaged_text",
    "to_yaml",
]
