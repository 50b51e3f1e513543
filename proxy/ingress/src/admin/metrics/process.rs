//! `process_*`, as Prometheus clients name them, from `/proc/self`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::family::Families;

pub(super) fn collect(families: &mut Families, started: SystemTime) {
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            families.gauge(name, help, &[], value);
        }
    };
    let memory = read("statm").map(|text| numbers(&text));
    let page = rustix::param::page_size() as f64;
    let of_memory = |place: usize| memory.as_ref()?.get(place).map(|pages| pages * page);
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", of_memory(0));
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", of_memory(1));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    gauge("process_open_fds", "Number of open file descriptors.", open);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    gauge("process_max_fds", "Maximum number of open file descriptors.", limit.map(|limit| limit as f64));
    let start = started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", start);
    if let Some(seconds) = cpu_seconds() {
        let help = "Total user and system CPU time spent in seconds.";
        families.counter("process_cpu_seconds_total", help, &[], seconds);
    }
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{file}")).ok()
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Fields 14 and 15 of `/proc/self/stat`, counted from the command, which may hold anything (proc(5)).
fn cpu_seconds() -> Option<f64> {
    let stat = read("stat")?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}
