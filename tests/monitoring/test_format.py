"""Our text format is Prometheus': prometheus-client, the reference, reads it as it reads its own."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from certagent.core.metrics import FAMILIES, Sample, exposition

SAMPLES = st.sampled_from(FAMILIES).flatmap(
    lambda f: st.builds(
        Sample,
        name=st.just(f.name),
        labels=st.tuples(*[st.text() for _ in f.labels]),
        value=st.integers(0, 1 << 40) | st.floats(allow_nan=False, allow_infinity=False),
    )
)


class Given(Collector):
    """The samples for prometheus-client's own writer."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def collect(self) -> Any:
        for family in FAMILIES:
            made = GaugeMetricFamily(family.name, family.means, labels=family.labels)
            for sample in (s for s in self.samples if s.name == family.name):
                made.add_metric(sample.labels, sample.value)
            if made.samples:
                yield made


@given(st.lists(SAMPLES, max_size=8))
def test_metrics_text_is_read_as_it_was_meant(samples: list[Sample]) -> None:
    """prometheus-client reads our text as it reads its own: escapes, numbers, help and types."""
    registry = CollectorRegistry()
    registry.register(Given(samples))
    ours = list(text_string_to_metric_families(exposition(samples)))
    assert ours == list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert sum(len(f.samples) for f in ours) == len(samples)
