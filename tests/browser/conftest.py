"""A browser for the tests that need one: skipped with the reason on a laptop, an error in CI."""

import pytest

from tests.browser.lab import find_chromium


@pytest.fixture(scope="session")
def chromium(in_ci) -> str:
    path = find_chromium()
    if path is None:
        reason = "no Chromium found; install chromium (apt-get install chromium) or Google Chrome"
        if in_ci:
            pytest.fail(reason)
        pytest.skip(reason)
    return path
