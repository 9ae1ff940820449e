pytest_plugins = ["tests.services", "tests.timescale"]
