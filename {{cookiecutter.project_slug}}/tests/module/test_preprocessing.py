"""The preprocessing package: the contract of the library, and real records with an outlier."""

from collections.abc import Callable

import polars as pl
import pytest
from ml_ready import contract
from ml_ready.errors import ContractError
from ml_ready.testing.checks import CHECKS
from ml_ready.testing.subject import Subject

from {{ cookiecutter.package_name }}.schema import COLUMNS


@pytest.mark.parametrize("check", CHECKS["preprocessing"], ids=lambda check: check.__name__)
def test_preprocessing_holds_to_the_contract(
    check: Callable[[Subject], None], subject: Subject
) -> None:
    check(subject)


def test_outliers_are_set_aside_and_counted(records: pl.DataFrame) -> None:
    limited = next(column for column in COLUMNS if column.maximum is not None)
    beyond = pl.lit(10 * (limited.maximum or 0) + 1, limited.polars_type)
    is_odd = pl.int_range(pl.len()) == 7
    odd = records.head(100).with_columns(
        pl.when(is_odd).then(beyond).otherwise(limited.name).alias(limited.name)
    )
    checked = contract.check(odd, COLUMNS)
    assert checked.counts == {f"{limited.name} {limited.rule}": 1}
    assert checked.quarantined.height == 1
    contract.require_tolerated(checked.tally, tolerance=0.01)
    with pytest.raises(ContractError, match=rf"1 of 100 rows .* {limited.name} must be"):
        contract.require_tolerated(checked.tally, tolerance=0.001)
