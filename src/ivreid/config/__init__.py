"""Every key of a configuration, its meaning and default; where values come from."""

from ivreid.config.parse import dump_config, load_config, make_config, to_yaml
from ivreid.config.reference import ConfigKey, config_schema, describe_keys
from ivreid.config.schema import Config
from ivreid.packaged import packaged_names, packaged_text

__all__ = [
    "Config",
    "ConfigKey",
    "config_schema",
    "describe_keys",
    "dump_config",
    "load_config",
    "make_config",
    "packaged_names",
    "packaged_text",
    "to_yaml",
]
