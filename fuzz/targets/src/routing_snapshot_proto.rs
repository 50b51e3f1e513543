//! Snapshots from a control plane: no panic, limits hold, what is accepted survives the way out and back and compiles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_table::proto;
use pancake_table::snapshot::Snapshot;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let _ = proto::ProxyMessage::decode(bytes);
    let _ = proto::ControlMessage::decode(bytes);
    let Ok(message) = proto::Snapshot::decode(bytes) else { return };
    match Snapshot::try_from(message) {
        Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
        Ok(snapshot) => {
            let again = Snapshot::try_from(proto::Snapshot::from(&snapshot));
            assert_eq!(again.as_ref().ok(), Some(&snapshot));
            pancake_fuzz::serve(snapshot);
        }
    }
});
