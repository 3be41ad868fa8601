"""Copies `configs/*.yaml` into the package while it is built; everything else stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = sorted(path.as_posix() for path in Path("configs").glob("*.yaml"))


class BuildWithConfigs(build_py):
    """An editable install copies nothing: it reads them where they are edited."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if not self.editable_mode:
            for config in CONFIGS:
                self.mkpath(str(Path(self.build_lib, "ivreid", "configs")))
                self.copy_file(config, str(Path(self.build_lib, "ivreid", config)))

    def get_source_files(self) -> list[str]:
        """What a source distribution holds."""
        return [*super().get_source_files(), *CONFIGS]


setup(cmdclass={"build_py": BuildWithConfigs})
