#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambda_proto_fuzz_targets::telemetry_receiver(data));
