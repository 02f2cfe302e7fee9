.PHONY: setup fix check test slow gpu floors wheel

setup:  ## install everything for development, and the hooks
	python -m pip install -e ".[dev]"
	pre-commit install

fix:  ## format, and mend what the linter can mend
	ruff check --fix .
	ruff format .

check:  ## lint, types, import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:  ## the fast tests
	pytest

slow:  ## the tests that take longer
	pytest -m "slow and not gpu"

gpu:  ## the tests that need an accelerator
	pytest -m gpu -n 0

floors:  ## the fast tests with the oldest releases that are promised, in an environment of their own
	python -m venv .floors
	.floors/bin/python -m pip install -e ".[test]" -c tests/floors.txt
	.floors/bin/python -m pytest -o filterwarnings=default

wheel:  ## build what is released
	python -m build
