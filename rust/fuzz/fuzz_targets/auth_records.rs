//! Records that DNS may publish: SPF, DKIM keys and DMARC are read without panic, whatever they hold.
#![no_main]

use angarium_auth::dmarc::record::Record as Policy;
use angarium_auth::key::{MAX_RSA_BITS, PublicKey};
use angarium_auth::results;
use angarium_auth::spf::record::{Record, is_spf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if is_spf(data) {
        let _ = Record::parse(data);
    }
    let _ = PublicKey::parse(data, MAX_RSA_BITS);
    let _ = Policy::parse(data);
    let _ = results::parse(data);
});
