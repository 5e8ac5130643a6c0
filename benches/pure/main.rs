//! The pure parts alone: how long each takes (divan), or how many instructions (`-- instructions`, by callgrind).
//!
//! `cargo bench --bench pure`, `make instructions`

mod cases;
mod instructions;

use std::process::ExitCode;

use divan::Bencher;

use cases::{Classify, Coalesce, Encode, Known, Request};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["instructions"] => instructions::report(),
        ["run", case, times] => instructions::run(case, times),
        _ => {
            divan::main();
            ExitCode::SUCCESS
        }
    }
}

/// A request's octets to the octets of its answer, without a socket and without a primary.
#[divan::bench]
fn parse_a_request_and_answer(bencher: Bencher<'_, '_>) {
    let mut case = Request::new();
    bencher.bench_local(|| case.run());
}

#[divan::bench]
fn verify_a_known_credential(bencher: Bencher<'_, '_>) {
    let case = Known::new();
    bencher.bench_local(|| case.run());
}

/// A thousand changes of so many names, without what is encoded and sent.
#[divan::bench(args = [100, 1000])]
fn coalesce_1000_changes(bencher: Bencher<'_, '_>, names: usize) {
    let mut case = Coalesce::new(names);
    bencher.bench_local(|| case.run());
}

/// 500 hosts with their guards do not fit the 32 KiB of a message: they travel in two.
#[divan::bench(args = [1, 10, 100, 500])]
fn encode_and_sign(bencher: Bencher<'_, '_>, hosts: usize) {
    let case = Encode::new(hosts);
    bencher.bench_local(|| case.run());
}

#[divan::bench]
fn classify_a_reply(bencher: Bencher<'_, '_>) {
    let case = Classify::new();
    bencher.bench_local(|| case.run());
}
