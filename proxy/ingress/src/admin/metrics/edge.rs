//! What the limits of the edge did, and UDP: Pancake's own metrics.

use pancake_session::admission::Refusal;
use pancake_session::meter::{Slow, UdpDrop};

use super::family::Families;
use crate::meters::Meters;

/// All of them, zeros included: an alert needs the series before the first case.
pub(super) fn collect(meters: &Meters, budget: Option<u64>, families: &mut Families) {
    if let Some(budget) = budget {
        let help = "Bytes of pancake.limits.memoryBudget.";
        families.gauge("pancake_memory_budget_bytes", help, &[], budget as f64);
        let help = "Bytes of the heap in use, without receive slots.";
        families.gauge("pancake_memory_used_bytes", help, &[], meters.max(|w| &w.memory_used) as f64);
        let help = "What is done about it: 0 nothing, 1 bodies wait, 2 requests are answered \
                    503, 3 connections are refused.";
        families.gauge("pancake_memory_stage", help, &[], meters.max(|w| &w.memory_stage) as f64);
    }
    let mut count = |name: &str, help: &str, label: &[(&str, &str)], value: u64| {
        families.counter(name, help, label, value as f64);
    };
    for refusal in Refusal::ALL {
        let help = "Connections and UDP sessions that were not let in, by reason.";
        let value = meters.sum(|worker| &worker.refused[refusal as usize]);
        count("pancake_refused_total", help, &[("reason", refusal.reason())], value);
    }
    for slow in Slow::ALL {
        let help = "Connections that were closed because the client was too slow, by what it was late with.";
        let value = meters.sum(|worker| &worker.slow[slow as usize]);
        count("pancake_slow_clients_total", help, &[("with", slow.reason())], value);
    }
    let help = "Requests that were answered 503 because memory is short.";
    count("pancake_shed_requests_total", help, &[], meters.sum(|worker| &worker.shed_requests));
    let help = "Receives of bodies and tunnels that had to wait because memory is short.";
    count("pancake_paused_reads_total", help, &[], meters.sum(|worker| &worker.paused_reads));
    let help = "UDP sessions opened.";
    count("pancake_udp_sessions_total", help, &[], meters.sum(|worker| &worker.udp.sessions));
    let help = "UDP sessions that a server refused and that another server got.";
    count("pancake_udp_moved_total", help, &[], meters.sum(|worker| &worker.udp.moved));
    for (way, label) in ["up", "down"].into_iter().enumerate() {
        let label = [("direction", label)];
        let help = "UDP datagrams passed on, up from clients and down to them.";
        count("pancake_udp_datagrams_total", help, &label, meters.sum(|worker| &worker.udp.datagrams[way]));
        let help = "Bytes of these datagrams.";
        count("pancake_udp_bytes_total", help, &label, meters.sum(|worker| &worker.udp.bytes[way]));
    }
    for drop in UdpDrop::ALL {
        let help = "UDP datagrams that were dropped, by reason.";
        let value = meters.sum(|worker| &worker.udp.dropped[drop as usize]);
        count("pancake_udp_dropped_total", help, &[("reason", drop.reason())], value);
    }
}
