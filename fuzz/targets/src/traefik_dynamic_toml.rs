//! Traefik dynamic configuration in TOML: no panic, the same result twice, and what is read can be checked and compiled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_config::tree::Format;
use pancake_fuzz::dynamic;

fuzz_target!(|text: &str| dynamic(text, Format::Toml));
