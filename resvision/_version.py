"""Version of the package, read by the build and by `resvision --version`."""

__version__ = "0.1.0"
