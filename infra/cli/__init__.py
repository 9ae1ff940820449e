"""The command line: `tape`."""


def main() -> None:
    """The console script. Everything heavy is imported inside the commands, so that `tape --help` answers at once."""
    from infra.cli.app import app

    app(prog_name="tape")
