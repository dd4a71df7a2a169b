//! Parses the two reply heads of an invocation, of `next` and of a 202, as often as its argument
//! says, with httparse alone. This is the part of a runtime's cost that any user of httparse has.

use std::hint::black_box;
use std::process::ExitCode;

use lambda_benches::canned;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let Some(times) = argument.as_deref().and_then(|times| times.parse::<usize>().ok()) else {
        eprintln!("usage: bare-httparse TIMES");
        return ExitCode::from(2);
    };
    let next = canned::next_head(128);
    for _ in 0..times {
        for head in [&next[..], canned::TAKEN] {
            // As in core: as many fields as it has room for, uninitialized.
            let mut fields = [const { std::mem::MaybeUninit::uninit() }; 128];
            let mut response = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                black_box(head),
                &mut fields,
            );
            if !matches!(black_box(&parsed), Ok(status) if status.is_complete()) {
                eprintln!("bare-httparse: {parsed:?}");
                return ExitCode::FAILURE;
            }
            black_box(&response);
        }
    }
    ExitCode::SUCCESS
}
