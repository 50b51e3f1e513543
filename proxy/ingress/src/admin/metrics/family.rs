//! Metric families under construction.

use std::collections::HashMap;

use pancake_session::meter::DURATION_BUCKETS;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::meters::HttpSum;

/// Families in the order in which they were first named.
#[derive(Default)]
pub(super) struct Families {
    families: Vec<MetricFamily>,
    places: HashMap<String, usize>,
}

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = metric(labels);
        metric.set_counter(counter);
        self.push(name, help, MetricType::COUNTER, metric);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = metric(labels);
        metric.set_gauge(gauge);
        self.push(name, help, MetricType::GAUGE, metric);
    }

    /// The durations of `sum`.
    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: &[(&str, &str)], sum: &HttpSum) {
        let mut so_far = 0;
        let buckets = DURATION_BUCKETS.iter().zip(sum.buckets).map(|(bound, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        // Cells are read one after the other while the worker counts: no bucket may hold more than all.
        histogram.set_sample_count(sum.requests.max(so_far));
        histogram.set_sample_sum(sum.seconds);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, metric);
    }

    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.families
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let mut family = MetricFamily::default();
                family.set_name(name.to_owned());
                family.set_help(help.to_owned());
                family.set_field_type(kind);
                self.families.push(family);
                self.places.insert(name.to_owned(), self.families.len() - 1);
                self.families.len() - 1
            }
        };
        self.families[place].mut_metric().push(metric);
    }
}

/// Labels in the order of their names, as Prometheus clients print them.
fn metric(labels: &[(&str, &str)]) -> Metric {
    let mut labels: Vec<_> = labels.to_vec();
    labels.sort_unstable();
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
