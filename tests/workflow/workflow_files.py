"""The targets of the workflow tests."""

ADAPTER = "results/demo/pt/adapter"
METRICS = "results/demo/pt/evaluation/metrics.json"
CHAIN = (ADAPTER, METRICS)
