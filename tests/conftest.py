import os

from hypothesis import settings

pytest_plugins = ["tests.services", "tests.timescale", "tests.s3"]

# The same examples in every run: what fails has been changed. HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
