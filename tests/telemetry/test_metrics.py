"""The exposition of metrics."""

from gateway.telemetry.metrics import Metrics


def test_metrics_are_what_prometheus_reads() -> None:
    """Counters add up, histograms have cumulative buckets, and gauges are read at each scrape."""
    metrics = Metrics()
    metrics.requests.inc("chat", "fast", "one", "ok")
    metrics.requests.inc("chat", "fast", "one", "ok", by=2)
    metrics.duration.observe(0.2, "chat")
    metrics.duration.observe(1000, "chat")
    metrics.watch("in_flight", "Now.", lambda: [((), 3.0)])
    text = metrics.expose().decode()
    assert 'gateway_requests_total{alias="fast",endpoint="chat",outcome="ok",provider="one"} 3.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="0.1"} 0.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="0.25"} 1.0' in text
    assert 'gateway_request_duration_seconds_bucket{endpoint="chat",le="+Inf"} 2.0' in text
    assert 'gateway_request_duration_seconds_sum{endpoint="chat"} 1000.2' in text
    assert "gateway_in_flight 3.0" in text and "gateway_config_reloads_total 0.0" in text
