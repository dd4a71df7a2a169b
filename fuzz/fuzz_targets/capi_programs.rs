#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambda_proto_fuzz_targets::capi_programs(data));
