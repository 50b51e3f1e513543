//! Traefik static configuration, as a file in either format: no panic, the same result twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_config::traefik::static_config;
use pancake_config::tree::overlay::Overlay;
use pancake_config::tree::{File, Format};

fuzz_target!(|text: &str| {
    for format in [Format::Yaml, Format::Toml] {
        let read = || static_config::read(Some(File { name: "fuzz", text, format }), &Overlay::default());
        match (read(), read()) {
            (Ok(one), Ok(two)) => assert_eq!(format!("{one:?}"), format!("{two:?}")),
            (Err(one), Err(two)) => {
                assert!(!one.is_empty(), "refused without a reason");
                assert_eq!(one.len(), two.len());
            }
            _ => panic!("read twice, with different results"),
        }
    }
});
