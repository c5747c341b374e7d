"""What a type checker sees of the public names; checked, never run."""

from typing import assert_type

import kitaru_nb as kt

assert_type(kt.errors.UsageError("no such option", kind="unknown-option", hint="kitaru-nb --help").hint, str)
assert_type(kt.__version__, str)
assert_type(kt.wait("Publish?"), bool)
assert_type(kt.wait("Publish?", timeout="2h", default=False), bool)
assert_type(kt.wait("How many?", int, name="count"), int)
assert_type(kt.wait("What went wrong?", kt.errors.UsageError), kt.errors.UsageError)
